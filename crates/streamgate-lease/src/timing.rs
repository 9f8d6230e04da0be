//! How long things last. One value per policy; every field is within its bounds by construction.
//!
//! It holds durations only. How many entries a node remembers is the table's business.

use crate::lease::Ending;
use std::time::Duration;

/// The durations of a policy. [`Timing::default`] suits live video with players that reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    ttl: Duration,
    tombstone: Duration,
    idle_after: Duration,
    grace: Duration,
    grandfather: Duration,
}

/// A duration outside its bounds. The text names the field, the value and the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:?}; it must be between {min:?} and {max:?}")]
pub struct TimingOutOfRange {
    field: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
}

impl Timing {
    /// The longest ttl. A score beyond `now + TTL_MAX` can only come from a broken clock, and is
    /// cut down to it by the next acquire.
    pub const TTL_MAX: Duration = Duration::from_secs(600);
    /// The shortest ttl: below it a renewal a second would be due.
    pub const TTL_MIN: Duration = Duration::from_secs(3);
    /// The longest life of a tombstone.
    pub const TOMBSTONE_MAX: Duration = Duration::from_secs(7 * 86_400);

    /// Leases that live for `ttl` after their last sign of life, and the defaults for the rest.
    ///
    /// # Errors
    /// [`TimingOutOfRange`] outside 3 s to 10 min.
    pub fn of(ttl: Duration) -> Result<Self, TimingOutOfRange> {
        let ttl = within("ttl", ttl, Self::TTL_MIN, Self::TTL_MAX)?;
        Ok(Self { ttl, ..Self::default() })
    }

    /// The same for a lease that lives for `ttl` after its last sign of life; a ttl out of bounds
    /// is taken for the bound.
    pub(crate) fn for_ttl(self, ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return self };
        let ttl = ttl.clamp(Self::TTL_MIN, Self::TTL_MAX);
        Self { ttl, tombstone: self.tombstone.max(ttl), grace: self.grace.max(ttl), ..self }
    }

    /// How long an ended id stays ended. It should outlive the tokens that name the id.
    ///
    /// # Errors
    /// [`TimingOutOfRange`] below one ttl or above seven days.
    pub fn with_tombstone(self, tombstone: Duration) -> Result<Self, TimingOutOfRange> {
        let tombstone = within("tombstone", tombstone, self.ttl, Self::TOMBSTONE_MAX)?;
        Ok(Self { tombstone, ..self })
    }

    /// How long a stream must have been declared paused before a new start may take its slot.
    ///
    /// # Errors
    /// [`TimingOutOfRange`] above one day.
    pub fn with_idle_after(self, idle_after: Duration) -> Result<Self, TimingOutOfRange> {
        let day = Duration::from_secs(86_400);
        let idle_after = within("idle_after", idle_after, Duration::ZERO, day)?;
        Ok(Self { idle_after, ..self })
    }

    /// How long a holder goes on, certain of its slot, after the store last confirmed it.
    ///
    /// # Errors
    /// [`TimingOutOfRange`] below one ttl or above one hour.
    pub fn with_grace(self, grace: Duration) -> Result<Self, TimingOutOfRange> {
        let grace = within("grace", grace, self.ttl, Duration::from_secs(3600))?;
        Ok(Self { grace, ..self })
    }

    /// How long a stream that a node admitted alone may go on over the limit, should the store turn
    /// out to have no room for it. Zero: it is refused at once.
    ///
    /// # Errors
    /// [`TimingOutOfRange`] above one day.
    pub fn with_grandfather(self, grandfather: Duration) -> Result<Self, TimingOutOfRange> {
        let day = Duration::from_secs(86_400);
        let grandfather = within("grandfather", grandfather, Duration::ZERO, day)?;
        Ok(Self { grandfather, ..self })
    }

    /// A lease expires this long after its last sign of life. Default 60 s.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// An ended id stays ended this long. Default 24 h.
    #[must_use]
    pub fn tombstone(&self) -> Duration {
        self.tombstone
    }

    /// A stream declared paused for longer than this may be evicted. Default 60 s.
    #[must_use]
    pub fn idle_after(&self) -> Duration {
        self.idle_after
    }

    /// A known holder goes on this long without the store. Default 10 min.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// A stream that a node started alone goes on over the limit this long. Default 15 min.
    #[must_use]
    pub fn grandfather(&self) -> Duration {
        self.grandfather
    }

    /// The middle of the renewal interval; each lease adds its own jitter of ± 20 %.
    #[must_use]
    pub fn renew_every(&self) -> Duration {
        self.ttl / 3
    }

    /// The life of an ended id: reusable and superseded ones are told for one ttl, others stay
    /// ended.
    pub(crate) fn tombstone_of(&self, why: Ending, reusable: bool) -> Duration {
        if reusable || why == Ending::Superseded { self.ttl } else { self.tombstone }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            tombstone: Duration::from_secs(86_400),
            idle_after: Duration::from_secs(60),
            grace: Duration::from_secs(600),
            grandfather: Duration::from_secs(900),
        }
    }
}

fn within(
    field: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<Duration, TimingOutOfRange> {
    if min <= value && value <= max {
        Ok(value)
    } else {
        Err(TimingOutOfRange { field, value, min, max })
    }
}
