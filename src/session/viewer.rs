//! A session as a concurrency policy sees it: the account hidden behind a hash, computed once.

use std::borrow::Cow;
use std::sync::OnceLock;
use streamgate_lease::{CachedEntry, Holder, LeaseId, LeaseText, Pepper};

/// The text of a holder, in hexadecimal digits and a dash.
pub type AccountText = [u8; 34];

/// Who watches, without the account's name. Its texts are stored inside and not on the heap: a
/// gateway has many viewers, and each cache miss of a request costs more than copying a cache line.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The holder of the slots, and where the gateway has one of its leases.
    pub cached_entry: CachedEntry,
    /// The id of the stream for players that send no id of a playback: one per session.
    pub own_stream: LeaseId,
    account: AccountText,
    own: LeaseText,
}

impl Viewer {
    pub(super) fn new(pepper: &Pepper, account: &str, session: &str) -> Self {
        let holder = Holder::of(pepper, account);
        let own_stream = LeaseId::of(session, None);
        let account = holder.to_string().into_bytes();
        let account = account.try_into().expect("a holder's text has a fixed length");
        let own = own_stream.text();
        Viewer { cached_entry: CachedEntry::new(holder), own_stream, account, own }
    }

    /// The holder of the slots.
    pub fn holder(&self) -> &Holder {
        self.cached_entry.holder()
    }

    /// The holder as text, which is at hand and not formatted again.
    pub fn account_text(&self) -> &AccountText {
        &self.account
    }

    /// The id of one of its streams as text; the text of `own_stream` is at hand.
    pub fn text_of(&self, stream: &LeaseId) -> LeaseText {
        if *stream == self.own_stream { self.own } else { stream.text() }
    }
}

/// Hashes accounts with a pepper. Each has a number of its own, by which a cached hash is
/// recognised.
#[derive(Debug)]
pub struct AccountHasher {
    pepper: Pepper,
    number: u64,
}

impl AccountHasher {
    /// A hasher with this pepper and a new number.
    pub fn new(pepper: Pepper) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        AccountHasher { pepper, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The viewer under the first hasher that was asked for, computed once. A session seldom meets a
/// second hasher; for that one the viewer is computed each time.
#[derive(Debug, Default)]
pub(super) struct OnceViewer(OnceLock<(u64, Viewer)>);

impl OnceViewer {
    pub(super) fn viewer(
        &self,
        hasher: &AccountHasher,
        new: impl Fn(&Pepper) -> Viewer,
    ) -> Cow<'_, Viewer> {
        let compute = || (hasher.number, new(&hasher.pepper));
        let (number, viewer) = self.0.get_or_init(compute);
        if *number == hasher.number { Cow::Borrowed(viewer) } else { Cow::Owned(compute().1) }
    }
}
