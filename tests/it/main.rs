//! The gateway as its users meet it: real sockets, real upstreams, a real Redis.

#![allow(clippy::unwrap_used)]

mod harness;

mod admin;
mod check;
mod cli;
mod concurrency;
mod docs;
mod session;
mod store;
