//! The whole stream service, over real sockets. One binary, one module per theme.
#![allow(clippy::unwrap_used)]

mod fault;
mod harness;
mod media;
mod playlist;
mod program;
