//! Sticky cookie: a client brings along which endpoint has answered it, and is led there again.
//!
//! The cookie's value is a keyed hash of the endpoint's address (HMAC-SHA-256, its first half). It
//! tells nobody the address, gateways with one secret agree on it, and it is only compared with
//! those of the endpoints that there are: whoever makes one up is served as without. A client
//! without one, or whose endpoint is gone, ejected or full, goes where `least_in_flight` says, and
//! its answer brings another cookie.

use super::least_in_flight::{self, LeastInFlight};
use super::{Ask, Balance, Config as Policy, Endpoint, HashKey, Settings, Wanted};
use crate::problem::Problem;
use crate::units::{SameSite, Secret, Text};
use crate::yaml::At;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::LazyLock;

/// `balance: { sticky: … }`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BalanceByCookie")]
pub struct Config {
    /// The name of the cookie, which no other upstream and no token has.
    pub cookie: At<Text>,
    /// At least 32 bytes, the same at all gateways. Endpoints are hashed with it. Left out: one of
    /// this process alone, so other gateways, and this one after a start, choose anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<At<Secret>>,
    /// Its `Path`.
    #[serde(default = "everywhere")]
    pub path: At<Text>,
    /// Its `SameSite`.
    #[serde(default)]
    pub same_site: SameSite,
}

fn everywhere() -> At<Text> {
    At::unwritten(Text("/".to_owned()))
}

/// A shorter secret could be guessed from a cookie, and with it the addresses of endpoints.
const SECRET_BYTES_MIN: usize = 32;

/// The secret of upstreams that have none of their own; a reload does not change it.
static OF_PROCESS: LazyLock<[u8; SECRET_BYTES_MIN]> = LazyLock::new(|| rand::rng().random());

/// So much of the hash is sent.
const VALUE_BYTES: usize = 16;

impl Settings for Config {
    fn problem(&self) -> Option<Problem> {
        if HeaderName::from_bytes(self.cookie.0.as_bytes()).is_err() {
            let text = format!("`{}` cannot be the name of a cookie", self.cookie.0);
            return Some(self.cookie.problem(text).help("use letters, digits, `-` and `_`"));
        }
        // RFC 6265 §4.1.1, av-octet.
        let is_sent = |byte: u8| (0x21..0x7f).contains(&byte) && byte != b';';
        if !self.path.0.starts_with('/') || !self.path.0.bytes().all(is_sent) {
            let text = format!("`{}` cannot be the path of a cookie", self.path.0);
            return Some(self.path.problem(text).help("write `/`, or a path below it"));
        }
        let secret = self.secret.as_ref();
        let short = secret.filter(|secret| secret.reveal().len() < SECRET_BYTES_MIN)?;
        let text = format!("the secret of a sticky cookie needs {SECRET_BYTES_MIN} bytes");
        Some(short.problem(text).help("make one: `openssl rand -hex 32`"))
    }

    fn key(&self) -> Option<HashKey> {
        Some(HashKey::Cookie(self.cookie.value.clone()))
    }

    fn cookie(&self) -> Option<&At<Text>> {
        Some(&self.cookie)
    }

    fn secret(&self) -> Option<&At<Secret>> {
        self.secret.as_ref()
    }
}

#[derive(Debug)]
pub(super) struct Sticky {
    /// For each endpoint the cookie's value, and what requests are known by that have it.
    values: Vec<(u64, String)>,
    /// The cookie's name and attributes, without and with `Secure`.
    name: String,
    attributes: [String; 2],
    others: LeastInFlight,
}

pub(super) fn build(policy: &Policy, endpoints: &[Endpoint]) -> Sticky {
    let Policy::Sticky(config) = policy else { unreachable!("the roster builds its own") };
    let secret = config.secret.as_ref().map(|secret| secret.reveal().as_bytes());
    let key = secret.unwrap_or(&*OF_PROCESS);
    let key = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    let value = |endpoint: &Endpoint| {
        let mut mac = key.clone();
        mac.update(endpoint.address.to_string().as_bytes());
        let hash = mac.finalize().into_bytes();
        let text: String = hash[..VALUE_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        (HashKey::of(text.as_bytes()), text)
    };
    Sticky {
        values: endpoints.iter().map(value).collect(),
        name: config.cookie.0.clone(),
        attributes: [false, true].map(|secure| config.same_site.attributes(&config.path.0, secure)),
        others: least_in_flight::build(policy, endpoints),
    }
}

impl Balance for Sticky {
    fn pick(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>) -> Option<usize> {
        let known = ask.key.and_then(|key| self.values.iter().position(|(own, _)| *own == key));
        if let Some(index) = known {
            let wanted = ask.wanted;
            // One that warms up gets few new clients, and keeps those that it has.
            ask.wanted = if wanted == Wanted::Warm { Wanted::Well } else { wanted };
            let may = ask.may(endpoints, index);
            ask.wanted = wanted;
            if may {
                return Some(index);
            }
        }
        self.others.pick(endpoints, ask)
    }

    fn cookie(&self, index: usize, key: Option<u64>, is_https: bool) -> Option<HeaderValue> {
        let (own, value) = &self.values[index];
        if key == Some(*own) {
            return None;
        }
        let attributes = &self.attributes[usize::from(is_https)];
        HeaderValue::try_from(format!("{}={value}{attributes}", self.name)).ok()
    }
}
