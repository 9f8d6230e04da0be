//! A cluster: one link per primary, found by the slot of a key.
//!
//! The map of slots is fetched by whoever needs it, one at a time and not too often: at the first
//! question of all, when a server says that a slot has moved, and when the server that has the
//! slot rests because it failed. That last one is how a failover heals: nobody has to be told
//! `MOVED` by a dead server. Those who ask healthy shards never wait for a map.
//!
//! Nothing is asked twice, except once where a server says that the slot is elsewhere.

use super::address::Address;
use super::dial::{Access, Dial};
use super::link::{Deadlines, Link};
use super::map::{Map, shards};
use super::place::Place;
use super::question::Question;
use super::tls::{Tls, TlsInvalid};
use ::redis::{Client, Value, cmd};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A map is fetched at most this often, whoever wants one.
const COOL_DOWN: Duration = Duration::from_millis(400);
/// Servers that are asked for one map.
const ASKED_MAX: usize = 4;
/// Of 16384 slots, a server that can reach fewer of them is cut off from most of its cluster.
const SLOTS_REACHED_MIN: u64 = 8192;

/// What is known of a cluster.
pub(super) struct Cluster {
    access: Access,
    deadlines: Deadlines,
    seeds: Vec<Place>,
    map: Mutex<Map>,
    /// Held by whoever fetches a map.
    fetching: tokio::sync::Mutex<()>,
    /// When that was last tried, whatever became of it.
    fetched_at: Mutex<Option<Instant>>,
}

impl Cluster {
    pub(super) fn new(
        address: &Address,
        deadlines: Deadlines,
        tls: &Tls,
    ) -> Result<Self, TlsInvalid> {
        let access = Access::new(address, tls);
        let seeds: Vec<_> = address.hosts.iter().filter_map(Place::named).collect();
        // Certificates are read for every server anew; if they can be once, they always can.
        for seed in &seeds {
            access.client(seed)?;
        }
        Ok(Self {
            access,
            deadlines,
            seeds,
            map: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            fetched_at: Mutex::default(),
        })
    }

    /// Whom to ask about each of these slots. If one of them is nobody's, or its server rests, a
    /// new map is fetched first, unless somebody else does so or did a moment ago.
    pub(super) async fn owners(&self, slots: &[u16], until: Instant) -> Vec<Option<Arc<Link>>> {
        let owners = self.known(slots);
        if owners.iter().flatten().filter(|link| !link.is_resting()).count() == slots.len() {
            return owners;
        }
        if self.fetched_at.lock().is_none() {
            // Nobody can be asked anything yet: all wait for the first map.
            if let Ok(_fetching) = timeout_at(until, self.fetching.lock()).await
                && self.fetched_at.lock().is_none()
            {
                self.fetch(until, None).await;
            }
        } else {
            self.refresh(until, None).await;
        }
        self.known(slots)
    }

    /// A server said that the slot is at `place` now.
    pub(super) async fn moved(
        &self,
        slot: u16,
        place: &Place,
        until: Instant,
    ) -> Option<Arc<Link>> {
        let link = self.link(place)?;
        self.map.lock().moved(slot, place);
        // Where one slot went, others probably did.
        self.refresh(until, Some(&link)).await;
        Some(link)
    }

    /// The link to a server that another one named.
    pub(super) fn link(&self, place: &Place) -> Option<Arc<Link>> {
        self.map.lock().link(place, || self.open(place))
    }

    /// Servers that hear what is published, which are all: in an order of chance, those that
    /// rest last.
    pub(super) async fn listeners(&self, until: Instant) -> Vec<Arc<Link>> {
        if self.map.lock().is_empty() {
            self.owners(&[0], until).await;
        }
        let mut links = self.map.lock().links().to_vec();
        links.shuffle(&mut rand::rng());
        links.sort_by_key(|link| link.is_resting());
        links
    }

