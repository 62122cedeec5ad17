//! Which connections are open, and which one goes when there is no room for another.
//!
//! A connection idles from when it is accepted until the head of a request is whole, and again when its answer is
//! written out; who sends a head slowly idles too. When all connections are taken, the one that has idled longest is
//! closed for the new one, as nginx does (`ngx_drain_connections`). One with a request under way is never closed. So
//! clients that hold connections and ask nothing shut nobody out.
//!
//! One address has at most three quarters of all connections, whatever it does with them. Once one holds more than half
//! of them, its idle ones go first. Addresses of IPv6 count by their /64, which one machine has all of.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tower::Service;

use crate::problem::Problem;

/// Connections that were told to close and are open still, at most: they are files too.
const MAX_CLOSING: usize = 32;

/// All connections of a server.
pub(crate) struct Connections {
    max: usize,
    /// How many of them one address may have.
    max_of_one: usize,
    table: Mutex<Table>,
    closed: Notify,
}

#[derive(Default)]
struct Table {
    /// Counts what happens, so that it has an order.
    clock: u64,
    open: HashMap<u64, Open>,
    /// Those that were told to close.
    closing: usize,
    /// Those that idle, by since when.
    idle: BTreeMap<u64, u64>,
    peers: HashMap<IpAddr, Peer>,
}

struct Open {
    peer: IpAddr,
    /// Since when it idles; `None` with a request under way.
    idle_since: Option<u64>,
    is_closing: bool,
    close: Arc<Notify>,
}

#[derive(Default)]
struct Peer {
    open: usize,
    /// As in the table.
    idle: BTreeMap<u64, u64>,
}

