//! The time of day, as files and folders state it.

use std::time::{Duration, SystemTime};

/// The last second of the year 9999, in seconds since 1970.
const LAST: u64 = 253_402_300_799;

/// The time in UTC, such as `2026-01-31T12:00:00Z`. A clock that is set before 1970 or after 9999 gives the nearest of these.
#[must_use]
pub fn now() -> String {
    text(SystemTime::now())
}

fn text(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_has_a_time_too() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(text(epoch - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(text(epoch + Duration::from_secs(LAST + 1)), "9999-12-31T23:59:59Z");
    }
}
