//! Clients that say nothing, or half of it, do not keep a connection for ever; more than the limit of them are
//! turned away.

mod common;

use common::{LOCAL, connect, rest, start};
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

#[test]
fn connections_over_the_limit_are_closed_and_room_is_given_back() {
    let server = start(Limits { header_timeout: Duration::from_secs(2), ..limits() });
    let ask = || {
        let mut stream = connect(&server);
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        rest(stream)
    };
    let held: Vec<TcpStream> = (0..8).map(|_| connect(&server)).collect();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ask(), "", "the ninth is closed without an answer");
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    assert!(ask().contains("200 OK"));
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
