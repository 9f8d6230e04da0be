//! The parts of the load bench. Not a library for anyone else: the rooms of one program.

pub mod cpu_time;
pub mod bench;
pub mod check;
pub mod client;
pub mod clock;
pub mod contest;
pub mod gateway;
pub mod generator;
pub mod idle;
pub mod connection;
pub mod origin;
pub mod peers;
pub mod arrivals;
pub mod report;
pub mod settings;
pub mod secure;
pub mod slice;
pub mod environment;
pub mod store;
pub mod token;
pub mod tuning;
pub mod versus;
pub mod http1;
pub mod http2;
pub mod marks;
pub mod multiplexed;
