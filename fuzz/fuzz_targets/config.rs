//! Any text is a configuration or a report of what is wrong with it; what passed also compiles to
//! a gateway, or to a report.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use streamgate::config;
use streamgate::gateway::{Gateway, Shared};
use streamgate::metrics::Metrics;
use streamgate::yaml::Environment;

fuzz_target!(init: streamgate::fetch::install_crypto_provider(), |text: String| {
    // Nothing stands there, so no file that it names can be read.
    let file = Path::new("/nowhere/gateway.yaml");
    match config::read(file, text, &Environment::default()) {
        Err(report) => assert!(!report.to_string().is_empty(), "a report says what is wrong"),
        Ok(loaded) => {
            let compiled = Gateway::compile(&loaded, &Shared::default(), &Metrics::new());
            let _ = compiled.map_err(|report| report.to_string());
        }
    }
});
