//! JSON objects from untrusted senders: no name twice, and a bounded depth.
//!
//! Two readers of one token must never see different claims, and JSON does not say which of two
//! equal names counts. So an object with a name twice is refused, at any depth (RFC 8725 §2.4, RFC
//! 7519 §4).

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// How deep objects and arrays may be nested.
pub(in crate::session) const DEPTH_MAX: u32 = 32;

/// Reads `bytes` as exactly one object in UTF-8; `None` when it is anything else.
pub(in crate::session) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// A value that may nest `depth_left` more times.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: u32,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        depth_left.map(|depth_left| Strict { depth_left }).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a name that stands twice")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let each = self.deeper()?;
        let mut all = Vec::new();
        while let Some(value) = seq.next_element_seed(each)? {
            all.push(value);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let each = self.deeper()?;
        let mut all = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(each)?;
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_read: bool) {
        assert_eq!(object(text.as_bytes()).is_some(), is_read, "{text}");
    }

    #[test]
    fn only_one_unambiguous_object_is_read() {
        check(r#"{}"#, true);
        check(r#" {"a":[1,-2,3.5,null,true,"x",{"a":{}}]} "#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":{"b":1,"b":2}}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"a":1}{"#, false);
        check(r#"{"a":1} x"#, false);
        check("\u{feff}{}", false);
        check("[]", false);
        check("\"a\"", false);
        check("", false);
        check(r#"{"a":"\ud800"}"#, false);
        check(r#"{"a":1e999}"#, false);
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
            object(format!("{open}1{close}").as_bytes()).is_some()
        };
        assert!(nested(32));
        assert!(!nested(33));
        assert!(!nested(100_000));
    }
}
