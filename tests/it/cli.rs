//! The command line: every verb, its exit code, data on stdout and words on stderr.

use crate::harness::{Gateway, SECRET, STANDARD, environment};
use crate::process::Directory;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const FAILED: i32 = 1;
const USAGE: i32 = 64;
const CONFIG: i32 = 78;

const BROKEN: &str = "tests/cases/broken/empty.yaml";

/// The binary with these arguments, in the repository, and nothing set but these variables.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    command.env("SESSION_SECRET", "0123456789abcdef0123456789abcdef");
    command.env("ACCOUNT_PEPPER", "pepper-pepper-pepper-pepper-pepper");
    command.envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What a verb prints that succeeds; it says nothing beside.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{arguments:?}");
    text(&output.stdout)
}

/// What a verb says that fails; it prints nothing.
fn failed(arguments: &[&str], code: i32) -> String {
    let output = run(arguments, &[]);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn data_is_printed_and_nothing_else() {
    assert!(printed(&["denials"]).starts_with("# Denials\n"));
    assert!(printed(&["metrics"]).starts_with("# Metrics\n"));
    let routes = printed(&["routes"]);
    assert!(routes.contains("| live |") && routes.contains("`/live/{event}/{*file}`"), "{routes}");
    for arguments in [
        &["denials", "--format", "json"][..],
        &["metrics", "--format", "json"],
        &["routes", "--format", "json"],
    ] {
        let json: serde_json::Value =
            serde_json::from_str(&printed(arguments)).expect("what is printed is JSON");
        assert!(json.as_array().is_some_and(|rows| !rows.is_empty()), "{arguments:?}");
    }
}

#[test]
fn a_good_file_is_called_good_on_stderr() {
    let output = run(&["check"], &[]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("config/gateway.yaml is good: "));
}

#[test]
fn help_and_version_are_data() {
    assert!(printed(&["--version"]).starts_with("streamgate "));
    let verbs = ["run", "check", "routes", "schema", "token", "denials", "metrics", "revoke"];
    for verb in verbs.into_iter().chain(["healthcheck"]) {
        assert!(printed(&["--help"]).contains(verb), "{verb}");
        assert!(printed(&[verb, "--help"]).contains("--config <FILE>"), "{verb}");
    }
}

#[test]
fn wrong_arguments_are_a_matter_of_usage() {
    for arguments in [
        &["chekc"][..],
        &["check", "--fast"],
        &["routes", "--format", "xml"],
        &["run", "--drain", "soon"],
        &["run", "--drain", "-1"],
        &["run", "--drain", ""],
    ] {
        assert!(failed(arguments, USAGE).contains("--help"), "{arguments:?}");
    }
}

#[test]
fn what_other_programs_take_is_taken_or_explained() {
    for arguments in [
        &["-t"][..],
        &["-t", "-c", "config/gateway.yaml"],
        &["validate"],
        &["check", "-f", "config/gateway.yaml"],
    ] {
        let output = run(arguments, &[]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("config/gateway.yaml is good: "), "{arguments:?}");
    }
    assert_eq!(printed(&["version"]), printed(&["--version"]));
    let said = failed(&["gateway.yaml"], USAGE);
    assert!(said.contains("`--config gateway.yaml`"), "{said}");
    assert!(failed(&["chek"], USAGE).contains("did you mean `check`?"));
    for verb in ["schema", "denials", "metrics", "version"] {
        let said = failed(&[verb, "--config", BROKEN], USAGE);
        assert!(said.contains(&format!("`{verb}` reads no configuration")), "{said}");
    }
    assert!(failed(&["check", "--config", "-"], CONFIG).contains("/dev/stdin"));
}

#[test]
fn times_on_the_command_line_have_units() {
    for ttl in ["1h", "60", "90s"] {
        assert!(printed(&["token", "--ttl", ttl]).contains('.'), "{ttl}");
    }
    assert!(failed(&["token", "--ttl", "1d"], USAGE).contains("write `24h`"));
    assert!(failed(&["run", "--drain", "1.5m"], USAGE).contains("write `90s`"));
    let said = failed(&["run", "--drain", "30s", "--config", BROKEN], CONFIG);
    assert!(said.contains("the file is empty"), "{said}");
}

#[test]
fn a_misspelled_level_is_told() {
    let output = run(&["run", "--config", BROKEN], &[("RUST_LOG", "inof")]);
    let said = text(&output.stderr);
    assert!(said.contains("did you mean `info`?"), "{said}");
}

#[test]
fn help_tells_exit_codes_and_variables() {
    let help = printed(&["--help"]);
    for word in ["64 ", "78 ", "RUST_LOG", "STREAMGATE_ADMIN_TOKEN", "docs/operations.md"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn a_report_is_data_for_programs() {
    let file = "tests/cases/broken/many-problems.yaml";
    let output = run(&["check", "--format", "json", "--config", file], &[]);
    assert_eq!(output.status.code(), Some(CONFIG));
    assert_eq!(text(&output.stderr), "");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["is_good"], &report["file"]), (&false.into(), &file.into()));
    let problems = report["problems"].as_array().expect("a list");
    assert_eq!(Some(problems.len() as u64), report["errors"].as_u64());
    let first = &problems[0];
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &19.into()), "{first}");
    assert!(first["text"].is_string() && first["help"].is_string() && first["level"] == "error");
    let good: serde_json::Value =
        serde_json::from_str(&printed(&["check", "--format", "json"])).expect("JSON");
    assert_eq!(good["is_good"], true, "{good}");
}

