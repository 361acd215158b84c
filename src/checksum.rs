//! SHA-256 in hexadecimal, and JSON files with their own checksum.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// Finishes a hash; returns it in lower-case hexadecimal digits.
#[must_use]
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The key of the checksum in a JSON file.
const KEY: &str = "sha256";

/// `value` as indented JSON, with a key `sha256`: the checksum over all other keys.
///
/// # Panics
///
/// When `value` does not serialize to a JSON object with at least one key.
#[must_use]
pub fn with_checksum(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"));
    let content: Value = serde_json::from_str(&text).unwrap_or_else(|error| unreachable!("the JSON was just written: {error}"));
    let body = text.strip_suffix("\n}").unwrap_or_else(|| unreachable!("an object with keys"));
    format!("{body},\n  \"{KEY}\": \"{}\"\n}}\n", sha256(content.to_string().as_bytes()))
}

/// As [`with_checksum`], on one line.
///
/// # Panics
///
/// As there.
#[must_use]
pub fn compact_with_checksum(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"));
    let content: Value = serde_json::from_str(&text).unwrap_or_else(|error| unreachable!("the JSON was just written: {error}"));
    let body = text.strip_suffix('}').unwrap_or_else(|| unreachable!("an object with keys"));
    format!("{body},\"{KEY}\":\"{}\"}}\n", sha256(content.to_string().as_bytes()))
}

/// The content of a JSON file without its checksum. A file without a checksum is accepted: version 0.1.0 wrote none.
///
/// # Errors
///
/// The problem as text, when the file is not JSON, or its content does not match its checksum.
pub fn without_checksum(bytes: &[u8]) -> Result<Value, String> {
    let mut content: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let stated = content.as_object_mut().and_then(|object| object.remove(KEY));
    match stated {
        Some(stated) if stated != sha256(content.to_string().as_bytes()).as_str() => Err(format!("its content does not match its `{KEY}`")),
        _ => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_file_states_its_checksum() {
        let text = with_checksum(&serde_json::json!({ "b": [1.5, null], "a": "é" }));
        assert!(text.ends_with("\"\n}\n") && text.contains("\"sha256\": \""), "{text}");
        assert_eq!(without_checksum(text.as_bytes()).unwrap(), serde_json::json!({ "b": [1.5, null], "a": "é" }));
        let compact = compact_with_checksum(&serde_json::json!({ "b": [1.5, null], "a": "é" }));
        assert_eq!((without_checksum(compact.as_bytes()), compact.lines().count()), (without_checksum(text.as_bytes()), 1));
        assert!(without_checksum(text.replace("1.5", "1.25").as_bytes()).unwrap_err().ends_with("does not match its `sha256`"));
        assert_eq!(without_checksum(b"{\"a\": 1}").unwrap(), serde_json::json!({ "a": 1 }), "files of version 0.1.0");
        assert!(without_checksum(b"{").is_err());
    }

    #[test]
    fn sha256_of_abc_is_the_one_in_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(super::sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
