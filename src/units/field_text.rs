//! The value of a header field, as an operator writes it. It was read by the rules of fields, so no
//! text, and no variable in it, can end the field and begin another one.

use super::fingerprint::print_secret;
use crate::yaml::Scalar;
use http::HeaderValue;
use std::fmt;

/// The value of a header field: visible ASCII, spaces and tabs. One that a variable fills in may be
/// a key, and prints as `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldText {
    value: HeaderValue,
    is_secret: bool,
}

impl FieldText {
    /// The value as it is sent.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

impl Scalar for FieldText {
    const KIND: &'static str = "the value of a header field";
    const EXAMPLE: &'static str = "value";
    const EXPECTED: &'static str = "the value of a header field, in one line of ASCII";

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim_matches([' ', '\t']);
        // The library takes bytes beyond ASCII, which readers take in different ways.
        match HeaderValue::from_str(text) {
            Ok(value) if text.is_ascii() => Ok(FieldText { value, is_secret: false }),
            _ => {
                let why =
                    "a line break, or a character beyond ASCII, can't stand in a header field";
                Err(why.to_owned())
            }
        }
    }

    fn filled_in(mut self) -> Self {
        self.value.set_sensitive(true);
        FieldText { is_secret: true, ..self }
    }
}

impl fmt::Display for FieldText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.value.to_str().unwrap_or_default();
        if self.is_secret { print_secret(text, f) } else { f.write_str(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_in_its_field() {
        for text in ["a\r\nb: c", "a\nb", "a\rb", "\0", "a\u{7f}", "caf\u{e9}", "a\r\n", "\n"] {
            assert!(FieldText::read(text).is_err(), "{text:?}");
        }
        for text in ["", "DENY", "a b", "max-age=1; x=\"y\"", "a\tb"] {
            assert_eq!(FieldText::read(text).map(|read| read.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(FieldText::read(" a ").map(|read| read.to_string()), Ok("a".to_owned()));
    }

    #[test]
    fn what_a_variable_fills_in_is_not_shown() {
        let read = FieldText::read("s3cr3t").expect("a value").filled_in();
        assert_eq!(read.to_string(), "***");
        assert!(!format!("{read:?}").contains("s3cr3t"), "{read:?}");
        assert_eq!(read.value(), "s3cr3t");
    }
}
