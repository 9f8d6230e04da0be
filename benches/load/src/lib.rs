//! The parts of the load bench. Not a library for anyone else: the rooms of one program.

pub mod account;
pub mod bench;
pub mod check;
pub mod client;
pub mod clock;
pub mod contest;
pub mod gateway;
pub mod generator;
pub mod idle;
pub mod link;
pub mod origin;
pub mod pace;
pub mod report;
pub mod settings;
pub mod slice;
pub mod stage;
pub mod store;
pub mod token;
pub mod tuning;
pub mod versus;
pub mod wire;
