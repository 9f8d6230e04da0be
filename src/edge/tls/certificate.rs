//! One certificate with its key, from two files: what is in it, and what is wrong with it.

use super::config::CertificateConfig;
use super::file::{File, Files};
use super::ocsp::{Staple, Unfit};
use crate::acme;
use crate::clock;
use crate::problem::Problem;
use crate::units::FilePath;
use crate::yaml::At;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// How long before its end a certificate is warned of.
pub(super) const EXPIRY_WARNED_BEFORE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// A certificate that can be shown, and its key.
pub(super) struct Certificate {
    key: Arc<CertifiedKey>,
    /// The same with what its authority says of it.
    stapled: Option<(Arc<CertifiedKey>, Staple)>,
    /// Why the file that it says it in is not shown.
    unstapled: Option<&'static str>,
    /// The place of its terms among those of the listener.
    pub(super) terms: usize,
    /// Names of hosts, in lower case; `*.` at the beginning stands for one label.
    pub(super) names: Vec<Box<str>>,
    /// What it is called where one name is enough.
    pub(super) name: Box<str>,
    /// As `cert` has it in the configuration.
    pub(super) file: String,
    /// Tells one kind of key from another, as clients do.
    pub(super) kind: String,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    names_nobody: bool,
}

/// What the certificate itself says.
struct Facts {
    names: Vec<Box<str>>,
    names_nobody: bool,
    kind: String,
    not_before: i64,
    not_after: i64,
    staple: Option<Result<Staple, &'static str>>,
}

