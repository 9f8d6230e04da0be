//! One server and the connections to it: shared, reconnecting, with a deadline on everything.
//!
//! There are two: one for what somebody waits for, one for the pipelines of a keeper. A viewer who
//! starts then does not stand behind renewals, and they are packed and unpacked by the thread that
//! opened theirs, which is the keeper's.
//!
//! Each is opened by the first who asks, so a server that is down at start is no error. What a
//! server could not answer is not retried: who asked is told at once, and a breaker keeps everybody
//! else from waiting in vain. Only a connection that turns out to be cut is opened again, once.
//!
//! The redis crate's own `ConnectionManager` is not used: while it reconnects, with retries and
//! growing pauses, every caller waits for it. Nor is its cluster client: it retries inline (16
//! times unless told otherwise), keeps what it was asked in a queue without a bound while it
//! refreshes its map, and knows no breaker, so one dead shard would make everybody wait.

use super::dial::{Dial, addr};
use super::lane::{Lane, Open};
use super::offset::ServerClock;
use super::question::{Asking, Question};
use super::trouble::{Reach, Trouble, outage};
use crate::store::StoreError;
use ::redis::{Client, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long anything may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// One command, script or pipeline, waiting for its turn included. Default 50 ms.
    pub command: Duration,
    /// To connect and to be admitted by the server; and to find out which server to ask. Default
    /// 250 ms.
    pub connect: Duration,
}

/// One server and the connections to it. Shared by whoever asks it anything.
pub(super) struct Link {
    pub(super) dial: Dial,
    /// What it was asked as, for answers that leave their own host out.
    host: String,
    deadlines: Deadlines,
    /// For one question at a time, that somebody waits for.
    singly: Lane,
    /// For many at once, that nobody waits for.
    in_bulk: Lane,
}

impl Link {
    /// A link to wherever `dial` leads. Connects to nothing yet.
    pub(super) fn new(dial: Dial, host: &str, deadlines: Deadlines) -> Self {
        Self {
            dial,
            host: host.to_owned(),
            deadlines,
            singly: Lane::default(),
            in_bulk: Lane::default(),
        }
    }

    /// What it was asked as.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What time it is there, as pipelines have heard it.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.in_bulk.clock
    }

    /// It failed a moment ago, so it would not be asked now.
    pub(super) fn is_resting(&self) -> bool {
        self.singly.breaker.is_resting() || self.in_bulk.breaker.is_resting()
    }

    /// Puts one question, within the deadlines; `asking` if the slot is only on its way there.
    ///
    /// Among the answers of a pipeline may be errors that concern one holder. One that says that
    /// the server cannot serve fails them all.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        asking: bool,
    ) -> Result<Value, Trouble> {
        let lane = match question {
            Question::Command(_) | Question::Script(_) => &self.singly,
            Question::Pipeline(_) => &self.in_bulk,
        };
        if !lane.breaker.lets_through() {
            return Err(StoreError::Resting.into());
        }
        let kept = self.connection(lane).await?;
        match self.put(question, asking, lane, &kept).await {
            Ok(answer) => answer,
            // Cut, perhaps long ago, which says nothing of the server yet: a new connection tells,
            // and asking again is safe.
            Err(error) if error.is_connection_dropped() => {
                lane.hang_up(&kept);
                let anew = self.connection(lane).await?;
                let answer = self.put(question, asking, lane, &anew).await;
                answer.unwrap_or_else(|error| Err(self.troubled(&error, lane, &anew)))
            }
            Err(error) => Err(self.troubled(&error, lane, &kept)),
        }
    }

    /// Puts the question once. The error is one that is not judged yet.
    async fn put(
        &self,
        question: &Question<'_>,
        asking: bool,
        lane: &Lane,
        shared: &Arc<Open>,
    ) -> RedisResult<Result<Value, Trouble>> {
        let mut connection = shared.connection.clone();
        let began = Instant::now();
        let reply = async {
            match asking {
                true => question.put(&mut Asking(&mut connection)).await,
                false => question.put(&mut connection).await,
            }
        };
        let Ok(reply) = timeout(self.deadlines.command, reply).await else {
            lane.clock.forget();
            // It may be the network that swallows everything: the next one dials afresh.
            if lane.breaker.timed_out(began) {
                lane.hang_up(shared);
            }
            return Ok(Err(StoreError::Timeout.into()));
        };
        let reply = reply?;
        Ok(match some_outage(&reply) {
            Some(error) => Err(self.troubled(&error, lane, shared)),
            None => {
                lane.breaker.answered();
                Ok(reply)
            }
        })
    }

    fn troubled(&self, error: &RedisError, lane: &Lane, shared: &Arc<Open>) -> Trouble {
        match Reach::of(error) {
            Reach::Question => lane.breaker.answered(),
            Reach::Server => lane.breaker.failed(),
            Reach::Connection => {
                lane.breaker.failed();
                lane.hang_up(shared);
            }
        }
        Trouble::of(error, &self.host)
    }

    /// The connection; whoever comes first opens it, and the others wait for him.
    async fn connection(&self, lane: &Lane) -> Result<Arc<Open>, StoreError> {
        if let Some(open) = lane.open() {
            return Ok(open);
        }
        let began = Instant::now();
        let Ok(_dialling) = timeout(self.deadlines.connect, lane.dialling.lock()).await else {
            return Err(StoreError::Timeout);
        };
        if let Some(open) = lane.open() {
            return Ok(open);
        }
        if lane.breaker.failed_since(began) {
            return Err(StoreError::Resting);
        }
        match self.dial.connect(began + self.deadlines.connect).await {
            Ok((place, connection)) => {
                self.stay_with(&place);
                Ok(lane.keep(Open { connection, place }))
            }
            Err(error) => {
                lane.breaker.failed();
                Err(error)
            }
        }
    }

    /// This is the master now, for both ways. A connection to another server is let go of, however
    /// well it works: a master that was deposed unheard takes writes until its sentinels reach it,
    /// and loses them.
    pub(super) fn stay_with(&self, master: &Client) {
        for lane in [&self.singly, &self.in_bulk] {
            lane.hang_up_if(|open| addr(&open.place) != addr(master));
        }
    }
}

fn some_outage(reply: &Value) -> Option<RedisError> {
    match reply {
        Value::Array(values) => values.iter().find_map(outage).cloned().map(RedisError::from),
        _ => None,
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { command: Duration::from_millis(50), connect: Duration::from_millis(250) }
    }
}
