//! A client that asks again and again on a kept connection, and counts what it gets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// No answer is waited for longer.
const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET /media/segment HTTP/1.1\r\nHost: drill\r\n\r\n";

/// What clients got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: u64,
    /// Another status than 200, or no answer at all.
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Seen) {
        self.answers += other.answers;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

pub(crate) struct Client {
    edge: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub(crate) fn new(edge: SocketAddr) -> Self {
        Client { edge, stream: None }
    }

    /// Asks from `first` on, each time after `every` or as soon as the answer is there.
    pub(crate) async fn run(mut self, first: Instant, every: Duration, end: Instant) -> Seen {
        let (mut seen, mut due) = (Seen::default(), first);
        while due < end {
            sleep_until(due).await;
            let began = Instant::now();
            let status = timeout(PATIENCE, self.ask()).await;
            let is_good = matches!(status, Ok(Ok(200)));
            if !is_good {
                seen.failed += 1;
                self.stream = None;
            }
            seen.answers += 1;
            seen.slowest = seen.slowest.max(began.elapsed());
            due = (due + every).max(Instant::now());
        }
        seen
    }

    async fn ask(&mut self) -> io::Result<u16> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(self.edge).await?);
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(REQUEST).await?;
        let mut heard = Vec::new();
        loop {
            if stream.read_buf(&mut heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = whole(&heard) {
                return Ok(status);
            }
        }
    }
}

/// The status of an answer, once all of it is here.
fn whole(heard: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(heard).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let length: usize = length.unwrap_or_default();
    (length <= body.len()).then(|| head.split(' ').nth(1)?.parse().ok())?
}
