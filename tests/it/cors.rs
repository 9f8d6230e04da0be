//! The filter `cors`: preflights, and who may read which answer. Each request is written by hand,
//! as no browser would send some of them.

use crate::harness::{Gateway, Login, PEPPER, SECRET};
use crate::origin::{UnusedPort, mirror};
use crate::raw_client::{Answer, RawClient};
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
stores: { here: { url: "memory:" } }
sessions:
  viewers: { issuer: streamgate-auth, audience: streamgate, keys: [ { hs256: "${SECRET}" } ] }
concurrency:
  one: { store: here, pepper: "${PEPPER}", limit: { default: 1 } }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] }, gone: { endpoints: [ "${GONE}" ] } }
x-cors: &cors
  cors:
    origins: [ "https://app.example", "https://*.tv.example", "http://localhost:3000" ]
    credentials: true
routes:
  - name: live
    match: { path: "/live/{*file}", method: GET }
    filters: [ { session: viewers }, { concurrency: one }, *cors ]
    upstream: all
  - { name: gone, match: { path: "/gone" }, filters: [ *cors ], upstream: gone }
  - { name: moved, match: { path: "/moved" }, filters: [ *cors ], redirect: { to: /live/a } }
  - name: streams
    match: { path: "/streams/{*rest}" }
    filters: [ *cors, { session: viewers } ]
    service: { streams: one }
  - name: open
    match: { path: "/open/{*rest}" }
    filters: [ { cors: { origins: "*" } } ]
    upstream: all
  - name: strict
    match: { path: "/strict/{*rest}" }
    filters:
      - headers: { response: { add: { vary: Accept } } }
      - cors:
          origins: https://app.example
          methods: [ GET, PUT ]
          allow_headers: [ Authorization, X-One ]
          expose_headers: [ Content-Range ]
          max_age: 10m
          timing: true
          private_network: true
    upstream: all
  - name: tried
    match: { path: "/tried/{*rest}" }
    filters: [ { shadow: { cors: { origins: https://app.example } } } ]
    upstream: all
  - { name: plain, match: { path: "/plain/{*rest}" }, upstream: all }
  - { name: chosen-get, match: { path: "/chosen", method: GET }, filters: [ *cors ], upstream: all }
  - { name: chosen-options, match: { path: "/chosen", method: OPTIONS }, upstream: all }
"#;

const ANSWER: &[(&str, &str)] = &[
    ("access-control-allow-origin", "https://other.example"),
    ("access-control-allow-credentials", "true"),
    ("access-control-expose-headers", "x-secret"),
    ("timing-allow-origin", "*"),
    ("vary", "Accept-Encoding"),
];

const APP: &str = "https://app.example";
const ALLOW: &str = "access-control-allow-origin";

async fn gateway() -> Gateway {
    let gone = UnusedPort::reserve();
    let environment = Environment::default()
        .with("SECRET", SECRET)
        .with("PEPPER", PEPPER)
        .with("GONE", gone.address.to_string())
        .with("UPSTREAM", mirror(ANSWER).await.to_string());
    Gateway::start(YAML, &environment)
}

/// Asks with these lines of a head, on a connection of its own.
async fn ask(gateway: &Gateway, line: &str, fields: &[&str]) -> Answer {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let text = format!("{line} HTTP/1.1\r\nhost: media.example\r\n{fields}\r\n");
    RawClient::open(gateway.edge).await.ask(text).await
}

async fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Answer {
    let origin = format!("origin: {origin}");
    let method = format!("access-control-request-method: {method}");
    ask(gateway, &format!("OPTIONS {path}"), &[&origin, &method]).await
}

fn vary(answer: &Answer) -> Vec<String> {
    let lines = answer.head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("vary").then(|| value.trim().to_ascii_lowercase())
    });
    lines.flat_map(|line| line.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn a_preflight_is_answered_before_sessions_and_limits() {
    let gateway = gateway().await;
    let answer = preflight(&gateway, "/live/a.m3u8", APP, "GET").await;
    assert_eq!((answer.status, answer.field(ALLOW).as_deref()), (204, Some(APP)), "{answer:?}");
    let field = |name: &str| answer.field(name).unwrap_or_default();
    assert_eq!(field("access-control-allow-credentials"), "true");
    assert_eq!(field("access-control-allow-methods"), "GET");
    assert_eq!(field("access-control-max-age"), "7200");
    for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
        assert!(vary(&answer).contains(&name.to_owned()), "{name}: {answer:?}");
    }
    for missing in ["access-control-allow-headers", "access-control-allow-private-network"] {
        assert_eq!(answer.field(missing), None, "{missing}");
    }
    // HEAD comes with GET; the route takes no POST.
    assert_eq!(preflight(&gateway, "/live/a", APP, "HEAD").await.status, 204);
    let refused = preflight(&gateway, "/live/a", APP, "POST").await;
    assert_eq!((refused.status, refused.code()), (405, "method_not_allowed".to_owned()));
    assert_eq!(refused.field(ALLOW).as_deref(), Some(APP), "a page reads the 405, too");
    // What was let in by it would hold the account's only slot.
    let cookie = format!("cookie: {}", Login::of("ann", "a").cookie());
    let answer = ask(&gateway, "GET /live/a.m3u8", &[&cookie, "origin: https://app.example"]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn the_fields_that_a_request_will_bring_are_allowed() {
    let gateway = gateway().await;
    let ask_for = async |path: &str, lines: &[&str]| {
        let lines: Vec<String> =
            lines.iter().map(|line| format!("access-control-request-headers: {line}")).collect();
        let mut fields = vec!["origin: https://app.example", "access-control-request-method: GET"];
        fields.extend(lines.iter().map(String::as_str));
        let answer = ask(&gateway, &format!("OPTIONS {path}"), &fields).await;
        (answer.status, answer.field("access-control-allow-headers").unwrap_or_default())
    };
    let said = |text: &str| (204, text.to_owned());
    let refused = (403, String::new());
    assert_eq!(ask_for("/live/a", &["authorization,range"]).await, said("authorization, range"));
    assert_eq!(ask_for("/live/a", &["X-A", "x-b"]).await, said("x-a, x-b"));
    assert_eq!(ask_for("/strict/a", &["x-one"]).await, said("x-one"));
    assert_eq!(ask_for("/strict/a", &["x-one,x-two"]).await, refused);
    for odd in ["x y", "x;y", ",", "x-a,,x-b", "\u{e9}", "x\"y"] {
        assert_eq!(ask_for("/live/a", &[odd]).await, refused, "{odd:?}");
    }
    let many: Vec<String> = (0..400).map(|i| format!("x-{i:05}")).collect();
    assert_eq!(ask_for("/live/a", &[&many.join(",")]).await, refused);
}

#[tokio::test]
async fn who_may_ask_is_told_from_who_looks_like_it() {
    let gateway = gateway().await;
    for (origin, may) in [
        (APP, true),
        ("https://a.tv.example", true),
        ("https://a.b.tv.example", true),
        ("http://localhost:3000", true),
        ("https://tv.example", false),
        ("https://eviltv.example", false),
        ("https://evilapp.example", false),
        ("https://app.example.evil.com", false),
        ("https://app.example@evil.com", false),
        ("https://evil.com/.tv.example", false),
        ("https://evil.com#.tv.example", false),
        ("https://user@a.tv.example", false),
        ("https://app.example:8443", false),
        ("https://APP.example", false),
        ("http://app.example", false),
        ("https://app.example/", false),
        ("http://localhost", false),
        ("null", false),
        ("*", false),
        ("", false),
        ("https://app.example, https://evil.com", false),
        ("\u{e9}", false),
    ] {
        let asked = preflight(&gateway, "/live/a", origin, "GET").await;
        let code = if may { "" } else { "origin_refused" };
        assert_eq!((asked.status, asked.code().as_str()), (if may { 204 } else { 403 }, code));
        let field = format!("origin: {origin}");
        for answer in [asked, ask(&gateway, "GET /live/a", &[&field]).await] {
            let allowed = answer.field(ALLOW);
            assert_eq!(allowed.as_deref(), may.then_some(origin), "{origin:?} {answer:?}");
            let credentials = answer.field("access-control-allow-credentials").is_some();
            assert_eq!(credentials, may, "{origin:?}");
            assert!(vary(&answer).contains(&"origin".to_owned()), "{origin:?}");
        }
    }
    // Two of them are nobody's.
    for fields in [
        &["origin: https://app.example", "origin: https://app.example"][..],
        &["origin: https://app.example", "origin: https://evil.com"],
        &["origin: https://evil.com", "origin: https://app.example"],
    ] {
        let answer = ask(&gateway, "GET /live/a", fields).await;
        assert_eq!(answer.field(ALLOW), None, "{fields:?}");
        let mut preflight = fields.to_vec();
        preflight.push("access-control-request-method: GET");
        assert_eq!(ask(&gateway, "OPTIONS /live/a", &preflight).await.status, 403, "{fields:?}");
    }
}

#[tokio::test]
async fn every_answer_says_who_may_read_it() {
    let gateway = gateway().await;
    let ann = format!("cookie: {}", Login::of("ann", "a").cookie());
    let other = format!("cookie: {}", Login::of("ann", "b").cookie());
    let origin = "origin: https://app.example";
    for (line, fields, status) in [
        ("GET /live/a.m3u8", &[origin, &ann][..], 200),
        ("GET /live/a.m3u8", &[origin, &other], 409),
        ("GET /live/a", &[origin], 401),
        ("PUT /live/a", &[origin], 405),
        ("GET /gone", &[origin], 502),
        ("GET /moved", &[origin], 308),
        ("GET /streams", &[origin, &ann], 200),
        ("GET /streams", &[origin], 401),
    ] {
        let answer = ask(&gateway, line, fields).await;
        assert_eq!(answer.status, status, "{line} {answer:?}");
        assert_eq!(answer.field(ALLOW).as_deref(), Some(APP), "{line}");
        assert_eq!(answer.field("access-control-allow-credentials").as_deref(), Some("true"));
        let exposed = answer.field("access-control-expose-headers");
        assert_eq!(exposed.as_deref(), Some("Streamgate-Lease, Retry-After"), "{line}");
        assert_eq!(answer.field("timing-allow-origin"), None, "the upstream's is taken out");
        let allowed = answer.head.to_ascii_lowercase().matches(ALLOW).count();
        assert_eq!(allowed, 1, "{line}: one answer to one question");
    }
    let kept = ask(&gateway, "GET /live/a.m3u8", &[&ann]).await;
    assert!(vary(&kept).contains(&"origin".to_owned()), "{kept:?}");
    assert!(vary(&kept).contains(&"accept-encoding".to_owned()), "{kept:?}");
    assert_eq!(kept.field(ALLOW), None);
}

#[tokio::test]
async fn any_origin_and_the_further_settings() {
    let gateway = gateway().await;
    for origin in ["null", "https://evil.com"] {
        let answer = ask(&gateway, "GET /open/a", &[&format!("origin: {origin}")]).await;
        assert_eq!(answer.field(ALLOW).as_deref(), Some("*"));
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        assert!(!vary(&answer).contains(&"origin".to_owned()), "{answer:?}");
    }
    assert_eq!(ask(&gateway, "GET /open/a", &[]).await.field(ALLOW), None);
    let fields = [
        "origin: https://app.example",
        "access-control-request-method: PUT",
        "access-control-request-private-network: true",
    ];
    let answer = ask(&gateway, "OPTIONS /strict/a", &fields).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.field("access-control-max-age").as_deref(), Some("600"));
    let private = answer.field("access-control-allow-private-network");
    assert_eq!(private.as_deref(), Some("true"));
    assert_eq!(preflight(&gateway, "/strict/a", APP, "HEAD").await.status, 204);
    for method in ["POST", "DELETE", "put"] {
        let refused = preflight(&gateway, "/strict/a", APP, method).await;
        assert_eq!((refused.status, refused.code()), (403, "origin_refused".to_owned()));
    }
    for method in ["TRACE", "CONNECT"] {
        assert_eq!(preflight(&gateway, "/open/a", APP, method).await.status, 403);
    }
    let answer = ask(&gateway, "GET /strict/a", &["origin: https://app.example"]).await;
    assert_eq!(answer.field("timing-allow-origin").as_deref(), Some(APP));
    let exposed = answer.field("access-control-expose-headers");
    assert_eq!(exposed.as_deref(), Some("Streamgate-Lease, Retry-After, Content-Range"));
    assert_eq!(vary(&answer), ["accept-encoding", "accept", "origin"]);
}

#[tokio::test]
async fn what_is_no_preflight_of_the_route_goes_its_way() {
    let gateway = gateway().await;
    // Without the filter, and in shadow, the upstream answers: as ever.
    for path in ["/plain/a", "/tried/a"] {
        let answer = preflight(&gateway, path, "https://evil.com", "GET").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field(ALLOW).as_deref(), Some("https://other.example"), "{path}");
        assert!(answer.body.contains("OPTIONS"), "{path}: {answer:?}");
    }
    let counted = "streamgate_shadow_denials_total{code=\"origin_refused\",filter=\"cors\",\
                   route=\"tried\"}";
    gateway.counts(counted, 1.0).await;
    for fields in [
        &["origin: https://app.example"][..],
        &["access-control-request-method: GET"],
        &[
            "origin: https://app.example",
            "access-control-request-method: GET",
            "access-control-request-method: PUT",
        ],
        &["origin: https://app.example", "access-control-request-method: G T"],
    ] {
        let answer = ask(&gateway, "OPTIONS /open/a", fields).await;
        assert!(answer.status == 200 && answer.body.contains("OPTIONS"), "{fields:?} {answer:?}");
        assert_eq!(ask(&gateway, "OPTIONS /live/a", fields).await.status, 405, "{fields:?}");
    }
    // The announced method chooses the route; without the filter there, the request's own does.
    let answer = preflight(&gateway, "/chosen", APP, "GET").await;
    assert_eq!(answer.field("access-control-allow-methods").as_deref(), Some("GET"));
    let answer = preflight(&gateway, "/chosen", APP, "OPTIONS").await;
    assert!(answer.body.contains("OPTIONS"), "{answer:?}");
    assert_eq!(ask(&gateway, "OPTIONS /nowhere", &[]).await.status, 404);
}
