//! Hash slots: which of the 16384 slots of a cluster a key is in.
//!
//! The redis crate computes slots, too, but does not export the function.

/// The number of slots of any cluster.
pub(crate) const SLOTS: usize = 16_384;

/// The slot of a key: of its hash tag, which stands in the first braces, else of the whole key.
pub(crate) fn of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS as u16
}

/// CRC-16/XMODEM, bit by bit: keys are short, and a table would be no faster to read.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` says.
        for (key, slot) in [("", 0), ("foo", 12182), ("somekey", 11058), ("foo{}{bar}", 8363)] {
            assert_eq!(of(key), slot, "{key}");
        }
        assert_eq!(of("foo{{bar}}zap"), of("{bar"));
        assert_eq!(of("sg:{2bd8}:x:l"), of("2bd8"));
        assert_eq!(of("a}{b}"), of("b"));
    }
}
