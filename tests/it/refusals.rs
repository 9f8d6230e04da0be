//! Bodies of refusals that an operator writes: for browsers, for apps, for all codes and for one.

use crate::harness::{Gateway, Login, SECRET};
use crate::origin::{UnusedPort, mirror};
use crate::process::Directory;
use reqwest::{Method, Response};
use serde_json::Value;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
sessions:
  viewers: { issuer: streamgate-auth, audience: streamgate, keys: [ { hs256: "${SECRET}" } ] }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] }, gone: { endpoints: [ "${GONE}" ] } }
refusals:
  "*": { html: "${PAGE}", json: '{ "error": { "is": "%{code}", "why": "%{detail}" } }' }
  session_missing: { html: "${LOGIN}", text: "%{title} (%{status})" }
routes:
  - name: live
    match: { path: "/live/{*file}" }
    filters: [ { cors: { origins: "https://app.example" } }, { session: viewers } ]
    upstream: all
  - { name: gone, match: { path: /gone }, upstream: gone }
"#;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn field<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_refusal_is_what_the_client_reads() {
    let directory = Directory::new();
    let (page, login) = (directory.file("sorry.html"), directory.file("login.html"));
    let sorry = "<style>a{b{c:d}}</style>%{code} %{instance} %{retry_after}%{ 50%{color:red}";
    std::fs::write(&page, sorry).unwrap();
    std::fs::write(&login, "<a href=/login>%{title}</a>").unwrap();
    let unused = UnusedPort::reserve();
    let environment = Environment::default()
        .with("UPSTREAM", mirror(&[]).await.to_string())
        .with("GONE", unused.address.to_string())
        .with("SECRET", SECRET)
        .with("PAGE", page.display().to_string())
        .with("LOGIN", login.display().to_string());
    let gateway = Gateway::start(YAML, &environment);
    let asked = async |path: &str, accept: &str| {
        let request = gateway.get(path).header("accept", accept);
        request.header("origin", "https://app.example").send().await.unwrap()
    };

    let answer = asked("/live/a", BROWSER).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(field(&answer, "content-type"), "text/html; charset=utf-8");
    assert_eq!(field(&answer, "cache-control"), "no-store");
    assert_eq!(field(&answer, "access-control-allow-origin"), "https://app.example");
    assert!(answer.headers().contains_key("www-authenticate"));
    let vary = answer.headers().get_all("vary").iter().map(|value| value.to_str().unwrap());
    assert!(vary.collect::<Vec<_>>().join(",").contains("Accept"));
    assert_eq!(answer.text().await.unwrap(), "<a href=/login>Please log in</a>");

    let plain = asked("/live/a", "text/plain").await;
    assert_eq!(plain.text().await.unwrap(), "Please log in (401)");
    for accept in ["*/*", "application/problem+json", "application/json", "image/*"] {
        let usual = asked("/live/a", accept).await;
        assert_eq!(field(&usual, "content-type"), "application/problem+json", "{accept}");
        assert_eq!(usual.json::<Value>().await.unwrap()["code"], "session_missing");
    }

    let nowhere = asked("/nowhere", BROWSER).await;
    assert_eq!(nowhere.status(), 404);
    let text = nowhere.text().await.unwrap();
    assert!(text.starts_with("<style>a{b{c:d}}</style>route_not_found urn:request:"), "{text}");
    assert!(text.ends_with(" %{ 50%{color:red}"), "{text}");
    let json: Value = asked("/gone", "application/json").await.json().await.unwrap();
    assert_eq!(json["error"]["is"], "upstream_unreachable");

    let head = gateway.request(Method::HEAD, "/nowhere").header("accept", BROWSER);
    let head = head.send().await.unwrap();
    assert_eq!(field(&head, "content-type"), "text/html; charset=utf-8");
    let passed = gateway.get("/live/a").header("cookie", Login::of("ada", "one").cookie());
    let passed = passed.header("accept", BROWSER).send().await.unwrap();
    assert_eq!((passed.status().as_u16(), field(&passed, "vary")), (200, "Origin"));
}
