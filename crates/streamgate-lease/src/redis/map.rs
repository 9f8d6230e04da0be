//! Which server of a cluster has which slots, as one of them told.
//!
//! It asks nobody. It may be old: then a server says so, or does not answer.

use super::link::Link;
use super::place::Place;
use super::slot::SLOTS;
use ::redis::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Servers that are known at a time; a cluster has at most a thousand.
pub(super) const SERVERS_MAX: usize = 1024;
/// The mark of a slot that nobody has.
const NOBODY: u16 = u16::MAX;

#[derive(Default)]
pub(super) struct Map {
    links: Vec<Arc<Link>>,
    by_place: HashMap<Place, u16>,
    /// By slot: an index into `links`.
    owners: Vec<u16>,
    /// Replicas: they have no slots, and can be asked for the map.
    pub(super) replicas: Vec<Place>,
}

/// What a server says: ranges of slots, their primary, and its replicas.
pub(super) struct Shard {
    slots: std::ops::RangeInclusive<u16>,
    primary: Place,
    replicas: Vec<Place>,
}

impl Map {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Link>> {
        let owner = *self.owners.get(usize::from(slot))?;
        self.links.get(usize::from(owner)).cloned()
    }

    /// The link to a server that was named; one is made if it is new and there is room.
    pub(super) fn link(
        &mut self,
        place: &Place,
        new: impl FnOnce() -> Option<Arc<Link>>,
    ) -> Option<Arc<Link>> {
        if let Some(known) = self.by_place.get(place) {
            return self.links.get(usize::from(*known)).cloned();
        }
        if SERVERS_MAX <= self.links.len() {
            return None;
        }
        let link = new()?;
        self.by_place.insert(place.clone(), u16::try_from(self.links.len()).ok()?);
        self.links.push(link.clone());
        Some(link)
    }

    /// One slot has moved.
    pub(super) fn moved(&mut self, slot: u16, place: &Place) {
        if let (Some(owner), Some(to)) =
            (self.owners.get_mut(usize::from(slot)), self.by_place.get(place))
        {
            *owner = *to;
        }
    }

    /// The map that these shards make. Servers that were known keep their links, with connection
    /// and breaker; those that nobody names any more are let go.
    pub(super) fn remade(
        &self,
        shards: &[Shard],
        new: impl Fn(&Place) -> Option<Arc<Link>>,
    ) -> Self {
        let mut map = Self { owners: vec![NOBODY; SLOTS], ..Self::default() };
        for shard in shards {
            let known = self.by_place.get(&shard.primary);
            let known = known.and_then(|known| self.links.get(usize::from(*known)));
            let make = || known.cloned().or_else(|| new(&shard.primary));
            if map.link(&shard.primary, make).is_none() {
                continue;
            }
            for slot in shard.slots.clone() {
                map.owners[usize::from(slot)] = map.by_place[&shard.primary];
            }
            let room = SERVERS_MAX.saturating_sub(map.replicas.len());
            map.replicas.extend(shard.replicas.iter().take(room).cloned());
        }
        map
    }
}

/// Reads the answer to `CLUSTER SLOTS` of a server that was asked as `host`. None unless it is one
/// and names somebody.
pub(super) fn shards(reply: &Value, host: &str) -> Option<Vec<Shard>> {
    let Value::Array(rows) = reply else {
        return None;
    };
    let shards: Option<Vec<_>> = rows.iter().map(|row| shard(row, host)).collect();
    shards.filter(|shards| !shards.is_empty())
}

fn shard(row: &Value, host: &str) -> Option<Shard> {
    let Value::Array(row) = row else {
        return None;
    };
    let [Value::Int(first), Value::Int(last), primary, replicas @ ..] = row.as_slice() else {
        return None;
    };
    let slot = |slot: i64| u16::try_from(slot).ok().filter(|slot| usize::from(*slot) < SLOTS);
    Some(Shard {
        slots: slot(*first)?..=slot(*last)?,
        primary: place(primary, host)?,
        replicas: replicas.iter().filter_map(|replica| place(replica, host)).collect(),
    })
}

fn place(node: &Value, asked: &str) -> Option<Place> {
    let Value::Array(node) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = node.as_slice() else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    Place::of(host, u16::try_from(*port).ok()?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::dial::Dial;
    use ::redis::Client;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn row(first: i64, last: i64, ports: &[i64]) -> Value {
        let mut row = vec![Value::Int(first), Value::Int(last)];
        row.extend(ports.iter().map(|port| node(Value::BulkString(b"10.0.0.1".to_vec()), *port)));
        Value::Array(row)
    }

    fn link(place: &Place) -> Option<Arc<Link>> {
        let client = Client::open(format!("redis://{}:{}", place.host, place.port)).ok()?;
        let deadlines = crate::redis::Deadlines::default();
        Some(Arc::new(Link::new(Dial::Server(client), &place.host, deadlines)))
    }

    fn remade(map: &Map, rows: Vec<Value>) -> Map {
        map.remade(&shards(&Value::Array(rows), "asked").expect("a map"), link)
    }

    #[test]
    fn a_map_is_read_and_remade_with_the_links_it_had() {
        let before = remade(&Map::default(), vec![row(0, 99, &[1, 3]), row(100, 16383, &[2])]);
        assert_eq!(before.links().len(), 2);
        assert_eq!(before.replicas.len(), 1);
        let after = remade(&before, vec![row(0, 99, &[3]), row(100, 200, &[2])]);
        let same = |slot| match (before.owner(slot), after.owner(slot)) {
            (Some(one), Some(other)) => Some(Arc::ptr_eq(&one, &other)),
            _ => None,
        };
        assert_eq!((same(99), same(100), same(201)), (Some(false), Some(true), None));
    }

    #[test]
    fn a_slot_that_moved_is_followed() {
        let mut map = remade(&Map::default(), vec![row(0, 16383, &[1])]);
        let to = Place { host: "10.0.0.9".into(), port: 9 };
        map.moved(7, &to);
        let new = map.link(&to, || link(&to)).expect("there is room");
        map.moved(7, &to);
        assert!(Arc::ptr_eq(&map.owner(7).expect("an owner"), &new));
        assert!(!Arc::ptr_eq(&map.owner(8).expect("an owner"), &new));
    }

    #[test]
    fn a_server_that_does_not_know_its_host_is_the_one_that_was_asked() {
        let rows = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(16383),
            node(Value::Nil, 7),
        ])]);
        assert_eq!(shards(&rows, "asked").expect("a map")[0].primary.host, "asked");
    }

    #[test]
    fn what_is_no_map_is_refused_and_the_number_of_servers_is_bounded() {
        for bad in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(1)])] {
            assert!(shards(&bad, "asked").is_none(), "{bad:?}");
        }
        assert!(shards(&Value::Array(vec![row(0, 16384, &[1])]), "asked").is_none());
        let many = (0..2000).map(|n| row(n, n, &[n + 1])).collect();
        let map = remade(&Map::default(), many);
        assert_eq!(map.links().len(), SERVERS_MAX);
        assert!(map.owner(1999).is_none());
    }
}
