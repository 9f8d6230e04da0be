//! What an authority is shown that asks for a proof (TLS-ALPN-01, RFC 8737): a certificate that
//! holds a digest of the account's key, in a handshake for a protocol that is spoken for nothing
//! else.

use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, server};
use std::collections::HashMap;
use std::sync::Arc;

/// The protocol, as ALPN names it.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// Proofs that were promised to an authority, by host.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<HashMap<String, Arc<ServerConfig>>>);

/// A proof that is shown as long as this lives.
pub(super) struct Promised<'a> {
    all: &'a Challenges,
    host: String,
}

impl Challenges {
    /// The host whose proof an authority asks for by this handshake, if it is one. Clients of a
    /// listener never ask for this protocol.
    pub fn asked(hello: &server::ClientHello<'_>) -> Option<String> {
        let mut protocols = hello.alpn()?;
        let is_one = protocols.next() == Some(PROTOCOL) && protocols.next().is_none();
        Some(hello.server_name().filter(|_| is_one)?.to_ascii_lowercase())
    }

    /// What a handshake is made of that shows the proof of this host, if it was promised here.
    pub(super) fn of(&self, host: &str) -> Option<Arc<ServerConfig>> {
        self.0.lock().get(host).cloned()
    }

    /// Shows the proof for `host` from now on; `digest` is that of the key authorization.
    pub(super) fn promise(&self, host: &str, digest: &[u8]) -> Option<Promised<'_>> {
        let (server, host) = (shown(host, digest)?, host.to_owned());
        self.0.lock().insert(host.clone(), Arc::new(server));
        Some(Promised { all: self, host })
    }
}

/// What a handshake is made of that shows the proof of this host.
pub(super) fn shown(host: &str, digest: &[u8]) -> Option<ServerConfig> {
    let key = KeyPair::generate().ok()?;
    let mut params = CertificateParams::new([host.to_owned()]).ok()?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).ok()?;
    // No client may take it for a certificate, and neither does rustls: it is not asked to.
    let proof = CertifiedKey::new(vec![certificate.der().clone()], key);
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).ok()?;
    let proof = Arc::new(SingleCertAndKey::from(proof));
    let mut server = builder.with_no_client_auth().with_cert_resolver(proof);
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    Some(server)
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_there_as_long_as_it_is_promised() {
        let all = Challenges::default();
        let promised = all.promise("tv.example", &[7; 32]).expect("a proof can be made");
        assert!(all.0.lock().contains_key("tv.example"));
        drop(promised);
        assert!(all.0.lock().is_empty());
    }
}
