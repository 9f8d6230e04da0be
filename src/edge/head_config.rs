//! `head` of a listener in `gateway.yaml`: how large the head of a request may be.

use crate::problem::Problem;
use crate::request::head::HeadSizes;
use crate::units::{Count, Size};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest target, in bytes: the library that reads URLs takes no longer one.
const TARGET_BYTES_MAX: u64 = 63 << 10;

/// The largest fields, in bytes: with the rest it is below what Pingora reads at all.
const FIELDS_BYTES_MAX: u64 = 512 << 10;

/// So many fields are parsed at all (Pingora).
const FIELD_COUNT_MAX: u32 = 256;

/// What HTTP/2 counts for each field beside its bytes (RFC 9113 §6.5.2).
const BYTES_PER_FIELD: u64 = 32;

/// How large the head of a request may be. What is larger gets 431.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Head")]
pub struct HeadConfig {
    /// The path with its query, in bytes.
    #[serde(default = "target")]
    target: At<Size>,
    /// One field, its name and its value, in bytes.
    #[serde(default = "field")]
    field: At<Size>,
    /// All fields together, in bytes.
    #[serde(default = "fields")]
    fields: At<Size>,
    /// How many fields.
    #[serde(default = "field_count")]
    field_count: At<Count>,
}

fn target() -> At<Size> {
    At::unwritten(Size(u64::from(HeadSizes::default().target_bytes)))
}

fn field() -> At<Size> {
    At::unwritten(Size(u64::from(HeadSizes::default().field_bytes)))
}

fn fields() -> At<Size> {
    At::unwritten(Size(u64::from(HeadSizes::default().fields_bytes)))
}

fn field_count() -> At<Count> {
    At::unwritten(Count(HeadSizes::default().fields))
}

impl Default for HeadConfig {
    fn default() -> Self {
        let (target, field, fields) = (target(), field(), fields());
        HeadConfig { target, field, fields, field_count: field_count() }
    }
}

impl HeadConfig {
    /// The sizes, if they can be kept.
    pub(super) fn compile(&self) -> Result<HeadSizes, Vec<Problem>> {
        let problems: Vec<Problem> = self.problems().collect();
        let bytes = |size: &At<Size>| u32::try_from(size.value.0).unwrap_or(u32::MAX);
        match problems.is_empty() {
            true => Ok(HeadSizes {
                target_bytes: bytes(&self.target),
                field_bytes: bytes(&self.field),
                fields_bytes: bytes(&self.fields),
                fields: self.field_count.value.0,
            }),
            false => Err(problems),
        }
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let sizes = [
            (&self.target, "target", TARGET_BYTES_MAX),
            (&self.field, "field", FIELDS_BYTES_MAX),
            (&self.fields, "fields", FIELDS_BYTES_MAX),
        ];
        let sizes = sizes.into_iter().filter(|(size, _, max)| !(1..=*max).contains(&size.value.0));
        let sizes = sizes.map(|(size, name, max)| {
            let text = format!("`{name}` of a head can't be {}", size.value);
            size.problem(text).help(format!("write a size from 1 to {}", Size(max)))
        });
        let count = &self.field_count;
        let many = (FIELD_COUNT_MAX < count.value.0).then(|| {
            let text = format!("no head with {} fields is read", count.value);
            count.problem(text).help(format!("write a number from 1 to {FIELD_COUNT_MAX}"))
        });
        let is_lost = self.field.is_written() && self.fields.value.0 < self.field.value.0;
        let lost = is_lost.then(|| {
            let text = format!("one field may be larger than all together: {}", self.fields.value);
            self.field.problem(text).help("lower it, or raise `fields`")
        });
        sizes.chain(many).chain(lost)
    }
}

/// What HTTP/2 counts a head for that is as large as it may be, in bytes.
pub(super) fn http2_bytes(sizes: HeadSizes) -> u64 {
    let fields = u64::from(sizes.fields) * BYTES_PER_FIELD;
    u64::from(sizes.target_bytes) + u64::from(sizes.fields_bytes) + fields
}
