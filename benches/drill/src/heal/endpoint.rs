//! An endpoint that can fall ill and get well again.

use super::STEP;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Its port is closed, its connections are cut.
    Dead,
    /// It takes requests and says nothing.
    Hanging,
    /// It answers, half a second late.
    Slow,
    /// What it says is no HTTP.
    Mad,
}

/// How long an answer takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(5);
const SLOW_BY: Duration = Duration::from_millis(500);
const HEAD_BYTES_MAX: usize = 4_096;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NONSENSE: &[u8] = b"\x16\x03\x01 not a word of HTTP\r\n\r\n";

/// Which requests came when.
type Log = Arc<Mutex<(Instant, Vec<Instant>)>>;

/// An endpoint of this process.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    mood: watch::Sender<Mood>,
    log: Log,
}

impl Endpoint {
    pub(crate) async fn start(began: Instant) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mood, heard) = watch::channel(Mood::Well);
        let log = Log::new(Mutex::new((began, Vec::new())));
        tokio::spawn(listen(listener, heard, Arc::clone(&log)));
        Ok(Endpoint { address, mood, log })
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// From now on requests are counted.
    pub(crate) fn begin(&self, at: Instant) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = (at, Vec::new());
    }

    /// How many requests came in each step.
    pub(crate) fn reached(&self, steps: usize) -> Vec<u32> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = vec![0; steps];
        for at in &log.1 {
            let step = ((*at - log.0).as_millis() / STEP.as_millis()) as usize;
            all[step.min(steps - 1)] += 1;
        }
        all
    }
}

async fn listen(listener: TcpListener, mut mood: watch::Receiver<Mood>, log: Log) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        let is_dead = *mood.borrow_and_update() == Mood::Dead;
        match &listener {
            Some(_) if is_dead => listener = None,
            None if !is_dead => listener = TcpListener::bind(address).await.ok(),
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok((stream, _)) = accepted => {
                tokio::spawn(serve(stream, mood.clone(), Arc::clone(&log)));
            }
            changed = mood.changed() => if changed.is_err() { return },
        }
    }
}

/// Answers requests on one connection, until the endpoint dies.
async fn serve(mut stream: TcpStream, mood: watch::Receiver<Mood>, log: Log) {
    let mut dies = mood.clone();
    tokio::select! {
        _ = dies.wait_for(|mood| *mood == Mood::Dead) => {}
        _ = answer_all(&mut stream, &mood, &log) => {}
    }
}

async fn answer_all(
    stream: &mut TcpStream,
    mood: &watch::Receiver<Mood>,
    log: &Log,
) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 || HEAD_BYTES_MAX < head.len() {
                return Ok(());
            }
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).1.push(Instant::now());
        let is = *mood.borrow();
        sleep(ANSWERS_AFTER).await;
        match is {
            Mood::Well | Mood::Dead => stream.write_all(GOOD).await?,
            Mood::Hanging => std::future::pending().await,
            Mood::Slow => {
                sleep(SLOW_BY).await;
                stream.write_all(GOOD).await?;
            }
            Mood::Mad => {
                stream.write_all(NONSENSE).await?;
                return Ok(());
            }
        }
    }
}
