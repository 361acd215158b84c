//! Records of event files: length, its checksum, payload, its checksum.

use prost::Message;

use super::message::Event;

/// Appends an event to `bytes`.
pub(super) fn append(bytes: &mut Vec<u8>, event: &Event) {
    let payload = event.encode_to_vec();
    let length = (payload.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(&payload);
    bytes.extend(masked(&payload).to_le_bytes());
}

/// The CRC-32C, rotated and shifted: the checksum of bytes that have checksums in them would otherwise be weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_of_an_event_file_byte_by_byte() {
        let mut bytes = Vec::new();
        append(&mut bytes, &Event { wall_time: 1.5, step: 0, file_version: Some("brain.Event:2".to_owned()), summary: None });
        // By `RecordWriter` and `Event` of the Python package `tensorboard` 2.21.
        let lengths = [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22];
        let time = [0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f];
        assert_eq!(bytes, [&lengths[..], &time, &[0x1a, 0x0d], b"brain.Event:2", &[0x2a, 0x28, 0x64, 0x6c]].concat());
    }
}
