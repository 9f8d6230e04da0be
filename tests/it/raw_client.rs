//! A client that sends exactly the bytes that a test gives it, well-formed or not, and reads what
//! comes back.

use crate::harness::DEADLINE;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One connection, by default to a gateway.
pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
    heard: Vec<u8>,
}

/// One answer: its head as it came, and its body without framing.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The `code` of a refusal; empty when the body is none.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header field, by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn is_last(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl RawClient {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        RawClient::of(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        RawClient { stream, heard: Vec::new() }
    }

    /// The head of the next request, where this is an upstream's side.
    pub(crate) async fn request(&mut self) -> String {
        self.until(|heard| find(heard, b"\r\n\r\n").is_some()).await;
        let end = find(&self.heard, b"\r\n\r\n").unwrap() + 4;
        text(self.heard.drain(..end).collect())
    }

    /// Sends the bytes. If the gateway has closed already, the next read shows it.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await;
    }

    /// Sends the bytes and reads the answer.
    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.say(bytes).await;
        self.answer().await
    }

    /// The next answer on this connection, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let is_bodiless = matches!(answer.status, 100..200 | 204 | 304);
        let length = answer.field("content-length").map(|length| length.parse().unwrap());
        let is_chunked = answer.field("transfer-encoding").is_some();
        answer.body = match length {
            _ if is_bodiless => String::new(),
            _ if is_chunked => self.chunks().await,
            Some(length) => {
                self.until(|heard| heard.len() >= length).await;
                text(self.heard.drain(..length).collect())
            }
            None => text(self.rest().await),
        };
        answer
    }

    /// The next answer's head; its body is still to be read.
    pub(crate) async fn head(&mut self) -> Answer {
        self.until(|heard| find(heard, b"\r\n\r\n").is_some()).await;
        let end = find(&self.heard, b"\r\n\r\n").unwrap() + 4;
        let head = text(self.heard.drain(..end).collect());
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {head}"));
        Answer { status, head, body: String::new() }
    }

    async fn chunks(&mut self) -> String {
        let mut whole = Vec::new();
        loop {
            self.until(|heard| find(heard, b"\r\n").is_some()).await;
            let end = find(&self.heard, b"\r\n").unwrap();
            let line = text(self.heard.drain(..end + 2).collect());
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            self.until(|heard| heard.len() >= size + 2).await;
            whole.extend(self.heard.drain(..size));
            self.heard.drain(..2);
            if size == 0 {
                return text(whole);
            }
        }
    }

    /// Reads until at least this many bytes of a body have come.
    pub(crate) async fn bytes(&mut self, n: usize) -> Vec<u8> {
        self.until(|heard| heard.len() >= n).await;
        std::mem::take(&mut self.heard)
    }

    async fn until(&mut self, is_enough: impl Fn(&[u8]) -> bool) {
        while !is_enough(&self.heard) {
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.heard)).await;
            let read = read.unwrap_or_else(|_| panic!("silence after {:?}", self.said_so_far()));
            if read.unwrap_or(0) == 0 {
                panic!("hung up after {:?}", self.said_so_far());
            }
        }
    }

    fn said_so_far(&self) -> String {
        text(self.heard.clone())
    }

    /// Everything until the gateway hangs up; a reset is an end, too.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        loop {
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.heard)).await;
            if read.expect("the gateway hangs up").unwrap_or(0) == 0 {
                return std::mem::take(&mut self.heard);
            }
        }
    }

    /// Says that nothing more comes, and hears everything until the gateway hangs up.
    pub(crate) async fn rest_after_close(&mut self) -> Vec<u8> {
        self.stream.shutdown().await.unwrap();
        self.rest().await
    }

    /// Goes away at once, as a client does that is killed or has not read all that came. One that
    /// just closes says no more than that it sends nothing more.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Whether the gateway has hung up by now; what it says before is forgotten.
    pub(crate) fn has_hung_up(&self) -> bool {
        let mut some = [0; 1024];
        loop {
            match self.stream.try_read(&mut some) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the connection serves another request after `answer`.
    pub(crate) async fn serves_another_after(&mut self, answer: &Answer) -> bool {
        if answer.is_last() {
            assert_eq!(text(self.rest().await), "", "nothing follows the last answer");
            return false;
        }
        self.ask("GET /faults/status/204 HTTP/1.1\r\nHost: a\r\n\r\n").await.status == 204
    }

    /// Reads at least so many bytes of a body and forgets them; how many they were.
    pub(crate) async fn skip(&mut self, n: usize) -> usize {
        let mut skipped = std::mem::take(&mut self.heard).len();
        let mut some = vec![0; 64 << 10];
        while skipped < n {
            let read = timeout(DEADLINE, self.stream.read(&mut some)).await;
            let read = read.expect("more comes").unwrap();
            assert!(read > 0, "hung up after {skipped} bytes");
            skipped += read;
        }
        skipped
    }

    /// Whether nothing was said or done by the other side for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let moment = Duration::from_millis(1);
        timeout(moment, self.stream.read_buf(&mut self.heard)).await.is_err()
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
