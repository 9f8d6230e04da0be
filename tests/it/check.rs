//! What an operator reads who made a mistake: every broken file in `tests/cases/broken`, checked by
//! the real binary, with the exact report beside it.
//!
//! After a change of a message: `BLESS=1 cargo test --test it check`, then read the diff.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use streamgate::config::Config;
use streamgate::yaml::{self, Environment};

const CONFIG: i32 = 78;

/// `streamgate check` in `dir`, with nothing set but what the cases name.
fn check(dir: &Path, file: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.args(["check", "--config", file]).current_dir(dir).env_clear();
    command.env("SESSION_SECRET", "0123456789abcdef0123456789abcdef");
    command.env("ACCOUNT_PEPPER", "pepper-pepper-pepper-pepper-pepper");
    command.output().expect("the binary runs")
}

fn broken() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/broken")
}

fn cases() -> Vec<String> {
    let entries = fs::read_dir(broken()).expect("the folder of cases").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

/// The report of a file that is refused.
fn refused(dir: &Path, file: &str) -> String {
    let output = check(dir, file);
    let said = String::from_utf8(output.stderr).expect("words are UTF-8");
    assert_eq!(output.status.code(), Some(CONFIG), "{file}: {said}");
    assert!(output.stdout.is_empty(), "{file}: words belong to stderr");
    said
}

#[test]
fn every_broken_file_gets_the_report_beside_it() {
    let mut differ = Vec::new();
    for name in cases() {
        let said = refused(&broken(), &name);
        let beside = broken().join(&name).with_extension("txt");
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&beside, said).expect("the report can be written");
        } else if said != expected {
            differ.push(format!("{name}\n--- expected\n{expected}\n--- said\n{said}"));
        }
    }
    let how = "if the new words are better: BLESS=1 cargo test --test it check";
    assert!(differ.is_empty(), "{}\n{how}", differ.join("\n"));
}

#[test]
fn no_report_repeats_a_secret() {
    for name in cases() {
        let said = refused(&broken(), &name);
        assert!(!said.contains("s3cr3t") && !said.contains("hunter2"), "{name}: {said}");
    }
}

/// The keys below `schema` whose values are of one of these kinds.
fn keys_of(schema: &Value, kinds: &[String], keys: &mut BTreeSet<String>) {
    let below: Vec<&Value> = match schema {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(all) => all.iter().collect(),
        _ => return,
    };
    below.into_iter().for_each(|value| keys_of(value, kinds, keys));
    let is_one = |value: &Value| kinds.iter().any(|kind| value.to_string().contains(kind));
    if let Some(properties) = schema["properties"].as_object() {
        let ours = properties.iter().filter(|(_, value)| is_one(value));
        keys.extend(ours.map(|(key, _)| key.clone()));
    }
}

/// Whatever key takes a secret, a report that shows its line does not show the secret.
#[test]
fn every_key_that_takes_a_secret_is_masked() {
    let schema = streamgate::config::schema();
    let secret = "/$defs/Secret\"";
    let parts = schema["$defs"].as_object().expect("the file has parts").iter();
    // A part that may be a secret alone, as the pepper of a policy.
    let brief = parts.filter(|(_, part)| part["anyOf"].to_string().contains(secret));
    let kinds: Vec<String> = brief.map(|(name, _)| format!("/$defs/{name}\"")).collect();
    let mut keys = BTreeSet::new();
    keys_of(&schema, &[kinds, vec![secret.to_owned()]].concat(), &mut keys);
    let known = ["token", "pepper", "hs256", "secret", "current", "previous", "also"];
    assert!(known.iter().all(|key| keys.contains(*key)), "{keys:?}");
    let folder = Folder::new("secrets");
    for key in keys {
        let line = format!("listeners: [ {{ nonsense: 1, {key}: \"hunter2\" }} ]\n");
        fs::write(folder.0.join("gateway.yaml"), line).unwrap();
        let said = refused(&folder.0, "gateway.yaml");
        assert!(said.contains("nonsense") && !said.contains("hunter2"), "{key}: {said}");
    }
}

