//! LeaseStore: the operations of a store of leases, and what each of them promises.
//!
//! The store is the source of truth for leases. It decides one holder at a time, by its own clock,
//! and never by a time that a viewer sent.

use crate::holder::Holder;
use crate::lease::{Attempt, Claim, Ending, Full, LeaseId, Live, State};
use crate::timing::Timing;
use async_trait::async_trait;
use std::time::Duration;

/// Where leases are kept. Every operation is atomic.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Admits, confirms or refuses. Idempotent: the same claim again finds the same slot, with
    /// the same `started_at`, and an expiry that is never earlier than before.
    ///
    /// # Errors
    /// [`StoreError`]. After a timeout the claim may have been admitted; asking again is safe.
    async fn acquire(&self, claim: &Claim, timing: &Timing) -> Result<Answer, StoreError>;

    /// Acquires many in as few round trips as the store can; answers stand in the order of the
    /// claims. An error of one holder does not affect the others.
    async fn acquire_all(
        &self,
        claims: &[Claim],
        timing: &Timing,
    ) -> Vec<Result<Answer, StoreError>> {
        let mut answers = Vec::with_capacity(claims.len());
        for claim in claims {
            answers.push(self.acquire(claim, timing).await);
        }
        answers
    }

    /// Moves expiries forward; never adds a slot, never shortens one. Returns the time to live from
    /// now on; `None` means that the renewal changed nothing, and that acquire must say why.
    ///
    /// Results stand in the slots' order. An error means that the store could not be asked about
    /// this one; a store of many servers may answer about others all the same.
    async fn renew(
        &self,
        slots: &[Slot],
        timing: &Timing,
    ) -> Vec<Result<Option<Duration>, StoreError>>;

    /// Whether an outage for one holder is an outage for all. It is not if holders are spread over
    /// servers that fail one by one.
    fn fails_as_one(&self) -> bool {
        true
    }

    /// Frees the slot before it answers. Idempotent. A reusable id may play again at once.
    ///
    /// # Errors
    /// [`StoreError`]; the slot is then free after one ttl at the latest.
    async fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<(), StoreError>;

    /// Gives the slot of a start that failed back, if it is still of this version, or nobody had an
    /// answer, and no other request of its stream was let pass. Says whether it did. Nothing is
    /// left of it.
    ///
    /// # Errors
    /// [`StoreError`]; the slot is then free after one ttl at the latest.
    async fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> Result<bool, StoreError>;

    /// The holder's live streams, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(&self, holder: &Holder) -> Result<Vec<Live>, StoreError>;

    /// Ends a stream of this holder, and says whether there was one to end.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> Result<bool, StoreError>;

    /// Records that the player of a live stream has paused or resumed, and when. False if the
    /// stream is not live.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> Result<bool, StoreError>;
}

/// The answer of a store to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The slot is live.
    Held(Admitted),
    /// All slots are taken by others; nothing was changed.
    Full(Full),
    /// The id was ended, and stays ended for at least this long.
    Ended(Ending, Duration),
}

/// A live slot, as the store sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// This acquire admitted it; it did not hold a slot before.
    pub is_new: bool,
    /// Live slots of the holder, this one included.
    pub active: u32,
    /// Which slot it is: the one that was asked for, or that of the start that this is a retry of.
    pub id: LeaseId,
    /// The request is the first of its stream that is let pass, and this is the slot's version: its
    /// expiry in unix milliseconds of the store's clock.
    pub first: Option<u64>,
    /// When the id was made, if it was made for a path, in unix milliseconds of the store's clock.
    pub born_at: Option<u64>,
    /// When it was admitted, in unix milliseconds of the store's clock.
    pub started_at: u64,
    /// How long it lives after each sign of life: the longest that its stream was given.
    pub ttl: Duration,
    /// How long it lives, counted from the moment at which the store was asked.
    pub expires_in: Duration,
    /// The leases that were ended so that this one may play.
    pub replaced: Vec<LeaseId>,
    /// The leases that had been paused for long and lost their slots; they may ask again.
    pub idle: Vec<LeaseId>,
    /// Those that ended because a later playback of their login had begun.
    pub superseded: Vec<LeaseId>,
    /// Older ones of this login that play on and are marked from now on.
    pub marked: Vec<LeaseId>,
    /// It was adopted beyond the limit, and is to be claimed again rather than renewed.
    pub over_limit: bool,
}

