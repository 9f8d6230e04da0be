//! The methods that a route may ask for: those that HTTP has names for, and no others.
//!
//! A method that nobody knows is nearly always misspelled, and a route that asks for it takes no
//! request at all.

use crate::problem::nearest;
use crate::yaml::{Scalar, scalars};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// IANA's registry of methods, and what caches and UPnP use beside it.
const KNOWN: [&str; 43] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "QUERY",
    "CONNECT",
    "TRACE",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    "PURGE",
    "NOTIFY",
    "SUBSCRIBE",
    "M-SEARCH",
];

/// The method of a request, as a route asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedMethod(pub Method);

impl Scalar for AskedMethod {
    const KIND: &'static str = "a method of HTTP";
    const EXAMPLE: &'static str = "GET";
    const EXPECTED: &'static str = "a method such as `GET`, or a list: `[GET, POST]`";

    fn read(text: &str) -> Result<Self, String> {
        let method = KNOWN.contains(&text).then(|| Method::from_bytes(text.as_bytes()).ok());
        method.flatten().map(AskedMethod).ok_or_else(String::new)
    }

    fn advice(text: &str) -> Option<String> {
        let capital = text.trim().to_ascii_uppercase();
        let known = |word: &str| KNOWN.into_iter().find(|known| *known == word);
        if matches!(capital.as_str(), "*" | "ANY" | "ALL" | ".*" | "") {
            return Some("leave `method` out to take any".to_owned());
        }
        if let Some(method) = known(&capital) {
            return Some(format!("write it in capitals: `{method}`"));
        }
        let words = || capital.split([',', '|', ' ', '/', ';']).filter(|word| !word.is_empty());
        let listed: Option<Vec<&str>> = words().map(known).collect();
        if let Some(listed) = listed.filter(|listed| listed.len() > 1) {
            return Some(format!("write a list: `[{}]`", listed.join(", ")));
        }
        let meant = nearest(&capital, KNOWN.into_iter())?;
        Some(format!("did you mean `{meant}`?"))
    }
}

scalars!(AskedMethod);

impl Serialize for AskedMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl JsonSchema for AskedMethod {
    fn schema_name() -> Cow<'static, str> {
        "Method".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": AskedMethod::EXPECTED,
            "pattern": format!(r"^({})$|\$\{{", KNOWN.join("|")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_known_or_it_is_said_what_was_meant() {
        for known in KNOWN {
            assert!(AskedMethod::read(known).is_ok(), "{known}");
        }
        for (wrong, says) in [
            ("get", "in capitals: `GET`"),
            ("ANY", "leave `method` out"),
            ("*", "leave `method` out"),
            ("POTS", "did you mean `POST`?"),
            ("GET, POST", "a list: `[GET, POST]`"),
            ("get|post", "a list: `[GET, POST]`"),
        ] {
            assert!(AskedMethod::read(wrong).is_err(), "{wrong}");
            let said = AskedMethod::advice(wrong).unwrap_or_default();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
