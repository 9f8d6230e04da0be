//! The bytes of a connection that speaks HTTP/2, on their way between the socket and the library.
//! Frames are read along here, so that every bound acts in one place and every reset is counted.

use super::budget::Budget;
use super::frames::{Frame, Frames};
use crate::edge::h2_bounds::{COUNTED_OVER, Settings};
use crate::edge::transport::Transport;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

/// Frames without content that come with an ordinary request: its window, its priority.
const FRAMES_PER_REQUEST: u32 = 4;

/// So many bytes of an answer allow for one frame that widens a window.
const BYTES_PER_FRAME: usize = 1 << 10;

/// How long the last words of the gateway may take to be heard.
const LINGER: Duration = Duration::from_secs(1);

/// A flood, named by what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// Requests that are broken off, or malformed.
    Resets,
    /// Frames that carry nothing.
    ControlFrames,
}

/// Streams that were reset, by the number of the reason (RFC 9113 §7). Numbers that it does not
/// know are counted under the last.
pub(super) type Resets = [u32; REASONS.len()];

/// The names of the reasons.
pub(super) const REASONS: [&str; 15] = [
    "no_error",
    "protocol_error",
    "internal_error",
    "flow_control_error",
    "settings_timeout",
    "stream_closed",
    "frame_size_error",
    "refused_stream",
    "cancel",
    "compression_error",
    "connect_error",
    "enhance_your_calm",
    "inadequate_security",
    "http_1_1_required",
    "other",
];

/// Reasons by which the gateway resets streams that were at fault.
const FAULTS: [u32; 4] = [1, 3, 5, 7];

/// The bytes of one connection. Clones share them: the library has one, the driver another.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    transport: Transport,
    /// What was read ahead and the library has not got yet.
    ahead: SmallVec<[u8; 16]>,
    received: Frames,
    sent: Frames,
    resets: Budget,
    control_frames: Budget,
    flood: Option<Flood>,
    /// Since when a head is under way, if one is.
    head_since: Option<Instant>,
    sent_bytes: u64,
    /// The socket takes no bytes now.
    is_blocked: bool,
    reset_by_client: Resets,
    reset_by_gateway: Resets,
}

impl Wire {
    pub(super) fn new(transport: Transport, ahead: SmallVec<[u8; 16]>, bounds: &Settings) -> Self {
        Wire(Arc::new(Mutex::new(State {
            transport,
            ahead,
            received: Frames::of_client(),
            sent: Frames::of_gateway(),
            resets: Budget::new(bounds.resets.0, COUNTED_OVER),
            control_frames: Budget::new(bounds.control_frames.0, COUNTED_OVER),
            flood: None,
            head_since: None,
            sent_bytes: 0,
            is_blocked: false,
            reset_by_client: Resets::default(),
            reset_by_gateway: Resets::default(),
        })))
    }

    /// The flood that the client sends, if it sends one. Nothing more is read from it then.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.0.lock().flood
    }

    /// Since when a head is under way that is not whole.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.0.lock().head_since
    }

    /// Whether the socket takes no bytes now.
    pub(super) fn is_blocked(&self) -> bool {
        self.0.lock().is_blocked
    }

    /// How many bytes the client was sent so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.0.lock().sent_bytes
    }

    /// The streams that were reset since this was asked last: by the client, and by the gateway.
    pub(super) fn take_resets(&self) -> (Resets, Resets) {
        let mut state = self.0.lock();
        let client = std::mem::take(&mut state.reset_by_client);
        (client, std::mem::take(&mut state.reset_by_gateway))
    }

    /// Reads on until the client closes: who still sends would lose the last words otherwise.
    pub(super) async fn linger(mut self) {
        let rest = poll_fn(|task| {
            let mut some = [0; 1024];
            loop {
                let mut buffer = ReadBuf::new(&mut some);
                let state = &mut *self.0.lock();
                if ready!(Pin::new(&mut state.transport).poll_read(task, &mut buffer)).is_err()
                    || buffer.filled().is_empty()
                {
                    return Poll::Ready(());
                }
            }
        });
        // It is over either way.
        let _ = timeout(LINGER, rest).await;
        poll_fn(|task| Pin::new(&mut self).poll_shutdown(task).map(drop)).await;
    }
}

impl State {
    fn note_received(&mut self, bytes: &[u8]) {
        let State { received, resets, control_frames, flood, .. } = self;
        let (by_client, head_since) = (&mut self.reset_by_client, &mut self.head_since);
        received.read(bytes, |frame| {
            let is_calm = match frame {
                Frame::Data { is_hollow: false, .. } => true,
                Frame::Head { is_whole } => {
                    control_frames.give(FRAMES_PER_REQUEST);
                    *head_since = if is_whole { None } else { Some(Instant::now()) };
                    true
                }
                Frame::Continuation { is_last } => {
                    if is_last {
                        *head_since = None;
                    }
                    control_frames.take()
                }
                Frame::Reset(reason) => {
                    count(by_client, reason);
                    if !resets.take() {
                        flood.get_or_insert(Flood::Resets);
                    }
                    true
                }
                Frame::Data { .. } | Frame::Other => control_frames.take(),
            };
            if !is_calm {
                flood.get_or_insert(Flood::ControlFrames);
            }
        });
    }

    fn note_sent(&mut self, bytes: &[u8]) {
        let State { sent, resets, control_frames, flood, .. } = self;
        let by_gateway = &mut self.reset_by_gateway;
        sent.read(bytes, |frame| match frame {
            Frame::Data { bytes, .. } => {
                control_frames.give(u32::try_from(bytes / BYTES_PER_FRAME).unwrap_or(u32::MAX));
            }
            Frame::Reset(reason) => {
                count(by_gateway, reason);
                if FAULTS.contains(&reason) && !resets.take() {
                    flood.get_or_insert(Flood::Resets);
                }
            }
            _ => {}
        });
        self.sent_bytes += bytes.len() as u64;
    }
}

fn count(resets: &mut Resets, reason: u32) {
    let last = resets.len() - 1;
    resets[usize::try_from(reason).unwrap_or(last).min(last)] += 1;
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.lock();
        if state.flood.is_some() {
            // The driver is in the middle of this poll, and looks for floods behind it.
            return Poll::Pending;
        }
        let from = buffer.filled().len();
        if state.ahead.is_empty() {
            ready!(Pin::new(&mut state.transport).poll_read(task, buffer))?;
        } else {
            let n = state.ahead.len().min(buffer.remaining());
            buffer.put_slice(&state.ahead[..n]);
            state.ahead.drain(..n);
        }
        state.note_received(&buffer.filled()[from..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock();
        let sent = Pin::new(&mut state.transport).poll_write(task, bytes);
        state.is_blocked = sent.is_pending();
        let sent = ready!(sent)?;
        state.note_sent(&bytes[..sent]);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock();
        let sent = Pin::new(&mut state.transport).poll_write_vectored(task, parts);
        state.is_blocked = sent.is_pending();
        let sent = ready!(sent)?;
        let mut left = sent;
        for part in parts {
            let n = left.min(part.len());
            state.note_sent(&part[..n]);
            left -= n;
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().transport).poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().transport).poll_shutdown(task)
    }
}
