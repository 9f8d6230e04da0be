//! How many connections a listener has open, in all and with one client, and how many it may have.
//! Each counts until its place is dropped.

use crate::units::Count;
use foldhash::HashMap;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// So many connections for which there is no room may be told so at once; more are just closed.
const REFUSED_AT_ONCE_MAX: u32 = 64;

/// The open connections of one listener. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    max: u32,
    /// With one client; `None`: no further bound.
    per_client_max: Option<u32>,
    open: AtomicU32,
    refused: AtomicU32,
    /// The clients that have some open; only with a bound for each, and so never more than `max`.
    by_client: Mutex<HashMap<IpAddr, u32>>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Counts>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open,
    Refused,
    Client(IpAddr),
}

impl Connections {
    pub(super) fn new(max: Count, per_client_max: Option<Count>) -> Self {
        Connections(Arc::new(Counts {
            max: max.0,
            per_client_max: per_client_max.map(|max| max.0),
            open: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            by_client: Mutex::default(),
        }))
    }

    /// A place for one more connection, if there is room.
    pub(super) fn enter(&self) -> Option<Place> {
        take(&self.0.open, self.0.max).then(|| self.place(Kind::Open))
    }

    /// A place for one more connection that is only told that there is no room.
    pub(super) fn enter_refused(&self) -> Option<Place> {
        take(&self.0.refused, REFUSED_AT_ONCE_MAX).then(|| self.place(Kind::Refused))
    }

    /// A place for one more connection with the client at this address, if there is room.
    /// `Ok(None)` where clients are not counted.
    pub(super) fn enter_client(&self, address: IpAddr) -> Result<Option<Place>, Full> {
        let Some(max) = self.0.per_client_max else { return Ok(None) };
        let client = customer(address);
        let mut by_client = self.0.by_client.lock();
        let open = by_client.entry(client).or_default();
        // The entry that `or_default` made is below any limit: a count is at least 1.
        if max <= *open {
            return Err(Full);
        }
        *open += 1;
        Ok(Some(self.place(Kind::Client(client))))
    }

    fn place(&self, kind: Kind) -> Place {
        Place { counts: Arc::clone(&self.0), kind }
    }
}

/// The client has as many connections as it may have.
#[derive(Debug)]
pub(super) struct Full;

/// Counts one more, unless there are `max` already.
fn take(count: &AtomicU32, max: u32) -> bool {
    let one_more = |now: u32| (now < max).then_some(now + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}

/// What one customer holds of addresses: one of IPv4, or an IPv6 /64.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.kind {
            Kind::Open => {
                self.counts.open.fetch_sub(1, Ordering::Relaxed);
            }
            Kind::Refused => {
                self.counts.refused.fetch_sub(1, Ordering::Relaxed);
            }
            Kind::Client(client) => {
                let mut by_client = self.counts.by_client.lock();
                let open = by_client.get_mut(&client).expect("its connection was counted");
                *open -= 1;
                if *open == 0 {
                    by_client.remove(&client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_has_left() {
        let all = Connections::new(Count(2), None);
        let (one, two) = (all.enter(), all.enter());
        assert!(one.is_some() && two.is_some() && all.enter().is_none());
        drop(one);
        let three = all.enter();
        assert!(three.is_some() && all.enter().is_none());
        drop((two, three));
        assert_eq!(all.0.open.load(Ordering::Relaxed), 0);
        assert!(matches!(all.enter_client(address("::1")), Ok(None)), "clients are not counted");
    }

    #[test]
    fn a_client_is_an_address_or_what_a_customer_holds_of_them() {
        let all = Connections::new(Count(9), Some(Count(1)));
        let enter = |text: &str| all.enter_client(address(text));
        let held = enter("192.0.2.1").expect("the first");
        assert!(enter("192.0.2.1").is_err() && enter("::ffff:192.0.2.1").is_err());
        let other = enter("192.0.2.2").expect("another client");
        let v6 = enter("2001:db8::1").expect("another client");
        assert!(enter("2001:db8::ffff").is_err(), "the same /64");
        assert!(enter("2001:db8:0:1::1").is_ok(), "another /64");
        drop((held, other, v6));
        assert!(enter("192.0.2.1").is_ok());
        assert!(all.0.by_client.lock().is_empty(), "nobody is remembered who has left");
    }
}
