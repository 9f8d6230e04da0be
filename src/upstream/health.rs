//! Whether an endpoint is well: the verdict of the checks that `probe.rs` makes; whether it is
//! passed over for a while because of what came of requests; and how much it gets when it is back.

use super::{EjectReason, Protocol};
use crate::problem::Problem;
use crate::units::{Count, Text, Time};
use crate::yaml::At;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How an upstream's servers are asked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HealthCheck")]
pub struct Config {
    /// Answers 2xx while the server is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<At<Text>>,
    /// `true`: taking a connection, by TLS where the upstream has it, is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<At<bool>>,
    /// The service that `grpc.health.v1.Health` is asked about; empty: the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<At<Text>>,
    /// Between two questions.
    #[serde(default = "interval")]
    pub interval: At<Time>,
    /// How long an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// So many answers of the other kind in a row change the verdict.
    #[serde(default = "threshold")]
    pub threshold: Count,
}

fn interval() -> At<Time> {
    At::unwritten(Time::secs(5))
}

fn timeout() -> Time {
    Time::secs(1)
}

fn threshold() -> Count {
    Count(2)
}

/// The checks of one upstream, ready to be made.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) question: Question,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) threshold: u32,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// `GET` of this path.
    Http(PathAndQuery),
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check` of this service.
    Grpc(String),
}

impl Config {
    pub(super) fn compile(&self, protocol: Protocol) -> Result<Check, Problem> {
        let question = match (&self.path, &self.tcp, &self.grpc) {
            (Some(path), None, None) => Question::Http(target(path)?),
            (None, Some(tcp), None) if tcp.value => Question::Tcp,
            (None, None, Some(service)) if protocol != Protocol::Http1 => {
                Question::Grpc(service.0.clone())
            }
            (None, None, Some(service)) => {
                let text = "gRPC is spoken over HTTP/2, and this upstream speaks HTTP/1.1";
                let help = "write `protocol: h2c`, or `h2` with `tls`";
                return Err(service.problem(text).help(help));
            }
            (None, Some(tcp), None) => {
                let text = "`tcp: false` asks nothing";
                return Err(tcp.problem(text).help(ONE_QUESTION));
            }
            (path, tcp, grpc) => {
                let places = [
                    path.as_ref().map(|it| it.place),
                    tcp.as_ref().map(|it| it.place),
                    grpc.as_ref().map(|it| it.place),
                ];
                let number = places.iter().flatten().count();
                let place = places.into_iter().flatten().last().unwrap_or(self.interval.place);
                let text = match number {
                    0 => "`health` asks nothing",
                    _ => "`health` asks one question",
                };
                return Err(Problem::at(place, text).help(ONE_QUESTION));
            }
        };
        Ok(Check {
            question,
            interval: self.interval.0,
            timeout: self.timeout.0,
            threshold: self.threshold.0,
        })
    }
}

const ONE_QUESTION: &str = "write `path: /healthz`, `tcp: true` or `grpc: service`";

/// The target of a request to this path.
fn target(path: &At<Text>) -> Result<PathAndQuery, Problem> {
    let written = path.0.as_str();
    let is_sent_as_written = written.bytes().all(|byte| byte.is_ascii_graphic());
    let read = PathAndQuery::try_from(written).ok();
    let read = read.filter(|read| is_sent_as_written && read.as_str() == written);
    read.filter(|_| written.starts_with('/')).ok_or_else(|| {
        let text = format!("`{written}` is not the path of a request");
        path.problem(text).help(right_path(written))
    })
}

/// What was probably meant.
fn right_path(written: &str) -> String {
    match written {
        url if url.contains("://") => {
            "write the path alone, such as `/healthz`: the endpoints say where".to_owned()
        }
        "" => "a path begins with `/`: write `/healthz`".to_owned(),
        path if !path.is_ascii() || path.contains([' ', '#']) => {
            "a path has no spaces, no `#` and only ASCII; others are written as `%20`".to_owned()
        }
        path if path.starts_with('/') => "write a path such as `/healthz`".to_owned(),
        path => format!("a path begins with `/`: write `/{path}`"),
    }
}

/// What an endpoint said to the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status; those from 200 to 299 are well.
    Status(u16),
    /// Nothing, within the time that it had.
    Silence,
    /// It took no connection.
    Refusal,
    /// No TLS, or by a certificate that is not good.
    Stranger,
    /// No answer of the protocol that the upstream speaks.
    Nonsense,
    /// It took a connection, and that was the question.
    Connected,
    /// Whether its service serves, by the health protocol of gRPC.
    Serving(bool),
}

impl Answer {
    fn is_well(self) -> bool {
        matches!(self, Answer::Status(200..=299) | Answer::Connected | Answer::Serving(true))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(status) => write!(f, "it answers with status {status}"),
            Answer::Silence => f.write_str("no answer in time"),
            Answer::Refusal => f.write_str("it takes no connection"),
            Answer::Stranger => f.write_str("no TLS with it, or its certificate is not good"),
            Answer::Nonsense => f.write_str("its answer is not of the upstream's protocol"),
            Answer::Connected => f.write_str("it takes connections"),
            Answer::Serving(true) => f.write_str("its service serves"),
            Answer::Serving(false) => f.write_str("its service does not serve"),
        }
    }
}

/// The verdict on one endpoint. New ones are taken to be well.
#[derive(Debug)]
pub struct Health {
    is_well: AtomicBool,
    began: Instant,
    /// Until when it is passed over, in ms since it began; 0: it is not.
    away_until_ms: AtomicU64,
    /// Why: 0, it took no connection; else the place of an `EjectReason`, from 1 on.
    away_why: AtomicU8,
    /// Since when it warms up, in ms since it began; 0: it does not.
    warm_from_ms: AtomicU64,
    /// How long that takes; 0: no time.
    warm_for_ms: AtomicU64,
    /// What the last check gave, and how many in a row contradict the verdict.
    checked: Mutex<(Option<Answer>, u32)>,
}

