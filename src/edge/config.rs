//! One entry of `listeners` in `gateway.yaml`, and what it compiles to.

use super::connections::Connections;
use super::h2_bounds::{self, Settings};
use super::head_config::{self, HeadConfig};
use super::listener::Listener;
use super::reader_pace::ReaderBounds;
use super::socket::SocketConfig;
use super::tls::{self, Tls};
use super::trust::{TrustedPeer, TrustedPeers};
use super::underscores::Underscores;
use crate::problem::Problem;
use crate::units::{Count, ListenAddress, Size, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// One address where clients connect.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct Config {
    /// Names it in logs and metrics.
    pub name: At<Text>,
    /// An IP address and a port, or a socket of Unix: `unix:/run/streamgate/http.sock`.
    pub(crate) address: At<ListenAddress>,
    /// Peers whose word on their clients is believed: load balancers, and what ends TLS. Addresses,
    /// networks and host names; `unix:` is whoever connects to a socket of Unix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<At<TrustedPeer>>,
    /// Takes the host from the `X-Forwarded-Host` of a trusted peer in place of `Host`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trusted_host: bool,
    /// What becomes of header fields with `_` in their name.
    #[serde(default, skip_serializing_if = "Underscores::is_default")]
    pub underscores: Underscores,
    /// Trusted peers say in a header of the PROXY protocol, version 1 or 2, whose connection they
    /// pass on. One without it is closed, and so is one with it that nobody trusts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub proxy_protocol: bool,
    /// TLS that ends here. Left out: clients speak plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<At<tls::Config>>,
    /// HTTP/2: by ALPN where there is TLS, and otherwise by prior knowledge (h2c). `true`, `false`,
    /// or its bounds. Left out: it is spoken where there is TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<h2_bounds::Config>,
    /// How many connections may be open.
    #[serde(default = "connections")]
    pub connections: Count,
    /// How many connections may be open with one client: an address, or an IPv6 /64. Those of
    /// trusted peers are not counted. Left out: as many as there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_client: Option<At<Count>>,
    /// How many requests one connection may carry; closing now and then gives its memory back.
    #[serde(default = "requests_per_connection")]
    pub requests_per_connection: Count,
    /// How old a connection may get, give or take a tenth: its next answer is the last, so that
    /// clients spread over gateways that were added.
    #[serde(default = "max_age")]
    pub max_age: Time,
    /// How large the head of a request may be.
    #[serde(default)]
    pub head: HeadConfig,
    /// How long the head of a request may take.
    #[serde(default = "head_timeout")]
    pub head_timeout: Time,
    /// How long a connection is kept open between two requests.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Time,
    /// How long a client may pause while it sends a body, and how long the body may take in all,
    /// plus a second for every `body_rate` of it.
    #[serde(default = "body_timeout")]
    pub body_timeout: Time,
    /// How many bytes of a body must come in a second, on the whole.
    #[serde(default = "body_rate")]
    pub body_rate: Size,
    /// How long a client may take no bytes of an answer.
    #[serde(default = "write_timeout")]
    pub write_timeout: Time,
    /// How many bytes of an answer a client must take in a second, on the whole, while the gateway
    /// waits for it. It is looked at each time that `write_timeout` was waited.
    #[serde(default = "write_rate")]
    pub write_rate: Size,
    /// Options of the socket, and of each connection.
    #[serde(default)]
    pub socket: SocketConfig,
}

/// What is off unless the file says otherwise is not printed.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn connections() -> Count {
    Count(50_000)
}

fn requests_per_connection() -> Count {
    Count(1_000)
}

fn max_age() -> Time {
    Time::secs(3_600)
}

fn body_rate() -> Size {
    Size(1_024)
}

fn head_timeout() -> Time {
    Time::secs(15)
}

fn idle_timeout() -> Time {
    Time::secs(75)
}

fn body_timeout() -> Time {
    Time::secs(30)
}

fn write_timeout() -> Time {
    Time::secs(60)
}

/// A twentieth of what the slowest of mobile networks carries.
fn write_rate() -> Size {
    Size(128)
}

impl Config {
    /// The listener that this entry describes, and warnings; `number` is its place in the file, and
    /// `base_dir` is where the files are that it names.
    pub fn compile(
        &self,
        number: usize,
        base_dir: &Path,
    ) -> Result<(Listener, Vec<Problem>), Vec<Problem>> {
        let head_sizes = self.head.compile()?;
        let http2 = match &self.http2 {
            Some(written) => written.compile()?,
            None => self.tls.is_some().then(Settings::default),
        };
        let http2 = http2.map(|http2| http2.fitting(head_config::http2_bytes(head_sizes)));
        let tls = self.tls.as_ref().map(|tls| Tls::compile(tls, base_dir, http2.is_some()));
        let tls = tls.transpose()?;
        let (tls, warnings) = tls.map_or((None, Vec::new()), |(tls, told)| (Some(tls), told));
        let listener = Listener {
            number,
            name: self.name.0.as_str().into(),
            address: self.address.value.clone(),
            trusted: TrustedPeers::new(self.trusted.iter().map(|peer| &peer.value)),
            trusted_host: self.trusted_host,
            underscores: self.underscores,
            proxy_protocol: self.proxy_protocol,
            tls: tls.map(Arc::new),
            http2,
            connections: Connections::new(
                self.connections,
                self.connections_per_client.as_ref().map(|count| count.value),
            ),
            requests_per_connection: self.requests_per_connection.0,
            max_age: self.max_age.0,
            body_rate: self.body_rate.0.max(1),
            socket: self.socket.clone(),
            head_timeout: self.head_timeout.0,
            idle_timeout: self.idle_timeout.0,
            body_timeout: self.body_timeout.0,
            head_sizes,
            reader: ReaderBounds { timeout: self.write_timeout.0, rate: self.write_rate.0 },
        };
        Ok((listener, warnings))
    }
}
