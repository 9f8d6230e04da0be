//! What happens when room gets narrow: who is refused first, what becomes of connections when
//! memory runs short, and what the kernel is asked for.

use crate::harness::{Gateway, Login, STANDARD, environment, outcome, until};
use crate::origin::{Origin, proxying_yaml};
use crate::process::{Process, failed};
use crate::raw_client::RawClient;
use std::time::Duration;
use tokio::time::timeout;

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const SLOW: &str = "/faults/slow?bytes=60000000&chunk_bytes=1000&chunk_ms=100";

/// Takes one place among the requests in flight.
async fn held(gateway: &Gateway) -> RawClient {
    let mut raw = RawClient::open(gateway.edge).await;
    raw.say(format!("GET {SLOW} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(raw.head().await.status, 200);
    raw
}

#[tokio::test]
async fn those_who_play_are_the_last_to_be_refused() {
    let yaml = STANDARD.replace("workers: 2", "workers: 2\nin_flight: 10");
    let gateway = Gateway::start(&yaml, &environment(None).await);
    let play = async |login: &Login| {
        outcome(gateway.get("/live/final/master.m3u8").bearer_auth(login.token())).await
    };
    let plain = || async { outcome(gateway.get("/faults/status/204")).await };
    let (ann, ben) = (Login::of("ann", "tv"), Login::of("ben", "tv"));
    assert_eq!(play(&ann).await.0, 200);
    gateway.counts("streamgate_requests_in_flight", 0.0).await;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(held(&gateway).await);
    }
    assert_eq!(play(&ben).await, (503, "overloaded".to_owned()), "a playback does not begin");
    assert_eq!(plain().await.0, 204, "all else passes");
    assert_eq!(play(&ann).await.0, 200);
    all.push(held(&gateway).await);
    assert_eq!(play(&ben).await, (503, "overloaded".to_owned()));
    assert_eq!(plain().await, (503, "overloaded".to_owned()), "nobody but who plays");
    assert_eq!(play(&ann).await.0, 200, "a stream that plays goes on");
    all.pop();
    gateway.counts("streamgate_requests_in_flight", 8.0).await;
    assert_eq!(plain().await.0, 204, "there is room again");
    for (reason, route, number) in
        [("in_flight_starts", "live", 2.0), ("in_flight_others", "open", 1.0)]
    {
        let labels = format!("{{reason=\"{reason}\",route=\"{route}\"}}");
        gateway.counts(&format!("streamgate_overloaded_total{labels}"), number).await;
    }
}

/// Has the gateway read a file in which it may take so much.
async fn allow(process: &mut Process, yaml: &str, memory: u64) {
    let yaml = format!("{yaml}memory: {memory}\n");
    std::fs::write(process.directory.file("gateway.yaml"), yaml).unwrap();
    process.signal("HUP");
    process.says("another configuration answers new requests").await;
}

async fn level(process: &Process, wanted: f64) {
    let reached = || async { process.metric("streamgate_memory_level").await == wanted };
    until("what is left is noticed", reached).await;
}

/// Has it take so many thousandths of what it may take, until that is noticed: reading a file
/// takes memory, too, so it may take some attempts.
async fn takes(process: &mut Process, yaml: &str, thousandths: u64, wanted: f64) {
    for _ in 0..20 {
        let bound = process.memory() * 1000 / thousandths;
        allow(process, yaml, bound).await;
        if timeout(Duration::from_secs(1), level(process, wanted)).await.is_ok() {
            return;
        }
    }
    panic!("level {wanted} was never reached");
}

#[tokio::test]
async fn memory_that_runs_short_is_let_go_step_by_step() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let mut process = Process::start(&yaml).await;
    let ask = || async {
        let mut raw = RawClient::open(process.edge).await;
        raw.say(GET).await;
        origin.answer_once(OK).await;
        raw.answer().await
    };
    assert_eq!(ask().await.field("connection").as_deref(), Some("keep-alive"));

    takes(&mut process, &yaml, 935, 1.0).await;
    let answer = {
        let mut raw = RawClient::open(process.edge).await;
        raw.say(GET).await;
        origin.answer_once(OK).await;
        raw.answer().await
    };
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("connection").as_deref(), Some("close"), "it is not kept");

    takes(&mut process, &yaml, 965, 2.0).await;
    let answer = RawClient::open(process.edge).await.ask(GET).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));

    allow(&mut process, &yaml, 1 << 20).await;
    level(&process, 3.0).await;
    let mut refused = RawClient::open(process.edge).await;
    refused.say(GET).await;
    assert_eq!(refused.rest().await, b"", "nobody is spoken to");
    let refusals =
        "streamgate_connections_refused_total{listener=\"edge\",reason=\"process_full\"}";
    assert!(1.0 <= process.metric(refusals).await);

    allow(&mut process, &yaml, 8 << 30).await;
    level(&process, 0.0).await;
    let mut raw = RawClient::open(process.edge).await;
    raw.say(GET).await;
    origin.answer_once(OK).await;
    assert_eq!(raw.answer().await.status, 200, "there is enough again");
}

#[tokio::test]
async fn all_listeners_together_have_room_for_so_many_connections() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let process = Process::start(&yaml.replace("workers: 2", "workers: 2\nconnections: 1")).await;
    let mut one = RawClient::open(process.edge).await;
    one.say(GET).await;
    origin.answer_once(OK).await;
    assert_eq!(one.answer().await.status, 200);
    let two = RawClient::open(process.edge).await.ask(GET).await;
    assert_eq!((two.status, two.code().as_str()), (503, "overloaded"));
    let refusals =
        "streamgate_connections_refused_total{listener=\"edge\",reason=\"process_full\"}";
    assert_eq!(process.metric(refusals).await, 1.0);
}

#[tokio::test]
async fn the_kernel_is_asked_for_what_the_file_says() {
    let origin = Origin::listen().await;
    let with = |options: &str| {
        let socket = format!(", socket: {{ {options} }}");
        proxying_yaml(&socket, &format!("endpoints: ['{}']", origin.address))
    };
    let options = "backlog: 64, keepalive: 30s, user_timeout: 20s, notsent_lowat: 64KiB";
    let process = Process::start(&with(&format!("{options}, congestion: reno"))).await;
    let mut raw = RawClient::open(process.edge).await;
    raw.say(GET).await;
    origin.answer_once(OK).await;
    assert_eq!(raw.answer().await.status, 200);
    let (code, said) = failed(&with("congestion: no-such")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("socket.congestion"), "{said}");
}
