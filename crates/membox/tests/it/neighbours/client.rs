//! A client that sends what it likes, and reads or not.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request as it goes over the wire.
pub struct Request(Vec<u8>);

impl Request {
    pub fn new(method: &str, path: &str, key: &str, body: &[u8]) -> Self {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self([head.as_bytes(), body].concat())
    }

    pub fn json(method: &str, path: &str, key: &str, body: &Value) -> Self {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Self::new(method, path, key, body.as_bytes())
    }

    /// No request at all.
    pub fn nothing() -> Self {
        Self(Vec::new())
    }
}

/// Sends a request and reads its answer. Gives its status, 0 where none came, and what it says.
pub fn ask(address: &str, request: &Request, patience: Duration) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else { return (0, "no connection".to_owned()) };
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.set_write_timeout(Some(patience));
    // The answer may be there before the whole request is.
    let sent = stream.write_all(&request.0);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer[..answer.len().min(2000)]).into_owned();
    match head.split(' ').nth(1).and_then(|status| status.parse().ok()) {
        Some(status) => (status, head),
        None => (0, format!("{sent:?} {read:?}")),
    }
}

/// Sends a request and reads nothing.
pub fn leave_unread(address: &str, request: &Request) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
    stream.write_all(&request.0).ok()?;
    Some(stream)
}
