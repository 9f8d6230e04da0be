//! The whole auth service, over real sockets, with a real Redis. One binary, one module per theme.
#![allow(clippy::unwrap_used)]

mod routes;
mod harness;
mod keys;
mod outage;
mod program;
mod session;
