//! Whom the gateway trusts, and who it is, when it speaks to a store over TLS: files, read once.
//!
//! There is no setting that trusts anybody.

use super::Url;
use crate::fetch;
use crate::problem::Problem;
use crate::units::FilePath;
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use streamgate_lease::redis::Tls;

/// The largest PEM file that is read, in bytes: all roots of a system fit.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Files beside the configuration, as PEM.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StoreTls")]
pub struct Config {
    /// Who signs the servers' certificates; left out: those that the system trusts.
    pub ca: Option<At<FilePath>>,
    /// The gateway's own certificate, for servers that ask for one.
    pub certificate: Option<At<FilePath>>,
    /// Its key.
    pub key: Option<At<FilePath>>,
}

/// Reads the files. No network.
pub(super) fn read(
    url: &Url,
    config: Option<&At<Config>>,
    base_dir: &Path,
) -> Result<Tls, Problem> {
    let Some(config) = config else {
        return Ok(Tls::default());
    };
    if !url.is_tls() {
        let help = "write `rediss://…`, `rediss+cluster://…` or `rediss+sentinel://…`";
        return Err(config.problem("this store's address speaks no TLS").help(help));
    }
    let identity = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => {
            Some((pem(certificate, CERTIFICATE, base_dir)?, pem(key, KEY, base_dir)?))
        }
        (None, None) => None,
        _ => {
            let text = "a certificate and its key go together";
            return Err(config.problem(text).help("write both, or neither"));
        }
    };
    let authority = config.ca.as_ref().map(|ca| pem(ca, CERTIFICATE, base_dir)).transpose()?;
    Ok(Tls { authority, identity })
}

const CERTIFICATE: &str = "CERTIFICATE-----";
const KEY: &str = "PRIVATE KEY-----";

fn pem(file: &At<FilePath>, what: &str, base_dir: &Path) -> Result<Vec<u8>, Problem> {
    let path = base_dir.join(&file.0);
    let bytes = fetch::file(&path, PEM_BYTES_MAX).map_err(|error| {
        let text = format!("{} cannot be read: {error}", path.display());
        file.problem(text).help("paths are relative to the configuration file")
    })?;
    if !String::from_utf8_lossy(&bytes).contains(what) {
        let text = format!("{} holds nothing that ends with `{what}`", file.value);
        return Err(file.problem(text).help("write a file in the PEM format"));
    }
    Ok(bytes)
}
