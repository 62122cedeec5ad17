//! What a browser, and whoever has a key or guesses one, can do with a running box: over real sockets.

use crate::common::{KeptOnFailure, Server, data_with_model, membox};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const JSON: (&str, &str) = ("content-type", "application/json");
/// What a form or `fetch` without CORS sends from a page of another site.
const FOREIGN: [(&str, &str); 4] = [
    ("origin", "https://evil.example"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "no-cors"),
    ("content-type", "text/plain"),
];

/// Status and text of a request whose headers are these alone.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).expect("a connection");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{lines}connection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).expect("a write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

#[test]
fn a_page_of_another_site_changes_and_learns_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let said = json!({"user": "lena", "messages": [{"role": "user", "content": "the spare key is under the pot"}]});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &said).0, 200);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let entries = || server.call("GET", "/v1/audit?limit=1000", &Value::Null).1["entries"].as_array().map(Vec::len);
    let (before, host) = (entries(), [("host", server.url.trim_start_matches("http://"))]);
    // Those that need no body need no preflight either.
    for path in [
        "/v1/users/lena/erase",
        "/v1/users/lena/profile",
        "/v1/collections/c/rebuild",
        "/v1/collections/c/reembed",
        "/v1/collections/c/token-vectors",
        "/v1/tenant:rotate",
        "/v1/usage",
        "/mcp",
    ] {
        let (status, answer) = ask(&server, "POST", path, &[&host[..], &FOREIGN].concat(), "");
        assert!(status == 403 && answer.contains("allowed_origins"), "{path}: {answer}");
    }
    let picture = [&host[..], &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]].concat();
    assert_eq!(ask(&server, "GET", "/v1/users/mallory/export", &picture, "").0, 403, "an export is audited");
    // A page whose name resolves to this machine by now is of the box's origin to its browser.
    let port = server.url.rsplit(':').next().expect("a port");
    let (name, origin) = (format!("evil.example:{port}"), format!("http://evil.example:{port}"));
    let rebound = [("host", name.as_str()), ("origin", origin.as_str()), ("sec-fetch-site", "same-origin"), JSON];
    for (method, path, body) in [
        ("GET", "/v1/collections", ""),
        ("GET", "/v1/users/lena/export", ""),
        ("POST", "/v1/collections/c/recall", "{\"query\": \"spare key\"}"),
        ("DELETE", "/v1/collections/c", ""),
        ("POST", "/mcp", "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/list\"}"),
    ] {
        let (status, answer) = ask(&server, method, path, &rebound, body);
        assert!(status == 421 && answer.contains("allowed_hosts"), "{method} {path}: {answer}");
    }
    assert_eq!(entries(), before, "nothing of it was done");
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).1["messages"], json!(1));
    assert!(server.count("membox_foreign_requests_total{by=\"origin\"}") >= 8);
    assert!(server.count("membox_foreign_requests_total{by=\"host\"}") >= 5);
    server.stop();
}

#[test]
fn names_and_origins_of_the_settings_may_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let settings = "allowed_hosts = [\"box.example\"]\nallowed_origins = [\"https://app.example\"]\n";
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    let page = [("host", "box.example"), ("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let (status, answer) = ask(&server, "PUT", "/v1/collections/c", &[&page[..], &[JSON]].concat(), "{}");
    assert!(status == 201 && answer.contains("access-control-allow-origin: https://app.example"), "{answer}");
    let preflight = [&page[..], &[("access-control-request-method", "DELETE")]].concat();
    let (status, answer) = ask(&server, "OPTIONS", "/v1/collections/c", &preflight, "");
    assert!(status == 200 && answer.contains("access-control-max-age: 3600"), "{answer}");
    assert_eq!(server.call("GET", "/v1/collections/c", &Value::Null).0, 200, "it was only asked whether it may");
    server.stop();
    for wrong in ["allowed_hosts = [\"https://box.example\"]", "allowed_origins = [\"*\"]"] {
        std::fs::write(folder.path().join("membox.toml"), wrong).expect("a file");
        assert!(Server::try_start(&data, &[], &[]).is_none(), "{wrong}");
    }
}

/// A box whose log is read.
struct Logged {
    server: Server,
    log: Arc<Mutex<String>>,
}

impl Logged {
    fn start(data: &Path) -> Self {
        let mut command = membox(data);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, (says, address)) = (log.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = entry["fields"]["address"].as_str() {
                    says.send(address.to_owned()).expect("who waits for it");
                }
                kept.lock().expect("no panic").push_str(&(line + "\n"));
            }
        });
        let address: String = address.recv_timeout(Duration::from_secs(60)).expect("it listens");
        Self { server: Server { child, url: format!("http://{address}") }, log }
    }

    /// Waits until the log says something.
    fn hear(&self, text: &str) {
        let begun = Instant::now();
        while !self.log.lock().expect("no panic").contains(text) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{text} is not in {}",
                self.log.lock().expect("no panic")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self.log.lock().expect("no panic").clear();
    }

    fn hangup(&self) {
        kill_process(Pid::from_child(&self.server.child), Signal::HUP).expect("a signal");
    }

    /// The status of a request with a key.
    fn status(&self, key: &str) -> u16 {
        let key = format!("Bearer {key}");
        self.server.raw("GET", "/v1/collections", &[("authorization", key.as_str())], Vec::new()).0
    }
}

