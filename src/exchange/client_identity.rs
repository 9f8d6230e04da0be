//! Who a client is by the certificate that it has shown, where TLS ends here.

use http::{HeaderName, HeaderValue};
use std::fmt;

/// What the certificate of a client says of it. It was verified when the connection was made.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Its subject, as RFC 4514 writes it: the last part first, `CN=Anna,O=Partner`.
    pub subject: Box<str>,
    /// Its other names (`subjectAltName`), each with its kind: `DNS:a.example`, `URI:spiffe://…`.
    pub names: Box<[Box<str>]>,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Box<str>,
    /// What upstreams are told of it, if the operator wants that.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity({})", self.fingerprint)
    }
}