#[test]
fn a_broken_file_stops_every_verb_that_reads_it() {
    for verb in ["run", "check", "routes", "token", "healthcheck"] {
        let said = failed(&[verb, "--config", BROKEN], CONFIG);
        assert!(said.contains("error: the file is empty"), "{verb}: {said}");
    }
    let said = failed(&["--config", BROKEN], CONFIG);
    assert!(said.contains("the file is empty"), "`run` is the default: {said}");
}

#[test]
fn a_variable_names_the_file_where_no_option_does() {
    let variables = [("STREAMGATE_CONFIG", BROKEN)];
    assert_eq!(run(&["check"], &variables).status.code(), Some(CONFIG));
    let named = ["check", "--config", "config/gateway.yaml"];
    assert!(run(&named, &variables).status.success(), "the option wins");
    // Verbs that read none are not disturbed.
    assert!(run(&["denials"], &variables).status.success());
}

#[test]
fn tokens_are_minted_for_development() {
    let token = printed(&["token", "--sub", "ann", "--claim", "max_streams=2"]);
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");
    let said = failed(&["token", "--session", "nobody"], USAGE);
    assert!(said.contains("there is: `viewers`"), "{said}");
    assert!(failed(&["token", "--claim", "x"], USAGE).contains("NAME=VALUE"));
}

#[test]
fn who_holds_a_taken_port_is_said() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = held.local_addr().expect("an address").to_string();
    let variables = [("STREAMGATE_LISTEN", address.as_str()), ("STREAMGATE_ADMIN", "127.0.0.1:0")];
    let output = run(&["run"], &variables);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(FAILED), "{said}");
    let holder = format!("(pid {})", std::process::id());
    assert!(said.contains(&address) && said.contains(&holder), "{said}");
}

#[tokio::test]
async fn a_running_gateway_is_alive_and_one_that_is_gone_is_not() {
    let gateway = Gateway::start(STANDARD, &environment(None).await);
    let admin = gateway.admin.to_string();
    let ask = move || {
        let output = run(&["healthcheck"], &[("STREAMGATE_ADMIN", &admin)]);
        assert!(output.stdout.is_empty(), "words belong to stderr");
        (output.status.code(), text(&output.stderr))
    };
    let again = ask.clone();
    let alive = tokio::task::spawn_blocking(ask).await.expect("it ends");
    assert_eq!(alive, (Some(0), String::new()));
    gateway.stop().await;
    let (code, said) = tokio::task::spawn_blocking(again).await.expect("it ends");
    assert_eq!(code, Some(FAILED));
    assert!(said.contains("is not well"), "{said}");
}

#[tokio::test]
async fn a_gateway_whose_admin_port_is_on_all_addresses_is_asked_as_well() {
    let directory = Directory::new();
    let file = directory.file("gateway.yaml").display().to_string();
    for all in ["0.0.0.0", "[::]"] {
        let written = |port: u16| {
            let admin = format!("admin: {{ address: \"{all}:{port}\", token: \"{SECRET}\" }}");
            STANDARD.replace("admin: { address: \"127.0.0.1:0\" }", &admin)
        };
        let gateway = Gateway::start(&written(0), &environment(None).await);
        std::fs::write(&file, written(gateway.admin.port())).expect("the file");
        let arguments = ["healthcheck", "--config", &file].map(str::to_owned);
        let asked = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run(&arguments, &[("STREAM_ADDR", "127.0.0.1:1")])
        });
        let output = asked.await.expect("it ends");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{all}");
    }
}

#[test]
fn the_schema_beside_the_configuration_is_the_one_that_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema.json");
    let kept = std::fs::read_to_string(path).expect("the schema");
    let how = "run: cargo run -- schema > config/schema.json";
    assert!(kept == printed(&["schema"]), "config/schema.json is outdated; {how}");
}
