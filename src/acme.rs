//! Certificates that the gateway orders by itself (ACME, RFC 8555).
//!
//! Here an order is placed and kept; nobody here decides when. `server` asks [`Acme::due`] and runs
//! [`Acme::order`]. `edge` answers the authority's challenge in a handshake (TLS-ALPN-01, RFC
//! 8737), at the listener whose certificate it is, or `proxy` in a request (HTTP-01).
//!
//! What was ordered lies in a directory, as a file that is followed like all certificates: so a
//! restart, and every gateway that shares the directory, shows what is there. Or it lies in a store
//! (`acme/fleet.rs`): then one gateway of a fleet orders, all of them show the result, and any of
//! them answers the authority.

mod config;
mod order;
mod client;
mod challenges;
mod answers;
mod fleet;
mod seal;
mod issued;
mod error;

pub use answers::{answer, is_awaited};
pub use challenges::Challenges;
pub use config::{Config, Keep, Proof, SealedStore};
pub use error::AcmeError;
pub use issued::PLACEHOLDER_END;

use crate::fetch;
use crate::store::Store;
use crate::yaml::ScalarOr;
use answers::Watched;
use aws_lc_rs::digest::{SHA256, digest};
use fleet::Fleet;
use issued::Issued;
use rand::RngExt;
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How often it is looked whether it is time.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(3_600);

/// The same where another gateway may order at any time.
const FLEET_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The certificate of one listener that the gateway orders by itself.
#[derive(Debug)]
pub struct Acme {
    config: Config,
    base_dir: PathBuf,
    place: Place,
    /// How early it is renewed, between 0 and 1: gateways of a fleet do not ask at once.
    luck: f64,
    placeholder: Issued,
    challenges: Challenges,
    watched: OnceLock<Watched>,
}

/// Where the account and the certificate are kept.
#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Fleet(Arc<Fleet>),
}

/// What came of an order that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a new certificate.
    Ordered,
    /// It is another gateway's turn, or another has ordered already.
    LeftToAnother,
}

impl Acme {
    /// Starts nothing; `base_dir` is where the configuration is.
    pub fn new(config: &Config, base_dir: &Path) -> Self {
        let place = match (&config.keep.0, Fleet::new(config)) {
            (_, Some(fleet)) => Place::Fleet(Arc::new(fleet)),
            (ScalarOr::Value(folder), None) => Place::Folder(base_dir.join(&folder.0)),
            (ScalarOr::Full(_), None) => unreachable!("a store makes a fleet"),
        };
        Acme {
            config: config.clone(),
            base_dir: base_dir.to_owned(),
            luck: rand::rng().random_range(0.0..1.0),
            place,
            placeholder: Issued::placeholder(&config.host_names()),
            challenges: Challenges::default(),
            watched: OnceLock::new(),
        }
    }

    /// The entry of `stores` that all is kept in, if it is in one.
    pub fn store(&self) -> Option<&str> {
        self.fleet().map(|fleet| fleet.store())
    }

    /// All is kept in this store from now on.
    pub fn attach(&self, store: &Arc<Store>) {
        if let Place::Fleet(fleet) = &self.place {
            fleet.attach(store);
            self.watched.get_or_init(|| Watched::begin(fleet));
        }
    }

    /// Takes over what the listener that this one replaces has shown, if that was the same
    /// certificate: the store may be away.
    pub fn take_over(&self, before: &Acme) {
        if let (Place::Fleet(fleet), Place::Fleet(before)) = (&self.place, &before.place) {
            fleet.take_over(before);
        }
    }

    /// Looks what other gateways have ordered.
    pub async fn look(&self) -> Result<(), AcmeError> {
        match &self.place {
            Place::Folder(_) => Ok(()),
            Place::Fleet(fleet) => fleet.look().await,
        }
    }

    /// What an authority is shown that asks for the proof of this host.
    pub async fn proof(&self, host: &str) -> Option<Arc<ServerConfig>> {
        if let Some(own) = self.challenges.of(host) {
            return Some(own);
        }
        let promised = self.fleet()?.proofs().await;
        let promised = promised.iter().find(|promised| promised.host == host)?;
        let authorization = digest(&SHA256, promised.authorization.as_bytes());
        challenges::shown(host, authorization.as_ref()).map(Arc::new)
    }

    /// Certificate and key as PEM: what was ordered, or what nobody trusts until there is one.
    pub fn pem(&self) -> Vec<u8> {
        let kept = self.kept();
        kept.as_ref().unwrap_or(&self.placeholder).as_text().into_bytes()
    }

