//! Session tokens. Any text: refused, because nobody can guess the secret. Any header and claims,
//! signed with the secret: a session or a refusal, and a session only with an account.
//! The input: the header's bytes, a line end, the claims' bytes.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use std::path::Path;
use std::sync::LazyLock;
use streamgate::config;
use streamgate::session::Verifier;
use streamgate::yaml::Environment;
use tokio::runtime::Runtime;

const SECRET: &str = "a secret of thirty-two bytes or more";

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ { hs256: "a secret of thirty-two bytes or more" } ]
    claims_to_headers: { plan: x-plan }
routes: [ { name: all, match: { path: "/{*rest}" }, redirect: { to: "https://example.com/" } } ]
"#;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers")
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let file = Path::new("/nowhere/gateway.yaml");
    let loaded = config::read(file, YAML.to_owned(), &Environment::default());
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    let (_, sessions) = loaded.config.sections.sessions.iter().next().expect("one kind of session");
    Verifier::compile("viewers", sessions, &["max_streams"], file).expect("a secret is a key")
});

fuzz_target!(init: streamgate::fetch::install_crypto_provider(), |bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(RUNTIME.block_on(VERIFIER.verify(text)).is_err(), "a forged token: {text}");
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    if RUNTIME.block_on(VERIFIER.verify(&token)).is_ok() {
        let text = String::from_utf8_lossy(claims);
        assert!(text.contains("sub") && text.contains("exp"), "without account or end: {text}");
    }
});
