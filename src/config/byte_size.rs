//! Numbers of bytes, such as `"1 GB"`.

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::number_or_text;
use super::schema::inline_schema;

/// The accepted values, in words.
const EXPECTED: &str = "a number of bytes of at least 1, or a text such as \"500 MB\", \"1 GB\" or \"2 GiB\"";
/// The units. The first that divides a number writes it.
const UNITS: [(&str, u64); 9] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A number of bytes of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A constant of at least 1.
    pub(super) const fn literal(bytes: u64) -> Self {
        Self(bytes)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
    fn of(bytes: f64) -> Option<Self> {
        (1.0..9e15).contains(&bytes).then(|| Self(bytes.round() as u64))
    }

    /// Reads a text such as `1.5 GB`. Upper and lower case are the same.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
        let unit = if unit.trim().is_empty() { "B" } else { unit.trim() };
        let (_, size) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
        Self::of(number.parse::<f64>().ok()? * *size as f64)
    }
}

/// As in configs, such as `1 GB`.
impl std::fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let unit = UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size));
        unit.map_or(Ok(()), |(name, size)| write!(formatter, "{} {name}", self.0 / size))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let refuse = |value: String| de::Error::custom(format!("is {value}; expected {EXPECTED}"));
        match number_or_text(deserializer, EXPECTED)? {
            Ok(number) => Self::of(number).filter(|_| number.fract() == 0.0).ok_or_else(|| refuse(number.to_string())),
            Err(text) => Self::parse(&text).ok_or_else(|| refuse(format!("{text:?}"))),
        }
    }
}

inline_schema!(ByteSize, |_| {
    let text = schemars::json_schema!({
        "type": "string",
        "pattern": "^ *[0-9]+(\\.[0-9]+)? *([kKmMgGtT]?[bB]|[kKmMgGtT][iI][bB])? *$",
        "x-values": "`\"1 GB\"`",
    });
    schemars::json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1, "x-values": "bytes" }, text] })
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_written_with_the_largest() {
        let read = |text: &str| ByteSize::parse(text).map(|size| (size.get(), size.to_string()));
        assert_eq!(read("1 GB"), Some((1_000_000_000, "1 GB".to_owned())));
        assert_eq!(read("1.5gb"), Some((1_500_000_000, "1500 MB".to_owned())));
        assert_eq!(read("2 GiB"), Some((2_147_483_648, "2 GiB".to_owned())));
        assert_eq!(read("4096"), Some((4096, "4 KiB".to_owned())));
        assert_eq!(read(" 12001 B"), Some((12_001, "12001 B".to_owned())));
        for refused in ["", "GB", "0", "-1 GB", "1 XB", "1 GB 2", "1e99 GB", "1.2.3 MB"] {
            assert_eq!(read(refused), None, "{refused:?}");
        }
    }
}
