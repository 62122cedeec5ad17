//! Which version of HTTP a connection speaks, and how it is served to its end.
//!
//! With TLS both sides agree (ALPN). A plain connection speaks HTTP/2 where it begins with HTTP/2's preface ("prior
//! knowledge"). Its first bytes are looked at here, within a time: hyper would wait for them without one.
//!
//! hyper sets no times to a connection of HTTP/2. Here, one that idles is told to end (GOAWAY), and one whose client
//! takes nothing of an answer is cut.

use crate::connections::Connection;
use crate::state::Limits;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tower::Service;

/// Bytes that a connection buffers; what is beside them is counted as memory of its request. Of a connection of HTTP/2
/// it is those of a request's head, and those of each answer.
const CONNECTION_BUFFER: usize = 64 << 10;
/// Requests of one connection of HTTP/2 at the same time.
const MAX_STREAMS: u32 = 64;
/// Bytes of bodies that a client of HTTP/2 may send before somebody reads them: of one, and of all together.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// With what a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How connections are served.
#[derive(Clone)]
pub(crate) struct Protocols {
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
    header_timeout: Duration,
    write_timeout: Duration,
}

impl Protocols {
    pub fn new(limits: &Limits) -> Self {
        let Limits { header_timeout, write_timeout, .. } = *limits;
        let mut http1 = Builder::new(TokioExecutor::new()).http1_only();
        http1.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(CONNECTION_BUFFER);
        let mut http2 = Builder::new(TokioExecutor::new()).http2_only();
        http2
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(CONNECTION_BUFFER as u32)
            .max_send_buf_size(CONNECTION_BUFFER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Who is gone without a word is found out.
            .keep_alive_interval(header_timeout)
            .keep_alive_timeout(write_timeout);
        Self { http1, http2, header_timeout, write_timeout }
    }

    /// Serves a connection to its end, or until it is to stop. `is_http2` where both sides have agreed.
    pub async fn serve<I, S>(
        self,
        (mut socket, is_http2): (I, Option<bool>),
        held: &Arc<Connection>,
        service: S,
        mut stop: watch::Receiver<()>,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let (first, is_http2) = match is_http2 {
            Some(agreed) => (Vec::new(), agreed),
            None => match tokio::time::timeout(self.header_timeout, begins_as(&mut socket)).await {
                Ok(Ok(begun)) => begun,
                Ok(Err(_)) | Err(_) => return,
            },
        };
        let socket = Replayed { first, socket: held.watch(socket) };
        let builder = if is_http2 { &self.http2 } else { &self.http1 };
        let service = TowerToHyperService::new(held.serve(service));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
        let mut ending: Option<Instant> = None;
        let mut looks = tokio::time::interval(self.header_timeout.min(self.write_timeout) / 4);
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = stop.changed(), if ending.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now());
                }
                _ = looks.tick(), if is_http2 => {
                    let idles = held.idles_for();
                    let is_left = ending.is_some_and(|since| since.elapsed() > self.write_timeout);
                    if held.is_stalled_for(self.write_timeout) || idles.is_some() && is_left {
                        return;
                    }
                    if ending.is_none() && idles.is_some_and(|time| time > self.header_timeout) {
                        connection.as_mut().graceful_shutdown();
                        ending = Some(Instant::now());
                    }
                }
            }
        }
    }
}

/// A request as HTTP/1 has it: with the name of the host that it goes to.
pub(crate) fn name_host<B>(request: &mut Request<B>) {
    let name = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if request.version() == Version::HTTP_2
        && let Some(name) = name.filter(|_| !request.headers().contains_key(header::HOST))
    {
        request.headers_mut().insert(header::HOST, name);
    }
}

/// Reads until it is known whether a client speaks HTTP/2, and gives what was read.
async fn begins_as(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, bool)> {
    let mut first = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
        let missing = (PREFACE.len() - first.len()) as u64;
        if (&mut *socket).take(missing).read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let is_http2 = first == PREFACE;
    Ok((first, is_http2))
}

/// A socket of which something was read already.
struct Replayed<S> {
    first: Vec<u8>,
    socket: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun(said: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(begins_as(&mut &said[..]))
    }

    proptest! {
        /// Whatever a client says first: it is told apart, and nothing of it is lost.
        #[test]
        fn what_begins_with_the_preface_is_http2(
            said in prop::collection::vec(any::<u8>(), 1..60), kept in 0usize..=24,
        ) {
            let said = [&PREFACE[..kept], &said].concat();
            match begun(&said) {
                Ok((first, is_http2)) => {
                    prop_assert!(said.starts_with(&first) && is_http2 == said.starts_with(PREFACE));
                }
                Err(_) => prop_assert!(PREFACE.starts_with(&said)),
            }
        }
    }

    #[test]
    fn methods_of_http1_are_no_preface() {
        for method in ["GET / ", "POST / ", "PUT / ", "PATCH / ", "PROPFIND / "] {
            assert!(!begun(method.as_bytes()).expect("bytes").1);
        }
    }
}
