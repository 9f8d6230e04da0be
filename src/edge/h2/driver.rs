//! One connection while requests come on it: takes them, looks at its deadlines, and ends it.

use super::exchange_state::ExchangeState;
use super::session::Http2Session;
use super::wire::Wire;
use super::{Connected, End, Http2, head};
use crate::denial::Denial;
use crate::edge::deadline::Deadline;
use crate::edge::head_state::{self, HeadState};
use crate::edge::peer::Peer;
use crate::exchange::RequestId;
use crate::observe::{Event, Http2Event};
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, header};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a client may take to hear `GOAWAY` and to close, when nothing is under way any more.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// Drives one connection.
pub(super) struct Driver<'a, P> {
    http2: &'a Http2<P>,
    connection: Connection<Wire, Bytes>,
    wire: Wire,
    connected: Connected,
    shutdown: ShutdownWatch,
    /// The requests under way.
    exchanges: JoinSet<()>,
    requests: u32,
    /// When it is as old as it may get.
    old_at: Instant,
    /// No further request is taken: why, and whether those under way are cut.
    leaving: Option<(End, Manner)>,
    /// When it is over, if nothing is under way by then.
    silent_until: Instant,
    deadline: Deadline,
    /// The bytes that had been sent when the connection was last found silent.
    sent_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Gentle,
    Sudden,
}

/// What has happened on a connection.
enum Happened {
    Asked(Box<Request<RecvStream>>, SendResponse<Bytes>),
    Over(End),
    Stopping,
    Flooded(End),
    Late,
}

