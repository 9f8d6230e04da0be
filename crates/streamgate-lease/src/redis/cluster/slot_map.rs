//! SlotMap: which node of a cluster has which slots, as one server told.
//!
//! It asks nobody. It may be out of date: then a server says `MOVED`, or does not answer.

use super::slot::SLOTS;
use crate::redis::conn::{HostPort, Node};
use ::redis::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Servers that are known at a time; a cluster has at most a thousand.
pub(crate) const SERVERS_MAX: usize = 1024;
/// Marks a slot that no node has.
const NO_OWNER: u16 = u16::MAX;

#[derive(Default)]
pub(crate) struct SlotMap {
    nodes: Vec<Arc<Node>>,
    /// Indexes into `nodes`.
    by_host_port: HashMap<HostPort, u16>,
    /// By slot: an index into `nodes`.
    owners: Vec<u16>,
    /// Replicas: they have no slots, and can be asked for the map.
    pub(crate) replicas: Vec<HostPort>,
}

/// One row of `CLUSTER SLOTS`: a range of slots, their primary, and its replicas.
pub(crate) struct Shard {
    slots: std::ops::RangeInclusive<u16>,
    primary: HostPort,
    replicas: Vec<HostPort>,
}

impl SlotMap {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let owner = *self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(owner)).cloned()
    }

    /// The node of a server that was named; one is made if it is new and there is room.
    pub(crate) fn node(
        &mut self,
        server: &HostPort,
        new: impl FnOnce() -> Option<Arc<Node>>,
    ) -> Option<Arc<Node>> {
        if let Some(known) = self.by_host_port.get(server) {
            return self.nodes.get(usize::from(*known)).cloned();
        }
        if SERVERS_MAX <= self.nodes.len() {
            return None;
        }
        let node = new()?;
        self.by_host_port.insert(server.clone(), u16::try_from(self.nodes.len()).ok()?);
        self.nodes.push(node.clone());
        Some(node)
    }

    /// Notes that one slot has moved to a server that is known.
    pub(crate) fn move_slot(&mut self, slot: u16, to: &HostPort) {
        if let (Some(owner), Some(to)) =
            (self.owners.get_mut(usize::from(slot)), self.by_host_port.get(to))
        {
            *owner = *to;
        }
    }

    /// The map that these shards make. Servers that were known keep their nodes, with connections
    /// and breakers; servers that are not in the shards are dropped.
    pub(crate) fn rebuilt(
        &self,
        shards: &[Shard],
        new: impl Fn(&HostPort) -> Option<Arc<Node>>,
    ) -> Self {
        let mut map = Self { owners: vec![NO_OWNER; SLOTS], ..Self::default() };
        for shard in shards {
            let known = self.by_host_port.get(&shard.primary);
            let known = known.and_then(|known| self.nodes.get(usize::from(*known)));
            let make = || known.cloned().or_else(|| new(&shard.primary));
            if map.node(&shard.primary, make).is_none() {
                continue;
            }
            for slot in shard.slots.clone() {
                map.owners[usize::from(slot)] = map.by_host_port[&shard.primary];
            }
            let room = SERVERS_MAX.saturating_sub(map.replicas.len());
            map.replicas.extend(shard.replicas.iter().take(room).cloned());
        }
        map
    }
}

/// Reads the reply to `CLUSTER SLOTS` of a server that was asked as `host`. None unless it is one
/// and names a server.
pub(crate) fn shards(reply: &Value, host: &str) -> Option<Vec<Shard>> {
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
        primary: host_port(primary, host)?,
        replicas: replicas.iter().filter_map(|replica| host_port(replica, host)).collect(),
    })
}

fn host_port(server: &Value, asked: &str) -> Option<HostPort> {
    let Value::Array(server) = server else {
        return None;
    };
    let [host, Value::Int(port), ..] = server.as_slice() else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    HostPort::new(host, u16::try_from(*port).ok()?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::conn::{Alarm, Connector, Deadlines};
    use ::redis::Client as RedisClient;

    fn server(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())])
    }

    fn row(first: i64, last: i64, ports: &[i64]) -> Value {
        let mut row = vec![Value::Int(first), Value::Int(last)];
        row.extend(ports.iter().map(|port| server(Value::BulkString(b"10.0.0.1".to_vec()), *port)));
        Value::Array(row)
    }

    fn node(server: &HostPort) -> Option<Arc<Node>> {
        let client = RedisClient::open(format!("redis://{}:{}", server.host, server.port)).ok()?;
        let (deadlines, alarm) = (Deadlines::default(), Arc::new(Alarm::default()));
        Some(Arc::new(Node::new(Connector::Server(client), &server.host, deadlines, &alarm)))
    }

    fn rebuilt(map: &SlotMap, rows: Vec<Value>) -> SlotMap {
        map.rebuilt(&shards(&Value::Array(rows), "asked").expect("a map"), node)
    }

    #[test]
    fn a_map_is_read_and_rebuilt_with_the_nodes_it_had() {
        let before = rebuilt(&SlotMap::default(), vec![row(0, 99, &[1, 3]), row(100, 16383, &[2])]);
        assert_eq!(before.nodes().len(), 2);
        assert_eq!(before.replicas.len(), 1);
        let after = rebuilt(&before, vec![row(0, 99, &[3]), row(100, 200, &[2])]);
        let same = |slot| match (before.owner(slot), after.owner(slot)) {
            (Some(one), Some(other)) => Some(Arc::ptr_eq(&one, &other)),
            _ => None,
        };
        assert_eq!((same(99), same(100), same(201)), (Some(false), Some(true), None));
    }

    #[test]
    fn a_slot_that_moved_is_followed() {
        let mut map = rebuilt(&SlotMap::default(), vec![row(0, 16383, &[1])]);
        let to = HostPort { host: "10.0.0.9".into(), port: 9 };
        map.move_slot(7, &to);
        let new = map.node(&to, || node(&to)).expect("there is room");
        map.move_slot(7, &to);
        assert!(Arc::ptr_eq(&map.owner(7).expect("an owner"), &new));
        assert!(!Arc::ptr_eq(&map.owner(8).expect("an owner"), &new));
    }

    #[test]
    fn a_server_that_does_not_know_its_host_is_the_one_that_was_asked() {
        let rows = Value::Array(vec![Value::Array(vec![
            Value::Int(0),
            Value::Int(16383),
            server(Value::Nil, 7),
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
        let map = rebuilt(&SlotMap::default(), many);
        assert_eq!(map.nodes().len(), SERVERS_MAX);
        assert!(map.owner(1999).is_none());
    }
}
