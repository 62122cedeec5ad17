//! A real box: the built binary, on a real socket, over a real folder.

pub mod llm;
pub mod model;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes of the longest answer: an export with the largest blob.
const MAX_ANSWER_BYTES: u64 = 96 << 20;

pub const MEMBOX: &str = env!("CARGO_BIN_EXE_membox");

/// Where `make model` installs the real MiniLM. It is part of the tests: without it they fail.
pub fn real_models() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models");
    let folder = std::env::var_os("MEMBOX_TEST_MODEL").map_or(default, |m| Path::new(&m).join(".."));
    assert!(
        folder.join("all-MiniLM-L6-v2/model.safetensors").exists(),
        "no model in {}: run `make model` first",
        folder.display()
    );
    folder.canonicalize().expect("a path")
}

/// A folder that stays where a test failed in it, to be looked at.
pub struct KeptOnFailure(tempfile::TempDir);

impl KeptOnFailure {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for KeptOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the test wrote stays in {}", self.path().display());
            self.0.disable_cleanup(true);
        }
    }
}

/// A data folder that has the real model.
pub fn data_with_model(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    std::os::unix::fs::symlink(real_models(), data.join("models")).expect("a link");
    data
}

/// The files under a folder in which a marker stands, in small letters or large ones.
pub fn files_with(folder: &Path, marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), marker));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).expect("a file");
            if bytes.windows(marker.len()).any(|window| window.eq_ignore_ascii_case(marker.as_bytes())) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

/// A command of the binary, without settings of the environment.
pub fn membox(data: &Path) -> Command {
    let mut command = Command::new(MEMBOX);
    command.current_dir(data.parent().expect("a folder")).arg("--data-dir").arg(data);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEMBOX_")) {
        command.env_remove(name);
    }
    command
}

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub url: String,
}

/// A box with the embedding model and these settings, in a folder that goes with the first part.
pub fn started(settings: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    (folder, server)
}

impl Server {
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        Self::try_start(data, flags, &[]).expect("the server ended before it listened")
    }

    /// With variables of the environment; `None` when it ended before it listened.
    pub fn try_start(data: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let mut command = membox(data);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(flags);
        command.envs(environment.iter().copied());
        Self::run(command)
    }

    /// By a command that ends in that of [`membox`], with a JSON log; `None` when it ended before it listened.
    pub fn run(mut command: Command) -> Option<Self> {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                return None;
            };
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = entry["fields"]["address"].as_str() {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, url: format!("http://{address}") })
    }

    /// Status and JSON of the answer.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, text) =
            self.raw(method, path, &[("content-type", "application/json")], body.to_string().into_bytes());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// What a request of a client of 2025 to `/mcp` is answered.
    pub fn mcp(&self, method: &str, params: Value) -> Value {
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        self.mcp_text(&message.to_string())
    }

    /// As [`Server::mcp`], of a message with the id 7 as it is written.
    pub fn mcp_text(&self, message: &str) -> Value {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-06-18"),
        ];
        let (status, _, text) = self.raw("POST", "/mcp", &headers, message.as_bytes().to_vec());
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(answer["id"], 7);
        answer
    }

    /// Status, headers and text of the answer; status 0 when there was none.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Vec<(String, String)>, String) {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let agent: ureq::Agent = config.into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = match method {
            "DELETE" if !["", "null"].map(str::as_bytes).contains(&body.as_slice()) => {
                let request = agent.delete(format!("{}{path}", self.url));
                headers
                    .iter()
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .force_send_body()
                    .send(body)
            }
            "GET" | "DELETE" => agent.run(request.body(()).expect("a request")),
            _ => agent.run(request.body(body).expect("a request")),
        };
        let Ok(mut response) = sent else { return (0, Vec::new(), String::new()) };
        let status = response.status().as_u16();
        let text_of = |v: &ureq::http::HeaderValue| v.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(n, v)| (n.to_string(), text_of(v))).collect();
        match response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string() {
            Ok(text) => (status, headers, text),
            Err(_) => (0, headers, String::new()),
        }
    }

    /// Begins a job and waits for its result.
    pub fn job(&self, path: &str, body: &Value) -> Value {
        let (status, job) = self.call("POST", path, body);
        assert_eq!(status, 202, "{job}");
        let view = self.ended(job["id"].as_str().expect("an id"));
        assert_eq!(view["state"], "done", "{view}");
        view["result"].clone()
    }

    /// What a job says when it has ended.
    pub fn ended(&self, job: &str) -> Value {
        loop {
            let (_, view) = self.call("GET", &format!("/v1/jobs/{job}"), &Value::Null);
            if view["state"] != "queued" && view["state"] != "running" {
                return view;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A counter of the metrics, by its name and labels.
    pub fn count(&self, name: &str) -> u64 {
        let (_, _, metrics) = self.raw("GET", "/metrics", &[], Vec::new());
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).expect("a counter")
    }

    pub fn kill_9(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        assert!(self.child.wait().expect("its end").success());
    }
}

/// What a request answers that must be done.
pub fn post(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call("POST", path, body);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
