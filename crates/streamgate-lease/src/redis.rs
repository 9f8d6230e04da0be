//! Leases in Redis (7.0 or newer) or Valkey: shared by all gateways, decided one holder at a time.
//!
//! Each holder has two keys, in one hash slot of a cluster: `sg:{b}:h:l`, a sorted set of lease ids
//! whose scores are expiries, and `sg:{b}:h:m`, a hash of lease records and of ids that have ended.
//! No setting is part of a key, so gateways with different settings still count alike.
//!
//! Admitting is a script, because it must see and change both keys at once, by the server's clock.
//! Renewing is not: only acquire adds members, and it clears away the expired ones and counts
//! before it does. So `ZADD XX` can neither exceed the limit nor bring back what was removed, and
//! `GT` makes a late or doubled renewal harmless. That is four times cheaper than a script.
//!
//! While a pepper is being changed a holder has two names and four keys, in the same hash slot, as
//! the bucket stays. Every script first gathers under the gateway's own current name what lies
//! under the other (`gather.lua`), so it finds everything in one place whatever the other gateways
//! call current; renewals go to both.
//!
//! It is not a cache and not a queue: no key lives without a TTL.
//!
//! The files, from top to bottom:
//!
//! | file | what it does |
//! |---|---|
//! | `store` | [`RedisStore`]: each verb of a lease store is a script or a batch |
//! | `claim_batch`, `renewal_batch` | many claims or renewals in pipelines |
//! | `scripts` | the Lua scripts, their arguments and their answers |
//! | `notice`, `subscription` | messages about ended leases, and how they are received |
//! | `monitor` | whether the servers serve, found out beside the requests |
//! | `client`, `topology` | [`Client`]: sends commands to the node that has the key |
//! | `cluster` | hash slots, the slot map, commands grouped by node |
//! | `conn` | one server: connections, credentials, circuit breaker, error replies |

mod store;
mod claim_batch;
mod renewal_batch;
mod scripts;
mod notice;
mod keys;
mod subscription;
mod monitor;
mod client;
mod health;
mod command_batch;
mod topology;
mod cluster;
mod conn;
mod address;

pub use address::{Address, AddressInvalid};
pub use client::Client;
pub use conn::{Deadlines, Tls, TlsInvalid};
pub use health::Health;
pub use monitor::Monitor;
pub use notice::Notice;
pub use store::RedisStore;
pub use subscription::{Event, Subscription};
