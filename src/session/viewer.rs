//! A session as a concurrency policy sees it: the account hidden behind a hash, computed once.

use std::borrow::Cow;
use std::sync::OnceLock;
use streamgate_lease::{CachedEntry, Holder, LeaseId, LeaseText, Pepper};

/// A holder as it prints.
pub type AccountText = [u8; 34];

/// Who watches, without saying who it is. Texts lie in it, not behind it: a gateway has many
/// viewers, and each place that a request must look up in memory costs more than copying a line.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Whose slots they are, and where the gateway keeps one of its leases.
    pub cached_entry: CachedEntry,
    /// The stream that the session itself is, for players that send no id of a playback.
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

    /// Whose slots they are.
    pub fn holder(&self) -> &Holder {
        self.cached_entry.holder()
    }

    /// What the holder prints as, without the printing.
    pub fn account_text(&self) -> &AccountText {
        &self.account
    }

    /// What the id of one of its streams prints as, which is at hand for the session's own.
    pub fn text_of(&self, stream: &LeaseId) -> LeaseText {
        if *stream == self.own_stream { self.own } else { stream.text() }
    }
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
    pub(super) fn viewer(
        &self,
        disguise: &Disguise,
        new: impl Fn(&Pepper) -> Viewer,
    ) -> Cow<'_, Viewer> {
        let compute = || (disguise.number, new(&disguise.pepper));
        let (number, viewer) = self.0.get_or_init(compute);
        if *number == disguise.number { Cow::Borrowed(viewer) } else { Cow::Owned(compute().1) }
    }
}

impl PartialEq for Memo {
    /// What was computed is no part of what a session is.
    fn eq(&self, _: &Memo) -> bool {
        true
    }
}
