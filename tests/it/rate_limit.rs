//! The filter `rate_limit`: who is refused, what he is told, and what a change of the configuration
//! forgets. Spans are long here, so that no test depends on how fast it runs.

use crate::harness::{Gateway, Login, SECRET, outcome, until};
use crate::origin::mirror;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use streamgate::yaml::Environment;

const TOKEN: &str = "an admin token of thirty-two bytes or more";

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", trusted: ["127.0.0.1"] } ]
admin: { address: "127.0.0.1:0", token: "${TOKEN}" }
workers: 2
access_log: { to: off }
sessions:
  viewers: { issuer: streamgate-auth, audience: streamgate, keys: [ { hs256: "${SECRET}" } ] }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - name: client
    match: { path: "/client/{*rest}" }
    filters: [ { cors: { origins: "*" } }, { rate_limit: { limit: 2, per: 24h } } ]
    upstream: all
  - name: window
    match: { path: "/window/{*rest}" }
    filters: [ { rate_limit: { limit: 6, per: 24h, algorithm: sliding_window, cost: 3 } } ]
    upstream: all
  - name: who
    match: { path: "/who/{*rest}" }
    filters:
      - session: viewers
      - rate_limit: [ { limit: 3, per: 24h, key: account }, { limit: 2, per: 24h, key: session } ]
    respond: { text: you }
  - name: anybody
    match: { path: "/anybody/{*rest}" }
    filters:
      - session: { name: viewers, required: false }
      - rate_limit: { limit: 1, per: 24h, key: account }
    upstream: all
  - name: key
    match: { path: "/key/{*rest}" }
    filters: [ { rate_limit: { limit: 1, per: 24h, key: { header: X-Key }, fields: false } } ]
    upstream: all
  - name: both
    match: { path: "/both/{*rest}" }
    filters:
      - rate_limit:
          - { limit: 2, per: 24h, key: { header: x-key } }
          - { limit: 3, per: 12h, burst: 3, name: all }
      - headers: { response: { remove: [ RateLimit-Policy ] } }
    upstream: all
  - name: tried
    match: { path: "/tried/{*rest}" }
    filters: [ { shadow: { rate_limit: { limit: 1, per: 24h } } } ]
    upstream: all
"#;

async fn environment() -> Environment {
    let upstream = mirror(&[]).await.to_string();
    let environment = Environment::default().with("UPSTREAM", upstream).with("TOKEN", TOKEN);
    environment.with("SECRET", SECRET)
}

fn from(gateway: &Gateway, path: &str, client: &str) -> RequestBuilder {
    gateway.get(path).header("x-forwarded-for", client)
}

fn field<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_told_when_to_come_back() {
    let gateway = Gateway::start(YAML, &environment().await);
    for (left, more_in) in [(1, 43_200), (0, 43_200)] {
        let answer = from(&gateway, "/client/a", "192.0.2.1").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(field(&answer, "ratelimit-policy"), "\"client\";q=2;w=86400");
        let told = field(&answer, "ratelimit");
        assert_eq!(told, format!("\"client\";r={left};t={more_in}"));
    }
    let request = from(&gateway, "/client/a", "192.0.2.1").header("origin", "https://a.example");
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(field(&refused, "access-control-allow-origin"), "*", "a page reads the code");
    assert_eq!(field(&refused, "ratelimit-policy"), "\"client\";q=2;w=86400");
    let wait: u64 = field(&refused, "retry-after").parse().unwrap();
    assert!((43_000..=43_200).contains(&wait), "{wait}");
    assert_eq!(field(&refused, "ratelimit"), format!("\"client\";r=0;t={wait}"));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "rate_limited");
    assert_eq!(body["retry_after"], wait);
    assert_eq!(body["violated-policies"], serde_json::json!(["client"]));
    gateway.counts("streamgate_denials_total{code=\"rate_limited\",route=\"client\"}", 1.0).await;
}

