//! A body that follows a script: so many bytes at such a pace, then an end, a break, or silence.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

/// What a body does from here on.
pub(super) struct Script {
    left: usize,
    chunk_bytes: usize,
    between: Duration,
    is_first: bool,
    end: End,
}

enum End {
    /// As a body should.
    Whole,
    /// The connection is closed in the middle.
    Broken,
    /// Nothing more comes, and the connection stays.
    Silent,
}

/// Bytes in one piece where no pace was asked for.
const CHUNK_BYTES: usize = 16 << 10;

impl Script {
    /// `bytes` in pieces of `chunk_bytes`, with a pause before each but the first.
    pub(super) fn send(bytes: usize, chunk_bytes: usize, between: Duration) -> Self {
        Self { left: bytes, chunk_bytes, between, is_first: true, end: End::Whole }
    }

    /// `bytes`, then the connection breaks. With 0 not even the head leaves.
    pub(super) fn broken_at(bytes: usize) -> Self {
        Self { end: End::Broken, ..Self::send(bytes, CHUNK_BYTES, Duration::ZERO) }
    }

    /// `bytes`, then silence.
    pub(super) fn silent_at(bytes: usize) -> Self {
        Self { end: End::Silent, ..Self::send(bytes, CHUNK_BYTES, Duration::ZERO) }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, Self::next))
    }

    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if !self.is_first && !self.between.is_zero() {
            tokio::time::sleep(self.between).await;
        }
        if self.left > 0 {
            let piece = self.left.min(self.chunk_bytes);
            self.left -= piece;
            self.is_first = false;
            return Some((Ok(Bytes::from(vec![b'x'; piece])), self));
        }
        match self.end {
            End::Whole => None,
            End::Silent => std::future::pending().await,
            End::Broken => {
                if !self.is_first {
                    // Once not ready, so that what was written leaves before the break.
                    tokio::task::yield_now().await;
                }
                Some((Err(io::Error::other("broken, as asked")), self))
            }
        }
    }
}
