//! Upstreams that do exactly what a test tells them to, and configurations that lead to them.

use crate::harness::{DEADLINE, Gateway};
use crate::raw_client::RawClient;
use std::net::SocketAddr;
use streamgate::yaml::Environment;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

/// An upstream whose every byte the test says itself.
pub(crate) struct Origin {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Origin {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Origin { listener, address }
    }

    /// The next connection of the gateway.
    pub(crate) async fn accept(&self) -> RawClient {
        let accepted = timeout(DEADLINE, self.listener.accept()).await;
        RawClient::of(accepted.expect("the gateway connects").unwrap().0)
    }

    /// Answers the first request of the next connection with these bytes, then hangs up.
    pub(crate) async fn answer_once(&self, bytes: &str) -> String {
        let mut raw = self.accept().await;
        let request = raw.request().await;
        raw.say(bytes).await;
        request
    }
}

/// An endpoint whose every answer is this one.
pub(crate) async fn answering(bytes: &'static str) -> SocketAddr {
    let origin = Origin::listen().await;
    let address = origin.address;
    tokio::spawn(async move {
        while let Ok((stream, _)) = origin.listener.accept().await {
            let mut raw = RawClient::of(stream);
            tokio::spawn(async move {
                raw.request().await;
                raw.say(bytes).await;
            });
        }
    });
    address
}

/// An address that nobody listens on, and that nobody else can take while this lives.
pub(crate) struct UnusedPort {
    pub(crate) address: SocketAddr,
    _held: TcpSocket,
}

impl UnusedPort {
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        UnusedPort { address: socket.local_addr().unwrap(), _held: socket }
    }
}

/// Serves the stream service with its faults under this name.
pub(crate) async fn replica(name: &str) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let service = service(name.to_owned());
    tokio::spawn(async move { axum::serve(socket, service).await });
    address
}

/// The stream service over HTTP/2 without TLS, by prior knowledge.
pub(crate) async fn h2c_replica() -> SocketAddr {
    h2c(service("h2".to_owned())).await
}

/// A service over HTTP/2 without TLS, by prior knowledge.
pub(crate) async fn h2c(router: axum::Router) -> SocketAddr {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::service::TowerToHyperService;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let service = TowerToHyperService::new(router.clone());
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

pub(crate) fn service(replica: String) -> axum::Router {
    stream::app(stream::Settings { faults: true, replica, ..stream::Settings::default() })
}

/// A gateway that leads everything to one upstream: `fields` are what is written of it.
pub(crate) fn proxying_to(fields: &str) -> Gateway {
    proxying_with("", fields)
}

/// The same, with more fields of the listener.
pub(crate) fn proxying_with(listener: &str, fields: &str) -> Gateway {
    Gateway::start(&proxying_yaml(listener, fields), &Environment::default())
}

/// The same, with more fields of the route.
pub(crate) fn proxying_by(route: &str, listener: &str, fields: &str) -> Gateway {
    let (whole, size) = (proxying_yaml(listener, fields), "max_body: 100MiB");
    let yaml = whole.replace(size, &format!("{size}, {route}"));
    Gateway::start(&yaml, &Environment::default())
}

/// What such a gateway is configured with.
pub(crate) fn proxying_yaml(listener: &str, fields: &str) -> String {
    format!(
        r#"
listeners: [ {{ name: edge, address: "127.0.0.1:0"{listener} }} ]
admin: {{ address: "127.0.0.1:0" }}
drain: {{ delay: 0s }}
workers: 2
access_log: {{ to: off }}
upstreams:
  all: {{ {fields} }}
routes:
  - {{ name: all, match: {{ path: "/{{*rest}}" }}, upstream: all, max_body: 100MiB }}
"#
    )
}

/// An upstream that answers everything with these fields, and tells in its body what it was asked:
/// `method`, `target`, and each field by its name.
pub(crate) async fn mirror(answer: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        let fields: serde_json::Map<String, serde_json::Value> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect();
        let told = serde_json::json!({
            "method": request.method().as_str(),
            "target": request.uri().to_string(),
            "fields": fields,
        });
        (axum::response::AppendHeaders(answer.iter().copied()), told.to_string())
    });
    tokio::spawn(async move { axum::serve(socket, app).await });
    address
}
