//! Credentials: the user, password, database and TLS settings for every server of a store.

use super::host_port::HostPort;
use super::tls::{Tls, TlsInvalid};
use crate::redis::address::Address;
use ::redis::{Client as RedisClient, ConnectionAddr, ConnectionInfo, TlsCertificates};

/// How we authenticate at every server of a store, whichever server it is.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// User, password and database; its own host is replaced.
    template: ConnectionInfo,
    tls: Option<TlsCertificates>,
}

impl Credentials {
    pub(crate) fn new(address: &Address, tls: &Tls) -> Self {
        let tls = address.is_tls().then(|| tls.certificates());
        Self { template: address.hosts[0].clone(), tls }
    }

    pub(crate) fn username(&self) -> Option<&str> {
        self.template.redis_settings().username()
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.template.redis_settings().password()
    }

    /// A client for a host that the address names, with what the address says about it.
    pub(crate) fn client(&self, host: &ConnectionInfo) -> Result<RedisClient, TlsInvalid> {
        let client = match &self.tls {
            Some(tls) => RedisClient::build_with_tls(host.clone(), tls.clone()),
            None => RedisClient::open(host.clone()),
        };
        client.map_err(|_| TlsInvalid)
    }

    /// A client for a server that another server or a sentinel named.
    pub(crate) fn client_at(&self, server: &HostPort) -> Result<RedisClient, TlsInvalid> {
        let (host, port) = (server.host.clone(), server.port);
        let addr = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        self.client(&self.template.clone().set_addr(addr))
    }
}
