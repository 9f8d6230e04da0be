//! Who may read the admin port, and who may change something through it.

use super::Admin;
use crate::denial::Reply;
use crate::request::without_port;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// Lets a request pass that may be answered.
pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let shown = admin.shown.load();
    let token = shown.token.as_ref();
    let has_token = token.is_some_and(|token| carries(&request, token.reveal()));
    // Whatever else a method is called, only these are known to change nothing.
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_open = admin.is_loopback && is_local_host(&request);
    if is_reading && HEALTH.contains(&request.uri().path()) {
        // A probe knows no token and no name of this machine. It is told one word, and no detail.
        let mut request = request;
        request.extensions_mut().insert(Detail(has_token));
        return next.run(request).await;
    }
    match (has_token, is_reading) {
        (true, _) => next.run(request).await,
        (false, true) if is_open => next.run(request).await,
        (false, true) => refused(WHY_READING),
        (false, false) if token.is_none() => refused(WHY_NO_TOKEN),
        (false, false) => refused(WHY_WRITING),
    }
}

/// What is answered to everyone who reaches the port.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// Whether whoever asks for the health may have more than a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail(pub(super) bool);

fn refused(why: &str) -> Response {
    let reply = Reply::new(StatusCode::UNAUTHORIZED);
    answer(reply.json("application/json", &serde_json::json!({ "error": why })))
}

const WHY_WRITING: &str = "nothing is changed without `Authorization: Bearer <admin.token>`";

const WHY_NO_TOKEN: &str =
    "nothing can be changed through this port: `admin.token` is not set in the file";

const WHY_READING: &str = "send `Authorization: Bearer <admin.token>`; without it only requests \
                           to the loopback address by its name are answered";

/// Compares digests, so that the time it takes tells nothing of the token.
fn carries(request: &Request, token: &str) -> bool {
    let field = request.headers().get(header::AUTHORIZATION);
    let sent = field.and_then(|field| field.to_str().ok()?.strip_prefix("Bearer "));
    sent.is_some_and(|sent| Sha256::digest(sent) == Sha256::digest(token))
}

/// Whether the request names this machine. A web page that lets its own name point to loopback
/// (DNS rebinding) would otherwise read everything through a browser here.
fn is_local_host(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(name) = host.map(without_port) else { return false };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A reply of ours as axum sends it.
pub(super) fn answer(reply: Reply) -> Response {
    let mut response = (reply.status, reply.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.headers_mut().extend(reply.headers);
    response
}
