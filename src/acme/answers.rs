//! What an authority is answered that asks for a proof by HTTP (HTTP-01, RFC 8555 §8.3).
//!
//! It asks at port 80 of a name, without TLS, and that is another listener than the one whose
//! certificate is ordered. So the answers are the process's, and where a fleet orders, what any of
//! its gateways was promised.

use super::fleet::Fleet;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Where it asks, followed by a token.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// How many answers and fleets there are. Mostly none, and then a request pays for this look alone.
static PENDING: AtomicUsize = AtomicUsize::new(0);

static ANSWERS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The fleets that an answer may have been promised to.
static FLEETS: Mutex<Vec<Weak<Fleet>>> = Mutex::new(Vec::new());

/// The longest token that a fleet is asked for, in bytes.
const TOKEN_BYTES_MAX: usize = 256;

/// What a fleet has promised is answered as long as this lives.
#[derive(Debug)]
pub(super) struct Watched(Weak<Fleet>);

impl Watched {
    pub(super) fn begin(fleet: &Arc<Fleet>) -> Self {
        let fleet = Arc::downgrade(fleet);
        FLEETS.lock().push(Weak::clone(&fleet));
        PENDING.fetch_add(1, Ordering::Relaxed);
        Watched(fleet)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        FLEETS.lock().retain(|fleet| !fleet.ptr_eq(&self.0));
        PENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that is given as long as this lives.
pub(super) struct Answer(String);

impl Answer {
    /// Answers `text` from now on to who asks for `token`.
    pub(super) fn give(token: &str, text: &str) -> Self {
        if ANSWERS.lock().insert(token.to_owned(), text.to_owned()).is_none() {
            PENDING.fetch_add(1, Ordering::Relaxed);
        }
        Answer(token.to_owned())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if ANSWERS.lock().remove(&self.0).is_some() {
            PENDING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether a request for this path may be an authority's.
pub fn is_awaited(path: &str) -> bool {
    PENDING.load(Ordering::Relaxed) != 0 && path.starts_with(PREFIX)
}

/// The answer to who asks for this path, if it is a proof that is awaited.
pub async fn answer(path: &str) -> Option<String> {
    let token = path.strip_prefix(PREFIX)?;
    if let Some(own) = own(token) {
        return Some(own);
    }
    let fleets: Vec<_> = FLEETS.lock().iter().filter_map(Weak::upgrade).collect();
    for fleet in fleets.iter().filter(|_| token.len() <= TOKEN_BYTES_MAX) {
        let promised = fleet.proofs().await;
        if let Some(promised) = promised.iter().find(|promised| promised.token == token) {
            return Some(promised.authorization.clone());
        }
    }
    None
}

fn own(token: &str) -> Option<String> {
    ANSWERS.lock().get(token).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_given_as_long_as_it_is_awaited() {
        let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
        let answer = async |path: &str| match is_awaited(path) {
            true => answer(path).await,
            false => None,
        };
        assert_eq!(answer(&path("t-1")).await, None);
        let given = Answer::give("t-1", "t-1.thumb");
        let another = Answer::give("t-2", "t-2.thumb");
        assert_eq!(answer(&path("t-1")).await.as_deref(), Some("t-1.thumb"));
        for path in [path(""), path("t-3"), path("../t-1"), "/t-1".to_owned(), path("t-1/")] {
            assert_eq!(answer(&path).await, None, "{path}");
        }
        drop(given);
        assert_eq!(answer(&path("t-1")).await, None);
        assert_eq!(answer(&path("t-2")).await.as_deref(), Some("t-2.thumb"));
        drop(another);
    }
}
