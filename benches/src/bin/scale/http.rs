//! The same searches over a socket.

use crate::{COLLECTION, Data, TENANT, percentile, print, request};
use membox_memory::{MemoryBox, SearchEffort};
use membox_server::{Server, ServerConfig, listen};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One request on a kept-alive connection; gives the body.
fn call(stream: &mut TcpStream, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("a request");
    let (mut buffer, mut chunk) = (Vec::new(), [0; 16384]);
    loop {
        let read = stream.read(&mut chunk).expect("an answer");
        assert!(read > 0, "the connection was closed");
        buffer.extend_from_slice(&chunk[..read]);
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if length.is_some_and(|length| buffer.len() >= end + 4 + length) {
            assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
            return buffer.split_off(end + 4);
        }
    }
}

/// A server in this process; it stops when dropped.
pub struct RunningServer {
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[expect(clippy::disallowed_methods, reason = "a panic of the server ends the measurement anyhow")]
pub fn start_server(memory: &Arc<MemoryBox>) -> RunningServer {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let memory = memory.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
            sender.send(listener.local_addr().expect("an address")).expect("a receiver");
            let server = Server::new(memory, ServerConfig::default()).expect("a server");
            server.run(listener, async { drop(stopped.await) }).await;
        });
    });
    let address = receiver.recv().expect("an address");
    RunningServer { address, stop: Some(stop), thread: Some(thread) }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a server");
        }
    }
}

/// Serves, says where in one line, and stops when the input ends.
pub fn serve_until_input_ends(memory: &Arc<MemoryBox>) {
    let server = start_server(memory);
    println!("{}", server.address);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("an input");
}

/// The same in a process of its own, whose memory is the box's alone; it stops when dropped.
pub struct ServerProcess {
    pub address: SocketAddr,
    pub child: Child,
}

impl ServerProcess {
    pub fn start(vectors: &Path, root: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([vectors, root, Path::new("server")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a server");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("an output")).read_line(&mut line).expect("an address");
        Self { address: line.trim().parse().expect("an address"), child }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = self.child.wait().expect("a server");
        assert!(ended.success(), "the server ended with {ended}");
    }
}

/// Beams of which some find 95 and 99 of 100.
const BEAMS: [u32; 4] = [256, 384, 512, 768];

pub fn serve(memory: &Arc<MemoryBox>, data: &Data) {
    let server = start_server(memory);
    for beam in BEAMS {
        serve_beam(memory, data, server.address, beam);
    }
}

fn serve_beam(memory: &MemoryBox, data: &Data, address: SocketAddr, ef_search: u32) {
    let effort = SearchEffort { ef_search: Some(ef_search), ..SearchEffort::default() };
    let direct = |query: &Vec<f32>| {
        let request = request(query, effort, None);
        let begun = Instant::now();
        memory.recall(TENANT, COLLECTION, &request).expect("an answer");
        begun.elapsed().as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = data.queries.iter().map(direct).collect();
    let library = percentile(&mut times, 0.5);
    let body = |query: &Vec<f32>| {
        json!({"vector": query, "mode": "vector", "include": [], "effort": {"ef_search": ef_search}}).to_string()
    };
    let bodies: Vec<String> = data.queries.iter().map(body).collect();
    for connections in [1, 8, 64] {
        let next = AtomicUsize::new(0);
        let total = 1000 * if connections == 1 { 1 } else { 4 };
        let begun = Instant::now();
        let mut times: Vec<f64> = std::thread::scope(|scope| {
            let work = || {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("an option");
                let mut own = Vec::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= total {
                        return own;
                    }
                    let begun = Instant::now();
                    call(&mut stream, &format!("/v1/collections/{COLLECTION}/recall"), &bodies[i % bodies.len()]);
                    own.push(begun.elapsed().as_secs_f64() * 1e3);
                }
            };
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|t| t.join().expect("a thread")).collect()
        });
        let seconds = begun.elapsed().as_secs_f64();
        print(json!({"measure": "http", "connections": connections, "ef_search": ef_search, "library_p50_ms": library,
            "p50_ms": percentile(&mut times, 0.5),
            "p99_ms": percentile(&mut times, 0.99), "qps": total as f64 / seconds}));
    }
}
