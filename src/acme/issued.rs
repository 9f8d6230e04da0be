//! A certificate that was ordered, with its key, as it is kept.

use crate::clock;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Certificates, the gateway's own first, and its key, as PEM. Its key does not print.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
    names: Vec<String>,
    /// Seconds since 1970.
    from: i64,
    /// Seconds since 1970.
    until: i64,
}

/// The end of a certificate that nobody gave, in seconds since 1970.
pub const PLACEHOLDER_END: i64 = 24 * 3_600;

/// A certificate is renewed when this part of its time is left: a third.
const RENEWED_AT_LEFT: u32 = 3;

/// And up to this part of its time earlier.
const RENEWAL_JITTER: u32 = 30;

const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issued({:?})", self.names)
    }
}

impl Issued {
    /// What an authority gave for this key.
    pub(super) fn new(chain: String, key: String) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        let (_, read) = X509Certificate::from_der(&der).ok()?;
        let others = read.subject_alternative_name().ok().flatten()?;
        let names = others.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let validity = read.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Issued { names: names.collect(), from, until, chain, key })
    }

    /// The text of a file that was kept.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (chain, key) = text.split_at(text.find(KEY_BEGINS)?);
        Issued::new(chain.to_owned(), key.to_owned())
    }

    /// One file, so that nobody finds one half of it renewed.
    pub(super) fn as_text(&self) -> String {
        format!("{}\n{}", self.chain.trim_end(), self.key)
    }

    /// What is shown as long as there is nothing else; nobody trusts it.
    pub(super) fn placeholder(names: &[String]) -> Self {
        let made = KeyPair::generate().and_then(|key| -> Result<_, rcgen::Error> {
            let mut params = CertificateParams::new(names)?;
            params.not_before = date_time_ymd(1970, 1, 1);
            params.not_after = date_time_ymd(1970, 1, 2);
            let certificate = params.self_signed(&key)?;
            Ok((certificate.pem(), key.serialize_pem()))
        });
        let (chain, key): (String, String) = made.unwrap_or_default();
        Issued { names: names.to_vec(), from: 0, until: 0, chain, key }
    }

    /// Whether it is for exactly these hosts.
    pub(super) fn is_for(&self, names: &[String]) -> bool {
        let all = |some: &[String], others: &[String]| some.iter().all(|it| others.contains(it));
        all(names, &self.names) && all(&self.names, names)
    }

    /// How long until it is time to renew it, with this `luck` between 0 and 1.
    pub(super) fn until_renewal(&self, luck: f64) -> Duration {
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
        let whole = seconds(self.until - self.from);
        let early = whole / RENEWED_AT_LEFT + (whole / RENEWAL_JITTER).mul_f64(luck);
        seconds(self.until.saturating_sub(now)).saturating_sub(early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600;

    fn issued(from: i64, until: i64) -> Issued {
        let now = i64::try_from(clock::unix_seconds()).expect("a time");
        let (chain, key) = (String::new(), String::new());
        Issued { chain, key, names: Vec::new(), from: now + from, until: now + until }
    }

    #[test]
    fn it_is_renewed_when_a_third_of_its_time_is_left() {
        let near =
            |wait: Duration, days: f64| (wait.as_secs_f64() / DAY as f64 - days).abs() < 0.01;
        for (from, until, luck, days) in [
            (0, 90 * DAY, 0.0, 60.0),
            (0, 90 * DAY, 1.0, 57.0),
            (-50 * DAY, 40 * DAY, 0.0, 10.0),
            (-61 * DAY, 29 * DAY, 0.0, 0.0),
            (-91 * DAY, -DAY, 0.0, 0.0),
            (0, 6 * DAY, 0.0, 4.0),
        ] {
            let wait = issued(from, until).until_renewal(luck);
            assert!(near(wait, days), "{from} {until} {luck}: {wait:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_pair_is_none() {
        let names = ["tv.example".to_owned()];
        let text = Issued::placeholder(&names).as_text();
        let read = Issued::parse(&text).expect("it is as it was kept");
        assert!(read.is_for(&names) && !read.is_for(&["a.example".to_owned()]));
        for cut in [0, 10, text.find(KEY_BEGINS).expect("a key"), 100] {
            assert!(Issued::parse(&text[..cut]).is_none(), "{cut} bytes");
        }
    }
}
