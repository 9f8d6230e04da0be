//! Says back what arrived: a request as JSON, or a WebSocket's messages one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, Uri, Version};
use axum::response::Response;
use serde::Serialize;

use crate::Service;

/// Largest message that a WebSocket takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A request as it arrived here.
#[derive(Serialize)]
pub(super) struct Echo {
    method: String,
    path: String,
    query: Option<String>,
    version: String,
    /// Lower-case names; each with all its values, in the order of their coming.
    headers: BTreeMap<String, Vec<String>>,
    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    body: String,
    body_bytes: usize,
    replica: String,
}

pub(super) async fn echo(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    version: Version,
    fields: HeaderMap,
    body: Bytes,
) -> Json<Echo> {
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &fields {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    Json(Echo {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        version: format!("{version:?}"),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        body_bytes: body.len(),
        replica: service.settings.replica.clone(),
    })
}

/// Says every text and binary message back, until the other side closes.
pub(super) async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MESSAGE_BYTES_MAX).on_upgrade(converse)
}

async fn converse(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_said_back = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_said_back && socket.send(message).await.is_err() {
            return;
        }
    }
}
