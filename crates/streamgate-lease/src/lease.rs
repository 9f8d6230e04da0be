//! The words of the library: a claim, what may be granted, and the lease that proves it.
//!
//! No behaviour and no clock here. Every duration counts from the moment the value was made;
//! every `started_at` is in unix milliseconds of the store's clock.

mod class;
mod id;
mod start;

use crate::holder::Holder;
pub use class::{Class, ClassInvalid, ClassLimit, Classes, TooManyClasses};
pub use id::{LeaseId, LeaseIdInvalid, LeaseText};
pub use start::{Attempt, ClaimSource, DisplacePolicy, Tag, TagInvalid, Ticket};
use std::{cmp::Ordering, time::Duration};

/// The most ids that one claim may ask to replace.
pub(crate) const REPLACE_MAX: usize = 64;
const DEVICE_CHARS_MAX: usize = 64;
const TITLE_CHARS_MAX: usize = 128;

/// What viewers are shown about a stream, so that they can tell which one to stop. Opaque to us;
/// cut at 64 (device) and 128 (title) characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    device: Option<Box<str>>,
    title: Option<Box<str>>,
}

/// Who has to go if there is no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Replace {
    /// Nobody: the newcomer is refused.
    #[default]
    Nobody,
    /// The stream that started first.
    Oldest,
    /// These, all or none. One that is not live means that nothing changes. At most 64.
    These(Vec<LeaseId>),
}

/// One wish to play.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose slots are counted.
    pub holder: Holder,
    /// Which slot it is; asking again with the same id is asking for the same slot.
    pub id: LeaseId,
    /// How many live slots the holder may have, this one included. 0 refuses everybody.
    pub limit: u32,
    /// What kind of stream it is: there has to be room in each class, too. A class that the lease
    /// took once stays with it until the stream ends.
    pub classes: Classes,
    /// How long it lives after its last sign of life, if the policy's ttl is not right for it. A
    /// stream keeps the longest one that it was given until it ends.
    pub ttl: Option<Duration>,
    /// What others of the account are shown. Empty means: keep what is known.
    pub about: About,
    /// Who has to go if there is no room.
    pub replace: Replace,
    /// The id stands for a login, not for a playback, so it may play again after it ended.
    pub reusable: bool,
    /// The viewer pressed play: lifts the tombstone of a reusable id, and always asks the store.
    pub explicit_start: bool,
    /// Which login of the holder it belongs to, if that is known.
    pub login: Option<Tag>,
    /// What the login asks for, where an id is made for each start: whoever asks for it again after
    /// a start that failed, or that nobody came for, is given the id of that start.
    pub path: Option<Tag>,
    /// Who makes it.
    pub by: ClaimSource,
    /// Who has to go first if there is no room.
    pub displaces: DisplacePolicy,
    /// It is a start by what it asks for: begins a superseded id anew, at most once in 10 s.
    pub starts: bool,
    /// What lets its player play, if that is a ticket.
    pub ticket: Option<Ticket>,
    /// A node started it, or let it go on, without the store. If there is no room for it by now, it
    /// goes on over the limit for [`Timing::grandfather`](crate::Timing::grandfather), flagged.
    pub adopt: bool,
    /// The store had promised it for longer, and has it no more. If it knows nothing of it at all,
    /// it has lost it, and adopts it. A reusable id that was released is not started again.
    pub lost: bool,
}

/// The answer to a claim.
#[derive(Debug, Clone)]
pub enum Grant {
    /// There is a slot, and here is the proof.
    Held(Lease),
    /// All slots are taken by others.
    Full(Full),
    /// This id was ended by someone and stays so.
    Ended(Ending),
}

/// The proof of a live slot. Only this crate makes one, and it is in the renewer's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) holder: Holder,
    pub(crate) is_new: bool,
    pub(crate) provisional: bool,
    /// The start that this is, if nothing of its stream was let pass before.
    pub(crate) start: Option<Attempt>,
    pub(crate) born_at: Option<u64>,
    pub(crate) limit: u32,
    pub(crate) active: u32,
    pub(crate) started_at: u64,
    pub(crate) ttl: Duration,
    pub(crate) expires_in: Duration,
    pub(crate) renew_in: Duration,
}

/// No room: who is there, and when the first of them may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// The limit that was hit: of the class, or of all streams.
    pub limit: u32,
    /// The class that has no room. None: the holder has no room at all.
    pub class: Option<Class>,
    /// The holder's live streams, oldest first. The one that asked is among them if it has a slot
    /// and wanted a further class.
    pub live: Vec<Live>,
    /// The earliest possible expiry among those in the way. A hint: renewals move it.
    pub retry_after: Duration,
}

/// A live stream, as the account's owner is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The code to stop or replace it by.
    pub id: LeaseId,
    /// Device and title.
    pub about: About,
    /// When it was admitted, in unix milliseconds of the store's clock.
    pub started_at: u64,
    /// How long it lives on without another sign of life.
    pub expires_in: Duration,
    /// What the player last declared.
    pub state: State,
    /// The classes that it takes room in, in the order of their names.
    pub classes: Vec<Class>,
    /// It was started while the store was away and is one too many; it goes on for a while.
    pub over_limit: bool,
}

