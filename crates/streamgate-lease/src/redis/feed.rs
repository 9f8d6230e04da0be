//! What is published on one channel, over a connection of its own that is opened again when it
//! breaks; and it says so, because what was published meanwhile is lost.
//!
//! It spawns nothing: whoever asks for the next news drives it.
//!
//! Where it listens. A cluster carries what is published on any server to all of them, so any
//! server does, and another one when it dies. Behind sentinels it is the master. What a master is
//! told to publish it also hands on to its replicas, so one who still listens to a master that
//! became a replica hears the new master all the same, for as long as the two are in touch. That is
//! why a failover may be noticed a little late, and why it must be noticed: the old master may
//! keep the connection open and be in touch with nobody. So every two seconds it is asked whether
//! this is still the place to listen, and leaving it counts as an interruption. What is learned
//! there is also where to ask: nobody goes on writing to a master that has a successor.

use super::links::Links;
use super::trouble::said;
use crate::store::StoreError;
use ::redis::Client;
use ::redis::aio::{PubSubSink, PubSubStream};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Pauses between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Every so often a channel is asked whether it is still there.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Where there are other places to listen, more often.
const CHECK_PLACE_EVERY: Duration = Duration::from_secs(2);

/// A subscription that outlives its connections.
pub struct Feed {
    links: Arc<Links>,
    channel: String,
    line: Option<Line>,
    pause: Duration,
    /// The listener was told that it is cut off, and not yet that it is not.
    told_of_interruption: bool,
}

struct Line {
    sink: PubSubSink,
    stream: PubSubStream,
    place: Client,
    checked_at: Instant,
}

/// What a [`Feed`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// From now on every message comes. What was published before may have been missed.
    Listening,
    /// Something was published.
    Message(Vec<u8>),
    /// The line is cut, and messages are being missed until the next `Listening`.
    Interrupted(StoreError),
}

impl Feed {
    pub(super) fn new(links: Arc<Links>, channel: &str) -> Self {
        Self {
            links,
            channel: channel.to_owned(),
            line: None,
            pause: Duration::ZERO,
            told_of_interruption: false,
        }
    }

    /// Waits for the next news, connecting as often as needed. Dropping it half-way loses nothing
    /// that was published on a line that is up.
    pub async fn next(&mut self) -> News {
        loop {
            let news = match &mut self.line {
                Some(line) => line.next(&self.links).await.map(News::Message),
                None => self.connect().await,
            };
            match news {
                Ok(news) => return news,
                Err(error) => {
                    self.line = None;
                    if !std::mem::replace(&mut self.told_of_interruption, true) {
                        return News::Interrupted(error);
                    }
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<News, StoreError> {
        sleep(self.pause.mul_f64(rand::random_range(0.8..1.2))).await;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let dial = async {
            let (mut pubsub, place) = self.links.listen().await?;
            pubsub.subscribe(&self.channel).await.map_err(|error| said(&error))?;
            Ok((pubsub.split(), place))
        };
        let deadline = self.links.deadlines.connect;
        let ((sink, stream), place) =
            timeout(deadline, dial).await.unwrap_or(Err(StoreError::Timeout))?;
        self.links.stay_with(&place);
        self.line = Some(Line { sink, stream, place, checked_at: Instant::now() });
        self.pause = Duration::ZERO;
        self.told_of_interruption = false;
        Ok(News::Listening)
    }
}

impl Line {
    async fn next(&mut self, links: &Links) -> Result<Vec<u8>, StoreError> {
        let every = if links.may_leave() { CHECK_PLACE_EVERY } else { CHECK_EVERY };
        loop {
            match timeout_at(self.checked_at + every, self.stream.next()).await {
                Ok(Some(message)) => return Ok(message.get_payload_bytes().to_vec()),
                Ok(None) => return Err(StoreError::Unavailable("cut off".to_owned())),
                Err(_due) => self.check(links, every).await?,
            }
        }
    }

    /// Dropped half-way it is still due.
    async fn check(&mut self, links: &Links, within: Duration) -> Result<(), StoreError> {
        match timeout(within, self.sink.ping::<::redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(said(&error)),
            Err(_) => return Err(StoreError::Timeout),
        }
        if links.may_leave() && links.has_left(&self.place).await {
            return Err(StoreError::Unavailable("another server is to be listened to".to_owned()));
        }
        links.stay_with(&self.place);
        self.checked_at = Instant::now();
        Ok(())
    }
}
