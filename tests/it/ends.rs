//! What routes lead to beside an upstream as it is: fixed answers, redirects, rewritten targets;
//! and routes that are chosen by an extension.

use crate::harness::Gateway;
use crate::origin::mirror;
use crate::raw_client::RawClient;
use reqwest::Method;
use serde_json::Value;
use streamgate::yaml::Environment;

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", trusted: ["127.0.0.1"] } ]
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - { name: up, match: { path: /up }, respond: { json: '{"status":"up"}' } }
  - name: robots
    match: { path: /robots.txt }
    respond: { text: "User-agent: *\nDisallow: /\n", headers: { Cache-Control: "max-age=60" } }
  - name: closed
    match: { path: "/closed/{*rest}" }
    filters: [ { headers: { response: { set: { x-why: closed } } } } ]
    respond: { status: 403, text: closed, headers: { content-type: text/html } }
  - { name: empty, match: { path: /empty }, respond: { status: 204 } }
  - { name: tls, match: { path: "/tls/{*rest}" }, redirect: { scheme: https } }
  - { name: www, match: { path: "/www/{*rest}" }, redirect: { host: www.example, status: 301 } }
  - name: port
    match: { path: "/port/{*rest}" }
    redirect: { to: "/{rest}", scheme: http, host: a.example, port: 8080 }
  - { name: url, match: { path: "/url/{*rest}" }, redirect: { to: "https://b.example/x/{rest}" } }
  - { name: round, match: { path: "/round/{*rest}" }, redirect: { to: "/round/{rest}" } }
  - { name: swap, match: { path: "/swap/{id}/{*rest}" }, redirect: { to: "/{rest}/{id}" } }
  - { name: ask, match: { path: "/ask/{q}" }, redirect: { to: "/find?q={q}" } }
  - { name: plain, match: { path: /by, scheme: http }, respond: { text: http } }
  - { name: secure, match: { path: /by, scheme: https }, respond: { text: https } }
  - { name: path, match: { path: "/path/{*rest}" }, redirect: { to: "/{rest}" } }
  - name: strip
    match: { path: "/strip/{*rest}" }
    rewrite:
      { strip: /strip, host: "origin.example:8080", query: { set: { v: "2" }, remove: token } }
    upstream: all
  - name: prefix
    match: { path: "/prefix/{*rest}" }
    rewrite: { prefix: { from: /prefix, to: /v2 } }
    upstream: all
  - name: whole
    match: { path: "/whole/{id}/{*rest}" }
    rewrite: { path: "/items/{id}/files/{*rest}" }
    upstream: all
  - { name: media, match: { path: "/m/{*f}", extension: [ts, M4S] }, respond: { text: media } }
  - { name: list, match: { path: "/m/{*f}", extension: m3u8 }, respond: { text: list } }
  - { name: rest, match: { path: "/m/{*f}" }, respond: { text: rest } }
"#;

async fn gateway() -> Gateway {
    let upstream = mirror(&[]).await.to_string();
    Gateway::start(YAML, &Environment::default().with("UPSTREAM", upstream))
}

#[tokio::test]
async fn a_route_answers_by_itself() {
    let gateway = gateway().await;
    let get = async |path: &str| gateway.get(path).send().await.unwrap();
    let up = get("/up").await;
    assert_eq!(up.headers()["content-type"], "application/json");
    assert_eq!(up.headers()["cache-control"], "no-store");
    assert_eq!(
        (up.status().as_u16(), up.text().await.unwrap().as_str()),
        (200, "{\"status\":\"up\"}")
    );
    let robots = get("/robots.txt").await;
    assert_eq!(robots.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(robots.headers()["cache-control"], "max-age=60");
    assert_eq!(robots.text().await.unwrap(), "User-agent: *\nDisallow: /\n");
    let closed = get("/closed/a?b").await;
    assert_eq!(closed.status(), 403);
    assert_eq!(closed.headers()["content-type"], "text/html");
    assert_eq!(closed.headers()["x-why"], "closed");
    let head = gateway.request(Method::HEAD, "/closed/a").send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "6");
    assert_eq!(head.text().await.unwrap(), "");
    let empty = get("/empty").await;
    assert_eq!(empty.status(), 204);
    assert!(!empty.headers().contains_key("content-length"));
    // A body that nobody reads does not cost the connection.
    let mut raw = RawClient::open(gateway.edge).await;
    let post = "POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    for _ in 0..2 {
        assert_eq!(raw.ask(post).await.status, 200);
    }
}

