//! Tokens, keys and key sets: real signatures, real files, real HTTP.

mod broken;
mod config;
mod fixture;
mod hostile;
mod issuer;
mod remembered;
mod reissue;
mod rotation;
mod signed;
