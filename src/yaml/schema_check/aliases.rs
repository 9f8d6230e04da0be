//! Keys of other gateways, and what they are called here.

/// A word, the key that must be possible there, and the advice.
const ALIASES: [(&str, &str, &str); 22] = [
    ("backend", "upstream", "it is called `upstream` here"),
    ("backends", "upstreams", "they are called `upstreams` here"),
    ("clusters", "upstreams", "they are called `upstreams` here"),
    ("cluster", "upstream", "it is called `upstream` here"),
    ("proxy_pass", "upstream", "it is called `upstream` here"),
    ("services", "upstreams", "servers are called `upstreams` here"),
    ("servers", "endpoints", "they are called `endpoints` here"),
    ("targets", "endpoints", "they are called `endpoints` here"),
    ("nodes", "endpoints", "they are called `endpoints` here"),
    ("middlewares", "filters", "they are called `filters` here"),
    ("plugins", "filters", "they are called `filters` here"),
    ("prefix", "path", "write the path with the rest: `path: \"/live/{*rest}\"`"),
    ("location", "match", "it is called `match` here"),
    ("headers", "header", "it is called `header` here"),
    ("timeout", "timeouts", "write `timeouts: { read: 30s }`"),
    ("listen", "address", "it is called `address` here"),
    ("port", "address", "write it with the address: `address: \"127.0.0.1:8080\"`"),
    ("secret", "hs256", "name the algorithm: `hs256: …`"),
    ("rs256", "pem", "a public key is in a file: `pem: { alg: RS256, file: … }`"),
    ("es256", "pem", "a public key is in a file: `pem: { alg: ES256, file: … }`"),
    ("eddsa", "pem", "a public key is in a file: `pem: { alg: EdDSA, file: … }`"),
    ("max", "default", "write `limit: { default: 3 }`"),
];

/// Which of `known` a key of another gateway stands for, and the advice.
pub(super) fn meant<'s>(written: &str, known: &[&'s str]) -> Option<(&'s str, &'static str)> {
    let written = written.to_ascii_lowercase();
    let mut all = ALIASES.iter().filter(|(word, ..)| *word == written);
    all.find_map(|(_, key, advice)| {
        Some((known.iter().copied().find(|known| known == key)?, *advice))
    })
}
