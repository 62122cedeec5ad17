//! Memory of requests is bounded: what would take too much is refused before it is read, and answers that nobody reads
//! are let go.

mod common;

use common::{Running, connect, rest, start};
use membox_server::Limits;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn ask(server: &Running, method: &str, path: &str, body: &str) -> String {
    let mut stream = connect(server);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("a write");
    let _ = stream.write_all(body.as_bytes());
    rest(stream)
}

/// Bytes that requests have.
fn used(server: &Running) -> u64 {
    let metrics = ask(server, "GET", "/metrics", "");
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix("membox_request_memory_bytes "));
    lines.next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

fn becomes_empty(server: &Running) -> bool {
    let begun = Instant::now();
    while used(server) > 0 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    used(server) == 0
}

#[test]
fn a_body_whose_values_take_too_much_is_refused_before_it_is_read() {
    let server = start(Limits { request_memory_bytes: 32 << 20, ..Limits::default() });
    let bomb = |objects| {
        let metadata = vec![r#"{"":0}"#; objects].join(",");
        format!(r#"{{"records":[{{"text":"a","metadata":{{"x":[{metadata}]}}}}]}}"#)
    };
    for path in ["/v1/collections/c/records", "/v1/sessions/s/messages", "/mcp"] {
        let answer = ask(&server, "POST", path, &bomb(100_000));
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("request_memory_mib"), "{path}: {answer}");
        let answer = ask(&server, "POST", path, &bomb(5_000));
        assert!(!answer.contains("request_memory_mib"), "{path}: {answer}");
    }
    assert!(becomes_empty(&server));
}

#[test]
fn an_answer_that_nobody_reads_is_let_go() {
    let limits = Limits { write_timeout: Duration::from_secs(1), ..Limits::default() };
    let server = start(limits);
    let mut stream = connect(&server);
    // 160 MB: far more than the buffers of a connection have room for.
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    stream.write_all(requests.as_bytes()).expect("a write");
    let begun = Instant::now();
    // A closed connection takes nothing.
    while stream.write_all(b"\r\n").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the connection is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(becomes_empty(&server), "the answers are still there");
}

#[test]
fn exports_that_nobody_reads_take_no_thread_and_little_memory() {
    let server = start(Limits::default());
    let made = ask(&server, "PUT", "/v1/collections/c", r#"{"dimension": 2}"#);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let text = "a long note ".repeat(10_000);
    for batch in 0..20 {
        let record = |n| format!(r#"{{"id":"{batch}-{n}","text":"{text}","vector":[1,0],"user":"u"}}"#);
        let records = (0..10).map(record).collect::<Vec<_>>().join(",");
        let written = ask(&server, "POST", "/v1/collections/c/records", &format!(r#"{{"records":[{records}]}}"#));
        assert!(written.starts_with("HTTP/1.1 200"), "{written}");
    }
    // More than there are threads that read, or readers of the database: 24 MB each, which fit into no buffer.
    let threads = std::thread::available_parallelism().map_or(1, usize::from) * 4;
    let exports: Vec<_> = (0..3 * threads)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /v1/users/u/export HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a write");
            stream
        })
        .collect();
    for stream in &exports {
        let mut first = [0; 12];
        (&mut &*stream).read_exact(&mut first).expect("it begins");
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    let found = ask(&server, "GET", "/v1/collections/c/records?limit=1", "");
    assert!(found.starts_with("HTTP/1.1 200"), "{found}");
    assert!(used(&server) < (exports.len() as u64 + 8) << 20, "{} bytes", used(&server));
    drop(exports);
    let whole = ask(&server, "GET", "/v1/users/u/export", "");
    assert!(whole.contains(r#"{"type":"end","lines":200}"#), "an export that is read is whole");
    assert!(becomes_empty(&server));
    let audit = ask(&server, "GET", "/v1/audit", "");
    assert!(audit.contains(r#""action":"export broken off""#), "{audit}");
}
