//! The program itself: how it starts, how it ends without cutting anybody off, what it takes.

use crate::harness::until;
use crate::origin::{Origin, UnusedPort, proxying_yaml};
use crate::process::{Process, failed};
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use tokio::net::TcpStream;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

async fn readiness(admin: SocketAddr) -> u16 {
    let ask = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    RawClient::open(admin).await.ask(ask).await.status
}

#[tokio::test]
async fn what_is_under_way_ends_well_and_nothing_new_begins() {
    let origin = Origin::listen().await;
    let process =
        Process::start(&proxying_yaml("", &format!("endpoints: ['{}']", origin.address))).await;
    assert_eq!(readiness(process.admin).await, 200);
    let mut idle = RawClient::open(process.edge).await;
    idle.say(get("/a")).await;
    origin.answer_once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(idle.answer().await.status, 200);

    let mut downloading = RawClient::open(process.edge).await;
    let mut waiting = RawClient::open(process.edge).await;
    downloading.say(get("/download")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    upstream.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    assert_eq!(downloading.head().await.status, 200);
    waiting.say(get("/wait")).await;
    let mut other = origin.accept().await;
    other.request().await;

    process.terminate();
    let refused = || async { TcpStream::connect(process.edge).await.is_err() };
    until("new connections are refused", refused).await;
    assert_eq!(idle.rest().await, b"", "an idle connection is closed");

    upstream.say("5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!(downloading.bytes(25).await, b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(downloading.rest().await, b"");
    other.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let last = waiting.answer().await;
    assert_eq!((last.status, last.body.as_str()), (200, "ok"));
    assert_eq!(last.field("connection").as_deref(), Some("close"), "the last on its connection");
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().last().unwrap().contains("every request was answered"), "{said}");
}

#[tokio::test]
async fn load_balancers_look_away_first_and_the_next_process_needs_no_other_ports() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let mut old = Process::start(&yaml.replace("delay: 0s", "delay: 1h")).await;
    let mut slow = RawClient::open(old.edge).await;
    slow.say(get("/slow")).await;
    let mut upstream = origin.accept().await;
    upstream.request().await;
    old.terminate();
    until("it is not ready", || async { readiness(old.admin).await == 503 }).await;
    let mut late = RawClient::open(old.edge).await;
    late.say(get("/late")).await;
    origin.answer_once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(late.answer().await.status, 200, "nobody is refused before the delay is over");

    // Who asks again does not wait for load balancers.
    old.terminate();
    old.says("listeners and the admin port are closed").await;
    let closed = || async { TcpStream::connect(old.admin).await.is_err() };
    until("both ports are free", closed).await;
    let yaml = yaml.replacen("127.0.0.1:0", &old.edge.to_string(), 1);
    let new = Process::start(&yaml.replacen("127.0.0.1:0", &old.admin.to_string(), 1)).await;
    assert_eq!((new.edge, new.admin), (old.edge, old.admin));
    assert_eq!(readiness(new.admin).await, 200);
    upstream.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(slow.answer().await.status, 200, "the old process ends what it began");
    assert_eq!(old.ended().await.0, Some(0));
}

#[tokio::test]
async fn what_is_cut_is_told_by_the_last_line_and_the_exit_code() {
    let origin = Origin::listen().await;
    let yaml = proxying_yaml("", &format!("endpoints: ['{}']", origin.address));
    let process = Process::start(&yaml.replace("delay: 0s", "delay: 0s, timeout: 0s")).await;
    let mut slow = RawClient::open(process.edge).await;
    slow.say(get("/slow")).await;
    let mut silent = origin.accept().await;
    silent.request().await;
    process.terminate();
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(75), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("requests were cut") && last.contains("\"cut\":1"), "{said}");
}

#[tokio::test]
async fn a_taken_port_is_told_with_its_holder() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let yaml = proxying_yaml("", "endpoints: ['127.0.0.1:1']");
    let yaml = yaml.replacen("127.0.0.1:0", &address.to_string(), 1);
    let (code, said) = failed(&yaml).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
}

/// What a fresh process may take for bodies on their way, in bytes.
const HELD_MAX: u64 = 32 << 20;

#[tokio::test]
async fn large_bodies_pass_in_little_memory() {
    const BYTES: usize = 64 << 20;
    const READERS: usize = 4;
    let origin = crate::origin::replica("a").await;
    let process = Process::start(&proxying_yaml("", &format!("endpoints: ['{origin}']"))).await;
    let before = process.memory();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = RawClient::open(process.edge).await;
        reader.say(get(&format!("/faults/slow?bytes={BYTES}&chunk_bytes=1000000"))).await;
        reader.head().await;
        readers.push(reader);
    }
    for mut reader in readers {
        assert_eq!(reader.skip(BYTES).await, BYTES);
        let grown = process.memory().saturating_sub(before);
        assert!(grown < HELD_MAX, "{grown} bytes for {READERS} readers");
    }
}

#[tokio::test]
async fn a_large_upload_waits_for_its_upstream_in_little_memory() {
    const BYTES: usize = 64 << 20;
    let origin = Origin::listen().await;
    let process =
        Process::start(&proxying_yaml("", &format!("endpoints: ['{}']", origin.address))).await;
    let before = process.memory();
    let edge = process.edge;
    let upload = tokio::spawn(async move {
        let mut raw = RawClient::open(edge).await;
        let head = format!("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n");
        raw.say(head).await;
        for _ in 0..BYTES >> 20 {
            raw.say(vec![b'x'; 1 << 20]).await;
        }
        raw.answer().await.status
    });
    let mut upstream = origin.accept().await;
    upstream.request().await;
    let mut passed = 0;
    while passed < BYTES {
        passed += upstream.skip((BYTES - passed).min(1 << 20)).await;
        let grown = process.memory().saturating_sub(before);
        assert!(grown < HELD_MAX, "{grown} bytes for one upload");
    }
    upstream.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(upload.await.unwrap(), 204);
}

#[tokio::test]
async fn it_starts_without_its_upstreams() {
    let nobody = UnusedPort::reserve();
    let fields = format!("endpoints: ['{}']", nobody.address);
    let process = Process::start(&proxying_yaml("", &fields)).await;
    assert_eq!(
        RawClient::open(process.edge).await.ask(get("/a")).await.code(),
        "upstream_unreachable"
    );
    process.terminate();
    assert_eq!(process.ended().await.0, Some(0));
}
