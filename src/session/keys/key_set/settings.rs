//! What an operator writes about a key set → its settings. Nothing is read here, neither a file nor
//! the network.

use crate::fetch::Link;
use crate::problem::{Place, Problem};
use crate::session::token::algorithm::Algorithm;
use crate::units::{FilePath, Text, Time};
use crate::yaml::At;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The range of `refresh`.
const REFRESH_MIN: Time = Time::secs(10);
const REFRESH_MAX: Time = Time::secs(12 * 60 * 60);

/// Exactly one of `url` and `file`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeySet")]
pub struct Config {
    /// The issuer's `jwks_uri`: https, or http to loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<At<Text>>,
    /// A file that something else keeps up to date; relative to the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<At<FilePath>>,
    /// How often the set is read again, give or take a tenth.
    #[serde(default = "default_refresh")]
    pub refresh: At<Time>,
    /// Accepts plain HTTP to other hosts too. Who can answer in the issuer's place can then forge
    /// any session: only for networks that nobody else is in.
    #[serde(default)]
    pub allow_http: bool,
    /// The algorithms that keys of this set may have; left out, every asymmetric one. The first
    /// RSA one is that of RSA keys without `alg`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<At<Algorithm>>,
}

fn default_refresh() -> At<Time> {
    At { value: Time::secs(600), place: Place::default() }
}

/// What makes two key sets the same: with equal settings they read the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where the set comes from.
    pub(super) source: Source,
    /// The time between two refreshes.
    pub(super) refresh: Duration,
    /// The algorithms that its keys may have; empty: every asymmetric one.
    pub(super) allowed: Vec<Algorithm>,
}

/// Where a key set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Url(Link),
    File(PathBuf),
}

impl Settings {
    /// The settings of `set`, which the file has at `place`.
    pub(super) fn compile(
        place: Place,
        set: &Config,
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let refresh = set.refresh.value;
        if !(REFRESH_MIN..=REFRESH_MAX).contains(&refresh) {
            let text = format!("a key set is refreshed every {REFRESH_MIN} to {REFRESH_MAX}");
            problems.push(set.refresh.problem(text).help("leave it out for `10m`"));
        }
        for secret in set.algorithms.iter().filter(|algorithm| algorithm.name().starts_with("HS")) {
            let text = "a published key is no secret: no HS algorithm can be checked with it";
            problems.push(secret.problem(text).help("remove it"));
        }
        let source = match (&set.url, &set.file) {
            (Some(url), None) => {
                link(url, set.allow_http).map_err(|problem| problems.push(problem))
            }
            (None, Some(file)) => Ok(Source::File(base_dir.join(&file.0))),
            _ => {
                let text = "a key set comes from exactly one place";
                problems.push(Problem::at(place, text).help("write either `url: …` or `file: …`"));
                Err(())
            }
        };
        match (source, problems.is_empty()) {
            (Ok(source), true) => {
                let allowed = set.algorithms.iter().map(|algorithm| algorithm.value).collect();
                Ok(Settings { source, refresh: refresh.0, allowed })
            }
            _ => Err(problems),
        }
    }
}

fn link(url: &At<Text>, allow_http: bool) -> Result<Source, Problem> {
    Link::parse(&url.0, allow_http).map(Source::Url).map_err(|why| {
        url.problem(why)
            .help("write an `https:` URL, or `allow_http: true` if nobody else is there")
    })
}
