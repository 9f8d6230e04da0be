//! Consistent hashing with bounded load: requests that belong together reach the same endpoint, as
//! long as it has not much more under way than the others.
//!
//! Endpoints have points on a ring, a request goes to the first point behind its own. When an
//! endpoint comes or goes, only its own share of the requests moves. What would be too much for an
//! endpoint goes to the next one on the ring (Mirrokni, Thorup, Zadimoghaddam, *Consistent Hashing
//! with Bounded Loads*, 2016). Points depend on addresses alone, so all gateways agree.

use super::least_in_flight::is_less_busy;
use super::{Ask, Balance, Config as Policy, Endpoint, Settings, mix};
use crate::problem::Problem;
use crate::units::{Share, Text};
use crate::yaml::At;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `balance: { hash: … }`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BalanceByHash")]
pub struct Config {
    /// By what requests belong together; those that lack it are spread as `least_in_flight` does.
    pub by: At<HashKey>,
    /// How much of the mean load of all endpoints one may have, before others take its requests.
    #[serde(default = "bound")]
    pub bound: At<Share>,
}

fn bound() -> At<Share> {
    At::unwritten(Share::percent(125))
}

/// By what requests belong together.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashKey {
    /// The account of the session.
    Account,
    /// The playback, from its playlist to its last segment.
    Stream,
    /// What the part in braces of this name took of the path: `event` of `/live/{event}/{*file}`.
    Capture(Text),
    /// The path of the request, without its query.
    Path,
    /// The value of this header field.
    Header(Text),
    /// The value of this cookie, which `sticky` gives.
    #[serde(skip)]
    Cookie(Text),
}

impl HashKey {
    /// A number that is the same for equal texts, on every gateway.
    pub fn of(text: &[u8]) -> u64 {
        // FNV-1a (RFC 9923), and its bits spread: it alone is uneven in the high ones.
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        mix(text.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

impl Settings for Config {
    fn key(&self) -> Option<HashKey> {
        Some(self.by.value.clone())
    }

    fn problem(&self) -> Option<Problem> {
        if let HashKey::Header(name) = &self.by.value
            && HeaderName::from_bytes(name.0.as_bytes()).is_err()
        {
            let text = format!("`{}` is no name of a header field", name.0);
            let help = "write the name alone: `by: { header: x-shard }`";
            return Some(self.by.problem(text).help(help));
        }
        (self.bound.value < Share::percent(100)).then(|| {
            let text = "no endpoint could have as much as the mean";
            self.bound.problem(text).help("write `100%` or more, such as `125%`")
        })
    }
}

/// Points of all endpoints together: enough that their shares are even, and a megabyte at most.
const POINTS: u32 = 16_384;

/// Points for one unit of weight, so that few endpoints do not get more than they need.
const POINTS_EACH_MAX: u32 = 160;

#[derive(Debug)]
pub(super) struct Hash {
    /// Points and whose they are, in their order.
    ring: Vec<(u64, u16)>,
    bound: Share,
    weights: u64,
}

pub(super) fn build(policy: &Policy, endpoints: &[Endpoint]) -> Hash {
    let bound = match policy {
        Policy::Hash(config) => config.bound.value,
        _ => bound().value,
    };
    let weights: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
    let each = (POINTS / weights.max(1)).clamp(1, POINTS_EACH_MAX);
    let points = |(index, endpoint): (usize, &Endpoint)| {
        let index = u16::try_from(index).expect("weights bound the number of endpoints");
        let base = HashKey::of(endpoint.address.to_string().as_bytes());
        (0..endpoint.weight * each).map(move |n| (mix(base.wrapping_add(u64::from(n))), index))
    };
    let mut ring: Vec<(u64, u16)> = endpoints.iter().enumerate().flat_map(points).collect();
    ring.sort_unstable();
    Hash { ring, bound, weights: weights.into() }
}

impl Balance for Hash {
    fn pick(&self, endpoints: &[Endpoint], ask: &mut Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or_else(|| ask.draw.next());
        let under_way: u64 = endpoints.iter().map(|it| u64::from(it.load.in_flight())).sum();
        let has_room = |endpoint: &Endpoint| {
            let share = (under_way + 1) * u64::from(endpoint.weight);
            let most = (share * self.bound.as_percent()).div_ceil(self.weights * 100);
            u64::from(endpoint.load.in_flight()) < most.max(1)
        };
        if ask.key.is_some() {
            let from = self.ring.partition_point(|(point, _)| *point < key);
            let (before, behind) = self.ring.split_at(from);
            let on_ring = behind.iter().chain(before).map(|(_, index)| usize::from(*index));
            let mut met = on_ring.filter(|&i| ask.may(endpoints, i));
            if let Some(found) = met.find(|&i| has_room(&endpoints[i])) {
                return Some(found);
            }
        }
        // Without a key, or where nobody has room: the least busy.
        let from = (key % endpoints.len().max(1) as u64) as usize;
        let in_order = (0..endpoints.len()).map(|i| (from + i) % endpoints.len());
        let may = in_order.filter(|&i| ask.may(endpoints, i));
        may.reduce(|best, i| if is_less_busy(&endpoints[i], &endpoints[best]) { i } else { best })
    }
}
