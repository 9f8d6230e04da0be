//! The address of a store as the file has it. Its password is never printed.

use crate::units::unfilled;
use crate::yaml::{Scalar, scalars};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use streamgate_lease::redis::Address;

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Url {
    /// In this process.
    Memory,
    /// Redis or Valkey.
    Redis(Address),
}

impl Url {
    /// Whether what is said to its servers is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Url::Redis(address) if address.is_tls())
    }
}

impl Scalar for Url {
    const KIND: &'static str = "the address of a store";
    const EXAMPLE: &'static str = "memory:";
    const EXPECTED: &'static str = "`memory:`, `redis://host:port[/db]`, \
        `redis+cluster://host:port,host:port` or `redis+sentinel://host:port,host:port/name[/db]`, \
        with `user:password@` before the first host if need be, and `rediss` for TLS; or \
        `unix:///run/redis.sock`, with `?db=1&user=name&pass=password` if need be";

    fn read(text: &str) -> Result<Self, String> {
        if text == "memory:" {
            return Ok(Url::Memory);
        }
        if let Some(why) = password(text).and_then(unfilled) {
            return Err(why.to_owned());
        }
        Address::parse(text).map(Url::Redis).map_err(|why| why.to_string())
    }
}

/// The password in the text of an address, as it was written.
fn password(text: &str) -> Option<&str> {
    let (user, _) = text.split_once("://")?.1.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Url::Memory => f.write_str("memory:"),
            Url::Redis(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

scalars!(Url);

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Url {
    fn schema_name() -> Cow<'static, str> {
        "StoreUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": Url::EXPECTED })
    }
}