/// How long an endpoint that took no connection is passed over, while there are others.
const AVOIDED_FOR: Duration = Duration::from_secs(5);

/// Why an endpoint is passed over, beside what checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwayReason {
    /// It took no connection a moment ago.
    Refused,
    /// It was ejected.
    Ejected(EjectReason),
}

impl AwayReason {
    /// As people read it.
    pub fn sentence(self) -> &'static str {
        match self {
            AwayReason::Refused => "it took no connection a moment ago",
            AwayReason::Ejected(why) => why.sentence(),
        }
    }
}

/// The least that an endpoint gets that begins to warm up: one part in so many of its share.
const COLD_PART: u64 = 10;

impl Default for Health {
    fn default() -> Self {
        let none = || AtomicU64::new(0);
        Health {
            is_well: AtomicBool::new(true),
            began: Instant::now(),
            away_until_ms: none(),
            away_why: AtomicU8::new(0),
            warm_from_ms: none(),
            warm_for_ms: none(),
            checked: Mutex::default(),
        }
    }
}

impl Health {
    /// What the checks say.
    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// What the last check gave; `None` before the first.
    pub fn answer(&self) -> Option<Answer> {
        self.checked.lock().0
    }

    /// Enters what a check gave. Returns the verdict if that changes it, which `threshold` answers
    /// in a row do.
    pub(super) fn enter(&self, answer: Answer, threshold: u32) -> Option<bool> {
        let mut checked = self.checked.lock();
        let is_same = answer.is_well() == self.is_well();
        let contradictions = if is_same { 0 } else { checked.1 + 1 };
        let is_over = threshold <= contradictions;
        *checked = (Some(answer), if is_over { 0 } else { contradictions });
        is_over.then(|| {
            self.mark(answer.is_well());
            answer.is_well()
        })
    }

    pub(super) fn mark(&self, is_well: bool) {
        self.away_until_ms.store(0, Ordering::Relaxed);
        if !self.is_well.swap(is_well, Ordering::Relaxed) && is_well {
            self.warm_up();
        }
    }

    /// It took no connection: for a while others are asked.
    pub fn avoid(&self) {
        if self.away().is_none() {
            self.be_away(0, AVOIDED_FOR);
        }
    }

    /// It is ejected for so long.
    pub(super) fn eject(&self, why: EjectReason, time: Duration) {
        let place = EjectReason::ALL.iter().position(|known| *known == why).unwrap_or_default();
        self.be_away(place as u8 + 1, time);
    }

    fn be_away(&self, why: u8, time: Duration) {
        self.away_why.store(why, Ordering::Relaxed);
        let until = self.now_ms() + time.as_millis() as u64;
        self.away_until_ms.store(until.max(1), Ordering::Relaxed);
    }

    /// Whether it is asked when it is its turn.
    pub fn is_asked(&self) -> bool {
        self.is_well() && !self.is_away()
    }

    /// Whether it is passed over because of what came of requests.
    fn is_away(&self) -> bool {
        let until = self.away_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        if self.now_ms() < until {
            return true;
        }
        let (relaxed, word) = (Ordering::Relaxed, &self.away_until_ms);
        if word.compare_exchange(until, 0, relaxed, relaxed).is_ok() {
            // Whoever sees first that the time is over.
            self.warm_up();
        }
        false
    }

    /// Why it is passed over because of what came of requests, and for how long; `None`: it is not.
    pub fn away(&self) -> Option<(AwayReason, Duration)> {
        let until = self.away_until_ms.load(Ordering::Relaxed);
        let left = until.checked_sub(self.now_ms()).filter(|left| *left != 0)?;
        let place = usize::from(self.away_why.load(Ordering::Relaxed)).checked_sub(1);
        let why = place.and_then(|place| EjectReason::ALL.get(place));
        let why = why.map_or(AwayReason::Refused, |why| AwayReason::Ejected(*why));
        Some((why, Duration::from_millis(left)))
    }

    /// Whether it was ejected and is not back.
    pub fn is_ejected(&self) -> bool {
        matches!(self.away(), Some((AwayReason::Ejected(_), _)))
    }

    /// How long it warms up from now on, each time that it is back.
    pub(super) fn warms_up_for(&self, time: Duration) {
        self.warm_for_ms.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// It is new or back, and gets its share little by little.
    pub(super) fn warm_up(&self) {
        if self.warm_for_ms.load(Ordering::Relaxed) != 0 {
            self.warm_from_ms.store(self.now_ms().max(1), Ordering::Relaxed);
        }
    }

    /// Whether it gets less than its share because it is new or back.
    pub fn is_warming(&self) -> bool {
        self.warmth().is_some()
    }

    /// How far it is, and how far it has to go, in ms; `None`: it is there.
    fn warmth(&self) -> Option<(u64, u64)> {
        let from = self.warm_from_ms.load(Ordering::Relaxed);
        if from == 0 {
            return None;
        }
        let (age, whole) = (self.now_ms() - from, self.warm_for_ms.load(Ordering::Relaxed));
        if whole <= age {
            self.warm_from_ms.store(0, Ordering::Relaxed);
            return None;
        }
        Some((age, whole))
    }

    /// Whether it takes a request whose turn it is, by `chance`: one that warms up takes some.
    pub(super) fn takes(&self, chance: impl FnOnce() -> u64) -> bool {
        let Some((age, whole)) = self.warmth() else { return true };
        chance() % whole < age.max(whole / COLD_PART)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