#[test]
fn a_hangup_reads_the_keys_again_and_a_broken_file_keeps_them() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let write = |settings: &str| std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let key = |key: &str| format!("[[keys]]\nkey = \"{key}\"\ntenant = \"a\"\n");
    let (first, second) = (key("first-4711-4711-4711"), key("second-4711-4711-4711"));
    write(&first);
    let logged = Logged::start(&data);
    assert_eq!(logged.status("first-4711-4711-4711"), 200);
    write(&(first.clone() + &second));
    logged.hangup();
    logged.hear("\"added\":1,\"removed\":0,\"changed\":0,\"kept\":1");
    assert_eq!((logged.status("first-4711-4711-4711"), logged.status("second-4711-4711-4711")), (200, 200));
    // Keys of before hold on, and what is wrong is said without them.
    let policy = second.clone() + "policy = \"careful\"\n[policies.careful]\nmax_messages = 5\n";
    for (broken, reason) in [
        (second.replace("4711\"", "4711"), "TOML parse error at line 2"),
        (second.clone() + &second, "entry 2 of [[keys]]"),
        (String::new(), "the last key"),
        (policy, "another policy"),
    ] {
        write(&broken);
        logged.hangup();
        let begun = Instant::now();
        while !logged.log.lock().expect("no panic").contains("the keys stay as they are") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{reason} is not said");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!logged.log.lock().expect("no panic").contains("4711"), "{:?}", logged.log);
        logged.hear(reason);
        assert_eq!((logged.status("first-4711-4711-4711"), logged.status("second-4711-4711-4711")), (200, 200));
    }
    write(&second);
    logged.hangup();
    logged.hear("\"added\":0,\"removed\":1,\"changed\":0,\"kept\":1");
    assert_eq!((logged.status("first-4711-4711-4711"), logged.status("second-4711-4711-4711")), (401, 200));
    logged.server.stop();
}

#[test]
fn a_key_is_known_by_its_hash_ends_when_it_is_to_and_a_guess_is_noted() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    // That of "a key that is long enough".
    let digest = "8954b7cb67decd26deeabf5d80881b75912b904a2696399f02e64af3cea10bfb";
    let settings = format!(
        "[[keys]]\nsha256 = \"{digest}\"\ntenant = \"a\"\n[[keys]]\nkey = \"one of last year\"\ntenant = \"b\"\n\
         expires_at = \"2026-01-01T00:00:00Z\"\n"
    );
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let logged = Logged::start(&data);
    logged.hear("entry 2 of [[keys]]: the key has expired");
    assert_eq!(logged.status("a key that is long enough"), 200);
    let old = [("authorization", "Bearer one of last year")];
    let (status, _, text) = logged.server.raw("GET", "/v1/collections", &old, Vec::new());
    assert!(status == 401 && text.contains("has expired, at 2026-01-01"), "{text}");
    let guesses: Vec<u16> = (0..50).map(|i| logged.status(&format!("guess-4711-{i}"))).collect();
    let slowed = guesses.iter().filter(|status| **status == 429).count();
    assert!(guesses[..10] == [401; 10] && (30..=40).contains(&slowed), "{guesses:?}");
    assert_eq!(logged.status("a key that is long enough"), 200, "a right one passes");
    {
        let log = logged.log.lock().expect("no panic");
        let said: Vec<&str> = log.lines().filter(|line| line.contains("refused by its key")).collect();
        assert!(matches!(said[..], [line] if line.contains("\"peer\":\"127.0.0.1:")), "{said:?}");
        assert!(!log.contains("4711"), "{log}");
    }
    let own = [("authorization", "Bearer a key that is long enough")];
    let (_, _, metrics) = logged.server.raw("GET", "/metrics", &own, Vec::new());
    let of = |reason: &str, count: usize| format!("membox_refused_keys_total{{reason=\"{reason}\"}} {count}");
    for line in [of("unknown", 50 - slowed), of("slowed", slowed), of("expired", 1)] {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert_eq!(logged.server.raw("GET", "/metrics", &[], Vec::new()).0, 401);
    logged.server.stop();
}

#[test]
fn keys_that_cannot_be_meant_are_refused_at_the_start_by_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let said = |settings: &str, command: &[&str]| {
        std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
        let output = membox(&data).args(command).output().expect("the binary");
        assert!(!output.status.success(), "{settings}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let entry = |key: &str| format!("[[keys]]\nkey = \"{key}\"\ntenant = \"a\"\n");
    for settings in [entry(""), entry(" 4711 4711 4711 4711"), entry("4711\\u0007")] {
        let said = said(&settings, &["serve", "--listen", "127.0.0.1:0"]);
        assert!(said.contains("entry 1 of [[keys]]") && !said.contains("4711"), "{said}");
    }
    let twice = entry("4711-4711-4711-4711") + &entry("4711-4711-4711-4711").replace("\"a\"", "\"b\"");
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["config", "show"]] {
        let said = said(&twice, command);
        assert!(said.contains("entry 2 of [[keys]]: the key is that of entry 1") && !said.contains("4711"), "{said}");
    }
    // A short one was taken before, and still is.
    std::fs::write(folder.path().join("membox.toml"), entry("4711")).expect("a file");
    let logged = Logged::start(&data);
    logged.hear("entry 1 of [[keys]]: the key is shorter than 16 characters");
    assert_eq!(logged.status("4711"), 200);
    logged.server.stop();
}
