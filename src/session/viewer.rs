//! A session as a concurrency policy sees it: the account hidden behind a hash, computed once.

use http::HeaderValue;
use std::borrow::Cow;
use std::sync::OnceLock;
use streamgate_lease::{Bookmark, Holder, LeaseId, Pepper};

/// A holder as it prints.
pub type AccountText = [u8; 34];

/// Who watches, without saying who it is. Texts lie in it, not behind it: a gateway has many
/// viewers, and each place that a request must look up in memory costs more than copying a line.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Whose slots they are, and where the gateway keeps one of its leases.
    pub bookmark: Bookmark,
    /// The stream that the session itself is, for players that send no id of a playback.
    pub own_stream: LeaseId,
    account: AccountText,
    own: [u8; 22],
}

impl Viewer {
    fn new(pepper: &Pepper, account: &str, session: &str) -> Self {
        let holder = Holder::of(pepper, account);
        let own_stream = LeaseId::of(session, None);
        let (account, own) = (text(&holder), text(&own_stream));
        Viewer { bookmark: Bookmark::new(holder), own_stream, account, own }
    }

    /// Whose slots they are.
    pub fn holder(&self) -> &Holder {
        self.bookmark.holder()
    }

    /// What the holder prints as, without the printing.
    pub fn account_text(&self) -> &AccountText {
        &self.account
    }

    /// The session's own stream as a header field's value.
    pub fn own_field(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.own).expect("base64url")
    }
}

/// What `shown` prints, which always has this length.
fn text<const BYTES: usize>(shown: &impl std::fmt::Display) -> [u8; BYTES] {
    shown.to_string().into_bytes().try_into().expect("the text has a fixed length")
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
pub(super) struct Memo(OnceLock<(u64, Viewer)>);

impl Memo {
    pub(super) fn viewer(&self, disguise: &Disguise, account: &str, id: &str) -> Cow<'_, Viewer> {
        let compute = || Viewer::new(&disguise.pepper, account, id);
        let (number, viewer) = self.0.get_or_init(|| (disguise.number, compute()));
        if *number == disguise.number { Cow::Borrowed(viewer) } else { Cow::Owned(compute()) }
    }
}

impl PartialEq for Memo {
    /// What was computed is no part of what a session is.
    fn eq(&self, _: &Memo) -> bool {
        true
    }
}
