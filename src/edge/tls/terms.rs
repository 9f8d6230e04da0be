//! What the clients of some names have to show: no certificate, perhaps one, or one in any case,
//! and who signs it.
//!
//! A name has the terms of its certificate's entry, and of the listener where the entry says
//! nothing. So a listener may have several; a handshake is made under those of the name that is
//! asked for (SNI), and they stay with the connection.

use super::certificate::chain;
use super::config::{CertificateConfig, ClientCertificate, Config};
use super::file::Files;
use super::tickets::TermsPrint;
use crate::clock::is_past;
use crate::exchange::ClientIdentity;
use crate::problem::Problem;
use crate::units::FilePath;
use crate::yaml::At;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// What the client of one connection had to show, and what it has shown.
#[derive(Debug)]
pub struct Credentials {
    /// The terms that the connection was made under.
    pub(super) terms: Arc<Terms>,
    /// Its certificate, and behind it those that lead to an authority.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Who it is by its certificate, which was verified.
    pub identity: Option<Arc<ClientIdentity>>,
}

/// What clients have to show.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(super) mode: ClientCertificate,
    /// Equal for two if, and only if, they ask the same of a client.
    pub(super) print: TermsPrint,
    /// `None`: nobody is asked.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// Terms as the file has them, for one entry of `certificates`.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) mode: &'a At<ClientCertificate>,
    pub(super) ca: Option<&'a At<FilePath>>,
    pub(super) crl: Option<&'a At<FilePath>>,
}

impl<'a> Written<'a> {
    /// Those of one entry.
    pub(super) fn of(config: &'a Config, entry: &'a CertificateConfig) -> Self {
        let mode = entry.client.as_ref().unwrap_or(&config.client);
        if mode.value == ClientCertificate::Off {
            return Written { mode, ca: None, crl: None };
        }
        let ca = entry.client_ca.as_ref().or(config.client_ca.as_ref());
        // Another authority's list says nothing.
        let of_listener = config.client_crl.as_ref().filter(|_| entry.client_ca.is_none());
        Written { mode, ca, crl: entry.client_crl.as_ref().or(of_listener) }
    }

    /// Reads who is trusted; what it returns beside the terms are warnings.
    pub(super) fn read(
        self,
        files: &Files,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Terms, Vec<Problem>), Problem> {
        let Written { mode, ca, crl } = self;
        let mut hash = Context::new(&SHA256);
        hash.update(mode.name().as_bytes());
        for path in [ca, crl].into_iter().flatten() {
            hash.update(&files.of(path).state());
        }
        let print = hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        let mut terms = Terms { mode: mode.value, print, verifier: None };
        let Some(ca) = ca else { return Ok((terms, Vec::new())) };
        let roots = roots(ca, files)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        let verifier = match mode.value {
            ClientCertificate::Required => verifier,
            _ => verifier.allow_unauthenticated(),
        };
        let (lists, warnings) = crl.map_or(Ok(Default::default()), |crl| lists(crl, files))?;
        let verifier = verifier.with_crls(lists).build().map_err(|error| {
            let text = format!("clients can't be checked by `{}`: {error}", ca.value);
            ca.problem(text).help("see that each file is what its key says")
        })?;
        terms.verifier = Some(verifier);
        Ok((terms, warnings))
    }
}

impl Terms {
    /// Whether both ask the same of a client.
    pub(super) fn are_as(&self, other: &Terms) -> bool {
        self.print == other.print
    }

    /// Whether a client with these certificates would be let in now.
    pub(super) fn admit(&self, shown: &[CertificateDer<'_>]) -> bool {
        let Some(verifier) = &self.verifier else { return true };
        match shown.split_first() {
            None => !verifier.client_auth_mandatory(),
            Some((own, behind)) => {
                verifier.verify_client_cert(own, behind, UnixTime::now()).is_ok()
            }
        }
    }
}

fn roots(ca: &At<FilePath>, files: &Files) -> Result<Arc<RootCertStore>, Problem> {
    let mut roots = RootCertStore::empty();
    for authority in chain(ca, files.of(ca))? {
        roots.add(authority).map_err(|error| {
            let text = format!("a certificate in `{}` can't be used: {error}", ca.value);
            ca.problem(text).help("name the certificates of authorities alone")
        })?;
    }
    Ok(Arc::new(roots))
}

type Lists = Vec<CertificateRevocationListDer<'static>>;

/// The lists of a file; a warning for each that should have been replaced by now.
fn lists(crl: &At<FilePath>, files: &Files) -> Result<(Lists, Vec<Problem>), Problem> {
    let lists: Lists = files.of(crl).items(crl, "list of revoked certificates", "X509 CRL")?;
    let mut warnings = Vec::new();
    for list in &lists {
        let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
            let text = format!("a list in `{}` can't be read", crl.value);
            return Err(crl.problem(text).help("have it made again, as X.509 version 2"));
        };
        let end = list.next_update().map(|end| end.timestamp());
        if end.is_some_and(is_past) {
            let text = format!("a list in `{}` should have been replaced by now", crl.value);
            let help = "fetch it again: who was revoked since then is let in";
            warnings.push(crl.problem(text).help(help).warning());
        }
    }
    Ok((lists, warnings))
}
