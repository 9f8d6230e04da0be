//! Documents from a real socket, and URLs that are not fetched.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answers every connection with the same bytes, and counts them.
struct Server {
    base: String,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        let (own, counted) = (base.clone(), connections.clone());
        task.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 2048];
                let bytes = stream.read(&mut head).await.unwrap();
                let text = answer(&format!("{own} {}", String::from_utf8_lossy(&head[..bytes])));
                // Who hangs up early has heard enough.
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Server { base, connections, _task: task }
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let link = Link::parse(&format!("{}/jwks.json", self.base), false).unwrap();
        Fetcher::open(&link).unwrap().get(10).await
    }
}

fn sized(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn only_links_that_may_be_fetched_are_read() {
    let check = |text: &str, is_ok: bool, is_ok_if_allowed: bool| {
        assert_eq!(Link::parse(text, false).is_ok(), is_ok, "{text}");
        assert_eq!(Link::parse(text, true).is_ok(), is_ok_if_allowed, "{text}");
    };
    check("https://issuer.example/jwks.json", true, true);
    check("https://10.0.0.1/jwks.json", true, true);
    check("http://127.0.0.1:4001/jwks.json", true, true);
    check("http://127.9.9.9/", true, true);
    check("http://[::1]:4001/jwks.json", true, true);
    check("http://[::ffff:127.0.0.1]/", true, true);
    check("http://localhost/", true, true);
    check("http://issuer.example/jwks.json", false, true);
    check("http://localhost.example/", false, true);
    check("http://10.0.0.1/", false, true);
    check("https://user:secret@issuer.example/", false, false);
    check("https://user@issuer.example/", false, false);
    check("https://issuer.example/#keys", false, false);
    check("http://169.254.169.254/latest/meta-data", false, false);
    check("https://[fe80::1]/", false, false);
    check("http://[::ffff:169.254.169.254]/", false, false);
    check("file:///etc/passwd", false, false);
    check("ftp://issuer.example/", false, false);
    check("issuer.example/jwks.json", false, false);
    check("", false, false);
}

#[tokio::test]
async fn documents_are_bounded() {
    let check = async |text: String, expected: Result<&str, FetchError>| {
        let answer = text.clone();
        let server = Server::start(move |_| answer.clone()).await;
        let got = server.get().await.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert_eq!(got, expected.map(str::to_owned), "{text}");
    };
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(sized("0123456789"), Ok("0123456789")).await;
    check(sized("0123456789a"), Err(FetchError::TooLarge(10))).await;
    check(format!("{chunked}5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), Ok("0123456789")).await;
    let endless = format!("{chunked}{}", "5\r\n01234\r\n".repeat(10_000));
    check(endless, Err(FetchError::TooLarge(10))).await;
    for status in [201, 204, 304, 404, 500] {
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        check(text, Err(FetchError::Status(status))).await;
    }
    let server = Server::start(|_| "SSH-2.0-OpenSSH_9.2\r\n".to_owned()).await;
    assert!(matches!(server.get().await, Err(FetchError::Unreachable(_))));
}

#[tokio::test]
async fn redirects_stay_within_the_origin() {
    let redirect = |to: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    };
    let within = Server::start(move |request| match request.contains("GET /jwks.json") {
        true => redirect("/there.json"),
        false => sized("there"),
    });
    assert_eq!(within.await.get().await.unwrap(), "there");
    let elsewhere = Server::start(|_| sized("forged")).await;
    let to = elsewhere.base.clone();
    let away = Server::start(move |_| redirect(&format!("{to}/jwks.json"))).await;
    assert_eq!(away.get().await, Err(FetchError::Redirect));
    assert_eq!(elsewhere.connections.load(Ordering::Relaxed), 0);
    let circle = Server::start(move |_| redirect("/jwks.json")).await;
    assert_eq!(circle.get().await, Err(FetchError::Redirect));
    assert_eq!(circle.connections.load(Ordering::Relaxed), REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let fetcher = Fetcher::open(&Link::parse(&base, false).unwrap()).unwrap();
    let error = fetcher.get(10).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_nothing_is_given_up() {
    // Time is paused, so it jumps to the deadline as soon as nothing else can happen.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let fetcher = Fetcher::open(&Link::parse(&base, false).unwrap()).unwrap();
    assert_eq!(fetcher.get(10).await, Err(FetchError::Timeout));
}

#[test]
fn providers_may_be_installed_twice() {
    install_crypto_provider();
    install_crypto_provider();
    // With root certificates of the host or without, https must be possible or say why not.
    let link = Link::parse("https://issuer.example/", false).unwrap();
    assert!(matches!(Fetcher::open(&link), Ok(_) | Err(FetchError::Tls(_))));
}
