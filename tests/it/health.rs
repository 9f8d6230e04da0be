//! Health checks: in which protocol, at the same time, and with what they tell the operator.

use crate::harness::dns::Dns;
use crate::harness::{Gateway, until};
use crate::origin::{Origin, UnusedPort, h2c, h2c_replica, proxying_to, proxying_yaml, service};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;
use std::net::SocketAddr;
use streamgate::yaml::Environment;
use tokio::net::TcpListener;

/// What is known comes from the first round.
const ONE_ROUND: &str = "path: /healthz, interval: 1h, threshold: 1";

/// Endpoints that answer only when all have been asked.
const PATIENT: usize = 50;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Each endpoint: whether it is well, and what the last check gave; once all were asked.
async fn checked(gateway: &Gateway) -> Vec<(bool, String)> {
    let shown = || async {
        let shown: Value = gateway.admin("/api/upstreams").await.json().await.unwrap();
        shown[0]["endpoints"].as_array().unwrap().clone()
    };
    until("all were asked", || async {
        shown().await.iter().all(|endpoint| endpoint["checked"].is_string())
    })
    .await;
    let one = |endpoint: &Value| {
        (endpoint["well"].as_bool().unwrap(), endpoint["checked"].as_str().unwrap().to_owned())
    };
    shown().await.iter().map(one).collect()
}

#[tokio::test]
async fn checks_are_made_in_the_protocol_of_the_upstream() {
    let h2 = h2c_replica().await;
    let well = (true, "it answers with status 200".to_owned());
    let nonsense = (false, "its answer is not of the upstream's protocol".to_owned());
    for (protocol, expected) in
        [("http1", [well.clone(), nonsense.clone()]), ("h2c", [nonsense, well])]
    {
        let h1 = Origin::listen().await;
        let endpoints = format!("endpoints: ['{}', '{h2}'], protocol: {protocol}", h1.address);
        let gateway = proxying_to(&format!("{endpoints}, health: {{ timeout: 5s, {ONE_ROUND} }}"));
        let (checked, _) = tokio::join!(checked(&gateway), h1.answer_once(OK));
        assert_eq!(checked, expected, "{protocol}");
    }
}

#[tokio::test]
async fn a_connection_may_be_all_that_is_asked() {
    let (origin, nobody) = (Origin::listen().await, UnusedPort::reserve());
    let endpoints = format!("endpoints: ['{}', '{}']", origin.address, nobody.address);
    for protocol in ["http1", "h2c"] {
        let health = "health: { tcp: true, interval: 1h, threshold: 1 }";
        let gateway = proxying_to(&format!("{endpoints}, protocol: {protocol}, {health}"));
        let expected = [
            (true, "it takes connections".to_owned()),
            (false, "it takes no connection".to_owned()),
        ];
        assert_eq!(checked(&gateway).await, expected, "{protocol}");
    }
}

/// A server that answers the health protocol of gRPC with these bytes.
async fn grpc(answer: &'static [u8]) -> SocketAddr {
    let answer = async move |head: HeaderMap, body: Bytes| {
        assert_eq!(head["content-type"], "application/grpc");
        // The service `a.B`, after the prefix.
        assert_eq!(&*body, b"\0\0\0\0\x05\x0a\x03a.B");
        ([("content-type", "application/grpc")], answer)
    };
    h2c(Router::new().route("/grpc.health.v1.Health/Check", post(answer))).await
}

#[tokio::test]
async fn a_grpc_service_is_asked_in_its_own_protocol() {
    let serves = grpc(&[0, 0, 0, 0, 2, 8, 1]).await;
    let does_not = grpc(&[0, 0, 0, 0, 2, 8, 2]).await;
    // It speaks HTTP/2 and knows no such method.
    let another = h2c_replica().await;
    let endpoints = format!("endpoints: ['{serves}', '{does_not}', '{another}']");
    let health = "health: { grpc: a.B, interval: 1h, threshold: 1, timeout: 5s }";
    let gateway = proxying_to(&format!("{endpoints}, protocol: h2c, {health}"));
    let checked = checked(&gateway).await;
    assert_eq!(checked[0], (true, "its service serves".to_owned()));
    assert_eq!(checked[1], (false, "its service does not serve".to_owned()));
    assert!(!checked[2].0, "{checked:?}");
}

#[tokio::test]
async fn endpoints_are_asked_side_by_side() {
    let (nobody, mut patient) = (UnusedPort::reserve(), Vec::new());
    for _ in 0..PATIENT {
        patient.push(Origin::listen().await);
    }
    let mut endpoints: Vec<_> = patient.iter().map(|origin| origin.address).collect();
    endpoints.push(nobody.address);
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("'{address}'")).collect();
    let fields = format!("endpoints: [{}]", endpoints.join(", "));
    let gateway = proxying_to(&format!("{fields}, health: {{ timeout: 60s, {ONE_ROUND} }}"));
    // Asked one after the other, the second would have to wait for the first, which says nothing.
    let asked = patient.iter().map(|origin| async {
        let mut connection = origin.accept().await;
        connection.request().await;
        connection
    });
    let asked = futures_util::future::join_all(asked).await;
    futures_util::future::join_all(asked.into_iter().map(|mut connection| async move {
        connection.say(OK).await;
    }))
    .await;
    let checked = checked(&gateway).await;
    let well = (true, "it answers with status 200".to_owned());
    assert!(checked[..PATIENT].iter().all(|one| *one == well), "{checked:?}");
    assert_eq!(checked[PATIENT], (false, "it takes no connection".to_owned()));
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_has_its_time() {
    // Its backlog takes the connection.
    let silent = Origin::listen().await;
    let fields = format!("endpoints: ['{}']", silent.address);
    let gateway = proxying_to(&format!("{fields}, health: {{ timeout: 1s, {ONE_ROUND} }}"));
    assert_eq!(checked(&gateway).await, [(false, "no answer in time".to_owned())]);
}

/// The zone says which interface, and nothing to the endpoint.
#[tokio::test]
async fn an_address_with_a_zone_is_checked_as_any_other() {
    let Ok(socket) = TcpListener::bind("[::1]:0").await else { return };
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(socket, service("v6".to_owned())).await });
    let endpoint = format!("[::1%1]:{port}");
    let gateway = proxying_to(&format!("endpoints: ['{endpoint}'], health: {{ {ONE_ROUND} }}"));
    assert_eq!(checked(&gateway).await, [(true, "it answers with status 200".to_owned())]);
    let echo: Value = gateway.get("/faults/echo").send().await.unwrap().json().await.unwrap();
    assert_eq!(echo["replica"], "v6");
}

#[tokio::test]
async fn a_check_names_the_endpoint_as_the_file_does() {
    let (dns, origin) = (Dns::start(), Origin::listen().await);
    dns.leads("checked.test", 60, &[origin.address.ip()]);
    let name = format!("checked.test:{}", origin.address.port());
    let fields = format!("endpoints: ['{name}'], health: {{ timeout: 5s, {ONE_ROUND} }}");
    let yaml = proxying_yaml("", &fields) + &dns.yaml();
    let gateway = Gateway::start(&yaml, &Environment::default());
    let request = origin.answer_once(OK).await.to_lowercase();
    assert!(request.starts_with("get /healthz http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: {name}\r\n")), "{request}");
    assert_eq!(checked(&gateway).await, [(true, "it answers with status 200".to_owned())]);
}