impl Certificate {
    /// Reads a certificate and its key; tells what is wrong with either.
    pub(super) fn read(
        config: &CertificateConfig,
        files: &Files,
        terms: usize,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<Problem>> {
        let chain = chain(&config.cert, files.of(&config.cert));
        let signer = signer(&config.key, files.of(&config.key), provider);
        let (chain, signer) = match (chain, signer) {
            (Ok(chain), Ok(signer)) => (chain, signer),
            (chain, signer) => {
                return Err(chain.err().into_iter().chain(signer.err()).collect());
            }
        };
        let ocsp = config.ocsp.as_ref().map(|path| (path, files.of(path)));
        let facts = facts(&config.cert, &chain[0], ocsp).map_err(|problem| vec![problem])?;
        let key = CertifiedKey::new(chain, signer);
        if let Err(error) = key.keys_match() {
            return Err(vec![mismatch(config, &key, &error)]);
        }
        let file = config.cert.to_string();
        let name = facts.names.first().cloned().unwrap_or_else(|| file.as_str().into());
        let (stapled, unstapled) = match facts.staple {
            Some(Ok(staple)) => {
                let ocsp = Some(staple.der.clone());
                (Some((Arc::new(CertifiedKey { ocsp, ..key.clone() }), staple)), None)
            }
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        Ok(Certificate {
            key: Arc::new(key),
            stapled,
            unstapled,
            terms,
            name,
            file,
            names: facts.names,
            kind: facts.kind,
            not_before: facts.not_before,
            not_after: facts.not_after,
            names_nobody: facts.names_nobody,
        })
    }

    /// What can run and is seldom meant.
    pub(super) fn warnings(&self, config: &CertificateConfig, files: &Files) -> Vec<Problem> {
        let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
        let before = i64::try_from(EXPIRY_WARNED_BEFORE.as_secs()).unwrap_or(i64::MAX);
        let cert = |text: String, help: &str| config.cert.problem(text).help(help).warning();
        let (name, until) = (&self.name, date(self.not_after));
        let mut all = Vec::new();
        if config.is_ordered && self.not_after == acme::PLACEHOLDER_END {
            let text = format!("there is no certificate for `{name}` yet, so clients refuse it");
            all.push(cert(
                text,
                "it is ordered when the gateway runs: see that its name leads here",
            ));
            return all;
        }
        if self.not_after <= now {
            let text = format!("the certificate of `{name}` expired on {until}");
            all.push(cert(text, "clients refuse it: renew it"));
        } else if self.not_after <= now + before {
            let text = format!("the certificate of `{name}` expires on {until}");
            all.push(cert(text, "renew it before: the gateway sees by itself that a file changed"));
        }
        if now < self.not_before {
            let from = date(self.not_before);
            let text = format!("the certificate of `{name}` is not valid before {from}");
            all.push(cert(text, "clients refuse it until then; is the clock right?"));
        }
        if self.names_nobody {
            let text = format!("the certificate in `{}` names no host", self.file);
            all.push(cert(text, "clients look at its subjectAltName alone; have one made with it"));
        }
        if let Some((path, why)) = config.ocsp.as_ref().zip(self.unstapled) {
            let text = format!("`{}` is not shown with `{}`: {why}", path.value, self.file);
            let help = "fetch it again, for this certificate: `openssl ocsp … -respout`";
            all.push(path.problem(text).help(help).warning());
        }
        if files.of(&config.key).is_for_everybody {
            let text = format!("everybody on this machine may read `{}`", config.key.value);
            let help = format!("take that away: `chmod o= {}`", config.key.value);
            all.push(config.key.problem(text).help(help).warning());
        }
        all
    }

    /// What a client is shown now.
    pub(super) fn shown(&self) -> &Arc<CertifiedKey> {
        let stapled = self.stapled.as_ref().filter(|(_, staple)| staple.is_fresh());
        stapled.map_or(&self.key, |(key, _)| key)
    }

    /// Whether a client that signs by `scheme` can check it.
    pub(super) fn fits(&self, scheme: SignatureScheme) -> bool {
        self.key.key.choose_scheme(&[scheme]).is_some()
    }

    /// For people: names, kind of key and end.
    pub(super) fn describe(&self) -> String {
        let names = self.names.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "no host" } else { &names };
        let kind = match self.key.key.algorithm() {
            SignatureAlgorithm::RSA => "RSA",
            SignatureAlgorithm::ECDSA => "ECDSA",
            SignatureAlgorithm::ED25519 => "Ed25519",
            _ => "another kind of key",
        };
        let stapled = if self.stapled.is_some() { ", with OCSP" } else { "" };
        format!("{names} ({kind}, until {}{stapled}) from {}", date(self.not_after), self.file)
    }
}

/// The day of a time in seconds since 1970.
pub(super) fn date(unix_seconds: i64) -> String {
    let ms = u64::try_from(unix_seconds).unwrap_or_default().saturating_mul(1_000);
    clock::rfc3339(ms).chars().take("2026-01-01".len()).collect()
}

/// The certificates of a file, the first of which is the gateway's own.
pub(super) fn chain(
    config: &At<FilePath>,
    file: &File,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    file.items(config, "certificate", "CERTIFICATE")
}

/// The key of a file. Nothing of it is in what is said of it.
fn signer(
    config: &At<FilePath>,
    file: &File,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, Problem> {
    let bytes = file.bytes(config)?;
    let path = &config.value;
    let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) else {
        const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        let said = String::from_utf8_lossy(bytes);
        let problem = match ENCRYPTED.iter().any(|mark| said.contains(mark)) {
            true => {
                let help = format!("take the passphrase off: `openssl pkey -in {path}`");
                config.problem(format!("the key in `{path}` is encrypted")).help(help)
            }
            false => {
                let help = "write a file in the PEM format: PKCS#8, SEC1 or PKCS#1";
                config.problem(format!("there is no private key in `{path}`")).help(help)
            }
        };
        return Err(problem);
    };
    provider.key_provider.load_private_key(key).map_err(|_| {
        let text = format!("the key in `{path}` can't be used");
        let help = "take RSA from 2048 bits on, ECDSA by P-256, P-384 or P-521, or Ed25519";
        config.problem(text).help(help)
    })
}

fn facts(
    config: &At<FilePath>,
    der: &CertificateDer<'_>,
    ocsp: Option<(&At<FilePath>, &File)>,
) -> Result<Facts, Problem> {
    let unread = || {
        let text = format!("the first certificate in `{}` can't be read", config.value);
        config.problem(text).help("have it made again, as X.509 version 3")
    };
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unread())?;
    let names = certificate.subject_alternative_name().map_err(|_| unread())?;
    let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
    let hosts = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    });
    let algorithm = &certificate.public_key().algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    let staple = ocsp.map(|(path, file)| staple(path, file, &certificate)).transpose()?;
    Ok(Facts {
        staple,
        names: hosts.collect(),
        names_nobody: names.is_empty(),
        kind: format!("{} {curve}", algorithm.algorithm.to_id_string()),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// What is shown along with a certificate; `Ok(Err)`: why it is not.
fn staple(
    path: &At<FilePath>,
    file: &File,
    of: &X509Certificate<'_>,
) -> Result<Result<Staple, &'static str>, Problem> {
    match Staple::read(file.bytes(path)?, of) {
        Ok(staple) => Ok(Ok(staple)),
        Err(Unfit::Doubtful(why)) => Ok(Err(why)),
        Err(Unfit::Unread) => {
            let text = format!("`{}` is no answer of OCSP", path.value);
            Err(path.problem(text).help("write a file in DER: `openssl ocsp … -respout tv.ocsp`"))
        }
    }
}

/// Why a key and a certificate do not go together.
fn mismatch(config: &CertificateConfig, key: &CertifiedKey, error: &rustls::Error) -> Problem {
    let (path, cert) = (&config.key.value, &config.cert.value);
    if !matches!(error, rustls::Error::InconsistentKeys(_)) {
        let text = format!("the first certificate in `{cert}` can't be used: {error}");
        return config.cert.problem(text).help("have it made again, as X.509 version 3");
    }
    let is_of = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], Arc::clone(&key.key)).keys_match().is_ok()
    };
    match key.cert.iter().position(is_of) {
        Some(behind) => {
            let text = format!("the certificate of `{path}` is number {} in `{cert}`", behind + 1);
            config.cert.problem(text).help("put it first, and behind it the one that signed it")
        }
        None => {
            let text = format!("the key in `{path}` is not that of the certificate in `{cert}`");
            config.key.problem(text).help("name the key that the certificate was made for")
        }
    }
}
