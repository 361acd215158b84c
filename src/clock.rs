//! The current time as text, for files and names of folders.

use std::time::{Duration, SystemTime};

/// The last second of the year 9999, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// The current time in UTC, such as `2026-01-31T12:00:00Z`. Times before 1970 or after 9999 are clamped.
#[must_use]
pub fn now() -> String {
    text(SystemTime::now())
}

/// The time this many seconds ago in UTC, as [`now`].
#[must_use]
pub fn before(seconds: f64) -> String {
    let earlier = Duration::try_from_secs_f64(seconds).ok().and_then(|seconds| SystemTime::now().checked_sub(seconds));
    text(earlier.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// A time as [`now`] gives it, in seconds since 1970. Returns `None` if the text is none.
#[must_use]
pub fn seconds(time: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
}

/// The seconds since a time that [`now`] wrote; 0 if it is later than now. Returns `None` for another text.
#[must_use]
pub fn seconds_since(time: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    Some(SystemTime::now().duration_since(time).map_or(0.0, |since| since.as_secs_f64()))
}

/// A time in UTC, as [`now`].
#[must_use]
pub fn text(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST_SECOND);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_time() {
        let age = seconds_since(&before(3600.0)).unwrap();
        assert!((3600.0..3700.0).contains(&age), "{age}");
        assert_eq!((seconds_since("9999-12-31T23:59:59Z"), seconds_since("yesterday")), (Some(0.0), None));
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(text(epoch - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(text(epoch + Duration::from_secs(LAST_SECOND + 1)), "9999-12-31T23:59:59Z");
        assert_eq!((seconds("1970-01-02T00:00:01Z"), seconds("yesterday")), (Some(86_401.0), None));
    }
}
