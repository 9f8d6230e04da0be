//! Routes whose paths have patterns and ends.

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
  - { name: number, match: { path: "/vod/{id:[0-9]+}/{*file}" }, respond: { text: number } }
  - { name: named, match: { path: "/vod/{name}/{*file}" }, respond: { text: named } }
  - { name: list, match: { path: "/live/{event}/{*file}.m3u8" }, respond: { text: list } }
  - { name: media, match: { path: "/live/{event}/{*file}.ts" }, respond: { text: media } }
  - { name: other, match: { path: "/live/{event}/{*file}" }, respond: { text: other } }
  - name: rewritten
    match: { path: "/old/{year:20[0-9]{2}}/{*file}.m3u8" }
    rewrite: { path: "/new/{year}/{*file}.mpd" }
    upstream: all
  - name: moved
    match: { path: "/moved/{*page}.php" }
    redirect: { to: "/pages/{page}.html" }
"#;

async fn gateway() -> Gateway {
    let upstream = mirror(&[]).await.to_string();
    Gateway::start(YAML, &Environment::default().with("UPSTREAM", upstream))
}

#[tokio::test]
async fn the_form_of_a_path_decides() {
    let gateway = gateway().await;
    for (path, expected) in [
        ("/vod/7/a", "number"),
        ("/vod/0123456789/a/b", "number"),
        ("/vod/7a/a", "named"),
        ("/vod/%37/a", "number"),
        ("/vod/7%0A/a", ""),
        ("/vod/7%20/a", "named"),
        ("/live/final/a.m3u8", "list"),
        ("/live/final/a/b.m3u8?x=.ts", "list"),
        ("/live/final/a.ts", "media"),
        ("/live/final/a.m3u8/b", "other"),
        ("/live/final/.m3u8", "other"),
        ("/live/final", "other"),
    ] {
        let answer = gateway.get(path).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        match expected {
            "" => assert_eq!(status, 400, "{path}"),
            expected => assert_eq!(text, expected, "{path}"),
        }
    }
}

#[tokio::test]
async fn what_the_form_leaves_over_is_the_parameter() {
    let gateway = gateway().await;
    for (path, target) in [
        ("/old/2026/a/b.m3u8", "/new/2026/a/b.mpd"),
        ("/old/2026/a.b.m3u8?x=1", "/new/2026/a.b.mpd?x=1"),
        ("/old/2026/x/%2e%2e/b.m3u8", "/new/2026/b.mpd"),
        ("/old/2026/....m3u8", "/new/2026/....mpd"),
    ] {
        let told: Value = gateway.get(path).send().await.unwrap().json().await.unwrap();
        assert_eq!(told["target"], target, "{path}");
    }
    for path in ["/old/1999/a.m3u8", "/old/20260/a.m3u8", "/old/2026/a.ts", "/old/2026/a/..m3u8"] {
        assert_eq!(gateway.get(path).send().await.unwrap().status(), 404, "{path}");
    }
    let moved = gateway.get("/moved/a/b.php?c").send().await.unwrap();
    assert_eq!(moved.headers()["location"], "/pages/a/b.html?c");
}
