//! Settings that people write as a single value, or as a mapping, and how they are written here.

use crate::yaml::tree::Tree;

/// A key, what stands behind it, and how it is written; `@` stands for what was written, if that is
/// a path or a number.
const SHAPES: [(&str, &str, &str); 18] = [
    ("jwks", "a single value", "write `jwks: { url: \"https://…\" }` or `jwks: { file: … }`"),
    ("pem", "a single value", "write `pem: { alg: RS256, file: … }`"),
    ("limit", "a single value", "write `limit: { default: @ }`"),
    ("health", "a single value", "write `health: { path: @ }`"),
    ("redirect", "a single value", "write `redirect: { to: @ }`"),
    ("match", "a single value", "write `match: { path: \"@\" }`"),
    ("service", "a single value", "write `service: { streams: … }`"),
    ("timeouts", "a single value", "write `timeouts: { read: @ }`"),
    ("admin", "a single value", "write `admin: { address: \"127.0.0.1:9901\" }`"),
    (
        "tls",
        "a single value",
        "write `tls: { ca: … }`; at a listener `tls: { certificates: [ { cert: …, key: … } ] }`",
    ),
    ("respond", "a single value", "write `respond: { status: @ }`"),
    (
        "rewrite",
        "a single value",
        "write `rewrite: { path: \"@\" }` or `rewrite: { strip: \"@\" }`",
    ),
    ("allow", "a list", "write `allow: { addresses: [ … ] }`"),
    ("allow", "a single value", "write `allow: { addresses: \"@\" }`"),
    ("deny", "a list", "write `deny: { addresses: [ … ] }`"),
    ("deny", "a single value", "write `deny: { addresses: \"@\" }`"),
    ("endpoints", "a mapping", "write a text, with the weight in it: `127.0.0.1:4001 weight=3`"),
    ("identity", "a mapping", "write a list: `- token: …`"),
];

/// How `key` is written, where `found` stands behind it.
pub(super) fn shape(key: &str, found: &Tree) -> Option<String> {
    let mut all = SHAPES.iter();
    let (.., help) = all.find(|(known, kind, _)| *known == key && *kind == found.kind())?;
    let written = match found {
        Tree::Value(single) => single.text.as_str(),
        _ => "",
    };
    let is_shown = written.starts_with('/') || written.starts_with(|c: char| c.is_ascii_digit());
    let is_short = written.len() <= 64 && !written.contains(['"', '`', '@']);
    Some(help.replace('@', if is_shown && is_short { written } else { "…" }))
}
