//! Notice: the message that a lease was ended by somebody else, or marked because a later playback
//! of its login began. The scripts publish it to all gateways on two channels.
//!
//! It is a hint, not the truth: a gateway that receives it asks the store at that stream's next
//! request; a gateway that misses it finds out at the next renewal, within ttl/3 or so.

use super::keys;
use crate::holder::Holder;
use crate::lease::LeaseId;

/// Names a lease that was ended or marked. Subscribe to [`Notice::CHANNELS`] and hand what it names
/// to [`Leases::mark_stale`](crate::Leases::mark_stale), or if it was marked to
/// [`Leases::mark_older`](crate::Leases::mark_older).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Whose lease it was.
    pub holder: Holder,
    /// Which lease it was.
    pub id: LeaseId,
    /// It plays on, and was marked.
    pub is_mark: bool,
}

/// What the scripts put behind the notice of a mark. A gateway that does not know marks does not
/// listen to their channel.
const MARK: &str = " marked";

impl Notice {
    /// The channels on which the scripts publish it: of endings, and of marks.
    pub const CHANNELS: &str = "sg:ended sg:marked";

    /// Reads a message of the channels. None if it is no notice.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (text, is_mark) = text.strip_suffix(MARK).map_or((text, false), |text| (text, true));
        let (name, id) = text.split_once(' ')?;
        let (bucket, holder) = name.split_once(':')?;
        let holder = Holder::parse(bucket, holder)?;
        Some(Self { holder, id: id.parse().ok()?, is_mark })
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
        for (suffix, is_mark) in [("", false), (MARK, true)] {
            let message = format!("{text}{suffix}");
            assert_eq!(Notice::parse(message.as_bytes()), Some(Notice { holder, id, is_mark }));
        }
        let plus = text.replacen(|c: char| c.is_ascii_digit(), "+", 1);
        let long = format!("{text} ");
        for bad in ["", " ", "a:b c", &text[1..], &text[..text.len() - 1], &plus, &long] {
            assert_eq!(Notice::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Notice::parse(&[0xff, b' ']), None);
    }
}
