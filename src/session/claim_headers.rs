//! `claims_to_headers`: which claims upstreams get, and in which header fields.
//!
//! Here the names are checked; the filter `session` writes the fields. An upstream believes what
//! stands in such a field, and can't see that a claim was missing or that a route asks for no
//! session. So what a client wrote there is removed from every request of every route:
//! [`ClaimHeaders`] says what these fields are.

use crate::problem::Problem;
use crate::request::reserved::is_reserved;
use crate::request::written_field::is_framing;
use crate::units::Text;
use crate::yaml::{At, Entries};
use http::HeaderName;

/// Fields that mean something by themselves, beside those that frame a message or say who the
/// client is: who asks for what, of whom. A claim must not be able to set them.
const MEANT_OTHERWISE: [&str; 9] = [
    "authorization",
    "content-type",
    "cookie",
    "host",
    "origin",
    "proxy-authorization",
    "range",
    "sec-fetch-site",
    "via",
];

/// Every field that some claim can set, whatever the route: no client may write one of them.
#[derive(Debug, Default)]
pub struct ClaimHeaders {
    names: Box<[HeaderName]>,
    /// The first bytes of the names, one bit each: one look is enough for most other names.
    first_bytes: u128,
}

impl ClaimHeaders {
    /// The fields of these names.
    pub fn new<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Self {
        let names: Box<[HeaderName]> = names.cloned().collect();
        let first_bytes = names.iter().fold(0, |bytes, name| bytes | bit(name.as_str()));
        ClaimHeaders { names, first_bytes }
    }

    /// The first bytes of their names, one bit each.
    pub fn first_bytes(&self) -> u128 {
        self.first_bytes
    }

    /// Whether a field called `name`, in lower case, is one of them.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.as_str() == name)
    }
}

fn bit(name: &str) -> u128 {
    let first = name.bytes().next().filter(u8::is_ascii);
    first.map_or(0, |first| 1 << first)
}

/// The claims with their fields, in the order of the file.
pub(super) fn compile(
    written: &Entries<At<Text>>,
    problems: &mut Vec<Problem>,
) -> Vec<(String, HeaderName)> {
    let mut fields: Vec<(String, HeaderName)> = Vec::new();
    for (claim, header) in written.iter() {
        match name(header) {
            Ok(field) if fields.iter().any(|(_, other)| *other == field) => {
                let text = format!("two claims would be in the header `{}`", header.value);
                problems.push(header.problem(text).help("give each its own"));
            }
            Ok(field) => fields.push((claim.value.clone(), field)),
            Err(problem) => {
                problems
                    .push(problem.help(format!("write, for example, `{}: X-Plan`", claim.value)));
            }
        }
    }
    fields
}

fn name(header: &At<Text>) -> Result<HeaderName, Problem> {
    let name = HeaderName::from_bytes(header.0.as_bytes()).map_err(|_| {
        header.problem(format!("`{}` cannot be the name of a header", header.value))
    })?;
    let plain = name.as_str();
    if MEANT_OTHERWISE.contains(&plain) || is_framing(plain) || is_reserved(plain) {
        let text = format!("the header `{}` has a meaning of its own", header.value);
        return Err(header.problem(text));
    }
    // An upstream that reads `_` as `-` would let a client's field pass for this one.
    match name.as_str().contains('_') {
        true => Err(header.problem("a header's name with `_` is another one to some servers")),
        false => Ok(name),
    }
}
