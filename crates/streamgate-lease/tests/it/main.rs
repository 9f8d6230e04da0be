//! All that this library promises, in one binary: `contract` on every store, `redis` on what only
//! a server can do, `model` on random histories, `keeper` on one node, `sim` on many.

#![allow(clippy::unwrap_used)]

mod boundary;
mod contract;
mod fleet;
mod keeper;
mod load;
mod model;
mod outage;
mod redis;
mod routing;
mod secure;
mod server;
mod sim;
mod spec;
mod weather;
mod world;
