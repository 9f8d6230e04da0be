//! Probe: whether a server serves, asked beside the requests over a connection of its own, and how
//! far away it is.
//!
//! It does what a start does, a script that writes, and changes nothing. So it fails where starts
//! fail: at a replica, a full memory, a disk that takes nothing, missing rights.

use super::command::Command;
use super::connection::Connection;
use super::connector::Connector;
use super::deadlines::Deadlines;
use super::patience::wait;
use super::reply_error::{outage, said, store_error, store_error_of_reply};
use crate::store::{StoreError, UnavailableReason};
use ::redis::aio::MultiplexedConnection;
use ::redis::{Client as RedisClient, ConnectionAddr, Value, cmd, pipe};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

const SCRIPT: &str = include_str!("probe.lua");
/// How long a server that hangs up may take to say why.
const GREETING_WAIT: Duration = Duration::from_millis(100);
const GREETING_BYTES_MAX: usize = 512;
/// A server in doubt is asked again no sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// Of so many answers the fastest tells the distance: the others may have waited for a processor.
const DISTANCE_OF: usize = 3;
/// A server that never answered in time gets so long, for the operator to learn how far it is.
const DISTANCE_WAIT: Duration = Duration::from_secs(2);

/// The connection of the probe, while all is well, and what it found last.
#[derive(Default)]
pub(crate) struct Probe {
    kept: tokio::sync::Mutex<Option<Connection>>,
    found: parking_lot::Mutex<Found>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Found {
    at: Option<Instant>,
    round_trips: [Option<Duration>; DISTANCE_OF],
}

impl Probe {
    /// Whether it is time to ask: since `doubt` the server is in doubt, or it was not asked for
    /// `every`.
    pub(crate) fn is_due(&self, doubt: Option<Instant>, every: Duration) -> bool {
        let now = Instant::now();
        let Some(probed_at) = self.found.lock().at else { return true };
        every <= now - probed_at || doubt.is_some_and(|due| due.max(probed_at + PAUSE) <= now)
    }

    /// How far away the server is, there and back, by the last probes that were answered.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let [one, two, three] = self.found.lock().round_trips;
        Some(one?.min(two?).min(three?))
    }

    /// Asks whether the server serves, and returns which it is. `keys` are keys of it that nobody
    /// uses. If it is in doubt, the connection is made anew: what is open may be what is wrong.
    pub(crate) async fn ask(
        &self,
        connector: &Connector,
        deadlines: &Deadlines,
        keys: &[String],
        in_doubt: bool,
    ) -> Result<RedisClient, StoreError> {
        let mut kept = self.kept.lock().await;
        if in_doubt {
            *kept = None;
        }
        let was_kept = kept.is_some();
        let mut answer = ask(&mut kept, connector, deadlines, keys).await;
        if was_kept && answer == Err(StoreError::Unavailable(UnavailableReason::ConnectionLost)) {
            *kept = None;
            answer = ask(&mut kept, connector, deadlines, keys).await;
        }
        self.found.lock().at = Some(Instant::now());
        match (answer, &*kept) {
            (Ok(round_trip), Some(connection)) => {
                self.found(round_trip);
                let limit = deadlines.start.max(deadlines.command);
                self.measure_on(&mut connection.multiplexed.clone(), limit).await;
                Ok(connection.server.clone())
            }
            (Ok(_), None) => Err(StoreError::Timeout),
            (Err(error), _) => {
                *kept = None;
                Err(error)
            }
        }
    }

    /// How far away a server is that has never answered in time, if it answers at all.
    pub(crate) async fn measure(&self, connector: &Connector) {
        if self.found.lock().round_trips != [None; DISTANCE_OF] {
            return;
        }
        let deadline = Instant::now() + DISTANCE_WAIT;
        let Ok((_, mut multiplexed)) = connector.connect(deadline).await else { return };
        self.measure_on(&mut multiplexed, DISTANCE_WAIT).await;
    }