#[test]
fn every_error_of_a_line_says_what_would_be_right() {
    for name in cases() {
        let said = refused(&broken(), &name);
        for problem in said.split("\n\n").filter(|text| text.starts_with("error: ")) {
            assert!(problem.contains("\n  = help: "), "{name}: {problem}");
        }
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("streamgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn with(self, file: &str, bytes: &[u8]) -> Self {
        fs::write(self.0.join(file), bytes).expect("a file can be written");
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_that_is_no_text_is_told_apart() {
    let folder = Folder::new("files")
        .with("large.yaml", &b"#".repeat(1024 * 1024 + 1))
        .with("latin1.yaml", b"listeners: []\n# K\xf6ln\n")
        .with("nul.yaml", b"listeners: \0\n");
    let cases = [
        ("missing.yaml", "can't be read: No such file"),
        (".", "can't be read: Is a directory"),
        ("large.yaml", "more than 1048576 bytes"),
        ("latin1.yaml", "line 2 is not UTF-8"),
        ("nul.yaml", "error: "),
        ("/dev/zero", "more than 1048576 bytes"),
    ];
    for (file, says) in cases {
        let said = refused(&folder.0, file);
        assert!(said.contains(says) && said.contains("= help: "), "{file}: {said}");
    }
}

const GOOD: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:8080" } ]
upstreams:
  stream: { endpoints: ["127.0.0.1:4002"] }
routes:
  - { name: live, match: { path: "/live/{*file}" }, upstream: stream }
"#;

#[test]
fn every_way_to_write_a_value_is_read() {
    let limit = "stores: { s: { url: 'memory:' } }\nsessions: { v: { keys: [ { hs256: \
                 \"${SESSION_SECRET}\" } ] } }\nconcurrency:\n  p:\n    store: s\n    pepper: \
                 \"${ACCOUNT_PEPPER}\"\n    limit: { default: \"${N:-3}\" }\n";
    let cases = [
        "workers: 2",
        "workers: \"2\"",
        "workers: auto",
        "workers: \"${N:-2}\"",
        "access_log: off",
        "access_log: stdout",
        "access_log: { file: access.log }",
        "access_log: { to: off }",
        "access_log: { to: stdout }",
        "access_log: { to: { file: access.log } }",
        "stores:\n  # all commented out",
        "x-own: &own { any: [thing] }\nx-more: *own",
        limit,
    ];
    for case in cases {
        let folder = Folder::new("good").with("g.yaml", format!("{GOOD}{case}\n").as_bytes());
        let output = check(&folder.0, "g.yaml");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {said}");
        assert!(said.contains("g.yaml is good: 1 routes, 1 upstreams"), "{case}: {said}");
    }
}

/// A mistake for each of so many keys, in all the ways in which a file can be long.
fn long_files(n: usize) -> Vec<(&'static str, String)> {
    let many = |item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<String>();
    let upstreams = |entries: String| GOOD.replace("routes:", &format!("{entries}routes:"));
    vec![
        ("wrong entries", upstreams(many(&|i| format!("  k{i}: 1\n")))),
        ("unknown keys", format!("{GOOD}{}", many(&|i| format!("k{i}: 1\n")))),
        ("own keys", format!("{GOOD}{}", many(&|i| format!("x-{i}: 1\n")))),
        ("good entries", upstreams(many(&|i| format!("  k{i}: {{endpoints: [\"1.2.3.4:5\"]}}\n")))),
        (
            "routes",
            format!(
                "{GOOD}{}",
                many(&|i| {
                    format!("  - {{name: r{i}, match: {{path: /{i}}}, upstream: stream}}\n")
                })
            ),
        ),
        ("variables", format!("{GOOD}x: [{}]\n", many(&|i| format!("\"${{V{i}}}\", ")))),
        ("twice", format!("{GOOD}admin: {{{}}}\n", many(&|_| "a: 1, ".to_owned()))),
    ]
}

/// What this thread has computed so far, in nanoseconds: how busy the machine is does not matter.
fn cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let first = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    first.expect("a number")
}

#[test]
fn a_long_file_takes_time_in_proportion_to_its_length() {
    let cost = |file: &str| {
        let before = cpu_ns();
        let draft = yaml::draft::<Config>(file, &Environment::default());
        drop(draft);
        cpu_ns() - before
    };
    let (short, long) = (500, 16);
    for ((what, small), (_, large)) in long_files(short).into_iter().zip(long_files(short * long)) {
        let (small, large) = (cost(&small).max(1_000_000), cost(&large));
        // In proportion it is 16 times as much; by pairs it were 256 times.
        assert!(large < 64 * small, "{what}: {small} ns, then {large} ns");
    }
}

#[test]
fn what_runs_but_is_seldom_meant_is_a_warning() {
    let unused = "stores: { idle: { url: 'memory:' } }\n";
    let folder = Folder::new("warned").with("g.yaml", format!("{GOOD}{unused}").as_bytes());
    let output = check(&folder.0, "g.yaml");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: nothing names the store `idle`"), "{said}");
}

#[test]
fn what_may_be_meant_and_seldom_is_is_a_warning() {
    for (route, warning) in [
        ("path: /live/$event }", "`$event` stands for these very characters"),
        ("path: /(live)/x }", "a parameter is written `{live}`"),
        ("path: /a }, max_body: 0", "every request that brings a body is refused"),
        (
            "host: tv.example, path: '/{*r}' }",
            "of `tv.example` for `/live/{*file}` take route `r`, not route `live` (line 6)",
        ),
        (
            "path: '/{*r}' }, upstream: stream }\n  - { name: m, match: { path: /a, method: GET }",
            "route `r` takes what `method` keeps from route `m` (line 8)",
        ),
    ] {
        let file = format!("{GOOD}  - {{ name: r, match: {{ {route}, upstream: stream }}\n");
        let folder = Folder::new("doubtful").with("g.yaml", file.as_bytes());
        let output = check(&folder.0, "g.yaml");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("warning: ") && said.contains(warning), "{said}");
    }
}

/// Whoever can verify a token could name every account behind a pseudonym.
#[test]
fn one_secret_for_two_purposes_is_a_warning() {
    let secret = "\"${SESSION_SECRET}\"";
    let parts = format!(
        "stores: {{ s: {{ url: 'memory:' }} }}\nsessions:\n  v: {{ issuer: i, audience: a, keys: [ \
         {{ hs256: {secret} }} ] }}\nconcurrency:\n  p: {{ store: s, pepper: PEPPER, limit: {{ \
         default: 3 }} }}\n"
    );
    let route = "  - { name: p, match: { path: /p }, filters: [ { session: v }, \
                 { concurrency: p } ], upstream: stream }\n";
    let file = format!("{GOOD}{route}{parts}");
    for (pepper, warns) in [(secret, true), ("\"${ACCOUNT_PEPPER}\"", false)] {
        let file = file.replace("PEPPER", pepper);
        let folder = Folder::new("secrets").with("g.yaml", file.as_bytes());
        let said = String::from_utf8(check(&folder.0, "g.yaml").stderr).expect("words are UTF-8");
        let says = "this is a pepper, and a key that tokens are signed with on line 10 is the same";
        assert_eq!(said.contains(says), warns, "{said}");
        assert_eq!(said.contains("warning: "), warns, "{said}");
    }
}

#[test]
fn streams_that_nothing_begins_are_a_warning() {
    let file = |path: &str, starts: &str, filters: &str| {
        format!(
            "{GOOD}  - name: r\n    match: {{ path: \"{path}\" }}\n    upstream: stream\n    \
             filters: [ {{ session: v }}{filters} ]\n{starts}\
             stores: {{ s: {{ url: 'memory:' }} }}\n\
             sessions: {{ v: {{ keys: [ {{ hs256: \"${{SESSION_SECRET}}\" }} ] }} }}\n\
             concurrency:\n  p:\n    store: s\n    pepper: \"${{ACCOUNT_PEPPER}}\"\n    \
             limit: {{ default: 3 }}\n    \
             identity: [ {{ stream_token: {{ secret: \"${{ACCOUNT_PEPPER}}\" }} }} ]\n"
        )
    };
    let (counted, starts) = (", { concurrency: p }", "    starts: \"*/playlist\"\n");
    let (alone, idle) = ("knows streams by their tokens alone", "no filter of it counts streams");
    for (path, starts, filters, warning) in [
        ("/own/{*file}", "", counted, None),
        ("/own/{file}", "", counted, None),
        ("/own/playlist", "", counted, Some(alone)),
        ("/own/playlist", starts, counted, None),
        ("/own/playlist", starts, "", Some(idle)),
    ] {
        let folder = Folder::new("starts").with("g.yaml", file(path, starts, filters).as_bytes());
        let output = check(&folder.0, "g.yaml");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        for text in [alone, idle] {
            assert_eq!(said.contains(text), warning == Some(text), "{path}: {said}");
        }
    }
}

#[test]
fn the_reference_is_clean_without_variables_but_secrets() {
    let output = check(Path::new(env!("CARGO_MANIFEST_DIR")), "config/gateway.yaml");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
}
