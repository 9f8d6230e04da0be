//! A route's filters in their order, and how they are asked: before the request goes on, while its
//! answer flows, and when heads are edited. What a filter is, the room `filter` says.

use crate::denial::Denial;
use crate::exchange::Exchange;
use crate::filter::{Answer, Config, Fact, Filter, FilterVerdict, Halt, Placement, Stage, Stance};
use crate::part::{Lasting, Parts};
use crate::problem::Problem;
use crate::quota::Figures;
use crate::request::Request;
use crate::store::Store;
use crate::yaml::{At, Named};
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;
use std::fmt;
use std::sync::Arc;
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

/// The filters of one route, in written order; those that answer preflights stand before all
/// others.
#[derive(Default)]
pub struct Chain {
    filters: Vec<(&'static str, Box<dyn Filter>)>,
    /// Which of them edit every answer, in the order of their stages. Most routes have none.
    finishing: Vec<usize>,
    takes_preflights: bool,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Chain {
    /// Builds the chain of `route` and checks that each filter stands behind those it needs.
    pub fn compile(
        (route, configs): (&str, &[At<Config>]),
        parts: &Parts,
        (lasting, stores): (&dyn Lasting, &Named<Arc<Store>>),
    ) -> Result<Chain, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut chain = Chain::default();
        let (mut known, mut shadowed): (Vec<Fact>, Vec<Fact>) = Default::default();
        let mut configs: Vec<&At<Config>> = configs.iter().collect();
        configs.sort_by_key(|config| !config.comes_first());
        problems.extend(twice(&configs));
        for (index, config) in configs.iter().enumerate() {
            match config.build(parts, Stance::Enforcing) {
                Err(told) => {
                    // One mistake, one problem.
                    known.extend([Fact::Login, Fact::Session, Fact::Lease]);
                    problems.extend(told);
                }
                Ok(mut filter) => {
                    let place = Placement { route, index, lasting, stores };
                    problems.extend(filter.settle(&place).err().unwrap_or_default());
                    problems.extend(missing(config, filter.as_ref(), &known, &shadowed));
                    known.extend(filter.provides());
                    shadowed.extend(filter.would_provide());
                    chain.filters.push((config.label(), filter));
                }
            }
        }
        let is_whole = chain.filters.len() == configs.len();
        let filters = || chain.filters.iter().map(|(_, filter)| filter);
        chain.takes_preflights = filters().any(|filter| filter.takes_preflights());
        let mut finishing: Vec<(Stage, usize)> = filters()
            .enumerate()
            .filter_map(|(index, filter)| Some((filter.finishes()?, index)))
            .collect();
        finishing.sort();
        chain.finishing = finishing.into_iter().map(|(_, index)| index).collect();
        if problems.is_empty() && is_whole { Ok(chain) } else { Err(problems) }
    }

    /// Whether the chain makes this known.
    pub fn provides(&self, fact: Fact) -> bool {
        self.filters.iter().any(|(_, filter)| filter.provides().contains(&fact))
    }

    /// Whether a filter of it answers preflights of other sites.
    pub fn takes_preflights(&self) -> bool {
        self.takes_preflights
    }

    /// What its rates count beside refusals, since the start.
    pub fn rates(&self) -> Figures {
        let all = self.filters.iter().map(|(_, filter)| filter.rates());
        all.fold(Figures::default(), |sum, one| Figures {
            evicted: sum.evicted + one.evicted,
            alone: sum.alone + one.alone,
        })
    }

    /// The filters' names in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.filters.iter().map(|(name, _)| *name)
    }

    /// Asks each filter in turn; what one finds out is known to the next. `trace` gets what each
    /// filter that was asked says.
    pub async fn decide(
        &self,
        request: &Request<'_>,
        known: &mut Exchange,
        mut trace: Option<&mut Vec<(&'static str, FilterVerdict)>>,
    ) -> Result<(), Halt> {
        for (name, filter) in &self.filters {
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
        for (_, filter) in &self.filters {
            let finding = filter.decide_by_answer(request, answer, known).await?;
            known.learn(finding);
        }
        Ok(())
    }

    /// Edits the fields of the request that goes to the upstream.
    pub fn upstream_request(&self, fields: &mut HeaderMap, known: &Exchange) {
        for (_, filter) in &self.filters {
            filter.upstream_request(fields, known);
        }
    }

    /// Tells the filters that the request is answered with an error, or not at all.
    pub async fn failed(&self, known: &Exchange) {
        for (_, filter) in &self.filters {
            filter.failed(known).await;
        }
    }

    /// Whether a long answer may go on. The filters are asked now and then; in between it may.
    pub fn during(&self, known: &Exchange, flow: &mut Flow) -> Result<(), Denial> {
        match flow.is_check_due() {
            true => self.filters.iter().try_for_each(|(_, filter)| filter.during(known)),
            false => Ok(()),
        }
    }

    /// Edits the head of the upstream's answer. In reverse order: what decided last speaks first.
    pub fn response(&self, asked: &HeaderMap, head: &mut ResponseHeader, known: &Exchange) {
        for (_, filter) in self.filters.iter().rev() {
            filter.response(asked, head, known);
        }
        if !self.finishing.is_empty() {
            self.finish(Answer { asked, head, is_own: false }, known);
        }
    }

    /// Edits the head of any answer, the gateway's own as well. An interim answer (1xx) is none.
    pub fn finish(&self, mut answer: Answer<'_>, known: &Exchange) {
        let status = answer.head.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        for index in &self.finishing {
            self.filters[*index].1.finish(&mut answer, known);
        }
    }
}

/// Which pages may read an answer is said once.
fn twice(configs: &[&At<Config>]) -> Option<Problem> {
    let mut all = configs.iter().filter(|config| matches!(config.value, Config::Cors(_)));
    let second = all.nth(1)?;
    Some(second.problem("a route has one `cors`").help("put the origins of both into one list"))
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
        false if *fact == Fact::Session && known.contains(&Fact::Login) => {
            ("the one before it is not required", "leave `required: false` out there")
        }
        false => ("no filter before it makes one known", "put it before this one"),
    };
    let problem = config.problem(format!("`{name}` needs a {needed}, and {why}"));
    Some(problem.help(format!("{help}: `- {needed}: …`")).of_absence())
}
