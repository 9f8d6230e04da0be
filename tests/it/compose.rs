//! `compose.yaml`: what it gives each service is what that service takes, and what it names is
//! there. Values are read from the files themselves: `compose.yaml`, `Dockerfile`, the reference
//! configuration and the arguments of the services.

use crate::harness::Redis;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What an operator fills in is written `${NAME:?why}`.
const MUST_BE_SET: &str = ":?";

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

fn compose() -> Value {
    serde_yaml::from_str(&text("compose.yaml")).expect("compose.yaml is YAML")
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().expect("services")
}

/// Each variable that a service is given, as it is written.
fn written(service: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all = service["environment"].as_object().into_iter().flatten();
    all.map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
}

/// The environment of a service, with `${NAME:?why}` filled in as an operator would.
fn environment(service: &Value) -> Vec<(String, String)> {
    let filled = written(service).map(|(name, value)| {
        let value = match value.starts_with(&format!("${{{name}{MUST_BE_SET}")) {
            true => "0123456789abcdef".repeat(4) + &name.to_lowercase(),
            false => value.to_owned(),
        };
        assert!(!value.contains("${"), "{name} is given: {value}");
        (name.to_owned(), value)
    });
    filled.collect()
}

/// The lines of one stage of the Dockerfile.
fn stage(name: &str) -> String {
    let file = text("Dockerfile");
    let (_, lines) = file.split_once(&format!(" AS {name}\n")).expect("the stage is there");
    let lines = lines.lines().take_while(|line| !line.starts_with("FROM "));
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// What follows this word in the stage of a service: `EXPOSE`, `ENTRYPOINT`.
fn says(stage: &str, word: &str) -> Vec<String> {
    let lines = stage.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

/// What the image of a service sets itself; one line may set several variables.
fn of_image(stage: &str) -> Vec<(String, String)> {
    let lines = says(stage, "ENV");
    let pairs = lines.iter().flat_map(|line| line.split_whitespace());
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The services that are built here.
fn built(compose: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = services(compose).iter().filter(|(_, service)| service["build"].is_object());
    services.map(|(name, service)| (name.as_str(), service))
}

#[test]
fn the_gateway_takes_what_compose_gives_it() {
    let mut all = of_image(&stage("gateway"));
    assert!(!all.is_empty());
    all.extend(environment(&compose()["services"]["gateway"]));
    let mut check = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    check.args(["check", "--config", "config/gateway.yaml"]);
    check.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().envs(all);
    let output = check.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
}

/// Each host that a service is given is a service there, and listens where it is looked for.
#[test]
fn what_compose_names_is_there() {
    let compose = compose();
    let mut named = BTreeSet::new();
    for (service, entry) in services(&compose) {
        for (variable, value) in written(entry) {
            let address = value.strip_prefix("redis://").unwrap_or(value);
            if !variable.ends_with("_ADDR") && !variable.ends_with("_URL") {
                continue;
            }
            let (host, port) = address.split_once(':').expect("a host and a port");
            assert!(services(&compose).contains_key(host), "{variable}: no service `{host}`");
            let condition = &entry["depends_on"][host]["condition"];
            assert_eq!(condition, "service_healthy", "{service} waits for `{host}`");
            let target = &compose["services"][host]["build"]["target"];
            let exposed = match target.as_str() {
                Some(target) => says(&stage(target), "EXPOSE"),
                None => vec!["6379".to_owned()],
            };
            assert_eq!(exposed, [port], "{variable}: who listens there");
            named.insert(format!("{service} {host}"));
        }
    }
    let expected = ["auth redis", "gateway auth", "gateway redis", "gateway stream"];
    assert_eq!(named, expected.map(str::to_owned).into());
}

/// An image is a stage with a program, the port of the stage is where that program listens, and
/// there is a check by which others wait for it.
#[test]
fn every_service_has_an_image_a_command_and_a_port() {
    let compose = compose();
    for (name, service) in built(&compose) {
        let target = service["build"]["target"].as_str().expect("a stage");
        let stage = stage(target);
        let program = if target == "gateway" { "streamgate" } else { target };
        assert_eq!(says(&stage, "ENTRYPOINT"), [format!("[\"{program}\"]")], "{name}");
        let copied = format!("COPY --from=build /out/{program} /usr/local/bin/{program}\n");
        assert!(stage.contains(&copied), "{name}");
        assert!(stage.contains("HEALTHCHECK "), "{name}: others wait for it");
        assert!(text("Dockerfile").contains(&format!("target/release/{program} ")), "{name}");
        let listen = of_image(&stage).into_iter().find(|(name, _)| name.ends_with("_LISTEN"));
        let (_, listen) = listen.expect("where it listens");
        let port = listen.strip_prefix("0.0.0.0:").expect("in a container, on every address");
        assert_eq!(says(&stage, "EXPOSE"), [port], "{name}");
        let published = service["ports"].as_array().into_iter().flatten();
        for mapping in published.map(|mapping| mapping.as_str().expect("a text")) {
            assert!(mapping.starts_with("127.0.0.1:"), "{name}: nothing is open to the world");
            assert_eq!(mapping.rsplit(':').next(), Some(port), "{name}");
        }
    }
    let gateway = &compose["services"]["gateway"];
    assert_eq!(gateway["ports"].as_array().map(Vec::len), Some(1), "the door");
    for (name, service) in services(&compose) {
        let is_image = service["image"].is_string();
        assert_ne!(is_image, service["build"].is_object(), "{name} has one of the two");
        assert!(!is_image || service["healthcheck"]["test"].is_array(), "{name}");
        let volumes = service["volumes"].as_array().into_iter().flatten();
        for volume in volumes.map(|volume| volume.as_str().expect("a text")) {
            let (volume, _) = volume.split_once(':').expect("a volume and a folder");
            assert!(compose["volumes"].as_object().is_some_and(|all| all.contains_key(volume)));
        }
    }
}

/// What a service is given is read by it: a name that nobody reads is a mistake.
#[test]
fn every_variable_is_read_by_its_service() {
    let compose = compose();
    let read_by = |service: &str| match service {
        "gateway" => text("config/gateway.yaml") + &text("src/cli.rs"),
        "auth" => text("upstreams/auth/src/arguments.rs"),
        "stream" => text("upstreams/stream/src/main.rs"),
        other => panic!("what does {other} read?"),
    };
    for (service, entry) in built(&compose) {
        let (target, source) = (entry["build"]["target"].as_str().expect("one"), read_by(service));
        let set = of_image(&stage(target));
        let names = written(entry).map(|(name, _)| name).chain(set.iter().map(|(name, _)| &**name));
        for name in names {
            let is_read = match service {
                "gateway" => {
                    let of_file = source.contains(&format!("${{{name}:"));
                    of_file || source.contains(&format!("env = \"{name}\""))
                }
                _ => source.contains(&format!("\"{name}\"")),
            };
            assert!(is_read, "{service} does not read {name}");
        }
    }
}

/// What services share is the same to all of them, and who starts them is told of every secret.
#[test]
fn secrets_are_shared_and_explained() {
    let (compose, file) = (compose(), text("compose.yaml"));
    let mut secrets = BTreeSet::new();
    let mut all: Vec<(&str, &str)> = Vec::new();
    for (name, value) in services(&compose).values().flat_map(written) {
        if value.contains(MUST_BE_SET) {
            secrets.insert(name);
        }
        all.push((name, value));
    }
    for shared in ["SESSION_SECRET", "REDIS_URL"] {
        let values = all.iter().filter(|(name, _)| *name == shared);
        let values: Vec<&str> = values.map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 2, "{shared} is for the gateway and for auth");
        let variable = |value: &str| value.split(MUST_BE_SET).next().map(str::to_owned);
        assert_eq!(variable(values[0]), variable(values[1]), "{shared}");
    }
    for secret in &secrets {
        let head = file.lines().take_while(|line| line.starts_with('#'));
        let exported = head.filter(|line| line.contains("export "));
        assert!(exported.clone().any(|line| line.contains(&format!("{secret}="))), "{secret}");
    }
    let config = text("config/gateway.yaml");
    let needed = config.match_indices(":?").filter_map(|(at, _)| config[..at].rsplit("${").next());
    for name in needed {
        assert!(secrets.contains(name), "the gateway needs {name}");
    }
}

/// The command that compose gives to the store, run with the server of this machine.
#[tokio::test]
async fn the_store_takes_its_command() {
    let compose = compose();
    let command = compose["services"]["redis"]["command"].as_array().expect("a command");
    let words: Vec<&str> = command.iter().map(|word| word.as_str().expect("a text")).collect();
    assert_eq!(words[0], "valkey-server");
    Redis::with_words(&words[1..]).await;
}

/// Docker's patience is longer than the gateway's drain.
#[test]
fn a_drain_ends_before_docker_cuts_it() {
    let compose = compose();
    let grace = compose["services"]["gateway"]["stop_grace_period"].as_str().expect("a time");
    let grace: u64 = grace.strip_suffix('s').and_then(|secs| secs.parse().ok()).expect("seconds");
    let drain = streamgate::config::Drain::default();
    assert!((drain.delay.0 + drain.timeout.0).as_secs() < grace, "{drain:?}");
}
