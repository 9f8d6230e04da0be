//! The filter `headers`: what upstreams and clients get, whoever answers.

use crate::harness::{Gateway, Login, SECRET};
use crate::origin::mirror;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", trusted: ["127.0.0.1"] } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ { hs256: "${SECRET}" } ]
    claims_to_headers: { plan: X-Plan }
    absolute: 168h
    reissue: { secure: false }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] }, gone: { endpoints: [ "${GONE}" ] } }
x-edits: &edits
  headers:
    presets: [ security, hsts, hide_server ]
    request:
      set: { X-Tenant: "tv", authorization: "${KEY}" }
      add: { accept-language: [ de, fr ] }
      remove: [ X-Debug, X-Streamgate-Session ]
    response:
      set: { Cache-Control: "public, max-age=60", x-frame-options: SAMEORIGIN }
      add: { x-served-by: edge, Set-Cookie: "seen=1" }
      remove: [ X-Cache, Link ]
routes:
  - { name: open, match: { path: "/open/{*rest}" }, filters: [ *edits ], upstream: all }
  - { name: gone, match: { path: "/gone/{*rest}" }, filters: [ *edits ], upstream: gone }
  - { name: moved, match: { path: "/moved" }, filters: [ *edits ], redirect: { to: /open/ } }
  - name: closed
    match: { path: "/closed/{*rest}" }
    filters: [ { session: viewers }, *edits ]
    upstream: all
  - name: tried
    match: { path: "/tried/{*rest}" }
    filters:
      - shadow:
          headers: { response: { set: { x-tried: "1" } }, request: { set: { x-tried: "1" } } }
    upstream: all
  - name: plain
    match: { path: "/plain/{*rest}" }
    upstream: all
"#;

const ANSWER: &[(&str, &str)] = &[
    ("server", "teapot/1.0"),
    ("x-powered-by", "php"),
    ("x-cache", "HIT"),
    ("link", "</a>; rel=preload"),
    ("link", "</b>; rel=preload"),
    ("referrer-policy", "no-referrer"),
    ("x-served-by", "origin"),
];

async fn gateway() -> Gateway {
    let gone = crate::origin::UnusedPort::reserve();
    let environment = Environment::default()
        .with("SECRET", SECRET)
        .with("KEY", "Basic dTpw")
        .with("GONE", gone.address.to_string())
        .with("UPSTREAM", mirror(ANSWER).await.to_string());
    Gateway::start(YAML, &environment)
}

fn fields(response: &Response, name: &str) -> Vec<String> {
    let all = response.headers().get_all(name).into_iter();
    all.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_upstream_gets_what_is_set_and_not_what_is_removed() {
    let gateway = gateway().await;
    let request = gateway.get("/open/a").header("x-debug", "1").header("x-tenant", "mine");
    let request = request.header("accept-language", "en").bearer_auth("t");
    let told: Value = request.send().await.unwrap().json().await.unwrap();
    let told = &told["fields"];
    assert_eq!(told["x-tenant"], "tv");
    assert_eq!(told["authorization"], "Basic dTpw");
    // The last of several, in this mirror.
    assert_eq!(told["accept-language"], "fr");
    assert_eq!(told["x-debug"], Value::Null);
    let login = Login::of("ann", "a").with("plan", "gold");
    let request = gateway.get("/closed/a").header("cookie", login.cookie());
    let told: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(told["fields"]["x-streamgate-session"], Value::Null, "{told}");
    assert_eq!(told["fields"]["x-plan"], "gold");
}

#[tokio::test]
async fn every_answer_carries_the_fields() {
    let gateway = gateway().await;
    for (path, status) in [
        ("/open/a", 200),
        ("/gone/a", 502),
        ("/moved", 308),
        ("/closed/a", 401),
        ("/open/a?x", 200),
    ] {
        let response = gateway.get(path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(fields(&response, "x-frame-options"), ["SAMEORIGIN"], "{path}");
        assert_eq!(fields(&response, "x-content-type-options"), ["nosniff"], "{path}");
        for hidden in ["server", "x-powered-by", "x-cache", "link"] {
            assert_eq!(fields(&response, hidden), [""; 0], "{path}");
        }
        let is_upstreams = status == 200;
        let served: &[&str] = if is_upstreams { &["origin", "edge"] } else { &["edge"] };
        assert_eq!(fields(&response, "x-served-by"), served, "{path}");
        // What the upstream says itself counts more than a preset.
        let policy = if is_upstreams { "no-referrer" } else { "strict-origin-when-cross-origin" };
        assert_eq!(fields(&response, "referrer-policy"), [policy], "{path}");
        // An answer of the gateway's own says itself that nobody may keep it.
        let cache = if is_upstreams { "public, max-age=60" } else { "no-store" };
        assert_eq!(fields(&response, "cache-control"), [cache], "{path}");
        assert_eq!(fields(&response, "strict-transport-security"), [""; 0], "over HTTP");
    }
    let response = gateway.get("/plain/a").send().await.unwrap();
    assert_eq!(fields(&response, "server"), ["teapot/1.0"]);
    assert_eq!(fields(&response, "x-frame-options"), [""; 0]);
}

#[tokio::test]
async fn hsts_is_said_where_it_counts() {
    let gateway = gateway().await;
    for path in ["/open/a", "/closed/a"] {
        let request = gateway.get(path).header("x-forwarded-for", "192.0.2.1");
        let response = request.header("x-forwarded-proto", "https").send().await.unwrap();
        assert_eq!(fields(&response, "strict-transport-security"), ["max-age=31536000"], "{path}");
    }
}

/// A viewer's younger token must not come to the next one out of a cache.
#[tokio::test]
async fn an_answer_with_a_cookie_of_ours_stays_out_of_caches() {
    let gateway = gateway().await;
    let old = Login::of("ann", "a").token_from(-3_000, 600);
    let request = gateway.get("/closed/a").header("cookie", format!("session={old}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(fields(&response, "set-cookie").iter().any(|cookie| cookie.starts_with("session=")));
    assert_eq!(fields(&response, "cache-control"), ["no-store"]);
}

#[tokio::test]
async fn in_shadow_it_changes_nothing() {
    let gateway = gateway().await;
    let response = gateway.get("/tried/a").send().await.unwrap();
    assert_eq!(fields(&response, "x-tried"), [""; 0]);
    let told: Value = response.json().await.unwrap();
    assert_eq!(told["fields"]["x-tried"], Value::Null);
}

#[test]
fn a_variable_can_not_split_an_answer() {
    let loaded = |value: &str| {
        let environment = Environment::default()
            .with("SECRET", SECRET)
            .with("KEY", value)
            .with("GONE", "127.0.0.1:1")
            .with("UPSTREAM", "127.0.0.1:1");
        let path = std::path::Path::new("gateway.yaml");
        streamgate::config::read(path, YAML.to_owned(), &environment)
    };
    assert!(loaded("Basic dTpw").is_ok());
    for value in ["a\r\nset-cookie: evil=1", "a\nb", "a\rb", "\u{e9}"] {
        let said = loaded(value).expect_err("it is refused").to_string();
        assert!(said.contains("can't stand in a header field"), "{said}");
        assert!(!said.contains("evil"), "{said}");
    }
    let shown = format!("{:?}", loaded("s3cr3t-key").unwrap().config);
    assert!(!shown.contains("s3cr3t-key"), "what a variable fills in is not shown");
}
