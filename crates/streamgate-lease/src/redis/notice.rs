//! Notice: the message that a lease was terminated or replaced. The scripts publish it to all
//! gateways on one channel.
//!
//! It is a hint, not the truth: a gateway that receives it asks the store at that stream's next
//! request; a gateway that misses it finds out at the next renewal, within ttl/3 or so.

use super::keys;
use crate::holder::Holder;
use crate::lease::LeaseId;

/// Names the lease that was ended. Subscribe to [`Notice::CHANNEL`] and hand what it names to
/// [`Leases::mark_stale`](crate::Leases::mark_stale).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Whose lease it was.
    pub holder: Holder,
    /// Which lease it was.
    pub id: LeaseId,
}

impl Notice {
    /// The channel on which the scripts publish it.
    pub const CHANNEL: &str = "sg:ended";

    /// Reads a message of the channel. None if it is no notice.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (name, id) = std::str::from_utf8(message).ok()?.split_once(' ')?;
        let (bucket, holder) = name.split_once(':')?;
        let holder = Holder::parse(bucket, holder)?;
        Some(Self { holder, id: id.parse().ok()? })
    }
}

/// All names of a holder, each with its bucket, for the scripts to publish: every gateway knows the
/// holder by the name that it calls current.
pub(super) fn names(holder: &Holder) -> String {
    let named = keys::names(holder).map(|name| format!("{:04x}:{name}", name.bucket()));
    named.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Pepper;

    #[test]
    fn a_notice_reads_back_and_nothing_else_does() {
        let holder = Holder::of(&Pepper::new([1; 32]).expect("32 bytes"), "alice");
        let id = LeaseId::of("tv", None);
        let text = format!("{} {id}", names(&holder));
        assert_eq!(Notice::parse(text.as_bytes()), Some(Notice { holder, id }));
        let plus = text.replacen(|c: char| c.is_ascii_digit(), "+", 1);
        let long = format!("{text} ");
        for bad in ["", " ", "a:b c", &text[1..], &text[..text.len() - 1], &plus, &long] {
            assert_eq!(Notice::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Notice::parse(&[0xff, b' ']), None);
    }
}
