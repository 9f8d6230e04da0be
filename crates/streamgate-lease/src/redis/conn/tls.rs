//! TLS to a store: which authority is trusted, and the client certificate that servers ask for.
//!
//! Nothing here can turn the verification of certificates off.

use ::redis::{ClientTlsConfig, TlsCertificates};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::fmt;

/// Certificates and a key, as PEM. Without an authority, the roots of the system are trusted.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Who signs the servers' certificates.
    pub authority: Option<Vec<u8>>,
    /// Our own certificate and its key, for servers that ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// The PEM is not what it should be. It is not repeated: it may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these are not certificates and a key as PEM")]
pub struct TlsInvalid;

impl Tls {
    /// The form that the redis crate wants for each connection.
    ///
    /// The system's roots are read here, once: left to itself it reads them at every connection,
    /// within the deadline of the caller that waits.
    pub(crate) fn certificates(&self) -> TlsCertificates {
        // The crate asks for the process's crypto provider, which panics while there is none.
        if CryptoProvider::get_default().is_none() {
            // Another thread may have installed one at this very moment, which is as good.
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let root_cert = self.authority.clone().unwrap_or_else(system_roots);
        let client_tls = self.identity.clone();
        let client_tls =
            client_tls.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        TlsCertificates { client_tls, root_cert: Some(root_cert) }
    }
}

fn system_roots() -> Vec<u8> {
    let mut pem = String::new();
    for root in rustls_native_certs::load_native_certs().certs {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        pem.push_str(&STANDARD.encode(root));
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(***)")
    }
}
