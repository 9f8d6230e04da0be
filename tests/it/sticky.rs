//! Clients that are led to the same endpoint by a cookie: who gets it, what it tells, and what
//! becomes of it when the endpoint is gone.

use crate::harness::{Gateway, until};
use crate::origin::{proxying_to, proxying_with, replica};
use reqwest::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const STICKY: &str =
    "balance: { sticky: { cookie: at, secret: 'f4b1c0a97d3e5b268f0a1c2d3e4f5a6b' } }";

fn endpoints(all: &[SocketAddr]) -> String {
    let all: Vec<String> = all.iter().map(|address| format!("'{address}'")).collect();
    format!("endpoints: [{}], {STICKY}", all.join(", "))
}

/// An answer: which replica gave it, the cookie it brings, and the cookies that the replica saw.
struct Told {
    replica: String,
    cookie: Option<String>,
    seen: Value,
}

async fn ask(gateway: &Gateway, cookies: &str) -> Told {
    let mut request = gateway.get("/faults/echo");
    if !cookies.is_empty() {
        request = request.header("cookie", cookies);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let cookie = brought(&answer);
    // Whoever keeps an answer with a cookie gives it to others.
    let is_kept = answer.headers().get("cache-control").is_none_or(|said| said != "no-store");
    assert_eq!(is_kept, cookie.is_none());
    let echo: Value = answer.json().await.unwrap();
    let replica = echo["replica"].as_str().unwrap().to_owned();
    Told { replica, cookie, seen: echo["headers"]["cookie"].clone() }
}

fn brought(answer: &Response) -> Option<String> {
    let mut all = answer.headers().get_all("set-cookie").into_iter();
    let cookie = all.next().map(|cookie| cookie.to_str().unwrap().to_owned());
    assert!(all.next().is_none(), "one cookie");
    cookie
}

/// What a browser sends back.
fn pair(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_comes_back_to_the_endpoint_that_has_answered_it() {
    let (a, b, c) = (replica("a").await, replica("b").await, replica("c").await);
    let gateway = proxying_to(&endpoints(&[a, b, c]));
    // Another gateway, which has them in another order.
    let other = proxying_to(&endpoints(&[c, a, b]));
    let mut met = BTreeSet::new();
    for _ in 0..30 {
        let first = ask(&gateway, "").await;
        let cookie = first.cookie.expect("a client that has none gets one");
        let (value, attributes) = cookie.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax");
        let hash = value.strip_prefix("at=").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        for gateway in [&gateway, &other, &gateway] {
            let again = ask(gateway, &format!("theme=dark; {value}; lang=de")).await;
            assert_eq!((again.replica.as_str(), again.cookie), (first.replica.as_str(), None));
            assert_eq!(again.seen, json!(["theme=dark; lang=de"]), "it is for the gateway alone");
        }
        met.insert(first.replica);
    }
    assert_eq!(met.len(), 3, "{met:?}");
}

#[tokio::test]
async fn without_a_secret_the_gateway_has_one_of_its_own() {
    let fields = endpoints(&[replica("a").await, replica("b").await]);
    let gateway = proxying_to(&fields.replace(STICKY, "balance: { sticky: { cookie: at } }"));
    let with = proxying_to(&fields);
    for _ in 0..10 {
        let first = ask(&gateway, "").await;
        let cookie = pair(&first.cookie.unwrap());
        for _ in 0..3 {
            let again = ask(&gateway, &cookie).await;
            assert_eq!((&again.replica, again.cookie), (&first.replica, None));
        }
        assert!(ask(&with, &cookie).await.cookie.is_some(), "it is of another secret");
    }
}

#[tokio::test]
async fn a_cookie_that_was_made_up_leads_nowhere() {
    let (a, b) = (replica("a").await, replica("b").await);
    let gateway = proxying_to(&endpoints(&[a, b]));
    let elsewhere = replica("elsewhere").await;
    let foreign = proxying_to(&endpoints(&[elsewhere]));
    let foreign = pair(&ask(&foreign, "").await.cookie.unwrap());
    let forged = [format!("at={elsewhere}"), format!("at={a}"), "at=".to_owned(), foreign];
    for cookie in forged.into_iter().chain([format!("at={}", "0".repeat(32))]) {
        let mut met = BTreeSet::new();
        for _ in 0..30 {
            let told = ask(&gateway, &cookie).await;
            assert!(told.cookie.is_some(), "{cookie}");
            assert_eq!(told.seen, Value::Null, "{cookie}");
            met.insert(told.replica);
        }
        assert_eq!(met, BTreeSet::from(["a".to_owned(), "b".to_owned()]), "{cookie}");
    }
}

#[tokio::test]
async fn when_the_endpoint_is_gone_another_one_gives_its_cookie() {
    let (a, b) = (replica("a").await, replica("b").await);
    let health = "health: { path: /healthz, interval: 20ms, timeout: 5s, threshold: 1 }";
    let gateway = proxying_to(&format!("{}, {health}", endpoints(&[a, b])));
    let first = ask(&gateway, "").await;
    let cookie = pair(&first.cookie.unwrap());
    let address = if first.replica == "a" { a } else { b };
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    client.put(format!("http://{address}/faults/health/503")).send().await.unwrap();
    until("it is unwell", || async {
        let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
        let all = shown[0]["endpoints"].as_array().unwrap();
        all.iter().any(|endpoint| endpoint["well"] == false)
    })
    .await;
    let moved = ask(&gateway, &cookie).await;
    assert_ne!(moved.replica, first.replica);
    let now = pair(&moved.cookie.expect("it is set anew"));
    assert_ne!(now, cookie);
    let again = ask(&gateway, &now).await;
    assert_eq!((again.replica, again.cookie), (moved.replica, None));
    // A configuration without it knows it no more, either.
    let left = if first.replica == "a" { b } else { a };
    let gateway = proxying_to(&endpoints(&[left]));
    assert!(ask(&gateway, &cookie).await.cookie.is_some());
}

#[tokio::test]
async fn what_failed_or_was_refused_brings_none() {
    let gateway = proxying_to(&endpoints(&[replica("a").await]));
    for (path, status) in [
        ("/faults/close", 502),
        ("/faults/status/503", 503),
        ("/faults/status/502", 502),
        ("/faults/%zz", 400),
    ] {
        let answer = gateway.get(path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), brought(&answer)), (status, None), "{path}");
    }
    for path in ["/faults/status/404", "/faults/status/500", "/faults/status/304"] {
        let answer = gateway.get(path).send().await.unwrap();
        assert!(brought(&answer).is_some(), "{path}: it was the endpoint that said so");
    }
}

#[tokio::test]
async fn it_is_sent_by_tls_alone_where_the_client_speaks_tls() {
    let settings = "path: /faults, same_site: strict, cookie: at,";
    let fields = endpoints(&[replica("a").await]).replace("cookie: at,", settings);
    let gateway = proxying_with(", trusted: [\"127.0.0.1\"]", &fields);
    for (scheme, secure) in [("http", ""), ("https", "; Secure")] {
        let request = gateway.get("/faults/echo").header("x-forwarded-proto", scheme);
        let cookie = brought(&request.send().await.unwrap()).unwrap();
        let expected = format!("Path=/faults; HttpOnly; SameSite=Strict{secure}");
        assert_eq!(cookie.split_once("; ").unwrap().1, expected);
    }
}