impl<'a, P: HttpServerApp + Send + Sync + 'static> Driver<'a, P> {
    pub(super) fn new(
        http2: &'a Http2<P>,
        connection: Connection<Wire, Bytes>,
        wire: Wire,
        connected: Connected,
        shutdown: &ShutdownWatch,
    ) -> Self {
        // A connection that was opened for nothing is closed sooner than one that was of use.
        let silent_until = Instant::now() + http2.listener.head_timeout;
        Driver {
            http2,
            connection,
            wire,
            connected,
            shutdown: shutdown.clone(),
            exchanges: JoinSet::new(),
            requests: 0,
            old_at: Instant::now() + http2.listener.age(),
            leaving: None,
            silent_until,
            deadline: Deadline::new(silent_until),
            sent_bytes: 0,
        }
    }

    /// Answers requests until the connection ends, and returns how it did.
    pub(super) async fn run(mut self) -> End {
        let mut stopping = self.shutdown.clone();
        let mut is_over = pin!(async {
            // An error means that the gateway is gone, which is as final.
            let _ = stopping.wait_for(|is_over| *is_over).await;
        });
        let end = loop {
            match poll_fn(|task| self.poll(task, is_over.as_mut())).await {
                Happened::Asked(request, answer) => self.open(*request, answer),
                Happened::Stopping => self.leave(End::Stopping),
                Happened::Flooded(end) => self.cut(end),
                Happened::Over(end) => break self.leaving.map_or(end, |(why, _)| why),
                Happened::Late => {
                    if let Some(end) = self.is_late() {
                        break end;
                    }
                }
            }
        };
        // Those that are still under way hear that their client is gone, and are reported.
        drop(self.connection);
        while self.exchanges.join_next().await.is_some() {}
        end
    }

    fn poll(
        &mut self,
        task: &mut Context<'_>,
        is_over: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Happened> {
        let before = self.exchanges.len();
        while let Poll::Ready(Some(_)) = self.exchanges.poll_join_next(task) {}
        if self.exchanges.is_empty() && before != 0 {
            self.silent_until = Instant::now() + self.silence();
            self.http2.tell_resets(&self.wire);
        }
        if self.leaving.is_none() && is_over.poll(task).is_ready() {
            return Poll::Ready(Happened::Stopping);
        }
        let accepted = self.connection.poll_accept(task);
        if let Some(flood) = self.wire.flood().filter(|_| !self.is_cut()) {
            return Poll::Ready(Happened::Flooded(End::Flood(flood)));
        }
        match accepted {
            Poll::Ready(Some(Ok((request, answer)))) => {
                return Poll::Ready(Happened::Asked(Box::new(request), answer));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Happened::Over(End::of(&error))),
            Poll::Ready(None) => return Poll::Ready(Happened::Over(End::Closed)),
            Poll::Pending => {}
        }
        let Some(due) = self.due() else { return Poll::Pending };
        self.deadline.set(due);
        ready!(self.deadline.poll(task));
        Poll::Ready(Happened::Late)
    }

    /// How long it may be silent.
    fn silence(&self) -> Duration {
        match self.leaving {
            Some(_) => GOODBYE_TIMEOUT,
            None => self.http2.listener.idle_timeout,
        }
    }

    fn is_cut(&self) -> bool {
        matches!(self.leaving, Some((_, Manner::Sudden)))
    }

    /// When something is late, if anything can be.
    fn due(&self) -> Option<Instant> {
        let is_silent = self.is_cut() || self.exchanges.is_empty();
        let silent = is_silent.then_some(self.silent_until);
        let head = self.wire.head_since().map(|since| since + self.http2.listener.head_timeout);
        let old = self.leaving.is_none().then_some(self.old_at);
        silent.into_iter().chain(head.filter(|_| !self.is_cut())).chain(old).min()
    }

    /// Something is late: the end of the connection, if that is what follows.
    fn is_late(&mut self) -> Option<End> {
        let now = Instant::now();
        let head_timeout = self.http2.listener.head_timeout;
        if !self.is_cut() && self.wire.head_since().is_some_and(|since| since + head_timeout <= now)
        {
            let listener = &*self.http2.listener.name;
            self.http2.observe.emit(&Event::HeadTimedOut { listener });
            self.cut(End::HeadTimeout);
            return None;
        }
        if self.leaving.is_none() && self.old_at <= now {
            self.recycle(End::Age);
            return None;
        }
        let sent_bytes = std::mem::replace(&mut self.sent_bytes, self.wire.sent_bytes());
        // All was answered, and what the library still holds goes out slowly.
        if !self.is_cut() && self.connection.has_streams() && sent_bytes != self.sent_bytes {
            self.silent_until = now + self.http2.listener.write_timeout();
            return None;
        }
        match self.leaving {
            Some((end, _)) => return Some(end),
            None if self.connection.has_streams() => return Some(End::Stalled),
            None => self.leave(End::Idle),
        }
        None
    }

    /// The same as `leave`, because the connection has served for long enough.
    fn recycle(&mut self, why: End) {
        let (listener, reason) = (&*self.http2.listener.name, why.name());
        self.http2.observe.emit(&Event::ConnectionRecycled { listener, reason });
        self.leave(why);
    }

    /// Takes no further request; those under way are answered.
    fn leave(&mut self, why: End) {
        self.connection.graceful_shutdown();
        self.leaving = Some((why, Manner::Gentle));
        self.silent_until = Instant::now() + GOODBYE_TIMEOUT;
    }

    /// Cuts all that is under way.
    fn cut(&mut self, why: End) {
        self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        self.leaving = Some((why, Manner::Sudden));
        self.silent_until = Instant::now() + GOODBYE_TIMEOUT;
    }

    fn open(&mut self, request: Request<RecvStream>, answer: SendResponse<Bytes>) {
        let listener = &*self.http2.listener.name;
        self.http2.tell(Http2Event::Request);
        self.requests += 1;
        match () {
            () if self.leaving.is_some() => {}
            () if self.http2.listener.requests_per_connection <= self.requests => {
                self.recycle(End::Requests);
            }
            () if self.http2.open.is_memory_short() => self.recycle(End::Memory),
            () => {}
        }
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let head = match head::read(parts) {
            Ok(head) => head,
            Err(denial) => {
                let code = denial.code();
                self.http2.observe.emit(&Event::HeadRefused { listener, code });
                return refuse(answer, denial, &method);
            }
        };
        let Connected { peer, agreed, digest } = self.connected.clone();
        let reader = self.http2.listener.reader;
        let state = ExchangeState { agreed, ..ExchangeState::default() };
        let session =
            Http2Session::new(head, body, answer, state, (digest, reader, self.wire.clone()));
        let (proxy, shutdown) = (Arc::clone(&self.http2.proxy), self.shutdown.clone());
        self.exchanges.spawn(exchange(proxy, session, peer, shutdown));
    }
}

/// One request and its answer. Its head was read, so it is under way when Pingora says so: in the
/// first poll (`edge/h1.rs` draws how).
async fn exchange<P: HttpServerApp>(
    proxy: Arc<P>,
    session: Http2Session,
    peer: Peer,
    shutdown: ShutdownWatch,
) {
    let session = ServerSession::new_custom(Box::new(session));
    let mut exchange = proxy.process_new_http(session, &shutdown);
    let mut under_way = None;
    poll_fn(|task| {
        let _entered = head_state::enter(HeadState::Unread, peer);
        let polled = exchange.as_mut().poll(task);
        if under_way.is_none() && matches!(HeadState::get(), HeadState::Read) {
            under_way = Some(head_state::take_guard());
        }
        polled
    })
    .await;
}

/// Answers a head that is not sound.
fn refuse(mut answer: SendResponse<Bytes>, denial: Denial, method: &Method) {
    let reply = denial.reply(RequestId::random().as_str());
    let mut response = Response::new(());
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers);
    response.headers_mut().insert(header::CONTENT_LENGTH, reply.body.len().into());
    let is_whole = method == Method::HEAD;
    // An error means that the client is gone, and there is nobody to be told.
    if let Ok(mut body) = answer.send_response(response, is_whole)
        && !is_whole
    {
        let _ = body.send_data(reply.body, true);
    }
}
