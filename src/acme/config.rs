//! `acme` of a listener's `tls` in `gateway.yaml`.

use crate::fetch::Link;
use crate::problem::Problem;
use crate::units::{FilePath, Secret, Text, rotation_problems};
use crate::yaml::{At, ScalarOr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate that the gateway orders by itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Acme")]
pub struct Config {
    /// Where the authority says what it offers:
    /// `https://acme-v02.api.letsencrypt.org/directory`.
    pub directory: At<Text>,
    /// The hosts that the certificate is for. They must lead to this listener at port 443.
    pub names: At<Vec<At<Text>>>,
    /// Where the account and the certificate are kept: a folder, relative to the configuration, or
    /// a store that a fleet has in common.
    pub keep: Keep,
    /// How it is proven that the names lead here.
    #[serde(default)]
    pub proof: Proof,
    /// Whom the authority writes to: `mailto:ops@tv.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<At<Text>>,
    /// Who signs the certificate of the authority's own server. Left out: as the system has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<At<FilePath>>,
}

/// A folder, or a store in which all is sealed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Keep(pub(super) ScalarOr<FilePath, SealedStore>);

/// A store that keeps the account and the certificate for a fleet: one gateway orders, the others
/// take the result.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcmeStore")]
pub struct SealedStore {
    /// An entry of `stores`, in Redis.
    pub store: At<Text>,
    /// What all is sealed with: at least 32 bytes, the same at all gateways of the fleet.
    pub current: At<Secret>,
    /// The one before, or the next one: what was sealed with it is still opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<At<Secret>>,
}

/// How an authority sees that a name leads to this gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AcmeProof")]
pub enum Proof {
    /// By a handshake at port 443, which leads to this listener (TLS-ALPN-01).
    #[default]
    TlsAlpn,
    /// By a request at port 80, which leads to a listener without TLS (HTTP-01).
    Http,
}

/// How many names one certificate may have, as authorities allow them.
const NAMES_MAX: usize = 100;

impl Config {
    /// The store that keeps all, where one does.
    pub fn sealed_store(&self) -> Option<&SealedStore> {
        match &self.keep.0 {
            ScalarOr::Value(_) => None,
            ScalarOr::Full(sealed) => Some(sealed),
        }
    }

    /// What all is sealed with, the current one first.
    pub fn secrets(&self) -> impl Iterator<Item = &At<Secret>> {
        let both = self.sealed_store().into_iter();
        both.flat_map(|sealed| std::iter::once(&sealed.current).chain(&sealed.previous))
    }

    /// The hosts, in lower case.
    pub(super) fn host_names(&self) -> Vec<String> {
        self.names.iter().map(|name| name.0.to_ascii_lowercase()).collect()
    }

    /// What can't be meant.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(why) = Link::parse(&self.directory.0, false) {
            let text = format!("`{}` can't be asked: {why}", self.directory.value);
            let help = "write the authority's URL: `https://acme.example/directory`";
            problems.push(self.directory.problem(text).help(help));
        }
        if self.names.is_empty() {
            let problem = self.names.problem("there is no name to order a certificate for");
            problems.push(problem.help("write, for example, `names: [tv.example]`").of_absence());
        }
        if let Some(beyond) = self.names.get(NAMES_MAX) {
            let text = format!("there are more than {NAMES_MAX} names");
            problems
                .push(beyond.problem(text).help("authorities take no more for one certificate"));
        }
        for name in self.names.iter().filter(|name| !is_host_name(&name.0)) {
            let text = match name.0.starts_with("*.") {
                true => "a wildcard can't be proven by a handshake or a request".to_owned(),
                false => format!("`{}` is no name of a host", name.value),
            };
            problems.push(name.problem(text).help("write each name: `tv.example`"));
        }
        if let Some(contact) = self.contact.as_ref().filter(|it| !it.0.starts_with("mailto:")) {
            let text = format!("`{}` is no address to write to", contact.value);
            problems.push(contact.problem(text).help("write `mailto:ops@tv.example`"));
        }
        problems.extend(
            self.sealed_store()
                .into_iter()
                .flat_map(|sealed| rotation_problems(&sealed.current, sealed.previous.as_ref())),
        );
        problems
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
}
