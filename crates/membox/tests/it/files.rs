//! A box that may have few files open: it keeps fewer collections open, serves fewer connections, and says when it
//! can open no more.

use crate::common::{Server, membox};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A server that may have so many files open.
fn start(data: &Path, files: u32) -> Server {
    let own = membox(data);
    let mut command = Command::new("sh");
    command.current_dir(data.parent().expect("a folder"));
    command.args(["-c", &format!("ulimit -n {files} && exec \"$@\""), "sh"]).arg(own.get_program());
    command.args(own.get_args()).args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Server::run(command).expect("the server ended before it listened")
}

/// One connection that stays open: a box without files accepts no more.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(server: &Server) -> Self {
        let address = server.url.strip_prefix("http://").expect("an address");
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        Self(BufReader::new(stream))
    }

    /// Status, headers and JSON of the answer.
    fn call(&mut self, method: &str, path: &str, body: &Value) -> (u16, String, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all((head + &body).as_bytes()).expect("a request");
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("an answer") > 0, "the connection was closed");
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            head += &line.to_lowercase();
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).expect("a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head, serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Creates a collection and writes to it.
    fn fill(&mut self, name: &str) -> (u16, Value) {
        let (status, _, answer) = self.call("PUT", &format!("/v1/collections/{name}"), &json!({"dimension": 2}));
        if status != 201 {
            return (status, answer);
        }
        let records = json!({"records": [{"id": "1", "vector": [1, 0], "text": name}]});
        let (status, _, answer) = self.call("POST", &format!("/v1/collections/{name}/records"), &records);
        (status, answer)
    }

    fn text(&mut self, name: &str) -> Value {
        self.call("GET", &format!("/v1/collections/{name}/records/1"), &Value::Null).2["text"].clone()
    }
}

#[test]
fn with_few_files_more_collections_than_files_are_used_and_connections_leave_room_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = crate::common::data_with_model(folder.path());
    let server = start(&data, 256);
    let mut connection = Connection::open(&server);
    for i in 0..150 {
        let (status, answer) = connection.fill(&format!("c{i}"));
        assert_eq!(status, 200, "collection {i}: {answer}");
    }
    // Far more connections than files: those that have idled longest are closed, and collections are opened and created
    // all the same.
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let others: Vec<_> = (0..400).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    let mut connection = Connection::open(&server);
    for i in 150..300 {
        let (status, answer) = connection.fill(&format!("c{i}"));
        assert_eq!(status, 200, "collection {i}: {answer}");
    }
    for i in 0..300 {
        assert_eq!(connection.text(&format!("c{i}")), format!("c{i}"));
    }
    assert_eq!(connection.call("GET", "/ready", &Value::Null).0, 200);
    drop(others);
    drop(connection);
    server.stop();
}

#[test]
fn without_files_idle_collections_are_closed_and_what_cannot_be_opened_is_told_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = crate::common::data_with_model(folder.path());
    let server = start(&data, 1000);
    let mut connection = Connection::open(&server);
    for i in 0..20 {
        assert_eq!(connection.fill(&format!("c{i}")).0, 200);
    }
    let pid = Pid::from_child(&server.child);
    let limit = |files: u64| {
        let most = Rlimit { current: Some(files), maximum: Some(1000) };
        prlimit(Some(pid), Resource::Nofile, most).expect("a limit");
    };
    let open = || {
        let numbers = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("a folder").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        numbers.max().expect("a file") + 1
    };
    // Further ones find no file, and get those of idle collections.
    limit(open());
    for i in 0..40 {
        let (status, answer) = connection.fill(&format!("next{i}"));
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(connection.text("c0"), "c0");
    // Nothing can be opened: that is told, by who cannot go on and by /ready, and is over when there are files again.
    limit(3);
    let (status, head, answer) = connection.call("PUT", "/v1/collections/none", &json!({"dimension": 2}));
    assert_eq!(status, 503, "{answer}");
    assert!(head.contains("retry-after: 1"), "{head}");
    assert!(answer["detail"].as_str().expect("a reason").contains("ulimit -n"), "{answer}");
    let (status, _, answer) = connection.call("GET", "/v1/collections/c5/records/1", &Value::Null);
    assert_eq!(status, 503, "{answer}");
    let (status, _, answer) = connection.call("GET", "/ready", &Value::Null);
    assert_eq!(status, 503, "{answer}");
    limit(1000);
    assert_eq!(connection.call("GET", "/ready", &Value::Null).0, 200);
    assert_eq!(connection.fill("none").0, 200);
    assert_eq!(connection.text("c5"), "c5");
    drop(connection);
    server.stop();
}
