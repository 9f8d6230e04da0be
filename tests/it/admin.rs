//! The admin port: what it tells, and to whom.

use crate::harness::{Gateway, Login, SECRET, STANDARD, environment};
use crate::origin::UnusedPort;
use reqwest::header::{AUTHORIZATION, COOKIE, HOST};
use serde_json::{Value, json};

const PATH: &str = "/live/final/master.m3u8";

async fn json_of(gateway: &Gateway, path: &str) -> Value {
    gateway.admin(path).await.json().await.unwrap()
}

#[tokio::test]
async fn it_tells_what_runs_and_what_plays() {
    let gateway = Gateway::standard(None).await;
    let ann = Login::of("ann@example.com", "s");
    let played = gateway.get(PATH).header(COOKIE, ann.cookie()).send().await.unwrap();
    assert_eq!(played.status(), 200);
    let routes = json_of(&gateway, "/api/routes").await;
    let live = routes.as_array().unwrap().iter().find(|route| route["name"] == "live").unwrap();
    assert_eq!(live["filters"], json!(["session", "concurrency"]));
    assert_eq!(live["leads_to"], "upstream stream");
    let upstreams = json_of(&gateway, "/api/upstreams").await;
    assert_eq!(upstreams[0]["endpoints"][0]["well"], json!(true));
    let streams = json_of(&gateway, "/api/streams").await;
    assert_eq!(streams[0]["policy"], "standard");
    assert_eq!(streams[0]["streams"].as_array().unwrap().len(), 1);
    assert!(!streams.to_string().contains("ann"), "accounts are hashed");
    let missing = gateway.admin("/nothing").await;
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn secrets_are_masked_everywhere() {
    let gateway = Gateway::standard(None).await;
    let ann = Login::of("ann@example.com", "s-secret");
    gateway.get(PATH).header(COOKIE, ann.cookie()).send().await.unwrap();
    for path in ["/api/config", "/api/routes", "/api/streams", "/api/upstreams", "/metrics"] {
        let text = gateway.admin(path).await.text().await.unwrap();
        assert!(!text.contains("thirty-two bytes"), "{path}: {text}");
        assert!(!text.contains("ann@example.com") && !text.contains(&ann.token()), "{path}");
    }
    let config = json_of(&gateway, "/api/config").await;
    assert_eq!(config["sessions"]["viewers"]["keys"][0]["hs256"], "***");
    assert_eq!(config["concurrency"]["standard"]["pepper"], "***");
    let numbers = [&config["workers"], &config["concurrency"]["standard"]["limit"]["default"]];
    assert_eq!(numbers, [2, 3], "numbers are numbers");
    assert_eq!(config["concurrency"]["standard"]["ttl"], "1m", "a time has its unit");
}

#[tokio::test]
async fn the_metrics_count_what_happened() {
    let gateway = Gateway::standard(None).await;
    let ann = Login::of("ann", "s");
    for _ in 0..3 {
        gateway.get(PATH).header(COOKIE, ann.cookie()).send().await.unwrap();
    }
    gateway.get("/nowhere").send().await.unwrap();
    let requests =
        "streamgate_requests_total{code=\"200\",listener=\"edge\",method=\"GET\",route=\"live\"}";
    assert_eq!(gateway.metric(requests).await, 3.0);
    let decided = |decision: &str| {
        format!("streamgate_stream_decisions_total{{decision=\"{decision}\",route=\"live\"}}")
    };
    assert_eq!(gateway.metric(&decided("admitted")).await, 1.0);
    assert_eq!(gateway.metric(&decided("renewed")).await, 2.0);
    assert_eq!(gateway.metric("streamgate_stream_leases{policy=\"standard\"}").await, 1.0);
    let denied = "streamgate_denials_total{code=\"route_not_found\",route=\"_unmatched\"}";
    assert_eq!(gateway.metric(denied).await, 1.0);
}

#[tokio::test]
async fn a_name_that_points_to_loopback_is_not_answered() {
    let gateway = Gateway::standard(None).await;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let ask = |host: &'static str| {
        client.get(format!("http://{}/api/config", gateway.admin)).header(HOST, host).send()
    };
    assert_eq!(ask("evil.example").await.unwrap().status(), 401);
    assert_eq!(ask("localhost").await.unwrap().status(), 200);
    assert_eq!(ask("[::1]:9901").await.unwrap().status(), 200);
}

/// `STANDARD` with an admin port that anyone can reach.
fn reachable() -> String {
    let admin = "admin: { address: \"0.0.0.0:0\", token: \"${SESSION_SECRET}\" }";
    STANDARD.replace("admin: { address: \"127.0.0.1:0\" }", admin)
}

#[tokio::test]
async fn whoever_asks_for_its_health_is_told_one_word_and_the_token_tells_more() {
    let gateway = Gateway::start(&reachable(), &environment(None).await);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    for (path, word) in [("/healthz", "alive"), ("/readyz", "ready")] {
        let url = format!("http://127.0.0.1:{}{path}", gateway.admin.port());
        for host in ["localhost", "10.9.8.7:9901", "gateway.pods.internal"] {
            let told = client.get(&url).header(HOST, host).send().await.unwrap();
            assert_eq!((told.status().as_u16(), told.text().await.unwrap().as_str()), (200, word));
        }
        let head = client.head(&url).send().await.unwrap();
        assert_eq!(head.status(), 200);
        let wrong = client.get(&url).bearer_auth("wrong").send().await.unwrap();
        assert_eq!(wrong.text().await.unwrap(), word, "who has no token is told a word");
        let detail = client.get(&url).bearer_auth(SECRET).send().await.unwrap();
        let detail: Value = detail.json().await.unwrap();
        assert_eq!(detail, json!({ "status": word, "stores_down": [], "names_unresolved": [] }));
        assert_eq!(client.post(&url).send().await.unwrap().status(), 401);
    }
    let url = format!("http://127.0.0.1:{}/healthz/x", gateway.admin.port());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_store_that_is_gone_is_named_to_those_who_have_the_token() {
    let nobody = UnusedPort::reserve();
    let redis = format!("redis://{}", nobody.address);
    let variables = environment(None).await.with("REDIS_URL", redis);
    let gateway = Gateway::start(&reachable(), &variables);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://127.0.0.1:{}/readyz", gateway.admin.port());
    let told = client.get(&url).send().await.unwrap();
    assert_eq!((told.status().as_u16(), told.text().await.unwrap().as_str()), (200, "degraded"));
    let detail: Value =
        client.get(&url).bearer_auth(SECRET).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        detail,
        json!({ "status": "degraded", "stores_down": ["shared"], "names_unresolved": [] })
    );
}

#[tokio::test]
async fn another_address_needs_the_token_for_everything_else() {
    let yaml = reachable();
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://127.0.0.1:{}/metrics", gateway.admin.port());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    let wrong = client.get(&url).header(AUTHORIZATION, "Bearer wrong").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let right = client.get(&url).header(AUTHORIZATION, format!("Bearer {SECRET}"));
    assert_eq!(right.send().await.unwrap().status(), 200);
}
