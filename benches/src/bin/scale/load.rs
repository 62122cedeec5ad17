//! More than the box can do: 64 clients that ask and write at twice the rate that it reached alone, beside idle and
//! slow connections.

use crate::http::ServerProcess;
use crate::{COLLECTION, Data, anonymous_mb_of, percentile, print};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

const CLIENTS: usize = 64;
const IDLE: usize = 1000;
const SLOW: usize = 100;
/// Requests that one client has under way at most.
const CONNECTIONS: usize = 24;

type Outcomes = Arc<Mutex<BTreeMap<(&'static str, u16), Vec<f64>>>>;

/// One request on a kept-alive connection: the status.
async fn call(stream: &mut TcpStream, path: &str, body: &str) -> std::io::Result<u16> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    let (mut buffer, mut chunk) = (Vec::new(), [0; 16384]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if length.is_some_and(|length| buffer.len() >= end + 4 + length) {
            return Ok(head[9..12].parse().unwrap_or(0));
        }
    }
}

/// Asks at a rate of `per_s` in all, from `CLIENTS · CONNECTIONS` connections, until the time is over. An open loop:
/// whoever is late asks at once.
async fn drive(
    address: SocketAddr,
    bodies: Arc<Vec<(&'static str, String, String)>>,
    per_s: f64,
    time: Duration,
) -> (f64, Outcomes) {
    let outcomes: Outcomes = Arc::default();
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS * CONNECTIONS {
        let (bodies, outcomes, next) = (bodies.clone(), outcomes.clone(), next.clone());
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let mut own = Vec::new();
            while begun.elapsed() < time {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let due = Duration::from_secs_f64(turn as f64 / per_s);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
                let (kind, path, body) = &bodies[turn as usize % bodies.len()];
                let asked = Instant::now();
                match call(&mut stream, path, body).await {
                    Ok(status) => own.push((*kind, status, asked.elapsed().as_secs_f64() * 1e3)),
                    Err(error) => {
                        eprintln!(
                            "{kind}: {error} after {:?}, {:?} since the beginning",
                            asked.elapsed(),
                            begun.elapsed()
                        );
                        own.push((*kind, 0, 0.0));
                        stream = TcpStream::connect(address).await.expect("a connection");
                    }
                }
            }
            let mut all = outcomes.lock().await;
            own.into_iter().for_each(|(kind, status, ms)| all.entry((kind, status)).or_default().push(ms));
        }));
    }
    for task in tasks {
        task.await.expect("a client");
    }
    (begun.elapsed().as_secs_f64(), outcomes)
}

async fn report(server: &ServerProcess, name: &str, (seconds, outcomes): (f64, Outcomes)) -> f64 {
    let anonymous_mb = anonymous_mb_of(server.child.id());
    let mut accepted = 0;
    for ((kind, status), times) in outcomes.lock().await.iter_mut() {
        accepted += if *status == 200 { times.len() } else { 0 };
        print(json!({"measure": "load", "run": name, "kind": kind, "status": status, "requests": times.len(),
            "per_s": times.len() as f64 / seconds,
            "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "most_ms": percentile(times, 1.0),
            "anonymous_mb": anonymous_mb}));
    }
    accepted as f64 / seconds
}

pub fn measure(data: &Data, root: &Path, minutes: u64) {
    let server = ServerProcess::start(&data.folder, root);
    let path = format!("/v1/collections/{COLLECTION}");
    let mut bodies = Vec::new();
    for (i, query) in data.queries.iter().take(200).enumerate() {
        let recall = json!({"vector": query, "mode": "vector", "include": ["text"]}).to_string();
        bodies.push(("recall by vector", format!("{path}/recall"), recall));
        let text = format!("what did we say about the garden and the {i}th tomato?");
        bodies.push(("recall by text", format!("{path}/recall"), json!({"query": text, "mode": "vector"}).to_string()));
        let records: Vec<_> = (0..4)
            .map(|r| {
                json!({"id": format!("load-{i}-{r}"),
                    "text": format!("Lena said that the {i}th tomato is ripe, {r}"), "vector": query})
            })
            .collect();
        bodies.push(("write", format!("{path}/records"), json!({ "records": records }).to_string()));
    }
    let bodies = Arc::new(bodies);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let alone =
            report(&server, "alone", drive(server.address, bodies.clone(), 1e9, Duration::from_secs(20)).await).await;
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            idle.push(TcpStream::connect(server.address).await.expect("a connection"));
        }
        let slow = json!({"vector": data.queries[0], "mode": "vector", "k": 500,
            "include": ["text", "metadata"]})
        .to_string();
        for _ in 0..SLOW {
            let (slow, path, address) = (slow.clone(), path.clone(), server.address);
            tokio::spawn(async move {
                let Ok(mut stream) = TcpStream::connect(address).await else { return };
                let head = format!(
                    "POST {path}/recall HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n",
                    slow.len()
                );
                let _ = stream.write_all((head + &slow).as_bytes()).await;
                let mut little = [0; 64];
                while stream.read(&mut little).await.is_ok_and(|read| read > 0) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        for minute in 1..=minutes {
            let name = format!("twice that, minute {minute}");
            report(&server, &name, drive(server.address, bodies.clone(), alone * 2.0, Duration::from_secs(60)).await)
                .await;
        }
        drop(idle);
    });
}
