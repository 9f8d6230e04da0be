//! `tls` of an upstream: who it has to be, and who may say so. There is no setting that trusts
//! anybody.

use super::Protocol;
use crate::fetch;
use crate::problem::Problem;
use crate::units::{FilePath, Text};
use crate::yaml::At;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The largest file of authorities that is read, in bytes: all roots of a system fit.
const CA_BYTES_MAX: u64 = 1024 * 1024;

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
}

/// Who an upstream has to be.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    /// `None`: those that the system trusts.
    pub(super) authorities: Option<Arc<[WrappedX509]>>,
    /// The same as bytes, by which connections are told apart.
    pub(super) authorities_der: Vec<Vec<u8>>,
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
            let help = "leave `protocol` out: an upstream with `tls` is spoken to in HTTP/1.1";
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
        if !problems.is_empty() {
            return Err(problems);
        }
        let wrap = |der: &Vec<u8>| WrappedX509::new(der.clone(), parse_x509);
        let authorities = read.as_ref().map(|all| all.iter().map(wrap).collect());
        Ok(Identity { name, authorities, authorities_der: read.unwrap_or_default() })
    }
}

/// The certificates of a file, each of which can be trusted.
fn authorities(ca: &At<FilePath>, base_dir: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let path = &ca.value;
    let bytes = fetch::file(&base_dir.join(&ca.0), CA_BYTES_MAX).map_err(|error| {
        let text = format!("`{path}` can't be read: {error}");
        ca.problem(text).help("paths are relative to the configuration file")
    })?;
    let read = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let read = read.unwrap_or_default();
    if read.is_empty() {
        let text = format!("there is no certificate in `{path}`");
        let help = "write a file in the PEM format, with `-----BEGIN CERTIFICATE-----`";
        return Err(ca.problem(text).help(help));
    }
    let mut roots = RootCertStore::empty();
    for authority in &read {
        roots.add(authority.clone()).map_err(|error| {
            let text = format!("a certificate in `{path}` can't be used: {error}");
            ca.problem(text).help("name the certificates of authorities alone")
        })?;
    }
    Ok(read.iter().map(|der| der.to_vec()).collect())
}
