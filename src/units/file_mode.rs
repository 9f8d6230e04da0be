//! Who may use a file, as `chmod` takes it.

use crate::yaml::Scalar;
use std::fmt;

/// The right to write of anybody: whoever connects to a socket of Unix needs it.
const WRITE: u32 = 0o222;

/// The mode of a socket's file, in octal: `0660`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Scalar for FileMode {
    const KIND: &'static str = "the mode of a socket";
    const EXAMPLE: &'static str = "0660";
    const EXPECTED: &'static str = "an octal mode such as `\"0660\"` (its owner and its group \
        may connect) or `\"0666\"` (everybody on this machine may)";

    fn read(text: &str) -> Result<Self, String> {
        let digits = match text.len() {
            4 => text.strip_prefix('0').unwrap_or_default(),
            _ => text,
        };
        let is_octal =
            digits.len() == 3 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
        match mode.ok_or_else(String::new)? {
            mode if mode & WRITE == 0 => {
                Err("nobody could connect: that takes the right to write".to_owned())
            }
            mode => Ok(FileMode(mode)),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_lets_somebody_in() {
        for (text, expected) in [
            ("0660", Some("0660")),
            ("666", Some("0666")),
            ("0777", Some("0777")),
            ("0200", Some("0200")),
            ("0440", None),
            ("0000", None),
            ("0680", None),
            ("1660", None),
            ("4755", None),
            ("60", None),
            ("0o660", None),
            ("rw-rw----", None),
            ("+66", None),
            ("", None),
        ] {
            let read = FileMode::read(text).ok().map(|mode| mode.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
