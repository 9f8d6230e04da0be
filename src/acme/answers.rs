//! What an authority is answered that asks for a proof by HTTP (HTTP-01, RFC 8555 §8.3).
//!
//! It asks at port 80 of a name, without TLS, and that is another listener than the one whose
//! certificate is ordered. So the answers are the process's.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where it asks, followed by a token.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// How many answers there are. Mostly none, and then a request pays for this look alone.
static PENDING: AtomicUsize = AtomicUsize::new(0);

static ANSWERS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

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

/// The answer to who asks for this path, if it is a proof that is awaited.
pub fn answer(path: &str) -> Option<String> {
    if PENDING.load(Ordering::Relaxed) == 0 {
        return None;
    }
    ANSWERS.lock().get(path.strip_prefix(PREFIX)?).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_as_long_as_it_is_awaited() {
        let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
        assert_eq!(answer(&path("t-1")), None);
        let given = Answer::give("t-1", "t-1.thumb");
        let another = Answer::give("t-2", "t-2.thumb");
        assert_eq!(answer(&path("t-1")).as_deref(), Some("t-1.thumb"));
        for path in [path(""), path("t-3"), path("../t-1"), "/t-1".to_owned(), path("t-1/")] {
            assert_eq!(answer(&path), None, "{path}");
        }
        drop(given);
        assert_eq!(answer(&path("t-1")), None);
        assert_eq!(answer(&path("t-2")).as_deref(), Some("t-2.thumb"));
        drop(another);
    }
}