    /// Asks as often as it takes to know the distance, if it is not known yet: the operator of a
    /// gateway that has just started is told at once.
    async fn measure_on(&self, multiplexed: &mut MultiplexedConnection, limit: Duration) {
        while self.found.lock().round_trips.contains(&None) {
            let began = Instant::now();
            let time = cmd("TIME");
            match wait(limit, time.query_async::<Value>(multiplexed)).await {
                Some(Ok(_)) => self.found(began.elapsed()),
                Some(Err(_)) | None => return,
            }
        }
    }

    fn found(&self, round_trip: Duration) {
        let mut found = self.found.lock();
        found.at = Some(Instant::now());
        found.round_trips.rotate_right(1);
        found.round_trips[0] = Some(round_trip);
    }
}

/// One question over a connection of the probe's own.
async fn ask(
    kept: &mut Option<Connection>,
    connector: &Connector,
    deadlines: &Deadlines,
    keys: &[String],
) -> Result<Duration, StoreError> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(connect(connector, deadlines).await?),
    };
    let limit = deadlines.start.max(deadlines.command);
    let multiplexed = &mut connection.multiplexed;
    let began = Instant::now();
    // Another command than the script, because its round trip is one, whatever is loaded.
    let time = cmd("TIME");
    let time = wait(limit, time.query_async::<Value>(multiplexed)).await;
    time.ok_or(StoreError::Timeout)?.map_err(|error| store_error(&error))?;
    let round_trip = began.elapsed();
    let script = ::redis::Script::new(SCRIPT);
    let mut tries = pipe();
    tries.cmd("SCRIPT").arg("LOAD").arg(SCRIPT);
    for key in keys {
        tries.cmd("EVALSHA").arg(script.get_hash()).arg(1).arg(key);
    }
    let command = Command::Pipeline(&tries);
    let replies = wait(limit, command.send(multiplexed)).await.ok_or(StoreError::Timeout)?;
    match replies.map_err(|error| store_error(&error))? {
        Value::Array(replies) => match replies.iter().find_map(failure) {
            Some(error) => Err(error),
            None => Ok(round_trip),
        },
        _ => Err(StoreError::Protocol("an array was expected".to_owned())),
    }
}

async fn connect(connector: &Connector, deadlines: &Deadlines) -> Result<Connection, StoreError> {
    match connector.connect(Instant::now() + deadlines.connect).await {
        Ok((server, multiplexed)) => Ok(Connection { multiplexed, server }),
        Err(StoreError::Unavailable(UnavailableReason::ConnectionLost)) => {
            Err(greeting(connector).await)
        }
        Err(error) => Err(error),
    }
}

/// Why a server hangs up at once: some say so before they are asked anything, as when there are too
/// many clients, and then the client's own first words are in the way.
async fn greeting(connector: &Connector) -> StoreError {
    let heard = async {
        match connector.address()? {
            ConnectionAddr::Tcp(host, port) => {
                first_line(TcpStream::connect((host.as_str(), port)).await.ok()?).await
            }
            ConnectionAddr::Unix(path) => first_line(UnixStream::connect(path).await.ok()?).await,
            _ => None,
        }
    };
    let heard = wait(GREETING_WAIT, heard).await.flatten();
    let sentence = heard.and_then(|line| Some(line.strip_prefix('-')?.trim().to_owned()));
    match sentence.as_deref().and_then(|sentence| sentence.split_once(' ')) {
        Some((word, rest)) => said(word, rest),
        None => StoreError::Unavailable(UnavailableReason::ConnectionLost),
    }
}

/// Every error but those of a slot that is elsewhere by now, which the map of a cluster tells.
fn failure(reply: &Value) -> Option<StoreError> {
    match reply {
        Value::ServerError(error) if error.code() == "MOVED" => Some(store_error_of_reply(error)),
        other => outage(other).map(store_error_of_reply),
    }
}

async fn first_line(mut from: impl AsyncRead + Unpin) -> Option<String> {
    let mut bytes = vec![0; GREETING_BYTES_MAX];
    let count = from.read(&mut bytes).await.ok()?;
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    text.lines().next().map(str::to_owned)
}
