//! The text of a token → a proven `Session`.
//!
//! The order is that of RFC 8725: form, key and algorithm from our side, signature, and only then
//! what the token says.

use super::claims::Rules;
use super::header;
use super::key::{self, Key};
use super::key_set::KeySet;
use super::memory::Memory;
use super::reissue::Reissue;
use super::token::Token;
use super::{Config, Refused, Session};
use crate::clock;
use crate::problem::Problem;
use crate::yaml::At;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The most signatures that are computed for one token.
const TRIES_MAX: usize = 8;

/// What verifies the tokens of one kind of session.
pub struct Verifier {
    name: Box<str>,
    keys: Box<[Key]>,
    sets: Box<[Arc<KeySet>]>,
    rules: Rules,
    reissue: Option<Reissue>,
    memory: Memory,
    headers: Vec<(String, HeaderName)>,
    warnings: Vec<Problem>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("name", &self.name)
            .field("keys", &self.keys)
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Reads key files, relative to `base_dir`, and tells everything that is wrong. No network:
    /// key sets from URLs are empty until the server runs them.
    ///
    /// `claims` are kept in the session, beside those that the configuration maps to headers.
    pub fn compile(
        name: &str,
        config: &Config,
        claims: &[&str],
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = config.problems();
        let headers = header::compile(&config.claims_to_headers, &mut problems);
        let (mut keys, mut sets, mut warnings) = (Vec::new(), Vec::new(), config.warnings());
        for written in config.keys.iter() {
            match Verifying::compile(name, written, base_dir) {
                Ok(Verifying::Key(key)) => keys.push(key),
                Ok(Verifying::Set(set, told)) => {
                    sets.push(set);
                    warnings.extend(told);
                }
                Err(all) => problems.extend(all),
            }
        }
        if !problems.is_empty() {
            problems.extend(warnings);
            return Err(problems);
        }
        Ok(Verifier {
            name: name.into(),
            keys: keys.into(),
            sets: sets.into(),
            rules: config.rules(claims),
            reissue: Reissue::compile(config),
            memory: Memory::new(config.remember.0 as usize),
            headers,
            warnings,
        })
    }

    /// What can run but is probably not meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The claims that upstreams get, each with the header that brings it.
    pub fn claims_to_headers(&self) -> &[(String, HeaderName)] {
        &self.headers
    }

    /// What signs younger tokens, if the gateway does.
    pub fn reissue(&self) -> Option<&Reissue> {
        self.reissue.as_ref()
    }

    /// Takes over the key sets of the verifier that this one replaces, where they are the same:
    /// a reload must not begin without keys.
    pub fn adopt(mut self, older: &Verifier) -> Self {
        for set in &mut self.sets {
            if let Some(running) = older.sets.iter().find(|running| running.is_like(set)) {
                *set = running.clone();
            }
        }
        self
    }

    /// The sets that a task must `run`, and that metrics tell about.
    pub fn key_sets(&self) -> &[Arc<KeySet>] {
        &self.sets
    }

    /// How many verified tokens are remembered just now.
    pub fn remembered_count(&self) -> usize {
        self.memory.len()
    }

    /// What this very token was found to prove not long ago. No signature is computed, and nothing
    /// allocated. `None` says nothing about the token: ask `verify`.
    pub fn remembered(&self, token: &str) -> Option<Arc<Session>> {
        self.memory.find(token, self.epoch(), clock::unix_seconds())
    }

    /// Verifies `token` and remembers it. Waits only if its key is not known and the issuer may
    /// have a new one.
    pub async fn verify(&self, token: &str) -> Result<Arc<Session>, Refused> {
        self.verify_at(token, clock::unix_seconds()).await
    }

    pub(super) async fn verify_at(&self, text: &str, now: u64) -> Result<Arc<Session>, Refused> {
        let token = Token::parse(text)?;
        // Before the proof: if the keys change meanwhile, what is remembered is already outdated.
        let mut epoch = self.epoch();
        if let Err(refused) = self.prove(&token) {
            if !self.may_be_news(&token) {
                return Err(refused);
            }
            epoch = self.prove_with_news(&token, refused).await?;
        }
        let digest = || URL_SAFE_NO_PAD.encode(Sha256::digest(token.signed));
        let session = Arc::new(self.rules.session(token.claims()?, now, digest)?);
        self.memory.insert(text, epoch, session.clone());
        Ok(session)
    }

    /// Tries the keys that may have signed the token.
    fn prove(&self, token: &Token<'_>) -> Result<(), Refused> {
        let mut refused = Refused::UnknownKey;
        let mut tries = 0;
        let mut attempt = |key: &Key| {
            if !key.answers_to(token.kid.as_deref()) {
                return None;
            }
            if key.algorithm != token.algorithm {
                // A bad signature says more than a key that was not tried.
                if refused == Refused::UnknownKey {
                    refused = Refused::Algorithm;
                }
                return None;
            }
            tries += 1;
            if tries > TRIES_MAX {
                return None;
            }
            refused = Refused::BadSignature;
            key.verifies(token.signed, token.signature).then_some(())
        };
        let found = match self.keys.iter().find_map(&mut attempt) {
            Some(()) => Some(()),
            None => self.sets.iter().find_map(|set| set.find(&mut attempt)),
        };
        found.ok_or(refused)
    }

    /// Whether a key that would verify the token may exist at its issuer, unknown to us.
    fn may_be_news(&self, token: &Token<'_>) -> bool {
        let Some(kid) = &token.kid else {
            return self.sets.iter().any(|set| !set.is_usable());
        };
        let is_known = |key: &Key| key.is_called(kid).then_some(());
        let is_ours = self.keys.iter().any(|key| key.is_called(kid));
        !is_ours && self.sets.iter().all(|set| set.find(is_known).is_none())
    }

    /// Asks all sets at once, waits for one after the other, and returns the epoch of the proof.
    async fn prove_with_news(&self, token: &Token<'_>, first: Refused) -> Result<u64, Refused> {
        let kid = token.kid.as_deref();
        let mut refused = first;
        let waits: Vec<_> = self.sets.iter().filter_map(|set| set.ask(kid)).collect();
        for wait in waits {
            wait.done().await;
            let epoch = self.epoch();
            match self.prove(token) {
                Ok(()) => return Ok(epoch),
                Err(again) => refused = again,
            }
        }
        match self.sets.iter().all(|set| set.is_usable()) {
            true => Err(refused),
            false => Err(Refused::KeysUnavailable),
        }
    }

    /// Changes whenever the keys do.
    fn epoch(&self) -> u64 {
        self.sets.iter().map(|set| set.version()).sum()
    }
}

/// What one entry of `keys` becomes.
enum Verifying {
    Key(Key),
    Set(Arc<KeySet>, Vec<Problem>),
}

impl Verifying {
    fn compile(
        name: &str,
        written: &At<key::Config>,
        base_dir: &Path,
    ) -> Result<Self, Vec<Problem>> {
        use super::Algorithm::{Hs256, Hs384, Hs512};
        let key = match &written.value {
            key::Config::Hs256(secret) => key::secret(Hs256, secret),
            key::Config::Hs384(secret) => key::secret(Hs384, secret),
            key::Config::Hs512(secret) => key::secret(Hs512, secret),
            key::Config::Pem(file) => key::pem(file, base_dir),
            key::Config::Jwks(set) => {
                let (set, told) = KeySet::compile(name, written, set, base_dir)?;
                return Ok(Verifying::Set(Arc::new(set), told));
            }
        };
        key.map(Verifying::Key).map_err(|problem| vec![problem])
    }
}
