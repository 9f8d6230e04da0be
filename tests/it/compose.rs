//! `compose.yaml`: what it gives the gateway is what the reference configuration takes. Values are
//! read from the files themselves.

use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::process::Command;

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

fn compose() -> Value {
    serde_yaml::from_str(&text("compose.yaml")).expect("compose.yaml is YAML")
}

/// The environment of a service, with `${NAME:?why}` filled in as an operator would.
fn environment(compose: &Value, service: &str) -> Vec<(String, String)> {
    let written: &Map<String, Value> =
        compose["services"][service]["environment"].as_object().expect("an environment");
    let filled = written.iter().map(|(name, value)| {
        let value = value.as_str().expect("a text");
        let value = match value.starts_with(&format!("${{{name}:?")) {
            true => "0123456789abcdef".repeat(4) + &name.to_lowercase(),
            false => value.to_owned(),
        };
        assert!(!value.contains("${"), "{name} is given: {value}");
        (name.clone(), value)
    });
    filled.collect()
}

/// What the image sets itself: `ENV` lines of its stage.
fn of_image(stage: &str) -> Vec<(String, String)> {
    let file = text("Dockerfile");
    let (_, lines) = file.split_once(&format!(" AS {stage}\n")).expect("the stage is there");
    let lines = lines.lines().take_while(|line| !line.starts_with("FROM "));
    let set = lines.filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_gateway_takes_what_compose_gives_it() {
    let mut all = of_image("gateway");
    assert!(!all.is_empty());
    all.extend(environment(&compose(), "gateway"));
    let mut check = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    check.args(["check", "--config", "config/gateway.yaml"]);
    check.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().envs(all);
    let output = check.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
}

/// Each host that the gateway is given is a service there, and listens where it is looked for.
#[test]
fn what_compose_names_is_there() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let ports = text("Dockerfile");
    for (variable, value) in environment(&compose, "gateway") {
        let address = value.strip_prefix("redis://").unwrap_or(&value);
        if !variable.ends_with("_ADDR") && !variable.ends_with("_URL") {
            continue;
        }
        let (host, port) = address.split_once(':').expect("a host and a port");
        assert!(services.contains_key(host), "{variable}: there is no service `{host}`");
        let condition = &compose["services"]["gateway"]["depends_on"][host]["condition"];
        assert_eq!(condition, "service_healthy", "{variable}: the gateway waits for `{host}`");
        let exposed = format!("EXPOSE {port}\n");
        assert!(host == "redis" || ports.contains(&exposed), "{variable}: nobody is at {port}");
    }
}
