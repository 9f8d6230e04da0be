//! `tls` of an upstream: who it has to be, and who may say so. There is no setting that trusts
//! anybody.

use super::Protocol;
use crate::fetch;
use crate::problem::Problem;
use crate::units::{FilePath, Text};
use crate::yaml::At;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The largest file that is read, in bytes: all roots of a system fit.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// TLS towards an upstream.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamTls")]
pub struct Config {
    /// The name that its certificate has to be for, and that it is asked by (SNI).
    pub name: At<Text>,
    /// Who signs its certificate; left out: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<At<FilePath>>,
    /// The gateway's own certificate, for upstreams that ask for one, and those behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<At<FilePath>>,
    /// The key of `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<At<FilePath>>,
}

impl Config {
    /// The files that are named.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let all = [&self.ca, &self.cert, &self.key].into_iter().flatten();
        all.map(|file| file.0.as_path())
    }
}

/// Who an upstream has to be.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    /// `None`: those that the system trusts.
    pub(super) authorities: Option<Arc<[WrappedX509]>>,
    /// The same as bytes, by which connections are told apart.
    pub(super) authorities_der: Vec<Vec<u8>>,
    /// Who the gateway is, where the upstream may ask.
    pub(super) own: Option<Arc<CertKey>>,
    /// What it is made of, likewise.
    pub(super) own_print: u64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Identity {
    /// Reads the files that are named. No network.
    pub(super) fn compile(
        config: &At<Config>,
        protocol: Protocol,
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if protocol == Protocol::H2c {
            let text = "`protocol: h2c` is HTTP/2 without TLS";
            let help = "write `protocol: h2`, or leave it out for HTTP/1.1";
            problems.push(config.problem(text).help(help));
        }
        let name = config.name.0.clone();
        if ServerName::try_from(name.as_str()).is_err() {
            let text = format!("`{name}` is no name that a certificate can be for");
            let help = "write the host alone: `name: origin.example`";
            problems.push(config.name.problem(text).help(help));
        }
        let read = config.ca.as_ref().map(|ca| authorities(ca, base_dir)).transpose();
        let read = read.map_err(|problem| problems.push(problem)).ok().flatten();
        let own = own(config, base_dir).map_err(|told| problems.push(told)).ok().flatten();
        if !problems.is_empty() {
            return Err(problems);
        }
        let wrap = |der: &Vec<u8>| WrappedX509::new(der.clone(), parse_x509);
        let authorities = read.as_ref().map(|all| all.iter().map(wrap).collect());
        let own_print = own.as_ref().map_or(0, |(_, print)| *print);
        let own = own.map(|(own, _)| Arc::new(own));
        let authorities_der = read.unwrap_or_default();
        Ok(Identity { name, authorities, authorities_der, own, own_print })
    }
}

/// The gateway's own certificate with its key, and a number that tells it from others.
fn own(config: &At<Config>, base_dir: &Path) -> Result<Option<(CertKey, u64)>, Problem> {
    let (cert, key) = match (&config.cert, &config.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        (Some(one), None) | (None, Some(one)) => {
            let text = "a certificate and its key belong together";
            return Err(one.problem(text).help("write both: `cert: own.pem, key: own.key`"));
        }
    };
    let (chain, secret) = (bytes(cert, base_dir)?, bytes(key, base_dir)?);
    let chain = certificates(cert, &chain)?;
    if chain.iter().any(|der| X509Certificate::from_der(der).is_err()) {
        return Err(no_certificate(cert));
    }
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
        let text = format!("there is no key in `{}`", key.value);
        key.problem(text).help("write a file in the PEM format, with `-----BEGIN PRIVATE KEY-----`")
    })?;
    let print = foldhash::quality::FixedState::default().hash_one((&chain, secret.secret_der()));
    let chain_der: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
    let own = CertKey::new(chain_der, secret.secret_der().to_vec());
    match CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(Some((own, print))),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let text = format!("the key in `{}` is not that of `{}`", key.value, cert.value);
            Err(key.problem(text).help("name the key that the certificate was made for"))
        }
        Err(error) => {
            let text = format!("`{}` can't be used with its key: {error}", cert.value);
            Err(cert.problem(text).help("name a certificate and the key that it was made for"))
        }
    }
}

/// What is in a file.
fn bytes(file: &At<FilePath>, base_dir: &Path) -> Result<Vec<u8>, Problem> {
    fetch::file(&base_dir.join(&file.0), FILE_BYTES_MAX).map_err(|error| {
        let text = format!("`{}` can't be read: {error}", file.value);
        file.problem(text).help("paths are relative to the configuration file")
    })
}

/// The certificates in the `bytes` of a file, one or more.
fn certificates(
    file: &At<FilePath>,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    read.ok().filter(|read| !read.is_empty()).ok_or_else(|| no_certificate(file))
}

fn no_certificate(file: &At<FilePath>) -> Problem {
    let text = format!("there is no certificate in `{}`", file.value);
    let help = "write a file in the PEM format, with `-----BEGIN CERTIFICATE-----`";
    file.problem(text).help(help)
}

/// The certificates of a file, each of which can be trusted.
fn authorities(ca: &At<FilePath>, base_dir: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let read = certificates(ca, &bytes(ca, base_dir)?)?;
    let mut roots = RootCertStore::empty();
    for authority in &read {
        roots.add(authority.clone()).map_err(|error| {
            let text = format!("a certificate in `{}` can't be used: {error}", ca.value);
            ca.problem(text).help("name the certificates of authorities alone")
        })?;
    }
    Ok(read.iter().map(|der| der.to_vec()).collect())
}