#[cfg(test)]
impl Admitted {
    /// What a store answers when nothing else of the holder plays: a new stream for a minute.
    pub(crate) fn alone(id: LeaseId) -> Self {
        Self {
            is_new: true,
            active: 1,
            id,
            first: None,
            born_at: None,
            started_at: 0,
            ttl: Duration::from_secs(60),
            expires_in: Duration::from_secs(60),
            replaced: Vec::new(),
            idle: Vec::new(),
            superseded: Vec::new(),
            marked: Vec::new(),
            over_limit: false,
        }
    }
}

/// A slot whose expiry is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose slot it is.
    pub holder: Holder,
    /// Which lease it is.
    pub id: LeaseId,
    /// How long ago its player last showed a sign of life: its expiry is a ttl after that.
    pub silent_for: Duration,
    /// Also extend the lives of the holder's keys in the store. Now and then, not every time.
    pub keep_keys: bool,
    /// Its ttl, if that is another than the policy's.
    pub ttl: Option<Duration>,
}

impl Slot {
    /// How long it lives from now on, if it is renewed.
    pub(crate) fn life(&self, timing: &Timing) -> Duration {
        timing.for_ttl(self.ttl).ttl().saturating_sub(self.silent_for)
    }
}

/// The store could not decide. Carries no address, no password, no account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer within the deadline; what was asked may have happened.
    #[error("the store did not answer in time")]
    Timeout,
    /// The store cannot be reached, or it says that it cannot serve now.
    #[error("the store is not available: {0}")]
    Unavailable(UnavailableReason),
    /// The circuit breaker is open: the store has failed, so it is not asked now.
    #[error("the store failed a moment ago and is left alone for now")]
    Resting,
    /// The store answered something that we cannot read, or that the command was wrong.
    #[error("the store answered out of turn: {0}")]
    Protocol(String),
}

/// Why a store is not available: part of the text of [`StoreError::Unavailable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnavailableReason {
    /// Nobody listens at its address: it cannot have received the command.
    #[error("refused")]
    ConnectionRefused,
    /// The connection was lost. The command may have been executed.
    #[error("cut off")]
    ConnectionLost,
    /// The server answered that it cannot serve, and why: `READONLY`, `NOPERM`, ….
    #[error("{word}")]
    Server {
        /// The first word of its answer.
        word: String,
        /// The whole of it, without what it was sent.
        sentence: String,
    },
    /// Any other reason, in words.
    #[error("{0}")]
    Other(String),
}

impl From<&str> for UnavailableReason {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

impl StoreError {
    /// Whether the store is away: only then may a node decide without its word. It is not away
    /// because an answer is late, nor because it cannot read what one holder has there.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Resting)
    }

    /// Why it fails, in a word or a few: the server's own first word if it answered.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            // This word alone says nothing.
            Self::Unavailable(UnavailableReason::Server { word, sentence }) if word == "ERR" => {
                sentence.clone()
            }
            Self::Unavailable(reason) => reason.to_string(),
            Self::Timeout => "no answer in time".to_owned(),
            Self::Resting | Self::Protocol(_) => self.to_string(),
        }
    }

    /// The whole of what the server answered, if it did.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        match self {
            Self::Unavailable(UnavailableReason::Server { sentence, .. }) => Some(sentence),
            _ => None,
        }
    }

    /// One word for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable(_) => "unavailable",
            Self::Resting => "resting",
            Self::Protocol(_) => "protocol",
        }
    }
}
