//! The gateway as its users meet it: real sockets, real upstreams, a real Redis.

#![allow(clippy::unwrap_used)]

mod harness;

mod admin;
mod check;
mod concurrency;
mod session;
mod store;
