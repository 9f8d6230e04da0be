//! What every theme needs: a Redis of its own, the service on a port of its own, a plain client.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auth::password::HashCost;
use auth::session::redis::RedisSessions;
use auth::{Clock, SessionStore, Settings, Signing};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;

pub(crate) const SECRET: &[u8] = b"a secret that only the tests know";
/// The tests' clock begins here, in seconds since the Unix epoch.
pub(crate) const BEGIN: u64 = 1_800_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis on a Unix socket in a directory of its own; gone with this value.
pub(crate) struct Redis {
    child: Child,
    directory: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(directory.path().join("redis.sock"))
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let redis = Self { child, directory };
        until("redis answers", || redis.answers()).await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.directory.path().join("redis.sock").display())
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    pub(crate) fn stop(&mut self) {
        if let Ok(mut socket) = UnixStream::connect(self.directory.path().join("redis.sock")) {
            // It closes the connection instead of answering.
            let _ = socket.write_all(b"SHUTDOWN NOSAVE\r\n");
        }
        self.child.wait().unwrap();
    }

    fn answers(&self) -> bool {
        let ask = || {
            let mut socket = UnixStream::connect(self.directory.path().join("redis.sock"))?;
            socket.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            socket.read_exact(&mut answer)?;
            std::io::Result::Ok(&answer == b"+PONG\r\n")
        };
        ask().unwrap_or(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for the world, not longer than the deadline.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The service, served on a port that the kernel chose, and its clock.
pub(crate) struct Auth {
    address: String,
    clock: Arc<AtomicU64>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Auth {
    /// With a Redis, one account `alice`/`wonderland` of tier gold with five streams, and `bob`.
    pub(crate) async fn with_redis(redis: &Redis) -> Self {
        Self::start(settings(Arc::new(RedisSessions::new(&redis.url()).unwrap()))).await
    }

    pub(crate) async fn start(mut settings: Settings) -> Self {
        let clock = Arc::new(AtomicU64::new(BEGIN));
        settings.clock = Clock::Manual(Arc::clone(&clock));
        let router = auth::app(settings).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, clock, client: client() }
    }

    pub(crate) fn turn_clock(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) async fn send(&self, method: Method, path: &str, ask: Ask<'_>) -> Answer {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in ask.fields {
            request = request.header(*name, *value);
        }
        let body = Full::from(ask.body.to_owned());
        Answer::read(self.client.request(request.body(body).unwrap()).await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.send(Method::POST, path, Ask { fields, body }).await
    }

    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, Ask { fields, body: "" }).await
    }

    pub(crate) async fn login(&self, account: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "account": account, "password": password }).to_string();
        self.post("/auth/login", &[("content-type", "application/json")], &body).await
    }
}

#[derive(Default)]
pub(crate) struct Ask<'a> {
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Settings as a test likes them: cheap hashes, two accounts.
pub(crate) fn settings(sessions: Arc<dyn SessionStore>) -> Settings {
    let mut settings = Settings::new(Signing::hs256(SECRET).unwrap(), sessions);
    settings.hash_cost = HashCost { memory_kib: 8, passes: 1 };
    settings.seeds =
        vec!["alice:wonderland:gold:5".parse().unwrap(), "bob:builder".parse().unwrap()];
    settings
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn read<B>(answer: http::Response<B>) -> Self
    where
        B: BodyExt<Error: std::fmt::Debug>,
    {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: head.status, fields: head.headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's code, and that it comes as a problem document.
    pub(crate) fn refused(&self) -> (u16, String) {
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.json()["status"], self.status.as_u16());
        assert_eq!(self.field("cache-control"), "no-store");
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }

    /// The cookie's token and its attributes, names in lower case.
    pub(crate) fn cookie(&self) -> (String, HashMap<String, String>) {
        let line = self.field("set-cookie");
        let mut parts = line.split("; ").map(|part| part.split_once('=').unwrap_or((part, "")));
        let (name, token) = parts.next().unwrap();
        assert_eq!(name, "session", "{self:?}");
        let attributes = parts.map(|(key, value)| (key.to_lowercase(), value.to_owned()));
        (token.to_owned(), attributes.collect())
    }

    /// The cookie as a browser sends it back.
    pub(crate) fn cookie_sent(&self) -> String {
        format!("session={}", self.cookie().0)
    }
}

/// A token's claims, without any check.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
