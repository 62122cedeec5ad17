//! HTTP/2 on a real socket, by a client that keeps to it and by some that do not.

mod common;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use common::{Running, connect, rest, start};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use membox_server::Limits;
use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn limits() -> Limits {
    let (header_timeout, write_timeout) = (Duration::from_millis(500), Duration::from_millis(500));
    Limits { header_timeout, write_timeout, max_connections: 8, ..Limits::default() }
}

/// Limits that no test runs into.
fn patient() -> Limits {
    let long = Duration::from_secs(600);
    Limits { header_timeout: long, write_timeout: long, ..limits() }
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("it ends in time") };
    runtime.block_on(limited)
}

/// A connection, and what it ends with.
async fn open(server: &Running) -> (SendRequest<Bytes>, oneshot::Receiver<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.address).await.expect("a connection");
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let (ended, end) = oneshot::channel();
    tokio::spawn(async move { ended.send(connection.await) });
    (client.ready().await.expect("an open connection"), end)
}

fn request(method: Method, path: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://localhost{path}"));
    request.header("content-type", "application/json").body(()).expect("a request")
}

fn get(client: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    client.send_request(request(Method::GET, path), true).expect("a stream").0
}

fn post(client: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    client.send_request(request(Method::POST, path), false).expect("a stream")
}

async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.expect("a part of the answer");
        body.flow_control().release_capacity(part.len()).expect("room");
        all.extend(part);
    }
    all
}

#[test]
fn one_port_speaks_both_versions_and_one_connection_answers_many_requests_at_once() {
    let server = start(patient());
    run(async {
        let (mut client, _end) = open(&server).await;
        let first = get(&mut client, "/health").await.expect("an answer");
        assert_eq!(first.status(), StatusCode::OK);
        assert!(!first.headers().contains_key("connection") && first.headers().contains_key("x-request-id"));
        assert!(String::from_utf8_lossy(&read(first.into_body()).await).contains("alive"));
        assert_eq!(client.current_max_send_streams(), 64);
        // All are under way before the first one is whole.
        let mut held: Vec<_> = (0..64).map(|_| post(&mut client, "/v1/tokens")).collect();
        for (_, body) in &mut held {
            body.send_data(Bytes::from_static(b"{\"input\":\"word\"}"), true).expect("room");
        }
        for (answer, _) in held {
            let answer = answer.await.expect("an answer");
            assert!(answer.status().is_success() || answer.status() == StatusCode::SERVICE_UNAVAILABLE);
            read(answer.into_body()).await;
        }
        let missing = get(&mut client, "/v1/nothing/").await.expect("an answer");
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    });
    let mut plain = connect(&server);
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("a write");
    assert!(rest(plain).starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_name_of_others_is_refused_as_in_http1() {
    let server = start(patient());
    run(async {
        let (mut client, _end) = open(&server).await;
        for (name, status) in [("evil.example", StatusCode::MISDIRECTED_REQUEST), ("localhost", StatusCode::OK)] {
            let asked = Request::get(format!("http://{name}/health")).body(()).expect("a request");
            let answer = client.send_request(asked, true).expect("a stream").0.await.expect("an answer");
            assert_eq!(answer.status(), status, "{name}");
        }
    });
}

#[test]
fn a_head_that_is_too_long_is_refused_and_others_are_answered() {
    let server = start(patient());
    run(async {
        let (mut client, _end) = open(&server).await;
        let mut long = request(Method::GET, "/health");
        long.headers_mut().insert("x-long", "a".repeat(100 << 10).parse().expect("a value"));
        let refused = client.send_request(long, true).expect("a stream").0.await;
        let is_refused = |status: StatusCode| status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert!(refused.as_ref().map_or(true, |answer| is_refused(answer.status())), "{refused:?}");
        let (mut client, _end) = open(&server).await;
        assert_eq!(get(&mut client, "/health").await.expect("an answer").status(), StatusCode::OK);
    });
}

#[test]
fn a_connection_that_idles_ends_in_peace_and_half_a_preface_is_let_go() {
    let server = start(limits());
    for half in [&PREFACE[..1], &PREFACE[..10], PREFACE] {
        let mut stream = connect(&server);
        stream.write_all(half).expect("a write");
        let begun = Instant::now();
        rest(stream);
        assert!(begun.elapsed() < Duration::from_secs(8), "{half:?} was waited for");
    }
    run(async {
        let (mut client, end) = open(&server).await;
        read(get(&mut client, "/health").await.expect("an answer").into_body()).await;
        assert!(end.await.expect("an end").is_ok(), "it was told to go away, and nothing was cut");
    });
}

#[test]
fn a_request_under_way_is_no_idling_and_an_answer_that_nobody_takes_is_cut() {
    let server = start(limits());
    run(async {
        let (mut client, end) = open(&server).await;
        let (answer, mut body) = post(&mut client, "/v1/tokens");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        body.send_data(Bytes::from_static(b"{\"input\":\"word\"}"), true).expect("the stream is open");
        answer.await.expect("an answer");
        drop((client, end));
        // Its window stays as small as it is.
        let (mut client, end) = open(&server).await;
        let answer = get(&mut client, "/openapi.json").await.expect("an answer");
        let mut stalled = answer.into_body();
        stalled.data().await.expect("a part").expect("a part");
        let begun = Instant::now();
        let _ = end.await;
        assert!(begun.elapsed() < Duration::from_secs(8));
    });
}

#[test]
fn idle_connections_give_way_to_others() {
    let server = start(patient());
    run(async {
        let mut held = Vec::new();
        for _ in 0..20 {
            let (mut client, end) = open(&server).await;
            let answer = get(&mut client, "/health").await.expect("a new client is answered");
            read(answer.into_body()).await;
            held.push((client, end));
        }
        let mut closed = 0;
        for (_, end) in &mut held {
            closed += usize::from(tokio::time::timeout(Duration::from_millis(100), end).await.is_ok());
        }
        assert!(closed >= 12, "{closed} of 20 where 8 have room");
    });
}

#[test]
fn a_stop_finishes_what_is_under_way_and_begins_nothing_more() {
    let mut server = start(patient());
    run(async {
        let (mut client, end) = open(&server).await;
        let (answer, mut body) = post(&mut client, "/v1/tokens");
        // So that the request has begun.
        get(&mut client, "/health").await.expect("an answer");
        server.begin_to_stop();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(client.send_request(request(Method::GET, "/health"), true).is_err(), "it was told to go away");
        body.send_data(Bytes::from_static(b"{\"input\":\"word\"}"), true).expect("the stream is open");
        let answer = answer.await.expect("what was under way is answered");
        read(answer.into_body()).await;
        drop(client);
        assert!(end.await.expect("an end").is_ok());
    });
}
