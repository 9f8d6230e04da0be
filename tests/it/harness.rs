//! What every theme needs: a Redis of its own, upstreams, gateways and clients, all on port 0.

pub(crate) mod dns;
mod redis;

pub(crate) use self::redis::Redis;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate::config;
use streamgate::server::{self, Running, Source};
use streamgate::session::Algorithm;
use streamgate::session::mint::{Claims, Signer};
use streamgate::yaml::{Environment, Scalar};
use tokio::net::TcpListener;

pub(crate) const SECRET: &str = "a secret of thirty-two bytes or more";
pub(crate) const PEPPER: &str = "a pepper of thirty-two bytes or more";

/// How long anything may take that happens by itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A gateway that runs in this process, and what is needed to talk to it.
pub(crate) struct Gateway {
    running: Option<Running>,
    pub(crate) edge: SocketAddr,
    pub(crate) admin: SocketAddr,
    client: Client,
}

/// The configuration most tests use: sessions by a secret, three streams, one upstream with the
/// stream service and its faults.
pub(crate) const STANDARD: &str = r#"
listeners:
  - { name: edge, address: "127.0.0.1:0" }
admin: { address: "127.0.0.1:0" }
workers: 2
access_log: { to: off }
stores:
  # Patient: tests run on busy machines, and what holds without a store is another test's theme.
  shared: { url: "${REDIS_URL:-memory:}", timeouts: { connect: 5s, command: 5s } }
sessions:
  viewers:
    issuer: streamgate-auth
    audience: streamgate
    keys: [ { hs256: "${SESSION_SECRET}" } ]
concurrency:
  standard:
    store: shared
    pepper: "${ACCOUNT_PEPPER}"
    limit: { claim: max_streams, default: 3 }
upstreams:
  stream: { endpoints: ["${STREAM_ADDR}"] }
routes:
  - { name: open, match: { path: "/faults/{*rest}" }, upstream: stream }
  - name: streams
    match: { path: "/streams/{*rest}" }
    filters: [ { session: viewers } ]
    service: { streams: standard }
  - name: live
    match: { path: "/live/{event}/{*file}" }
    filters: [ { session: viewers }, { concurrency: standard } ]
    upstream: stream
  - name: echo
    match: { path: "/faults/echo/held/{*rest}" }
    filters: [ { session: viewers }, { concurrency: standard } ]
    upstream: stream
"#;

/// `STANDARD` with further lines in its sessions.
pub(crate) fn with_sessions(lines: &[&str]) -> String {
    let issuer = "    issuer: streamgate-auth\n";
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    STANDARD.replace(issuer, &format!("{issuer}{lines}"))
}

/// Serves the stream service with its faults; it ends with the test.
pub(crate) async fn stream_service() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let settings = stream::Settings { faults: true, ..stream::Settings::default() };
    tokio::spawn(async move { axum::serve(socket, stream::app(settings)).await });
    address
}

/// The variables that `STANDARD` names.
pub(crate) async fn environment(redis: Option<&Redis>) -> Environment {
    let environment = Environment::default()
        .with("SESSION_SECRET", SECRET)
        .with("ACCOUNT_PEPPER", PEPPER)
        .with("STREAM_ADDR", stream_service().await.to_string());
    match redis {
        Some(redis) => environment.with("REDIS_URL", redis.url()),
        None => environment,
    }
}

impl Gateway {
    /// Starts a gateway with this configuration.
    pub(crate) fn start(yaml: &str, environment: &Environment) -> Self {
        let path = Path::new("gateway.yaml");
        let loaded = config::read(path, yaml.to_owned(), environment);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        Self::of(server::start(loaded, None).unwrap_or_else(|error| panic!("{error}")))
    }

    fn of(running: Running) -> Self {
        let edge = running.listeners[0].1.inet().expect("the first is of TCP");
        let admin = running.admin;
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.timeout(DEADLINE).tls_certs_only([]).build().unwrap();
        Gateway { running: Some(running), edge, admin, client }
    }