    /// The file that holds both, or what stands for it where there is none.
    pub fn file(&self) -> PathBuf {
        match (&self.place, &self.config.keep.0) {
            (Place::Fleet(fleet), _) => {
                PathBuf::from(format!("{}:{}", fleet.store(), self.file_name()))
            }
            (Place::Folder(_), ScalarOr::Value(folder)) => folder.0.join(self.file_name()),
            (Place::Folder(folder), ScalarOr::Full(_)) => folder.join(self.file_name()),
        }
    }

    /// How long until another is to be ordered; zero: now.
    pub fn due(&self) -> Duration {
        let every = match &self.place {
            Place::Folder(_) => LOOKED_AT_EVERY,
            Place::Fleet(_) => FLEET_LOOKED_AT_EVERY,
        };
        let Some(issued) = self.kept() else { return Duration::ZERO };
        issued.until_renewal(self.luck).min(every)
    }

    /// Orders a certificate and keeps it.
    pub async fn order(&self) -> Result<Outcome, AcmeError> {
        let Place::Fleet(fleet) = &self.place else {
            let issued = order::place(&self.config, self).await?;
            self.keep_file(&self.file_name(), issued.as_text().as_bytes())?;
            return Ok(Outcome::Ordered);
        };
        // Who can't read what is there must not stand in the others' way.
        fleet.look().await?;
        if !self.due().is_zero() || !fleet.take_turn().await? {
            return Ok(Outcome::LeftToAnother);
        }
        let outcome = fleet.in_turn(async {
            // Whoever had the turn before may have ordered.
            fleet.look().await?;
            if !self.due().is_zero() {
                return Ok(Outcome::LeftToAnother);
            }
            let issued = order::place(&self.config, self).await;
            fleet.withdraw().await;
            fleet.keep(&issued?).await?;
            Ok(Outcome::Ordered)
        });
        let outcome = outcome.await?;
        fleet.end_turn(Duration::ZERO).await;
        fleet.forget_failures().await;
        Ok(outcome)
    }

    /// Counts a failure, of which this gateway had so many in a row: how many there were, of the
    /// whole fleet where an authority may have counted them.
    pub async fn count_failure(&self, error: &AcmeError, own: u32) -> u32 {
        match &self.place {
            Place::Fleet(fleet) if error.is_authoritys() => {
                fleet.count_failure().await.map_or(own, |all| all.max(own))
            }
            Place::Fleet(_) | Place::Folder(_) => own,
        }
    }

    /// Nobody of the fleet orders for so long: authorities count failures.
    pub async fn rest(&self, wait: Duration) {
        if let Place::Fleet(fleet) = &self.place {
            fleet.end_turn(wait).await;
        }
    }

    fn fleet(&self) -> Option<&Fleet> {
        match &self.place {
            Place::Folder(_) => None,
            Place::Fleet(fleet) => Some(fleet),
        }
    }

    fn kept(&self) -> Option<Issued> {
        let issued = match &self.place {
            Place::Folder(folder) => Issued::parse(&read(folder, &self.file_name())?)?,
            Place::Fleet(fleet) => fleet.known()?,
        };
        issued.is_for(&self.config.host_names()).then_some(issued)
    }

    fn file_name(&self) -> String {
        format!("{}.pem", self.config.host_names()[0])
    }

    /// The account of this file name, as text.
    async fn account(&self, name: &str) -> Result<Option<String>, AcmeError> {
        match &self.place {
            Place::Folder(folder) => Ok(read(folder, name)),
            Place::Fleet(fleet) => fleet.account().await,
        }
    }

    async fn keep_account(&self, name: &str, text: &str) -> Result<(), AcmeError> {
        match &self.place {
            Place::Folder(_) => self.keep_file(name, text.as_bytes()),
            Place::Fleet(fleet) => fleet.keep_account(text).await,
        }
    }

    fn keep_file(&self, name: &str, bytes: &[u8]) -> Result<(), AcmeError> {
        let Place::Folder(folder) = &self.place else { return Ok(()) };
        fetch::put_secret(folder, name, bytes).map_err(|error| {
            AcmeError::Kept(folder.join(name).display().to_string(), error.to_string())
        })
    }
}

fn read(folder: &Path, name: &str) -> Option<String> {
    let bytes = fetch::file(&folder.join(name), FILE_BYTES_MAX).ok()?;
    String::from_utf8(bytes).ok()
}
