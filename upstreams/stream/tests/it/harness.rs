//! What every theme needs: the service on a port of its own, and a plain client.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use stream::{Clock, Settings};
use tokio::net::TcpListener;

/// A moment in the middle of a turn, in seconds since the Unix epoch.
pub(crate) const BEGIN: u64 = 1_800_000_007;

/// The service, served on a port that the kernel chose.
pub(crate) struct Stream {
    pub(crate) address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Stream {
    pub(crate) async fn at(seconds: u64) -> Self {
        let clock = Clock::StoppedAt(Duration::from_secs(seconds));
        Self::start(Settings { clock, ..Settings::default() }).await
    }

    pub(crate) async fn with_faults() -> Self {
        let clock = Clock::StoppedAt(Duration::from_secs(BEGIN));
        Self::start(Settings { clock, faults: true, ..Settings::default() }).await
    }

    pub(crate) async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = stream::app(settings);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.ask(method, path, fields, "").await.unwrap();
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, fields: head.headers, bytes }
    }

    /// The answer's head, or why there is none; the body is still to be read.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Result<http::Response<impl BodyExt<Data = Bytes, Error: std::fmt::Debug> + use<>>, Error>
    {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::from(body)).unwrap()).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The problem's code, and that no cache may keep it.
    pub(crate) fn refused(&self) -> (u16, String) {
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.field("cache-control"), "no-store");
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }
}
