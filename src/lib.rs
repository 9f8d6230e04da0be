//! streamgate: an edge gateway for video platforms.

pub mod clock;
pub mod denial;
pub mod problem;
pub mod request;
pub mod route;
pub mod units;
pub mod yaml;