/// What a player declares itself to be doing. Silence declares nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Playing.
    #[default]
    Playing,
    /// Paused or in the background: keeps its slot until somebody needs it.
    Paused,
}

/// How long a stream that plays may go on while the store cannot be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DegradedPolicy {
    /// Not at all: until its last confirmation runs out.
    Never,
    /// For the grace.
    Grace,
    /// For as long as the store is away.
    Endless,
}

/// How an id came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its own player stopped.
    Released,
    /// Somebody of the account, or support, stopped it.
    Terminated,
    /// A newcomer took its slot.
    Replaced,
    /// A later playback of its own login had begun, and somebody needed the slot.
    Superseded,
    /// The ticket for it was not used in time.
    Unused,
}

impl About {
    /// Keeps the first 64 characters of the device and the first 128 of the title.
    #[must_use]
    pub fn new(device: Option<&str>, title: Option<&str>) -> Self {
        Self {
            device: device.map(|text| cut(text, DEVICE_CHARS_MAX)),
            title: title.map(|text| cut(text, TITLE_CHARS_MAX)),
        }
    }

    /// What the device calls itself.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// What is being watched.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.device.is_none() && self.title.is_none()
    }
}

impl Claim {
    /// A plain wish for one of `limit` slots: nobody is replaced, the id is for one playback.
    #[must_use]
    pub fn new(holder: Holder, id: LeaseId, limit: u32) -> Self {
        Self {
            holder,
            id,
            limit,
            classes: Classes::default(),
            ttl: None,
            about: About::default(),
            replace: Replace::Nobody,
            reusable: false,
            explicit_start: false,
            login: None,
            path: None,
            by: ClaimSource::Request,
            displaces: DisplacePolicy::Marked,
            starts: false,
            ticket: None,
            adopt: false,
            lost: false,
        }
    }
}

impl Lease {
    /// Which slot it is.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Whose slot it is.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// This very call admitted it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Admitted by this node alone while the store could not be asked.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// No other request of its stream was let pass before this one: its answer decides whether the
    /// start has failed. See [`Leases::give_back`](crate::Leases::give_back).
    #[must_use]
    pub fn is_first(&self) -> bool {
        matches!(self.start, Some(Attempt::Versioned(_)))
    }

    /// It has a slot, and nothing of its stream was let pass yet: whoever asked for it may never
    /// have heard of it. See [`Leases::give_back`](crate::Leases::give_back).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        matches!(self.start, Some(Attempt::Unanswered(_)))
    }

    /// When its id was made, in unix milliseconds of the store's clock: the start that it is a
    /// retry of, or its own. None where nobody asked for a path.
    #[must_use]
    pub fn born_at(&self) -> Option<u64> {
        self.born_at
    }

    /// The limit it was admitted under.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// How many slots of the holder were live when last counted, this one included.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active
    }

    /// When it was admitted, in unix milliseconds of the store's clock.
    #[must_use]
    pub fn started_at(&self) -> u64 {
        self.started_at
    }

    /// How long it lives after each sign of life.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How long it lives on without another sign of life.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// When the next sign of life should come.
    #[must_use]
    pub fn renew_in(&self) -> Duration {
        self.renew_in
    }
}

impl Ending {
    /// One word for logs, metrics and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Terminated => "terminated",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
            Self::Unused => "unused",
        }
    }
}

impl Full {
    /// No room for `asker` under this limit, beside these.
    pub(crate) fn new(limit: u32, class: Option<Class>, asker: &LeaseId, live: Vec<Live>) -> Self {
        let mut full = Self { limit, class, live, retry_after: Duration::ZERO };
        let others = full.in_the_way(asker).map(|live| live.expires_in);
        full.retry_after = others.min().unwrap_or_default();
        full
    }

    /// Those that `asker` has no room beside: of the class that is full, or all others.
    pub fn in_the_way(&self, asker: &LeaseId) -> impl Iterator<Item = &Live> {
        let counts = move |live: &&Live| self.class.is_none_or(|full| live.classes.contains(&full));
        self.live.iter().filter(move |live| live.id != *asker).filter(counts)
    }

    /// The one that asked has a slot, and keeps it as it was.
    pub(crate) fn keeps(&self, asker: &LeaseId) -> bool {
        self.live.iter().any(|live| live.id == *asker)
    }
}

impl Live {
    /// Oldest first.
    pub(crate) fn by_age(&self, other: &Self) -> Ordering {
        self.started_at.cmp(&other.started_at).then_with(|| self.id.cmp_as_text(&other.id))
    }
}

impl State {
    /// One word, as players send it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Paused => "paused",
        }
    }
}

fn cut(text: &str, chars_max: usize) -> Box<str> {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    text[..end].into()
}

#[cfg(test)]
mod tests;
