//! Certificates that the gateway orders by itself (ACME, RFC 8555).
//!
//! Here an order is placed and kept; nobody here decides when. `server` asks [`Acme::due`] and runs
//! [`Acme::order`]. `edge` answers the authority's challenge in a handshake (TLS-ALPN-01, RFC
//! 8737), at the listener whose certificate it is, or `proxy` in a request (HTTP-01). What was
//! ordered lies in a directory, as a file that is followed like all certificates: so a restart, and
//! every gateway that shares the directory, shows what is there.

mod config;
mod order;
mod client;
mod challenges;
mod answers;
mod issued;

pub use answers::answer;
pub use challenges::Challenges;
pub use config::{Config, Proof};
pub use issued::PLACEHOLDER_END;
pub use order::AcmeError;

use crate::fetch;
use issued::Issued;
use rand::RngExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked whether it is time.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(3_600);

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The certificate of one listener that the gateway orders by itself.
#[derive(Debug)]
pub struct Acme {
    config: Config,
    base_dir: PathBuf,
    directory: PathBuf,
    /// How early it is renewed, between 0 and 1: gateways of a fleet do not ask at once.
    luck: f64,
    placeholder: Issued,
    challenges: Challenges,
}

impl Acme {
    /// Starts nothing; `base_dir` is where the configuration is.
    pub fn new(config: &Config, base_dir: &Path) -> Self {
        Acme {
            config: config.clone(),
            base_dir: base_dir.to_owned(),
            luck: rand::rng().random_range(0.0..1.0),
            directory: base_dir.join(&config.keep.0),
            placeholder: Issued::placeholder(&config.host_names()),
            challenges: Challenges::default(),
        }
    }

    /// What an authority that asks for a proof is shown.
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Certificate and key as PEM: what was ordered, or what nobody trusts until there is one.
    pub fn pem(&self) -> Vec<u8> {
        let kept = self.kept();
        kept.as_ref().unwrap_or(&self.placeholder).as_text().into_bytes()
    }

    /// The file that holds both.
    pub fn file(&self) -> PathBuf {
        self.config.keep.0.join(self.file_name())
    }

    /// How long until another is to be ordered; zero: now.
    pub fn due(&self) -> Duration {
        let Some(issued) = self.kept() else { return Duration::ZERO };
        issued.until_renewal(self.luck).min(LOOKED_AT_EVERY)
    }

    /// Orders a certificate and keeps it.
    pub async fn order(&self) -> Result<(), AcmeError> {
        let issued = order::place(&self.config, self).await?;
        self.keep(&self.file_name(), issued.as_text().as_bytes())
    }

    fn kept(&self) -> Option<Issued> {
        let text = self.read(&self.file_name())?;
        let issued = Issued::parse(&text)?;
        issued.is_for(&self.config.host_names()).then_some(issued)
    }

    fn file_name(&self) -> String {
        format!("{}.pem", self.config.host_names()[0])
    }

    fn read(&self, name: &str) -> Option<String> {
        let bytes = fetch::file(&self.directory.join(name), FILE_BYTES_MAX).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), AcmeError> {
        fetch::put_secret(&self.directory, name, bytes).map_err(|error| {
            AcmeError::Kept(self.directory.join(name).display().to_string(), error.to_string())
        })
    }
}
