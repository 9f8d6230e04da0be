//! The filter `allow`: only clients at these addresses pass.

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
    let set = config.compile(config.place, parts)?;
    if set.is_empty() {
        let problem = config.problem("`allow` names no address, so nobody could pass");
        return Err(vec![problem.help("name one, or leave the filter out")]);
    }
    Ok(Box::new(Allow(set)))
}

struct Allow(AddressSet);

#[async_trait]
impl Filter for Allow {
    fn decide_at_once(&self, _: &Request<'_>, known: &Exchange) -> Option<Decision> {
        // A client whose address nobody knows is none of them.
        let is_allowed = known.client.is_some_and(|client| self.0.contains(client));
        Some(if is_allowed { Ok(Finding::Nothing) } else { Err(Code::AddressRefused.into()) })
    }

    async fn decide(&self, _: &Request<'_>, _: &Exchange) -> Decision {
        Err(Code::AddressRefused.into())
    }
}