#[tokio::test]
async fn a_redirect_never_leads_where_a_client_says() {
    let gateway = gateway().await;
    let led = async |target: &str, host: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = RawClient::open(gateway.edge).await.ask(text).await;
        (answer.status, answer.field("location").unwrap_or_default())
    };
    let check = async |target: &str, host: &str, status: u16, location: &str| {
        assert_eq!(led(target, host).await, (status, location.to_owned()), "{target} {host}");
    };
    check("/tls/a?b=1", "tv.example:8080", 308, "https://tv.example/tls/a?b=1").await;
    check("/tls/", "[::1]:80", 308, "https://[::1]/tls/").await;
    // At the place where it leads, it leads nowhere: browsers would go round for ever.
    let by_tls = "GET /tls/a HTTP/1.1\r\nhost: tv.example\r\nx-forwarded-proto: https\r\n\r\n";
    assert_eq!(RawClient::open(gateway.edge).await.ask(by_tls).await.status, 404);
    check("/www/a", "www.example", 404, "").await;
    check("/www/a", "www.example:8080", 301, "http://www.example/www/a").await;
    check("/round/a", "tv.example", 404, "").await;
    check("/ask/a&b=+;c", "tv.example", 308, "/find?q=a%26b=%2B%3Bc").await;
    check("/www/a", "tv.example", 301, "http://www.example/www/a").await;
    check("/port/a/b?c", "tv.example", 308, "http://a.example:8080/a/b?c").await;
    for (target, location) in [
        ("/url/evil.com", "https://b.example/x/evil.com"),
        ("/url/@evil.com", "https://b.example/x/@evil.com"),
        ("/url/.evil.com", "https://b.example/x/.evil.com"),
        ("/url/..//evil.com", ""),
        ("/path/%2e%2e//evil.com", ""),
        ("/path//evil.com", "/evil.com"),
        // A rest that is nothing must not leave two slashes before a name.
        ("/swap/evil.com", "/evil.com"),
        ("/swap/evil.com/", "/evil.com"),
        ("/swap/evil.com/a/b", "/a/b/evil.com"),
        ("/path///evil.com/%2e%2e", "/"),
        ("/path/%2f%2fevil.com", ""),
        ("/path/https://evil.com", "/https:/evil.com"),
        ("/path/\\evil.com", ""),
        ("/path/%5cevil.com", ""),
        ("/path/%0d%0aset-cookie:%20a=b", ""),
    ] {
        let (status, to) = led(target, "tv.example").await;
        let expected = if location.is_empty() { String::new() } else { location.to_owned() };
        assert_eq!(to, expected, "{target} {status}");
    }
}

#[tokio::test]
async fn an_upstream_is_asked_for_what_the_route_says() {
    let gateway = gateway().await;
    let told = async |target: &str| {
        let request = gateway.get(target).header("x-forwarded-host", "mine");
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let all = told("/strip/a/b.ts?token=t&x=1").await;
    assert_eq!(all["target"], "/a/b.ts?x=1&v=2");
    assert_eq!(all["fields"]["host"], "origin.example:8080");
    assert_eq!(all["fields"]["x-forwarded-host"], gateway.edge.to_string());
    for (target, expected) in [
        ("/strip", "/?v=2"),
        ("/strip/", "/?v=2"),
        ("/strip/x/%2e%2e/y", "/y?v=2"),
        ("/prefix/a?b", "/v2/a?b"),
        ("/prefix", "/v2"),
        ("/whole/7/a/b", "/items/7/files/a/b"),
        ("/whole/7", "/items/7/files"),
        ("/whole/..hidden/a", "/items/..hidden/files/a"),
        ("/whole/a%20b/c%3Fd", "/items/a%20b/files/c%3Fd"),
    ] {
        assert_eq!(told(target).await["target"], expected, "{target}");
    }
}

#[tokio::test]
async fn a_route_is_chosen_by_an_extension() {
    let gateway = gateway().await;
    for (path, expected) in [
        ("/m/a.ts", "media"),
        ("/m/a/b.m4s", "media"),
        ("/m/a.TS", "media"),
        ("/m/a.m3u8?x=.ts", "list"),
        ("/m/a.m3u8.ts", "media"),
        ("/m/ats", "rest"),
        ("/m/a.ts/b", "rest"),
        ("/m/a.ts.", "rest"),
        ("/m/a.tsx", "rest"),
        ("/m", "rest"),
    ] {
        let said = gateway.get(path).send().await.unwrap().text().await.unwrap();
        assert_eq!(said, expected, "{path}");
    }
}

#[tokio::test]
async fn a_route_is_chosen_by_the_scheme() {
    let gateway = gateway().await;
    let said = async |proto: &str| {
        let request = gateway.get("/by").header("x-forwarded-proto", proto);
        request.send().await.unwrap().text().await.unwrap()
    };
    assert_eq!((said("http").await.as_str(), said("https").await.as_str()), ("http", "https"));
}
