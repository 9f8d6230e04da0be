//! A configuration of several files: each mistake is told with its own file and line, and a change
//! of any of them is noticed.

use crate::harness::DEADLINE;
use crate::process::{Directory, Process};
use crate::raw_client::RawClient;
use std::fs;
use std::os::unix::fs::symlink;
use tokio::process::Command;
use tokio::time::timeout;

/// A file that includes `conf.d`, with one route of its own.
const FIRST: &str = "\
listeners: [ { name: edge, address: \"127.0.0.1:0\" } ]
admin: { address: \"127.0.0.1:0\" }
access_log: { to: off }
include: conf.d
routes:
  - { name: own, match: { path: /own }, redirect: { to: /x } }
";

fn route(name: &str) -> String {
    format!("routes:\n  - {{ name: {name}, match: {{ path: /{name} }}, redirect: {{ to: /x }} }}\n")
}

/// What `check` says of files beside each other: its exit code and its words.
async fn check(first: &str, files: &[(&str, &str)]) -> (Option<i32>, String) {
    let directory = Directory::new();
    fs::create_dir(directory.file("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.file(name), text).unwrap();
    }
    let file = directory.file("gateway.yaml");
    fs::write(&file, first).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command.arg("check").arg("--config").arg(file).current_dir(directory.path());
    command.env_remove("NOBODY_SETS_THIS");
    let output = timeout(DEADLINE, command.kill_on_drop(true).output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said.replace(&format!("{}/", directory.path().display()), ""))
}

#[tokio::test]
async fn files_of_a_directory_are_one_configuration() {
    let upstream = "upstreams:\n  b: { endpoints: [\"127.0.0.1:1\"] }\n";
    let of_b = "x-common: &c { path: /b }\nroutes:\n  - { name: b, match: *c, upstream: b }\n";
    let files = [
        ("conf.d/a.yaml", route("a")),
        ("conf.d/b.yml", format!("{upstream}{of_b}")),
        ("conf.d/empty.yaml", "# nothing yet\n".to_owned()),
        // What an editor or a deployment leaves there.
        ("conf.d/.hidden.yaml", "no: such\n".to_owned()),
        ("conf.d/a.yaml~", "no: such\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &**text)).collect();
    let (code, said) = check(FIRST, &files).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 routes, 1 upstreams"), "{said}");
}

#[tokio::test]
async fn a_mistake_is_told_with_its_file_and_line() {
    let own = route("own");
    let twice = "# a comment\nadmin: { address: \"127.0.0.1:1\" }\n";
    for (files, first, expected) in [
        (
            [("conf.d/a.yaml", "routes:\n  - { name: a, mach: { path: /a } }\n")],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:2:", "`mach`", "2 |   - { name: a, mach"],
        ),
        (
            [("conf.d/a.yaml", own.as_str())],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:2:", "`own` has the name of the one on line 6"],
        ),
        (
            [(
                "conf.d/a.yaml",
                "routes:\n\n  - { name: a, match: { path: /own }, upstream: none }\n",
            )],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:3:", "no upstream named `none`"],
        ),
        (
            [("conf.d/a.yaml", twice)],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:2:", "`address` stands here twice, first on line 2"],
        ),
        (
            [("conf.d/a.yaml", "workers: \"${NOBODY_SETS_THIS}\"\n")],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:1:", "`NOBODY_SETS_THIS` is not set"],
        ),
        ([("conf.d/a.yaml", "routes: [\n")], FIRST.to_owned(), vec!["conf.d/a.yaml:"]),
        (
            [("conf.d/a.yaml", "- routes\n")],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:1:", "must be a mapping, and is a list"],
        ),
        (
            [("conf.d/a.yaml", "include: other\n")],
            FIRST.to_owned(),
            vec!["conf.d/a.yaml:1:", "includes no other"],
        ),
        (
            [("conf.d/a.yaml", "")],
            FIRST.replace("include: conf.d", "include: [conf.d, nowhere]"),
            vec!["gateway.yaml:4:", "nowhere can't be read"],
        ),
        (
            [("conf.d/a.yaml", "")],
            FIRST.replace("include: conf.d", "include: /dev/zero"),
            vec!["gateway.yaml:4:", "it is no file"],
        ),
        (
            [("conf.d/a.yaml", "")],
            FIRST.replace("include: conf.d", "include: { conf: d }"),
            vec!["gateway.yaml:4:", "`include` must be"],
        ),
    ] {
        let (code, said) = check(&first, &files).await;
        assert_eq!(code, Some(78), "{said}");
        for words in expected {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[tokio::test]
async fn two_files_that_contradict_each_other_name_both() {
    let files = [("conf.d/a.yaml", &*route("a")), ("conf.d/b.yaml", &*route("a"))];
    let (code, said) = check(FIRST, &files).await;
    assert_eq!(code, Some(78), "{said}");
    for words in
        ["conf.d/b.yaml:2:", "route `a` has the name of the one on line 2 of conf.d/a.yaml"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A gateway whose `conf.d` is a link, as a ConfigMap's volume is made of links.
#[tokio::test]
async fn a_change_of_any_file_is_noticed() {
    let routes = Directory::new();
    for version in ["v1", "v2"] {
        let folder = routes.file(version);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("routes.yaml"), route(version)).unwrap();
    }
    let data = routes.file("..data");
    symlink(routes.file("v1"), &data).unwrap();
    symlink(data.join("routes.yaml"), routes.file("routes.yaml")).unwrap();
    let yaml = FIRST.replace("conf.d", &routes.path().display().to_string());
    let mut gateway = Process::start(&yaml).await;
    let edge = gateway.edge;
    let status = |path: &'static str| async move {
        let ask = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        RawClient::open(edge).await.ask(&ask).await.status
    };
    const TAKEN: &str = "another configuration answers new requests";
    assert_eq!((status("/own").await, status("/v1").await), (308, 308));

    // Kubernetes renames a link over the link.
    let next = routes.file("..next");
    symlink(routes.file("v2"), &next).unwrap();
    fs::rename(&next, &data).unwrap();
    gateway.says(TAKEN).await;
    assert_eq!((status("/v1").await, status("/v2").await), (404, 308));

    // One more file, and an editor that writes it in place.
    let more = routes.file("more.yaml");
    fs::write(&more, route("three")).unwrap();
    gateway.says(TAKEN).await;
    assert_eq!(status("/three").await, 308);
    fs::write(&more, route("fourth")).unwrap();
    gateway.says(TAKEN).await;
    assert_eq!((status("/three").await, status("/fourth").await), (404, 308));

    // A mistake in it changes nothing, and the line is told as that file has it.
    fs::write(&more, "routes:\n  - { name: fifth }\n").unwrap();
    let said = gateway.says("`match` is missing").await;
    assert!(said.contains("more.yaml\"") && said.contains("\"line\":2"), "{said}");
    assert_eq!(status("/fourth").await, 308);
    let shown = gateway.admin("/api/config").await.body;
    assert!(shown.contains("more.yaml"), "{shown}");

    fs::remove_file(&more).unwrap();
    gateway.says(TAKEN).await;
    assert_eq!((status("/fourth").await, status("/own").await), (404, 308));
    let rows = gateway.admin("/api/routes").await.body;
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "v2").unwrap();
    assert_eq!(row["line"], 2, "{row}");
    assert!(row["file"].as_str().unwrap().ends_with("routes.yaml"), "{row}");
}