    /// Starts a gateway whose configuration is read again from `text`.
    pub(crate) fn start_from(text: &Arc<Mutex<String>>, environment: &Environment) -> Self {
        let (text, environment) = (Arc::clone(text), environment.clone());
        let load = Box::new(move || {
            let text = text.lock().unwrap().clone();
            config::read(Path::new("gateway.yaml"), text, &environment)
        });
        let source = Source::new("gateway.yaml".into(), load);
        let loaded = (source.load)().unwrap_or_else(|report| panic!("{report}"));
        Self::of(server::start(loaded, Some(source)).unwrap_or_else(|error| panic!("{error}")))
    }

    /// A gateway with `STANDARD` on a Redis or on memory.
    pub(crate) async fn standard(redis: Option<&Redis>) -> Self {
        Self::start(STANDARD, &environment(redis).await)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.edge))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// What the admin port answers.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.admin)).send().await.unwrap()
    }

    /// Posts to the admin port with this token: status and body of the answer.
    pub(crate) async fn post_admin(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("http://{}{path}", self.admin));
        let response = request.bearer_auth(token).json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// The value of one series, as `/metrics` prints it; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").await.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a series has this value: requests are counted when they are over.
    pub(crate) async fn counts(&self, series: &str, value: f64) {
        until(series, || async { self.metric(series).await == value }).await;
    }
}

impl Gateway {
    /// Sends it all the way down, waiting for requests under way.
    pub(crate) async fn stop(mut self) {
        let running = self.running.take().unwrap();
        tokio::task::spawn_blocking(move || running.stop(DEADLINE)).await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A runtime must not be dropped by a task; the test is over either way.
        if let Some(running) = self.running.take() {
            std::thread::spawn(move || running.stop(Duration::ZERO));
        }
    }
}

/// A login: the token of one session of one account, issued when this value was made.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// In seconds since 1970. A token made anew for each request would outlive an end of all
    /// sessions, if a second passes in between.
    at: u64,
    pub(crate) account: String,
    pub(crate) session: String,
    pub(crate) claims: Vec<(String, Value)>,
}

impl Login {
    pub(crate) fn of(account: &str, session: &str) -> Self {
        let at = streamgate::clock::unix_seconds();
        let (account, session) = (account.to_owned(), session.to_owned());
        Login { at, account, session, claims: Vec::new() }
    }

    pub(crate) fn with(mut self, claim: &str, value: impl Into<Value>) -> Self {
        self.claims.push((claim.to_owned(), value.into()));
        self
    }

    pub(crate) fn token(&self) -> String {
        self.token_for(3_600)
    }

    /// A token that expires so many seconds after the login; negative: before.
    pub(crate) fn token_for(&self, seconds: i64) -> String {
        self.token_from(0, seconds)
    }

    /// A token that was issued so many seconds after the login, and expires so many after it.
    pub(crate) fn token_from(&self, issued: i64, expires: i64) -> String {
        let secret = Scalar::read(SECRET).unwrap();
        let signer = Signer::secret(Algorithm::Hs256, &secret).unwrap();
        let claims = Claims {
            sub: self.account.clone(),
            sid: Some(self.session.clone()),
            iss: Some("streamgate-auth".to_owned()),
            aud: Some("streamgate".to_owned()),
            iat: self.at.saturating_add_signed(issued),
            exp: self.at.saturating_add_signed(expires),
            extra: self.claims.iter().cloned().collect(),
        };
        signer.sign(&claims).unwrap()
    }

    pub(crate) fn cookie(&self) -> String {
        format!("session={}", self.token())
    }
}

/// A token of exactly these claims.
pub(crate) fn signed(claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

/// What was answered: status and, where the body is a problem, its code.
pub(crate) async fn outcome(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// Asks again until it holds; for what happens by itself, within the deadline.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = tokio::time::Instant::now();
    let mut again = tokio::time::interval(Duration::from_millis(10));
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "{what} within {DEADLINE:?}");
        again.tick().await;
    }
}
