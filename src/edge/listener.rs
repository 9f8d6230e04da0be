//! One listener as it runs. It knows the limits of a connection, not the sockets: `server` binds
//! the address and accepts.

use super::connections::Connections;
use super::h2_bounds::Settings;
use super::reader_pace::ReaderBounds;
use super::socket::SocketConfig;
use super::tls::Tls;
use super::transport::Handshake;
use super::trust::TrustedPeers;
use super::underscores::Underscores;
use crate::denial::Code;
use crate::request::head::HeadSizes;
use crate::units::ListenAddress;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One listener: its name, its address and its timeouts.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its place in the file.
    pub number: usize,
    /// Names it in logs and metrics.
    pub name: Arc<str>,
    /// Where it is bound.
    pub address: ListenAddress,
    /// Peers whose word on their clients is believed.
    pub trusted: TrustedPeers,
    /// They name the host that is asked for, too.
    pub trusted_host: bool,
    /// What becomes of header fields with `_` in their name.
    pub underscores: Underscores,
    /// They say in a header of the PROXY protocol whose connection they pass on.
    pub proxy_protocol: bool,
    /// How its connections are secured; `None`: they are plain.
    pub tls: Option<Arc<Tls>>,
    /// The bounds of connections that speak HTTP/2; `None`: it is not spoken.
    pub http2: Option<Settings>,
    pub(super) connections: Connections,
    /// How many requests one connection may carry.
    pub requests_per_connection: u32,
    /// How old a connection may get, give or take a tenth.
    pub max_age: Duration,
    /// How many bytes of a body must come in a second, on the whole.
    pub body_rate: u64,
    /// What the kernel is asked for.
    pub socket: SocketConfig,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a connection is kept open between two requests.
    pub idle_timeout: Duration,
    /// How long a client may pause while it sends a body.
    pub body_timeout: Duration,
    /// How large the head of a request may be.
    pub head_sizes: HeadSizes,
    /// How slowly a client may take an answer.
    pub(super) reader: ReaderBounds,
}

impl Listener {
    /// How long a client may take no bytes of an answer.
    pub fn write_timeout(&self) -> Duration {
        self.reader.timeout
    }

    /// How old one connection may get: not all that came at one moment are to end at one.
    pub(super) fn age(&self) -> Duration {
        self.max_age.mul_f64(0.9 + 0.2 * rand::random::<f64>())
    }

    /// Whether a peer at this address is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }

    /// Whether some of its clients are asked for a certificate.
    pub fn asks_clients(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.asks_clients)
    }

    /// Whether a connection with this handshake may carry a request for `host`: what a client has
    /// to show must be the same for it and for the name that the connection was made to.
    pub fn admits(&self, handshake: &Handshake<'_>, host: &str) -> bool {
        let Handshake { credentials, sni, .. } = handshake;
        self.tls.as_ref().is_none_or(|tls| tls.admits(credentials, *sni, host))
    }

    /// Takes over from the listener that this one replaces what must not be forgotten.
    pub fn take_over(&self, before: &Listener) {
        if let (Some(tls), Some(before)) = (&self.tls, &before.tls) {
            tls.take_over(before);
        }
    }

    /// Refuses a body of which so many bytes came in this time, if that is too slow.
    pub fn check_body(&self, body_bytes: u64, took: Duration) -> Result<(), Code> {
        match self.is_late(body_bytes, took) {
            true => Err(Code::RequestTimeout),
            false => Ok(()),
        }
    }

    /// Whether so many bytes of a body should have taken less time.
    fn is_late(&self, body_bytes: u64, took: Duration) -> bool {
        self.body_timeout + Duration::from_secs(body_bytes / self.body_rate) < took
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Count;

    #[test]
    fn a_body_has_its_time_and_a_second_for_every_kib() {
        let secs = Duration::from_secs;
        let listener = Listener {
            number: 0,
            name: "edge".into(),
            address: ListenAddress::Inet(([127, 0, 0, 1], 0).into()),
            trusted: TrustedPeers::default(),
            trusted_host: false,
            underscores: Underscores::Drop,
            proxy_protocol: false,
            tls: None,
            http2: None,
            connections: Connections::new(Count(10), None),
            requests_per_connection: 1_000,
            max_age: secs(3_600),
            body_rate: 1_024,
            socket: SocketConfig::default(),
            head_timeout: secs(15),
            idle_timeout: secs(75),
            body_timeout: secs(30),
            head_sizes: HeadSizes::default(),
            reader: ReaderBounds { timeout: secs(60), rate: 0 },
        };
        assert!(!listener.is_late(1, secs(30)));
        assert!(listener.is_late(1, secs(31)), "a byte now and then does not keep it open");
        assert!(!listener.is_late(100 * 1_024, secs(130)));
        assert!(listener.is_late(100 * 1_024, secs(131)));
    }
}
