//! All that this library promises, in one binary: `contract` on every store, `redis` on what only
//! a server can do, `keeper` on one node, `sim` on many.

#![allow(clippy::unwrap_used)]

mod contract;
mod fleet;
mod keeper;
mod load;
mod outage;
mod redis;
mod routing;
mod secure;
mod server;
mod sim;
mod weather;
mod world;