impl Connections {
    pub fn new(max: usize) -> Arc<Self> {
        let max = max.max(1);
        Arc::new(Self { max, max_of_one: max - max / 4, table: Mutex::default(), closed: Notify::new() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in, for which another one that idles is closed if there is no room. `None` where none
    /// idles.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Connection>> {
        let peer = network(peer);
        let mut table = self.table();
        let own = table.peers.get(&peer).map_or(0, |peer| peer.open);
        let has_room = if own >= self.max_of_one {
            table.close_idle(Some(peer))
        } else if table.open.len() - table.closing >= self.max {
            let large = table.peers.iter().find(|(_, peer)| peer.open > self.max / 2).map(|(address, _)| *address);
            large.is_some_and(|large| table.close_idle(Some(large))) || table.close_idle(None)
        } else {
            true
        };
        has_room.then(|| {
            let (id, close) = (table.tick(), Arc::new(Notify::new()));
            table.peers.entry(peer).or_default().open += 1;
            table.open.insert(id, Open { peer, idle_since: None, is_closing: false, close: close.clone() });
            table.set_idle(id, true);
            let work = Mutex::new(Work { requests: 0, none_since: Instant::now(), answers: Vec::new() });
            Arc::new(Connection { id, all: self.clone(), close, is_answered: AtomicBool::new(false), work })
        })
    }

    /// Closes the connection that has idled longest, to have its file; says whether there was one.
    pub fn close_one(&self) -> bool {
        self.table().close_idle(None)
    }

    /// Waits while many that were told to close are open still.
    pub async fn settle(&self) {
        while self.table().closing >= MAX_CLOSING {
            // Also woken by the clock: one may have closed before this began to wait.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(5), self.closed.notified()).await;
        }
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Notes whether a connection idles from now on; `false` where it is being closed.
    fn set_idle(&mut self, id: u64, idles: bool) -> bool {
        let now = self.tick();
        let Some(open) = self.open.get_mut(&id).filter(|open| !open.is_closing) else { return false };
        let before = std::mem::replace(&mut open.idle_since, idles.then_some(now));
        let peer = self.peers.entry(open.peer).or_default();
        if let Some(before) = before {
            self.idle.remove(&before);
            peer.idle.remove(&before);
        }
        if idles {
            self.idle.insert(now, id);
            peer.idle.insert(now, id);
        }
        true
    }

    /// Closes the connection of an address, or of any, that has idled longest; says whether there was one.
    fn close_idle(&mut self, peer: Option<IpAddr>) -> bool {
        let idle = match peer {
            Some(peer) => self.peers.get(&peer).map(|peer| &peer.idle),
            None => Some(&self.idle),
        };
        let Some(id) = idle.and_then(|idle| idle.first_key_value()).map(|(_, id)| *id) else { return false };
        self.leave(id);
        let Some(open) = self.open.get_mut(&id) else { return false };
        open.is_closing = true;
        open.close.notify_one();
        self.closing += 1;
        true
    }

    /// Takes a connection out of the counts.
    fn leave(&mut self, id: u64) {
        self.set_idle(id, false);
        let Some(open) = self.open.get(&id) else { return };
        let Some(peer) = self.peers.get_mut(&open.peer) else { return };
        peer.open -= 1;
        if peer.open == 0 {
            self.peers.remove(&open.peer);
        }
    }

    fn remove(&mut self, id: u64) {
        match self.open.get(&id).map(|open| open.is_closing) {
            Some(true) => self.closing -= 1,
            Some(false) => self.leave(id),
            None => {}
        }
        self.open.remove(&id);
    }
}

/// An address as it is counted.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// One connection that is open.
pub(crate) struct Connection {
    id: u64,
    all: Arc<Connections>,
    close: Arc<Notify>,
    /// Whether the answers of all requests under way have ended, and are to be written out yet.
    is_answered: AtomicBool,
    work: Mutex<Work>,
}

/// What is under way on a connection: of HTTP/2 there may be several requests.
struct Work {
    requests: usize,
    /// Since when there are none.
    none_since: Instant,
    /// Of each answer, when its client last took some of it.
    answers: Vec<Weak<Mutex<Option<Instant>>>>,
}

impl Connection {
    /// Resolves when it is to be closed for another one.
    pub async fn told_to_close(&self) {
        self.close.notified().await;
    }

    /// A stream that says when an answer is written out.
    pub fn watch<S>(self: &Arc<Self>, stream: S) -> WatchedStream<S> {
        WatchedStream { stream, connection: self.clone() }
    }

    /// A service that says when a request begins, and when its answer has ended.
    pub fn serve<S>(self: &Arc<Self>, service: S) -> WatchedService<S> {
        WatchedService { service, connection: self.clone() }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing is under way.
    pub fn idles_for(&self) -> Option<Duration> {
        let work = self.work();
        (work.requests == 0).then(|| work.none_since.elapsed())
    }

    /// Whether an answer waits so long for its client to take some of it.
    pub fn is_stalled_for(&self, time: Duration) -> bool {
        let since = |answer: &Weak<Mutex<Option<Instant>>>| *lock(&*answer.upgrade()?);
        self.work().answers.iter().filter_map(since).any(|since| since.elapsed() > time)
    }

    /// Whether a request may begin.
    fn begin(&self) -> bool {
        let mut work = self.work();
        self.is_answered.store(false, Ordering::Release);
        let may_begin = self.all.table().set_idle(self.id, false);
        work.requests += usize::from(may_begin);
        may_begin
    }

    /// Notes that a request under way is answered.
    fn end(&self) {
        let mut work = self.work();
        work.requests = work.requests.saturating_sub(1);
        if work.requests == 0 {
            work.none_since = Instant::now();
            self.is_answered.store(true, Ordering::Release);
        }
    }

    /// When the client of an answer that begins now last took some of it.
    fn answer(&self) -> Arc<Mutex<Option<Instant>>> {
        let taken = Arc::new(Mutex::new(Some(Instant::now())));
        let mut work = self.work();
        work.answers.retain(|answer| answer.strong_count() > 0);
        work.answers.push(Arc::downgrade(&taken));
        taken
    }

    fn written_out(&self) {
        if self.is_answered.swap(false, Ordering::AcqRel) {
            self.all.table().set_idle(self.id, true);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.table().remove(self.id);
        self.all.closed.notify_one();
    }
}

/// See [`Connection::serve`].
#[derive(Clone)]
pub(crate) struct WatchedService<S> {
    service: S,
    connection: Arc<Connection>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S, B> Service<Request<B>> for WatchedService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        // Its head came when the connection was being closed already: nothing of it is done.
        if !self.connection.begin() {
            let problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the connection idled, and others wait; ask again");
            let answer = ([(header::CONNECTION, "close"), (header::RETRY_AFTER, "0")], problem).into_response();
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let (answer, end) = (self.service.call(request), End(self.connection.clone()));
        Box::pin(async move {
            let answer = answer.await?;
            let taken = end.0.answer();
            Ok(answer.map(|body| Body::new(WatchedBody { body, taken, _end: end })))
        })
    }
}

/// Dropped at the end of an answer.
struct End(Arc<Connection>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn lock(taken: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

struct WatchedBody {
    body: Body,
    /// When the client last took some of it; `None` while there is nothing to be taken.
    taken: Arc<Mutex<Option<Instant>>>,
    _end: End,
}

impl HttpBody for WatchedBody {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        *lock(&self.taken) = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// See [`Connection::watch`].
pub(crate) struct WatchedStream<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // hyper flushes when it has written all that it holds.
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.written_out();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn is_closing(connection: &Connection) -> bool {
        connection.all.table().open[&connection.id].is_closing
    }

    #[test]
    fn the_one_that_has_idled_longest_goes_and_one_with_a_request_never() {
        let all = Connections::new(4);
        let held: Vec<_> = (0..4).map(|i| all.admit(address(i)).expect("room")).collect();
        assert!(held[0].begin() && held[1].begin());
        // The answer has ended, and is written out: it idles for less long than the others now.
        held[1].is_answered.store(true, Ordering::Release);
        held[1].written_out();
        let more: Vec<_> = (4..7).map(|i| all.admit(address(i)).expect("an idle one goes")).collect();
        let closing: Vec<bool> = held.iter().map(|connection| is_closing(connection)).collect();
        assert_eq!(closing, [false, true, true, true]);
        assert!(more.iter().all(|connection| !is_closing(connection)));
        assert!(!held[2].begin(), "no request begins on one that is being closed");
        assert!(more.iter().all(|connection| connection.begin()));
        assert!(all.admit(address(9)).is_none(), "all have a request under way");
        drop(held);
        assert!(all.admit(address(9)).is_some());
    }

    #[test]
    fn one_address_leaves_a_quarter_to_others_and_loses_its_idle_ones_first() {
        let all = Connections::new(8);
        let first = all.admit(address(1)).expect("room");
        let large: Vec<_> = (0..6).map(|_| all.admit(address(2)).expect("room")).collect();
        assert!(large.iter().all(|connection| connection.begin()));
        assert!(all.admit(address(2)).is_none(), "three quarters are the most, and none of them idles");
        let other = all.admit(address(3)).expect("the last quarter is there for others");
        large[4].is_answered.store(true, Ordering::Release);
        large[4].written_out();
        let _last = all.admit(address(4)).expect("room");
        assert!(is_closing(&large[4]) && !is_closing(&first) && !is_closing(&other), "the large one gives way");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("::ffff:10.0.0.1"), of("::ffff:10.0.0.2"));
    }

    proptest! {
        #[test]
        fn counts_hold_whatever_comes_and_goes(steps in prop::collection::vec((0u8..4, 0u8..5, 0usize..20), 1..200)) {
            let all = Connections::new(8);
            let mut held: Vec<Arc<Connection>> = Vec::new();
            for (step, peer, place) in steps {
                let place = place % held.len().max(1);
                match step {
                    0 => held.extend(all.admit(address(peer))),
                    1 => held.get(place).map_or((), |one| assert!(one.begin() || is_closing(one))),
                    2 => held.get(place).map_or((), |one| {
                        one.is_answered.store(true, Ordering::Release);
                        one.written_out();
                    }),
                    _ if !held.is_empty() => drop(held.swap_remove(place)),
                    _ => {}
                }
                let table = all.table();
                let live: Vec<&Open> = table.open.values().filter(|open| !open.is_closing).collect();
                prop_assert!(live.len() <= 8 && table.open.len() == held.len());
                prop_assert_eq!(table.closing, table.open.len() - live.len());
                prop_assert_eq!(table.idle.len(), live.iter().filter(|open| open.idle_since.is_some()).count());
                prop_assert_eq!(table.peers.values().map(|peer| peer.open).sum::<usize>(), live.len());
                prop_assert_eq!(table.peers.values().map(|peer| peer.idle.len()).sum::<usize>(), table.idle.len());
                prop_assert!(table.peers.values().all(|peer| peer.open >= 1 && peer.open <= 6));
            }
        }
    }
}
