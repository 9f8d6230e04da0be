//! The text of a token → a proven `Session`.
//!
//! The order is that of RFC 8725: form, key and algorithm from our side, signature, and only then
//! what the token says.

use super::config::Config;
use super::keys::key::Key;
use super::keys::key_set::KeySet;
use super::keys::key_source::KeySource;
use super::reissue::{self, Reissue};
use super::token::Token;
use super::token::claims::Rules;
use super::token::error::TokenError;
use super::token_cache::TokenCache;
use super::{Session, claim_headers, lifetime};
use crate::clock;
use crate::problem::Problem;
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
    cache: TokenCache,
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
    /// Reads key files, relative to `base_dir`, and returns everything that is wrong. No network:
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
        problems.extend(lifetime::problems(config));
        problems.extend(reissue::problems(config));
        let headers = claim_headers::compile(&config.claims_to_headers, &mut problems);
        let (mut keys, mut sets, mut warnings) = (Vec::new(), Vec::new(), config.warnings());
        for written in config.keys.iter() {
            match KeySource::compile(name, written, base_dir) {
                Ok(KeySource::Key(key)) => keys.push(key),
                Ok(KeySource::Set(set, skipped)) => {
                    sets.push(set);
                    warnings.extend(skipped);
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
            cache: TokenCache::new(config.remember.0 as usize),
            headers,
            warnings,
        })
    }

    /// What can run but is probably not meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The entry of `sessions`.
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

    /// Takes over the key sets of the verifier that this one replaces, where they are the same, so
    /// that it does not begin without keys.
    pub fn adopt(mut self, older: &Verifier) -> Self {
        for set in &mut self.sets {
            if let Some(running) = older.sets.iter().find(|running| running.is_like(set)) {
                *set = running.clone();
            }
        }
        self
    }

    /// The key sets. A task must `run` each of them.
    pub fn key_sets(&self) -> &[Arc<KeySet>] {
        &self.sets
    }

    /// The number of verified tokens in the cache.
    pub fn remembered_count(&self) -> usize {
        self.cache.len()
    }

    /// The session of this token, if it was verified not long ago. No signature is computed and
    /// nothing is allocated. `None` says nothing about the token: call `verify`.
    pub fn remembered(&self, token: &str) -> Option<Arc<Session>> {
        self.remembered_at(token, clock::unix_seconds())
    }

    pub(super) fn remembered_at(&self, token: &str, now: u64) -> Option<Arc<Session>> {
        self.cache.find(token, self.epoch(), now)
    }

    /// Whether a text has the form of a token, be it good or not.
    pub fn is_token(text: &str) -> bool {
        Token::parse(text).is_ok()
    }

    /// Whether a text says that it is a token of the issuer, and for this audience. That it is good
    /// is not said.
    pub fn is_of_issuer(&self, text: &str) -> bool {
        let claims = Token::parse(text).and_then(|token| token.claims());
        claims.is_ok_and(|claims| self.rules.check_origin(&claims).is_ok())
    }

    /// Verifies `token` and caches the result. Waits only if its key is not known and the issuer
    /// may have a new one.
    pub async fn verify(&self, token: &str) -> Result<Arc<Session>, TokenError> {
        self.verify_at(token, clock::unix_seconds()).await
    }

    pub(super) async fn verify_at(&self, text: &str, now: u64) -> Result<Arc<Session>, TokenError> {
        let token = Token::parse(text)?;
        // Taken before the proof: if the keys change meanwhile, the cached result is outdated.
        let mut epoch = self.epoch();
        if let Err(refused) = self.prove(&token) {
            if !self.may_be_new_key(&token) {
                return Err(refused);
            }
            epoch = self.prove_with_new_keys(&token, refused).await?;
        }
        let digest = || URL_SAFE_NO_PAD.encode(Sha256::digest(token.signed));
        let session = Arc::new(self.rules.session(token.claims()?, now, digest)?);
        self.cache.insert(text, epoch, session.clone());
        Ok(session)
    }

    /// Tries the keys that may have signed the token.
    fn prove(&self, token: &Token<'_>) -> Result<(), TokenError> {
        let mut refused = TokenError::UnknownKey;
        let mut tries = 0;
        let mut attempt = |key: &Key| {
            if !key.answers_to(token.kid.as_deref()) {
                return None;
            }
            if key.algorithm != token.algorithm {
                // A bad signature says more than a key that was not tried.
                if refused == TokenError::UnknownKey {
                    refused = TokenError::Algorithm;
                }
                return None;
            }
            tries += 1;
            if TRIES_MAX < tries {
                return None;
            }
            refused = TokenError::BadSignature;
            key.verifies(token.signed, token.signature).then_some(())
        };
        let found = match self.keys.iter().find_map(&mut attempt) {
            Some(()) => Some(()),
            None => self.sets.iter().find_map(|set| set.find(&mut attempt)),
        };
        found.ok_or(refused)
    }

    /// Whether the issuer may have a key for the token that is not known here.
    fn may_be_new_key(&self, token: &Token<'_>) -> bool {
        let Some(kid) = &token.kid else {
            return self.sets.iter().any(|set| !set.is_usable());
        };
        let is_known = |key: &Key| key.is_called(kid).then_some(());
        let is_ours = self.keys.iter().any(|key| key.is_called(kid));
        !is_ours && self.sets.iter().all(|set| set.find(is_known).is_none())
    }

    /// Asks all sets for a refresh, waits for one after the other, and returns the epoch in which
    /// the token was verified.
    async fn prove_with_new_keys(
        &self,
        token: &Token<'_>,
        first: TokenError,
    ) -> Result<u64, TokenError> {
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
            false => Err(TokenError::KeysUnavailable),
        }
    }

    /// A number that changes whenever the keys do.
    fn epoch(&self) -> u64 {
        self.sets.iter().map(|set| set.version()).sum()
    }
}
