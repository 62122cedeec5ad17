//! Clients that say nothing, or half of it, do not keep a connection for ever, and shut nobody out meanwhile.

mod common;

use common::{LOCAL, Running, connect, rest, start};
use membox_server::{Limits, listen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn limits() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(600),
        drain_timeout: Duration::from_secs(1),
        max_connections: 8,
        ..Limits::default()
    }
}

#[test]
fn a_client_that_says_nothing_or_half_a_head_is_let_go() {
    let server = start(limits());
    for half in ["", "GET /health HT", "GET /health HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut stream = connect(&server);
        stream.write_all(half.as_bytes()).expect("a write");
        let begun = Instant::now();
        let answer = rest(stream);
        assert!(begun.elapsed() < Duration::from_secs(5), "{half:?} was waited for");
        assert!(!answer.contains("200 OK"));
    }
}

#[test]
fn a_body_that_does_not_arrive_ends_in_408() {
    let server = start(limits());
    let mut stream = connect(&server);
    let head = "PUT /v1/collections/c HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).expect("a write");
    let begun = Instant::now();
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 408");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

const ASK: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn ask(server: &Running) -> String {
    let mut stream = connect(server);
    let _ = stream.write_all(ASK);
    rest(stream)
}

/// Whether the server has closed a connection that has nothing to say.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a setting");
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).expect("a setting");
    !matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn clients_that_hold_every_connection_and_ask_nothing_shut_nobody_out() {
    let patient = Duration::from_secs(600);
    let server = start(Limits { header_timeout: patient, request_timeout: patient, max_connections: 256, ..limits() });
    // A request under way, which is the oldest of all.
    let mut under_way = connect(&server);
    let head =
        "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n";
    under_way.write_all(head.as_bytes()).expect("a write");
    let mut kept_alive = connect(&server);
    kept_alive.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a write");
    let mut first = [0; 15];
    kept_alive.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    // Silent ones, and ones that send a head for ever: more than there is room for.
    let mut held: Vec<TcpStream> = (0..512)
        .map(|i| {
            let mut stream = connect(&server);
            if i % 2 == 0 {
                let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: loc");
            }
            stream
        })
        .collect();
    for _ in 0..20 {
        assert!(ask(&server).contains("200 OK"), "a new client is answered");
    }
    assert!(is_closed(&mut held[0]), "who has idled longest has gone");
    under_way.write_all(b"{\"input\":\"word\"}").expect("a write");
    let mut answer = [0; 9];
    under_way.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 ", "a request under way is not cut");
}

#[test]
fn where_every_connection_has_a_request_another_one_is_turned_away_until_one_ends() {
    let request_timeout = Duration::from_secs(600);
    let server = start(Limits { request_timeout, drain_timeout: Duration::from_millis(10), ..limits() });
    let head = "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\
                expect: 100-continue\r\n\r\n";
    // Six of eight are the most that one address has.
    let mut held: Vec<TcpStream> = (0..6).map(|_| connect(&server)).collect();
    for stream in &mut held {
        stream.write_all(head.as_bytes()).expect("a write");
        let mut goes_on = [0; 25];
        stream.read_exact(&mut goes_on).expect("the request is under way");
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    assert_eq!(ask(&server), "", "none idles");
    assert!(held.iter_mut().all(|stream| !is_closed(stream)), "none of them is cut");
    held.pop();
    while !ask(&server).contains("200 OK") {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As many as the queue of a listener that asks for nothing has no room for, and fewer than half of what this one
/// asks for.
const AT_ONCE: usize = 1500;

#[test]
fn clients_that_all_arrive_at_once_wait_until_they_are_accepted() {
    let allowed: usize =
        std::fs::read_to_string("/proc/sys/net/core/somaxconn").map_or(0, |text| text.trim().parse().unwrap_or(0));
    if allowed < AT_ONCE {
        eprintln!("skipped: this system lets {allowed} connections wait (net.core.somaxconn)");
        return;
    }
    let open_files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum: open_files }).expect("a limit");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(async { listen(LOCAL) }).expect("a socket");
    let address = listener.local_addr().expect("an address");
    // Nobody accepts them meanwhile.
    let connected: Result<Vec<_>, _> =
        (0..AT_ONCE).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500))).collect();
    assert!(connected.is_ok_and(|all| all.len() == AT_ONCE));
}
