//! A route's filters in their order, and how they are asked: before the request goes on, while its
//! answer flows, and when heads are edited. What a filter is, the room `filter` says.

use crate::denial::Denial;
use crate::exchange::Exchange;
use crate::filter::{Config, Fact, Filter, FilterVerdict, Halt, Stance};
use crate::part::Parts;
use crate::problem::Problem;
use crate::request::Request;
use crate::yaml::At;
use http::HeaderMap;
use pingora::http::ResponseHeader;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// How often the filters are asked whether a long answer may go on.
const DURING_EVERY: Duration = Duration::from_secs(5);

/// An answer that flows: when the filters were last asked about it.
#[derive(Debug, Default)]
pub struct Flow {
    asked_at: Option<Instant>,
}

impl Flow {
    fn is_check_due(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.asked_at.get_or_insert(now);
        let is_due = DURING_EVERY <= now - since;
        self.asked_at = self.asked_at.filter(|_| !is_due).or(Some(now));
        is_due
    }
}

/// The filters of one route, in written order.
#[derive(Default)]
pub struct Chain(Vec<(&'static str, Box<dyn Filter>)>);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Chain {
    /// Builds the chain and checks that each filter stands behind those it needs.
    pub fn compile(configs: &[At<Config>], parts: &Parts) -> Result<Chain, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut chain = Chain::default();
        let (mut known, mut shadowed): (Vec<Fact>, Vec<Fact>) = Default::default();
        for config in configs {
            match config.build(parts, Stance::Enforcing) {
                Err(told) => {
                    known.extend([Fact::Session, Fact::Lease]); // One mistake, one problem.
                    problems.extend(told);
                }
                Ok(filter) => {
                    problems.extend(missing(config, filter.as_ref(), &known, &shadowed));
                    known.extend(filter.provides());
                    shadowed.extend(filter.would_provide());
                    chain.0.push((config.label(), filter));
                }
            }
        }
        let is_whole = chain.0.len() == configs.len();
        if problems.is_empty() && is_whole { Ok(chain) } else { Err(problems) }
    }

    /// Whether the chain makes this known.
    pub fn provides(&self, fact: Fact) -> bool {
        self.0.iter().any(|(_, filter)| filter.provides().contains(&fact))
    }

    /// The filters' names in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// Asks each filter in turn; what one finds out is known to the next. `trace` gets what each
    /// filter that was asked says.
    pub async fn decide(
        &self,
        request: &Request<'_>,
        known: &mut Exchange,
        mut trace: Option<&mut Vec<(&'static str, FilterVerdict)>>,
    ) -> Result<(), Halt> {
        for (name, filter) in &self.0 {
            let decision = match filter.decide_at_once(request, known) {
                Some(decision) => decision,
                None => filter.decide(request, known).await,
            };
            if let Some(trace) = &mut trace {
                trace.push((name, FilterVerdict::of(&decision)));
            }
            known.learn(decision?);
        }
        Ok(())
    }

    /// Asks each filter about the answer, where one of them left the request's meaning to it.
    pub async fn decide_by_answer(
        &self,
        request: &Request<'_>,
        answer: &ResponseHeader,
        known: &mut Exchange,
    ) -> Result<(), Halt> {
        for (_, filter) in &self.0 {
            let finding = filter.decide_by_answer(request, answer, known).await?;
            known.learn(finding);
        }
        Ok(())
    }

    /// Edits the fields of the request that goes to the upstream.
    pub fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        for (_, filter) in &self.0 {
            filter.upstream_request(fields, known);
        }
    }

    /// Tells the filters that the request is answered with an error, or not at all.
    pub async fn failed(&self, known: &Exchange) {
        for (_, filter) in &self.0 {
            filter.failed(known).await;
        }
    }

    /// Whether a long answer may go on. The filters are asked now and then; in between it may.
    pub fn during(&self, known: &Exchange, flow: &mut Flow) -> Result<(), Denial> {
        match flow.is_check_due() {
            true => self.0.iter().try_for_each(|(_, filter)| filter.during(known)),
            false => Ok(()),
        }
    }

    /// In reverse order: what decided last speaks first.
    pub fn response(&self, asked: &HeaderMap, head: &mut ResponseHeader, known: &Exchange) {
        for (_, filter) in self.0.iter().rev() {
            filter.response(asked, head, known);
        }
    }
}

fn missing(
    config: &At<Config>,
    filter: &dyn Filter,
    known: &[Fact],
    shadowed: &[Fact],
) -> Option<Problem> {
    let fact = filter.needs().iter().find(|fact| !known.contains(fact))?;
    let (name, needed) = (config.bare().name(), fact.name());
    let (why, help) = match shadowed.contains(fact) {
        true => ("a filter in shadow makes none known", "take it out of its `shadow`"),
        false => ("no filter before it makes one known", "put it before this one"),
    };
    let problem = config.problem(format!("`{name}` needs a {needed}, and {why}"));
    Some(problem.help(format!("{help}: `- {needed}: …`")).of_absence())
}