    /// Whether this server has lost touch with most of the cluster: then nobody who publishes
    /// reaches it.
    pub(super) async fn has_left(&self, client: &Client, until: Instant) -> bool {
        let Some(place) = Place::named(client.get_connection_info()) else {
            return false;
        };
        let Some(link) = self.open(&place) else {
            return false;
        };
        let mut info = cmd("CLUSTER");
        let question = Question::Command(info.arg("INFO"));
        match timeout_at(until, link.ask(&question, false)).await {
            Ok(Ok(Value::BulkString(info))) => {
                let info = String::from_utf8_lossy(&info);
                let reached = info.lines().find_map(|line| line.strip_prefix("cluster_slots_ok:"));
                let reached = reached.and_then(|reached| reached.trim().parse::<u64>().ok());
                reached.is_some_and(|reached| reached < SLOTS_REACHED_MIN)
            }
            Ok(Ok(_)) => false,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    fn known(&self, slots: &[u16]) -> Vec<Option<Arc<Link>>> {
        let map = self.map.lock();
        slots.iter().map(|slot| map.owner(*slot)).collect()
    }

    fn open(&self, place: &Place) -> Option<Arc<Link>> {
        let client = self.access.client(place).ok()?;
        Some(Arc::new(Link::new(Dial::Server(client), &place.host, self.deadlines)))
    }

    /// Fetches a map, unless somebody else does so or did a moment ago.
    async fn refresh(&self, until: Instant, first: Option<&Arc<Link>>) {
        if let Ok(_fetching) = self.fetching.try_lock() {
            let fetched_at = *self.fetched_at.lock();
            if fetched_at.is_none_or(|fetched_at| COOL_DOWN <= fetched_at.elapsed()) {
                self.fetch(until, first).await;
            }
        }
    }

    async fn fetch(&self, until: Instant, first: Option<&Arc<Link>>) {
        let until = until.min(Instant::now() + self.deadlines.connect);
        if let Some((reply, host)) = self.ask_around(until, first).await
            && let Some(shards) = shards(&reply, &host)
        {
            let mut map = self.map.lock();
            *map = map.remade(&shards, |place| self.open(place));
        }
        *self.fetched_at.lock() = Some(Instant::now());
    }

    /// Asks some servers one after the other. Each has its share of the time that is left, so one
    /// that hangs does not keep us from those behind it.
    async fn ask_around(
        &self,
        until: Instant,
        first: Option<&Arc<Link>>,
    ) -> Option<(Value, String)> {
        let candidates = self.candidates(first);
        let mut slots = cmd("CLUSTER");
        let question = Question::Command(slots.arg("SLOTS"));
        for (n, link) in candidates.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(candidates.len() - n).unwrap_or(u32::MAX);
            let share = Instant::now() + share;
            if let Ok(Ok(reply)) = timeout_at(share, link.ask(&question, false)).await {
                return Some((reply, link.host().to_owned()));
            }
        }
        None
    }

    /// Whom to ask for a map: primaries that are well, then replicas, then those that the address
    /// names. By chance, so that one with an old map is not asked forever.
    fn candidates(&self, first: Option<&Arc<Link>>) -> Vec<Arc<Link>> {
        let mut rng = rand::rng();
        let (mut links, mut others) = {
            let map = self.map.lock();
            (map.links().to_vec(), map.replicas.clone())
        };
        links.retain(|link| {
            !link.is_resting() && first.is_none_or(|first| !Arc::ptr_eq(first, link))
        });
        links.shuffle(&mut rng);
        // Room is left for one that is no primary: all primaries may hang at once.
        links.truncate(ASKED_MAX - 2);
        links.splice(0..0, first.cloned());
        others.extend(self.seeds.iter().cloned());
        others.shuffle(&mut rng);
        let room = ASKED_MAX.saturating_sub(links.len());
        links.extend(others.iter().filter_map(|place| self.open(place)).take(room));
        links
    }
}
