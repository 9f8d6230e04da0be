//! The filters `allow` and `deny`: who passes by the address that he comes from.

use crate::access::Logged;
use crate::harness::{Gateway, outcome, until};
use crate::origin::mirror;
use crate::process::Directory;
use streamgate::yaml::Environment;

const TOKEN: &str = "an admin token of thirty-two bytes or more";

const YAML: &str = r#"
listeners: [ { name: edge, address: "127.0.0.1:0", trusted: ["127.0.0.1"] } ]
admin: { address: "127.0.0.1:0", token: "${TOKEN}" }
workers: 2
access_log: { to: off }
upstreams: { all: { endpoints: [ "${UPSTREAM}" ] } }
routes:
  - name: some
    match: { path: "/some/{*rest}" }
    filters: [ { allow: { addresses: ["10.0.0.0/8", "2001:db8::/32"] } } ]
    upstream: all
  - name: others
    match: { path: "/others/{*rest}" }
    filters: [ { deny: { addresses: 10.1.0.0/16, file: "${FILE}" } }, { cors: { origins: "*" } } ]
    upstream: all
  - name: both
    match: { path: "/both/{*rest}" }
    filters: [ { deny: { addresses: 10.1.0.0/16 } }, { allow: { addresses: 10.0.0.0/8 } } ]
    upstream: all
  - name: tried
    match: { path: "/tried/{*rest}" }
    filters: [ { shadow: { allow: { addresses: 10.0.0.0/8 } } } ]
    upstream: all
"#;

async fn environment(file: &std::path::Path) -> Environment {
    let upstream = mirror(&[]).await.to_string();
    let environment = Environment::default().with("UPSTREAM", upstream).with("TOKEN", TOKEN);
    environment.with("FILE", file.display().to_string())
}

/// The status for a client whom the trusted peer names so.
async fn asked(gateway: &Gateway, path: &str, client: &str) -> (u16, String) {
    outcome(gateway.get(path).header("x-forwarded-for", client)).await
}

#[tokio::test]
async fn the_client_passes_that_the_trusted_peer_names() {
    let directory = Directory::new();
    let file = directory.file("bad.txt");
    std::fs::write(&file, "# by hand\n192.0.2.0/24   # a net\n\n2001:db8:bad::/48\r\n").unwrap();
    let gateway = Gateway::start(YAML, &environment(&file).await);
    for (path, client, passes) in [
        ("/some/a", "10.2.3.4", true),
        ("/some/a", "::ffff:10.2.3.4", true),
        ("/some/a", "[2001:db8::1]:80", true),
        ("/some/a", "11.0.0.1", false),
        ("/some/a", "2001:db9::1", false),
        // What stands at the left of an untrusted hop is a client's own word.
        ("/some/a", "10.2.3.4, 198.51.100.7", false),
        ("/some/a", "not an address", false),
        ("/others/a", "198.51.100.7", true),
        ("/others/a", "10.1.255.255", false),
        ("/others/a", "::ffff:192.0.2.9", false),
        ("/others/a", "2001:db8:bad::9", false),
        ("/both/a", "10.2.0.1", true),
        ("/both/a", "10.1.0.1", false),
        ("/both/a", "11.1.0.1", false),
        ("/tried/a", "11.1.0.1", true),
    ] {
        let (status, code) = asked(&gateway, path, client).await;
        let expected = if passes { (200, "") } else { (403, "address_refused") };
        assert_eq!((status, code.as_str()), expected, "{path} {client}");
    }
    // Nobody names the client: it is the peer itself.
    assert_eq!(outcome(gateway.get("/some/a")).await.0, 403);
    let counted = "streamgate_shadow_denials_total{code=\"address_refused\",filter=\"allow\",\
                   route=\"tried\"}";
    gateway.counts(counted, 1.0).await;
    let refused = gateway.get("/others/a").header("x-forwarded-for", "192.0.2.1");
    let refused = refused.header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(refused.headers()["access-control-allow-origin"], "*", "a page reads the code");
}

#[tokio::test]
async fn a_file_is_read_again_with_the_configuration() {
    let directory = Directory::new();
    let file = directory.file("bad.txt");
    std::fs::write(&file, "192.0.2.1\n").unwrap();
    let environment = environment(&file).await;
    let text = std::sync::Arc::new(std::sync::Mutex::new(YAML.to_owned()));
    let gateway = Gateway::start_from(&text, &environment);
    assert_eq!(asked(&gateway, "/others/a", "192.0.2.1").await.0, 403);
    assert_eq!(asked(&gateway, "/others/a", "192.0.2.2").await.0, 200);
    std::fs::write(&file, "192.0.2.2\n").unwrap();
    let (status, said) = gateway.post_admin("/api/reload", TOKEN, &serde_json::json!({})).await;
    assert_eq!(status, 200, "{said}");
    until("the other file is in force", || async {
        asked(&gateway, "/others/a", "192.0.2.2").await.0 == 403
    })
    .await;
    assert_eq!(asked(&gateway, "/others/a", "192.0.2.1").await.0, 200);
    // A file with a mistake changes nothing.
    std::fs::write(&file, "192.0.2.3\n192.0.2.300\n").unwrap();
    let (status, said) = gateway.post_admin("/api/reload", TOKEN, &serde_json::json!({})).await;
    assert!(status >= 400 && said.to_string().contains("line 2"), "{status} {said}");
    assert_eq!(asked(&gateway, "/others/a", "192.0.2.2").await.0, 403);
}

#[tokio::test]
async fn a_refusal_is_in_the_log_with_its_code() {
    let directory = Directory::new();
    let file = directory.file("bad.txt");
    std::fs::write(&file, "").unwrap();
    let logged = Logged::start_with(YAML, &environment(&file).await);
    assert_eq!(asked(&logged.gateway, "/both/a", "10.1.0.1").await.0, 403);
    let lines = logged.lines(1).await;
    assert_eq!(lines[0]["code"], "address_refused");
    assert_eq!(lines[0]["client"], "10.1.0.1");
}
