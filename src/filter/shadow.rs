//! The filter `shadow`: has another filter decide, and refuses nothing.
//!
//! It is how a policy is tried on real viewers before it holds. The filter in it decides by the
//! same code; what it would have refused is counted and logged, and that is all. It makes nothing
//! known, adds nothing for upstreams and clients, and sends no answer of its own.

use super::{Decision, Fact, Filter, Halt, Parts, Placement, Stance};
use crate::exchange::{Exchange, Finding};
use crate::problem::Problem;
use crate::quota::Figures;
use crate::request::Request;
use crate::yaml::At;
use async_trait::async_trait;

/// Another filter.
pub(super) type Config = Box<At<super::Config>>;

struct Shadow {
    name: &'static str,
    filter: Box<dyn Filter>,
}

pub(super) fn build(
    config: &Config,
    parts: &Parts,
    stance: Stance,
) -> Result<Box<dyn Filter>, Vec<Problem>> {
    if stance == Stance::Shadow {
        let problem = config.problem("a shadow in a shadow");
        return Err(vec![problem.help("write `- shadow: { concurrency: … }`, once")]);
    }
    let filter = config.build(parts, Stance::Shadow)?;
    Ok(Box::new(Shadow { name: config.name(), filter }))
}

#[async_trait]
impl Filter for Shadow {
    fn needs(&self) -> &'static [Fact] {
        self.filter.needs()
    }

    fn would_provide(&self) -> &'static [Fact] {
        self.filter.provides()
    }

    fn settle(&mut self, place: &Placement<'_>) -> Result<(), Vec<Problem>> {
        self.filter.settle(place)
    }

    fn rates(&self) -> Figures {
        self.filter.rates()
    }

    fn decide_at_once(&self, request: &Request<'_>, known: &Exchange) -> Option<Decision> {
        self.filter.decide_at_once(request, known).map(|decision| self.shade(decision))
    }

    async fn decide(&self, request: &Request<'_>, known: &Exchange) -> Decision {
        self.shade(self.filter.decide(request, known).await)
    }
}

impl Shadow {
    fn shade(&self, decision: Decision) -> Decision {
        match decision {
            Err(Halt::Deny(denial, _)) => Ok(Finding::Shadow(self.name, denial.code())),
            Ok(_) | Err(Halt::Reply(_) | Halt::Answered(..)) => Ok(Finding::Nothing),
        }
    }
}
