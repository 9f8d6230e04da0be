//! What is published on one channel, over a connection of its own that is opened again when it
//! breaks; and it says so, because what was published meanwhile is lost.
//!
//! It spawns nothing: whoever asks for the next news drives it.

use super::link::{Link, said};
use crate::store::StoreError;
use ::redis::aio::{PubSubSink, PubSubStream};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pauses between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A channel that is silent for so long is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A subscription that outlives its connections.
pub struct Feed {
    link: Arc<Link>,
    channel: String,
    line: Option<Line>,
    pause: Duration,
    /// The listener was told that it is cut off, and not yet that it is not.
    told_of_interruption: bool,
}

struct Line {
    sink: PubSubSink,
    stream: PubSubStream,
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
    pub(super) fn new(link: Arc<Link>, channel: &str) -> Self {
        Self {
            link,
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
                Some(line) => line.next().await.map(News::Message),
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
            let mut pubsub = self.link.client.get_async_pubsub().await?;
            pubsub.subscribe(&self.channel).await?;
            Ok(pubsub.split())
        };
        let (sink, stream) = match timeout(self.link.deadlines.connect, dial).await {
            Ok(Ok(halves)) => halves,
            Ok(Err(error)) => return Err(said(&error)),
            Err(_) => return Err(StoreError::Timeout),
        };
        self.line = Some(Line { sink, stream });
        self.pause = Duration::ZERO;
        self.told_of_interruption = false;
        Ok(News::Listening)
    }
}

impl Line {
    async fn next(&mut self) -> Result<Vec<u8>, StoreError> {
        loop {
            match timeout(SILENCE_MAX, self.stream.next()).await {
                Ok(Some(message)) => return Ok(message.get_payload_bytes().to_vec()),
                Ok(None) => return Err(StoreError::Unavailable("cut off".to_owned())),
                Err(_silent) => {}
            }
            match timeout(SILENCE_MAX, self.sink.ping::<::redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(said(&error)),
                Err(_) => return Err(StoreError::Timeout),
            }
        }
    }
}
