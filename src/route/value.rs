//! The values that a route asks header fields and query parameters for, as the file has them.
//!
//! An operator who has no other way asks for a partner's key in a header field. So these values are
//! printed nowhere: not by `streamgate routes`, not by the admin port, not in messages.

use crate::yaml::{Scalar, scalars};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// What is printed in place of a value.
const MASK: &str = "***";

/// The value that means: any.
pub(super) const ANY: &str = "*";

/// What a header field must be. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FieldValue(pub(super) String);

/// What a query parameter must be. One that a variable fills in prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct QueryValue {
    pub(super) text: String,
    pub(super) is_secret: bool,
}

/// The text, or what is printed in its place.
pub(super) fn shown(text: &str, is_secret: bool) -> &str {
    if is_secret && text != ANY { MASK } else { text }
}

impl Scalar for FieldValue {
    const KIND: &'static str = "the value of a header field";
    const EXAMPLE: &'static str = "value";
    const EXPECTED: &'static str = "the value of a header field, or `\"*\"` for any";

    fn read(text: &str) -> Result<Self, String> {
        Ok(FieldValue(text.to_owned()))
    }
}

impl Scalar for QueryValue {
    const KIND: &'static str = "the value of a query parameter";
    const EXAMPLE: &'static str = "value";
    const EXPECTED: &'static str = "the value of a query parameter, or `\"*\"` for any";

    fn read(text: &str) -> Result<Self, String> {
        Ok(QueryValue { text: text.to_owned(), is_secret: false })
    }

    fn filled_in(self) -> Self {
        QueryValue { is_secret: true, ..self }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shown(&self.0, true))
    }
}

impl fmt::Display for QueryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shown(&self.text, self.is_secret))
    }
}

scalars!(FieldValue, QueryValue);

/// Printing and the schema of both.
macro_rules! printed {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $name::EXPECTED })
            }
        }
    )+};
}

printed!(FieldValue, QueryValue);
