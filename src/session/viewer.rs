//! A session as a concurrency policy sees it: the account hidden behind a hash, computed once.

use http::HeaderValue;
use std::sync::{Arc, OnceLock};
use streamgate_lease::{Holder, LeaseId, Pepper};

/// Who watches, without saying who it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Whose slots they are.
    pub holder: Holder,
    /// The same as a header field's value.
    pub field: HeaderValue,
    /// The stream that the session itself is, for players that send no id of a playback.
    pub own_stream: LeaseId,
    /// The same as a header field's value.
    pub own_field: HeaderValue,
}

/// A pepper with a number of its own, so that what was computed with it can be recognised.
#[derive(Debug)]
pub struct Disguise {
    pepper: Pepper,
    number: u64,
}

impl Disguise {
    pub fn new(pepper: Pepper) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Disguise { pepper, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The viewer under the first disguise that was asked for: a session seldom meets a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo(OnceLock<(u64, Arc<Viewer>)>);

impl Memo {
    pub(super) fn viewer(&self, disguise: &Disguise, account: &str, id: &str) -> Arc<Viewer> {
        let compute = || {
            let holder = Holder::of(&disguise.pepper, account);
            let field = HeaderValue::try_from(holder.to_string()).expect("hexadecimal digits");
            let own_stream = LeaseId::of(id, None);
            let own_field = HeaderValue::try_from(own_stream.to_string()).expect("base64url");
            Arc::new(Viewer { holder, field, own_stream, own_field })
        };
        let (number, viewer) = self.0.get_or_init(|| (disguise.number, compute()));
        if *number == disguise.number { Arc::clone(viewer) } else { compute() }
    }
}

impl PartialEq for Memo {
    /// What was computed is no part of what a session is.
    fn eq(&self, _: &Memo) -> bool {
        true
    }
}
