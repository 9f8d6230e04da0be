//! What the gateway answers itself on a route.

pub mod streams;
