//! Any bytes as an issuer's key set: keys or a reason, whatever stands in it.
//! The set is read as the gateway reads one from a file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use streamgate::config::{self, Loaded};
use streamgate::session::Verifier;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ { jwks: { file: keys.json } } ]
routes: [ { name: all, match: { path: "/{*rest}" }, redirect: { to: "https://example.com/" } } ]
"#;

/// A folder of this process, in memory where the machine has such a place.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = base.join(format!("fuzz-jwk-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
});

static LOADED: LazyLock<Loaded> = LazyLock::new(|| {
    let file = FOLDER.join("gateway.yaml");
    let loaded = config::read(&file, YAML.to_owned(), &Environment::default());
    loaded.unwrap_or_else(|report| panic!("{report}"))
});

fuzz_target!(init: streamgate::fetch::install_crypto_provider(), |bytes: &[u8]| {
    std::fs::write(FOLDER.join("keys.json"), bytes).expect("the folder can be written");
    let (_, sessions) = LOADED.config.sections.sessions.iter().next().expect("one kind of session");
    match Verifier::compile("viewers", sessions, &[], LOADED.base_dir()) {
        Ok(verifier) => assert!(0 < verifier.key_sets()[0].figures().keys, "a set without keys"),
        Err(problems) => assert!(!problems.is_empty(), "a refusal says why"),
    }
});
