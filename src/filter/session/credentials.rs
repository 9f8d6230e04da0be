//! What a request shows of logins: its bearer token, and the cookies of one name.
//!
//! A browser sends several cookies of one name when one was set for the host and another for its
//! domain or for another path, and says nothing of which is which. One may be a rest of last week,
//! or another application's. Whoever sets a cookie on a sibling host must not log a viewer out
//! (RFC 6265 §8.6), nor log them in as somebody else. So all that look like tokens are verified:
//! what proves nothing is passed over, and tokens of two accounts are refused.

use super::refusal;
use crate::denial::Code;
use crate::exchange::Cause;
use crate::filter::Halt;
use crate::request::Request;
use crate::request::authorization::bearer_tokens;
use crate::session::{Session, TokenError, Verifier};
use smallvec::SmallVec;
use std::sync::Arc;

/// The most cookies of one name that are verified.
const CANDIDATES_MAX: usize = 4;

/// Tokens that are not verified yet, each once.
pub(super) struct Credentials<'r> {
    bearer: Option<&'r str>,
    cookies: SmallVec<[&'r str; CANDIDATES_MAX]>,
}

impl<'r> Credentials<'r> {
    pub(super) fn read(request: &Request<'r>, cookie: &str) -> Result<Self, Halt> {
        let bearer = bearer(request)?;
        if let Some(ticket) = request.ticket {
            return Self::of_ticket(&ticket.token, bearer);
        }
        let written = || request.cookies(cookie).filter(|value| !value.is_empty());
        let mut cookies = SmallVec::new();
        let Some(first) = written().next() else { return Ok(Credentials { bearer, cookies }) };
        if written().any(|value| value != first) {
            for value in written().filter(|value| Verifier::is_token(value)) {
                if cookies.contains(&value) {
                    continue;
                }
                if cookies.len() == CANDIDATES_MAX {
                    return Err(Code::SessionAmbiguous.into());
                }
                cookies.push(value);
            }
        }
        if cookies.is_empty() {
            cookies.push(first);
        }
        Ok(Credentials { bearer, cookies })
    }

    /// A ticket stands for the session that asked for it. Cookies of whoever holds it count for
    /// nothing, and a bearer token of another session is refused.
    fn of_ticket(token: &'r str, bearer: Option<&'r str>) -> Result<Self, Halt> {
        match bearer.is_some_and(|bearer| bearer != token) {
            true => Err(refusal(TokenError::Malformed("two different tokens"))),
            false => Ok(Credentials { bearer: Some(token), cookies: SmallVec::new() }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bearer.is_none() && self.cookies.is_empty()
    }

    /// Whether nothing of it is meant to be a token of ours: a cookie of that name may be another
    /// application's.
    pub(super) fn holds_no_token(&self) -> bool {
        self.bearer.is_none() && !self.cookies.iter().any(|cookie| Verifier::is_token(cookie))
    }

    /// The token, if there is only one.
    pub(super) fn only(&self) -> Option<&'r str> {
        match (self.bearer, self.cookies.as_slice()) {
            (Some(token), &[]) | (None, &[token]) => Some(token),
            (Some(bearer), &[cookie]) if bearer == cookie => Some(bearer),
            _ => None,
        }
    }

    /// The session that they prove. A bearer token is meant, so it must be good and of the session
    /// that the cookies prove: who can add a second must not choose (RFC 6750 §2).
    pub(super) async fn prove(&self, verifier: &Verifier) -> Result<Arc<Session>, Halt> {
        let Some(bearer) = self.bearer else {
            return self.by_cookie(verifier).await?.ok_or_else(|| Code::SessionMissing.into());
        };
        let session = verified(verifier, bearer).await.map_err(refusal)?;
        let cookies = Credentials { bearer: None, cookies: self.cookies.clone() };
        match cookies.by_cookie(verifier).await {
            Ok(Some(other)) if !is_same_session(&session, &other) => {
                Err(refusal(TokenError::Malformed("two different tokens")))
            }
            Err(halt) if is_ambiguous(&halt) => Err(halt),
            // A cookie that proves nothing says nothing against the bearer token.
            Ok(_) | Err(_) => Ok(session),
        }
    }

    /// Of several sessions of one account, the one whose login is the latest.
    async fn by_cookie(&self, verifier: &Verifier) -> Result<Option<Arc<Session>>, Halt> {
        let (mut best, mut refused): (Option<Arc<Session>>, Option<TokenError>) = (None, None);
        for token in &self.cookies {
            match (verified(verifier, token).await, &best) {
                (Ok(session), Some(other)) if other.account() != session.account() => {
                    return Err(Code::SessionAmbiguous.into());
                }
                (Ok(session), Some(other)) if age(&session) <= age(other) => {}
                (Ok(session), _) => best = Some(session),
                (Err(why), _) if refused.is_none_or(|other| weight(other) < weight(why)) => {
                    refused = Some(why);
                }
                (Err(_), _) => {}
            }
        }
        match (best, refused) {
            (None, Some(why)) => Err(refusal(why)),
            (best, _) => Ok(best),
        }
    }

    /// Whether the cookies, whose request was refused for `why`, should be forgotten: they prove
    /// nothing, whatever stands beside them, and one is what the auth service of this gateway
    /// writes.
    pub(super) async fn is_worth_forgetting(&self, verifier: &Verifier, why: TokenError) -> bool {
        let why = match self.bearer {
            None => why,
            Some(_) => match self.by_cookie(verifier).await {
                Err(Halt::Deny(_, Cause::Token(why))) => why,
                _ => return false,
            },
        };
        // These may be good in a moment.
        let may_become_good = matches!(why, TokenError::KeysUnavailable | TokenError::NotYet);
        !may_become_good && self.cookies.iter().any(|token| verifier.is_of_issuer(token))
    }
}

/// What was verified not long ago costs no signature.
async fn verified(verifier: &Verifier, token: &str) -> Result<Arc<Session>, TokenError> {
    match verifier.remembered(token) {
        Some(session) => Ok(session),
        None => verifier.verify(token).await,
    }
}

/// The larger, the later its login was; of one login, the token that lasts longer is the younger.
fn age(session: &Session) -> (Option<u64>, u64) {
    (session.began_at(), session.expires_at())
}

/// Of several reasons the one that says the most about what the client can do.
fn weight(why: TokenError) -> u8 {
    match why {
        TokenError::KeysUnavailable => 3,
        TokenError::NotYet => 2,
        TokenError::Expired => 1,
        _ => 0,
    }
}

fn is_same_session(one: &Session, other: &Session) -> bool {
    one.account() == other.account() && one.id() == other.id()
}

fn is_ambiguous(halt: &Halt) -> bool {
    matches!(halt, Halt::Deny(denial, _) if denial.code() == Code::SessionAmbiguous)
}

/// The bearer token of a request. Two different ones are refused, whichever is good.
fn bearer<'r>(request: &Request<'r>) -> Result<Option<&'r str>, Halt> {
    let mut found: Option<&'r str> = None;
    for token in bearer_tokens(request.headers) {
        if found.is_some_and(|other| other != token) {
            return Err(refusal(TokenError::Malformed("two different tokens")));
        }
        found = Some(token);
    }
    Ok(found)
}
