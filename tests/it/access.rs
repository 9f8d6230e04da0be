//! The access log: one line per request, whatever became of it, and nothing in it that is secret.

use crate::harness::{Gateway, Login, STANDARD, environment, until};
use crate::process::Directory;
use crate::raw_client::RawClient;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use std::path::PathBuf;
use streamgate::yaml::Environment;

/// A gateway that writes its log to a file of its own.
pub(crate) struct Logged {
    pub(crate) gateway: Gateway,
    file: PathBuf,
    _directory: Directory,
}

impl Logged {
    async fn start() -> Self {
        Self::start_with(STANDARD, &environment(None).await)
    }

    /// The same with a configuration like `STANDARD`.
    pub(crate) fn start_with(yaml: &str, environment: &Environment) -> Self {
        let directory = Directory::new();
        let file = directory.file("access.log");
        let yaml = yaml.replace("to: off", &format!("to: {{ file: {} }}", file.display()));
        let gateway = Gateway::start(&yaml, environment);
        Logged { gateway, file, _directory: directory }
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// The lines, once there are so many.
    pub(crate) async fn lines(&self, n: usize) -> Vec<Value> {
        let are_there = || async { self.text().lines().count() >= n };
        until("the lines are written", are_there).await;
        let text = self.text();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn each_request_has_one_line_that_tells_what_became_of_it() {
    let logged = Logged::start().await;
    let ann = Login::of("ann@example.com", "s-1");
    let play = logged.gateway.get("/live/final/../final/master.m3u8?secret=in-the-query");
    assert_eq!(play.header(COOKIE, ann.cookie()).send().await.unwrap().status(), 200);
    logged.gateway.get("/live/final/master.m3u8").send().await.unwrap();
    let lines = logged.lines(2).await;
    let (played, refused) = (&lines[0], &lines[1]);
    for (field, value) in [
        ("listener", json!("edge")),
        ("route", json!("live")),
        ("client", json!("127.0.0.1")),
        ("method", json!("GET")),
        ("host", json!(logged.gateway.edge.to_string())),
        ("path", json!("/live/final/master.m3u8")),
        ("status", json!(200)),
        ("upstream", json!("stream")),
        ("decision", json!("admitted")),
    ] {
        assert_eq!(played[field], value, "{field}: {played}");
    }
    assert!(played["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(played["response_bytes"].as_u64().unwrap() > 0);
    assert_eq!(played["id"].as_str().unwrap().len(), 32);
    assert_eq!(played["account"].as_str().unwrap().len(), 34, "a hash");
    assert_eq!(played["lease"].as_str().unwrap().len(), 22);
    assert!(played["ts"].as_str().unwrap().ends_with('Z'), "{played}");
    assert_eq!((&refused["status"], &refused["code"]), (&json!(401), &json!("session_missing")));
    assert_eq!(refused["upstream"], Value::Null);
    let text = logged.text();
    for secret in ["ann@example.com", &ann.token(), "in-the-query", "session="] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn what_a_client_writes_stays_on_its_line() {
    let logged = Logged::start().await;
    for head in [
        "GET /a\x01\"b\\n HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%0a{\"status\":200} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: \"},{\"\r\n\r\n",
        "G\"E'T /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        RawClient::open(logged.gateway.edge).await.ask(head).await;
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(5_000));
    RawClient::open(logged.gateway.edge).await.ask(long).await;
    let host = "h".repeat(15_000);
    for head in [
        format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("{} /a HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(5_000)),
    ] {
        RawClient::open(logged.gateway.edge).await.ask(head).await;
    }
    // The odd method never became a request.
    let lines = logged.lines(6).await;
    assert_eq!(lines.len(), 6, "{}", logged.text());
    for (field, bytes_max) in [("host", 255), ("method", 32), ("path", 1024)] {
        let length = |line: &Value| line[field].as_str().unwrap().len();
        assert!(lines.iter().all(|line| length(line) <= bytes_max), "{field}: {lines:?}");
    }
    assert!(lines.iter().all(|line| line["status"].as_u64().unwrap() >= 400), "{lines:?}");
    assert!(lines[3]["path"].as_str().unwrap().len() <= 1024);
    let printable = |text: &str| text.bytes().all(|byte| byte == b'\n' || byte >= b' ');
    assert!(printable(&logged.text()), "{}", logged.text());
}

#[tokio::test]
async fn who_went_away_has_a_line_too() {
    let logged = Logged::start().await;
    let mut raw = RawClient::open(logged.gateway.edge).await;
    raw.say("GET /faults/hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let in_flight = "streamgate_requests_in_flight";
    until("it is under way", || async { logged.gateway.metric(in_flight).await == 1.0 }).await;
    raw.reset();
    let line = logged.lines(1).await.remove(0);
    assert_eq!((&line["path"], &line["status"]), (&json!("/faults/hang"), &json!(0)));
    assert_eq!(line["fault"], "the client went away");
    logged.gateway.get("/faults/close").send().await.unwrap();
    let line = logged.lines(2).await.remove(1);
    assert_eq!((&line["status"], &line["code"]), (&json!(502), &json!("upstream_invalid")));
    assert_eq!(line["fault"], "closed the connection early");
    assert!(line["response_bytes"].as_u64().unwrap() > 0, "our own answer has a body: {line}");
    let refused = logged.gateway.request(reqwest::Method::HEAD, "/nowhere").send().await.unwrap();
    assert_eq!(refused.status(), 404);
    let line = logged.lines(3).await.remove(2);
    assert_eq!((&line["status"], &line["response_bytes"]), (&json!(404), &json!(0)), "HEAD");
}

#[tokio::test]
async fn a_target_that_fails_is_tried_again_and_what_is_lost_is_counted() {
    let directory = Directory::new();
    let (link, good) = (directory.file("access.log"), directory.file("good.log"));
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let yaml = STANDARD.replace("to: off", &format!("to: {{ file: {} }}", link.display()));
    let gateway = Gateway::start(&yaml, &environment(None).await);
    const LOST: &str = "streamgate_access_log_dropped_total";
    gateway.get("/lost").send().await.unwrap();
    gateway.counts(LOST, 1.0).await;
    std::fs::write(&good, "half a li").unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&good, &link).unwrap();
    let after = || async {
        gateway.get("/after").send().await.unwrap();
        std::fs::read_to_string(&good).unwrap().contains("/after")
    };
    until("it is opened again without being asked", after).await;
    gateway.stop().await;
    let text = std::fs::read_to_string(&good).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, "half a li", "a fresh line after one that somebody cut");
    assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{rest}");
}