#[tokio::test]
async fn a_client_is_its_network() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async |client: &str| outcome(from(&gateway, "/client/a", client)).await.0;
    for (client, expected) in [
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:ffff::2", 200),
        ("[2001:db8:1:2::3]:443", 429),
        ("2001:db8:1:3::1", 200),
        ("192.0.2.1", 200),
        ("::ffff:192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
    ] {
        assert_eq!(asked(client).await, expected, "{client}");
    }
    // A preflight is none of the page's requests.
    let ask = from(&gateway, "/client/a", "192.0.2.1");
    let ask = ask.header("origin", "https://a.example").build().unwrap();
    let preflight = gateway.request(reqwest::Method::OPTIONS, "/client/a");
    let preflight = preflight.headers(ask.headers().clone());
    let preflight = preflight.header("access-control-request-method", "GET");
    assert_eq!(preflight.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_request_may_cost_more() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async || outcome(from(&gateway, "/window/a", "192.0.2.1")).await.0;
    assert_eq!((asked().await, asked().await, asked().await), (200, 200, 429));
}

#[tokio::test]
async fn accounts_and_sessions_have_limits_of_their_own() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async |account: &str, session: &str| {
        let request = gateway.get("/who/a").header("cookie", Login::of(account, session).cookie());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), field(&answer, "ratelimit").to_owned())
    };
    let first = asked("ada", "one").await;
    assert_eq!(first, (200, "\"account\";r=2;t=28800, \"session\";r=1;t=43200".to_owned()));
    for (account, session, expected) in [
        ("ada", "one", 200),
        ("ada", "one", 429),
        ("ada", "two", 200),
        ("ada", "three", 429),
        ("bob", "four", 200),
    ] {
        assert_eq!(asked(account, session).await.0, expected, "{account} {session}");
    }
    assert_eq!(outcome(gateway.get("/who/a")).await, (401, "session_missing".to_owned()));
}

#[tokio::test]
async fn what_one_limit_refuses_costs_nothing_at_the_other() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async |key: &str| {
        from(&gateway, "/both/a", "192.0.2.1").header("x-key", key).send().await.unwrap()
    };
    assert_eq!(asked("a").await.status(), 200);
    assert_eq!(asked("a").await.status(), 200);
    for _ in 0..5 {
        let refused = asked("a").await;
        assert_eq!(refused.status(), 429);
        let told = field(&refused, "ratelimit").to_owned();
        assert!(told.starts_with("\"x-key\";r=0;t=") && told.contains("\"all\";r=1;t="), "{told}");
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["violated-policies"], serde_json::json!(["x-key"]));
    }
    let passed = asked("b").await;
    assert_eq!(passed.status(), 200, "the third of all");
    assert_eq!(field(&passed, "ratelimit-policy"), "", "the operator took it out");
    let body: Value = asked("c").await.json().await.unwrap();
    assert_eq!(body["violated-policies"], serde_json::json!(["all"]));
}

#[tokio::test]
async fn a_header_is_whatever_it_says() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async |keys: &[&str]| {
        let request = gateway.get("/key/a");
        let request = keys.iter().fold(request, |request, key| request.header("x-key", *key));
        let answer = request.send().await.unwrap();
        assert_eq!(field(&answer, "ratelimit"), "", "nothing is told");
        answer.status().as_u16()
    };
    for (keys, expected) in [
        (&["a"][..], 200),
        (&["a"], 429),
        (&["b"], 200),
        (&["a", "b"], 200),
        (&["a", "b"], 429),
        (&[], 200),
        (&[], 429),
    ] {
        assert_eq!(asked(keys).await, expected, "{keys:?}");
    }
}

#[tokio::test]
async fn in_shadow_it_is_counted_who_would_be_refused() {
    let gateway = Gateway::start(YAML, &environment().await);
    for _ in 0..3 {
        let answer = from(&gateway, "/tried/a", "192.0.2.1").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "ratelimit")), (200, ""));
    }
    let counted = "streamgate_shadow_denials_total{code=\"rate_limited\",filter=\"rate_limit\",\
                   route=\"tried\"}";
    gateway.counts(counted, 2.0).await;
}

#[tokio::test]
async fn another_configuration_forgets_nobody_but_whose_limit_it_changes() {
    let text = Arc::new(Mutex::new(YAML.to_owned()));
    let gateway = Gateway::start_from(&text, &environment().await);
    let asked = async |path: &str| outcome(from(&gateway, path, "192.0.2.1")).await.0;
    for path in ["/client/a", "/client/a", "/window/a", "/window/a"] {
        assert_eq!(asked(path).await, 200);
    }
    let changed = YAML.replace("workers: 2", "workers: 2\ndrain: { timeout: 7s }");
    *text.lock().unwrap() = changed.replace("limit: 6", "limit: 7");
    let (status, said) = gateway.post_admin("/api/reload", TOKEN, &serde_json::json!({})).await;
    assert_eq!(status, 200, "{said}");
    until("the other limit is in force", || async { asked("/window/a").await == 200 }).await;
    assert_eq!(asked("/client/a").await, 429);
}

#[tokio::test]
async fn who_has_no_account_is_counted_by_address() {
    let gateway = Gateway::start(YAML, &environment().await);
    let asked = async |account: Option<&str>| {
        let cookie = account.map(|account| Login::of(account, "one").cookie());
        let request = gateway.get("/anybody/a");
        outcome(cookie.iter().fold(request, |request, it| request.header("cookie", it))).await.0
    };
    for (account, expected) in
        [(None, 200), (None, 429), (Some("ada"), 200), (Some("ada"), 429), (Some("bob"), 200)]
    {
        assert_eq!(asked(account).await, expected, "{account:?}");
    }
}
