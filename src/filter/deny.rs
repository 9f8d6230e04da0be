//! The filter `deny`: clients at these addresses do not pass.

use super::{Decision, Filter, Stance};
use crate::denial::Code;
use crate::exchange::{Exchange, Finding};
use crate::part::{AddressList, AddressSet, Parts};
use crate::problem::Problem;
use crate::request::Request;
use crate::yaml::At;
use async_trait::async_trait;

/// Which addresses.
pub(super) type Config = At<AddressList>;

pub(super) fn build(
    config: &Config,
    parts: &Parts,
    _: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    // A list that a program writes may be empty for once.
    Ok(Box::new(Deny(config.compile(config.place, parts)?)))
}

struct Deny(AddressSet);

#[async_trait]
impl Filter for Deny {
    fn decide_at_once(&self, _: &Request<'_>, known: &Exchange) -> Option<Decision> {
        let is_denied = known.client.is_some_and(|client| self.0.contains(client));
        Some(if is_denied { Err(Code::AddressRefused.into()) } else { Ok(Finding::Nothing) })
    }

    async fn decide(&self, _: &Request<'_>, _: &Exchange) -> Decision {
        Err(Code::AddressRefused.into())
    }
}
