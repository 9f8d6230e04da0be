//! Routes that get of a group what they do not say themselves.

use crate::harness::Gateway;
use crate::origin::mirror;
use serde_json::Value;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0" } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - with:
      host: tv.example
      method: [ GET, POST ]
      max_body: 4
      filters: [ { headers: { response: { set: { x-a: group, x-b: group } } } } ]
      upstream: all
    routes:
      - { name: plain, match: { path: "/plain/{*rest}" } }
      - name: own
        match: { path: "/own/{*rest}", method: PUT }
        max_body: 1KiB
        filters: [ { headers: { response: { set: { x-a: own } } } } ]
      - { name: elsewhere, match: { path: /elsewhere, host: b.example }, respond: { text: b } }
  - { name: alone, match: { path: "/{*rest}" }, respond: { text: alone } }
  - { with: { respond: { text: other } }, routes: [ { name: other, match: { path: /other } } ] }
"#;

#[tokio::test]
async fn a_route_gets_what_it_does_not_say_itself() {
    let upstream = mirror(&[]).await.to_string();
    let gateway = Gateway::start(YAML, &Environment::default().with("UPSTREAM", upstream));
    let ask = async |method: &str, host: &str, path: &str, body: &'static str| {
        let request = gateway.request(method.parse().unwrap(), path).header("host", host);
        let answer = request.body(body).send().await.unwrap();
        let field = |name: &str| {
            answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let fields = format!("{} {}", field("x-a"), field("x-b"));
        (answer.status().as_u16(), fields, answer.text().await.unwrap())
    };
    let (status, fields, text) = ask("GET", "tv.example", "/plain/a", "").await;
    assert_eq!((status, fields.as_str()), (200, "group group"));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["target"], "/plain/a");
    assert_eq!(ask("POST", "tv.example", "/plain/a", "12345").await.0, 413);
    let (status, fields, _) = ask("PUT", "tv.example", "/own/a", "12345").await;
    assert_eq!((status, fields.as_str()), (200, "own group"), "its own filters come later");
    for (method, host, path, expected) in [
        ("GET", "tv.example", "/own/a", "alone"),
        ("PUT", "tv.example", "/plain/a", "alone"),
        ("GET", "a.example", "/plain/a", "alone"),
        ("GET", "b.example", "/elsewhere", "b"),
        ("GET", "tv.example", "/elsewhere", "alone"),
        ("GET", "any.example", "/other", "other"),
    ] {
        assert_eq!(ask(method, host, path, "").await.2, expected, "{method} {host} {path}");
    }
}
