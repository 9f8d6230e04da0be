//! What Pingora asks a connection about itself; the socket below knows it.

use super::DownstreamStream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::sync::Arc;
use std::time::Duration;

/// Only Pingora's own wait for a request would peek, and that wait is not used.
impl Peek for DownstreamStream {}

impl UniqueID for DownstreamStream {
    fn id(&self) -> UniqueIDType {
        self.inner.socket().id()
    }
}

impl Ssl for DownstreamStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.socket().get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.socket().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.socket().selected_alpn_proto()
    }
}

impl GetTimingDigest for DownstreamStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.socket().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.socket().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.socket().get_write_pending_time()
    }
}

impl GetProxyDigest for DownstreamStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.socket().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.socket_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for DownstreamStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.socket().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.socket_mut().set_socket_digest(digest);
    }
}
