//! The box at its real size: `scale DIR DATA` writes the vectors of DIR (`base.f32`, n × 384) into a box over the folder DATA, through
//! the box's own interface, and measures writing, indexing, starting, searching, filtering and serving. One JSON line a measurement.
//!
//! `queries.f32` (q × 384) and `truth.i64` (q × 10) are what is asked, and what an exact search finds.

use membox_memory::{
    CollectionSettings, IndexPolicy, MemoryBox, MemoryConfig, Models, NewRecord, RecallMode, RecallRequest,
    SearchEffort,
};
use membox_server::{Server, ServerConfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DIMENSION: usize = 384;
const TENANT: &str = "default";
const COLLECTION: &str = "scale";
const BATCH: usize = 1000;

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn print(measured: Value) {
    println!("{measured}");
}

/// Memory that is not backed by files, in MB.
fn anonymous_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.metadata().map_or(0, |m| if m.is_dir() { disk_bytes(&e.path()) } else { m.len() })).sum()
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

struct Data {
    folder: PathBuf,
    queries: Vec<Vec<f32>>,
    truth: Vec<Vec<u64>>,
}

impl Data {
    fn read(folder: &Path) -> Self {
        let queries = floats(&folder.join("queries.f32")).chunks(DIMENSION).map(<[f32]>::to_vec).collect();
        let truth = std::fs::read(folder.join("truth.i64")).expect("truth.i64");
        let truth: Vec<u64> = truth.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        Self { folder: folder.to_owned(), queries, truth: truth.chunks(10).map(<[u64]>::to_vec).collect() }
    }

    fn rows(&self) -> usize {
        std::fs::metadata(self.folder.join("base.f32")).map_or(0, |m| m.len() as usize) / DIMENSION / 4
    }

    /// Share of the true ten that are among the hits.
    fn recall(&self, found: &[Vec<u64>]) -> f64 {
        let hits = found.iter().zip(&self.truth).map(|(f, t)| t.iter().filter(|id| f.contains(id)).count());
        hits.sum::<usize>() as f64 / (10 * found.len()) as f64
    }
}

fn request(vector: &[f32], effort: SearchEffort, filter: Option<Value>) -> RecallRequest {
    RecallRequest {
        vector: Some(vector.to_vec()),
        mode: RecallMode::Vector,
        effort: Some(effort),
        filter,
        include: Vec::new(),
        ..RecallRequest::default()
    }
}

fn ids(answer: &membox_memory::RecallAnswer) -> Vec<u64> {
    answer.hits.iter().map(|h| h.id.parse().unwrap_or(u64::MAX)).collect()
}

/// Writes every row from two threads; each record's metadata holds a number that is random, and one that follows the vector.
fn ingest(memory: &MemoryBox, data: &Data, index: IndexPolicy) {
    let settings = CollectionSettings { dimension: Some(DIMENSION), index, ..CollectionSettings::default() };
    memory.create_collection(TENANT, COLLECTION, &settings).expect("a collection");
    let (rows, next) = (data.rows(), AtomicUsize::new(0));
    let direction = &data.queries[0];
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                use std::os::unix::fs::FileExt;
                let file = std::fs::File::open(data.folder.join("base.f32")).expect("base.f32");
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= rows {
                        return;
                    }
                    let count = BATCH.min(rows - first);
                    let mut bytes = vec![0; count * DIMENSION * 4];
                    file.read_exact_at(&mut bytes, (first * DIMENSION * 4) as u64).expect("rows");
                    let vectors: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                    let record = |(i, vector): (usize, &[f32])| {
                        let id = first + i;
                        let along: f32 = vector.iter().zip(direction).map(|(a, b)| a * b).sum();
                        let metadata =
                            json!({"random": id as u64 * 2_654_435_761 % 10_000, "along": (along * 1e4) as i64});
                        let metadata = metadata.as_object().cloned().unwrap_or_default();
                        NewRecord {
                            id: Some(id.to_string()),
                            vector: Some(vector.to_vec()),
                            metadata,
                            ..NewRecord::default()
                        }
                    };
                    let records = vectors.chunks(DIMENSION).enumerate().map(record).collect();
                    memory.upsert(TENANT, COLLECTION, records).expect("a write");
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    print(json!({"measure": "ingest", "rows": rows, "seconds": seconds, "durable_rows_per_s": rows as f64 / seconds}));
    let collection = memory.collection(TENANT, COLLECTION).expect("a collection");
    loop {
        let view = memory.describe(&collection);
        if view.index.covered_rows as usize * 10 >= rows * 9 && view.index.building_rows == 0 {
            print(
                json!({"measure": "covered", "kind": view.index.kind, "covered": view.index.covered_rows, "seconds_since_begin": begun.elapsed().as_secs_f64()}),
            );
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// One query after the other, from `threads` threads at once.
fn search(memory: &MemoryBox, data: &Data, effort: SearchEffort, threads: usize, name: &str) {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let mut all: Vec<(usize, f64, Vec<u64>)> = std::thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(query) = data.queries.get(i) else { return own };
                let request = request(query, effort, None);
                let begun = Instant::now();
                let answer = memory.recall(TENANT, COLLECTION, &request).expect("an answer");
                own.push((i, begun.elapsed().as_secs_f64() * 1e3, ids(&answer)));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a thread")).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    all.sort_by_key(|a| a.0);
    let mut times: Vec<f64> = all.iter().map(|a| a.1).collect();
    let found: Vec<Vec<u64>> = all.into_iter().map(|a| a.2).collect();
    print(json!({"measure": "search", "setting": name, "threads": threads, "recall@10": data.recall(&found),
        "p50_ms": percentile(&mut times, 0.5), "p99_ms": percentile(&mut times, 0.99), "qps": found.len() as f64 / seconds}));
}

/// Filters of several widths, random and along or against the question, held against an exact search.
fn filters(memory: &MemoryBox, data: &Data) {
    let first = Instant::now();
    let one = json!({"field": "metadata.random", "lt": 1});
    memory
        .recall(TENANT, COLLECTION, &request(&data.queries[0], SearchEffort::default(), Some(one)))
        .expect("an answer");
    print(json!({"measure": "first filter", "seconds": first.elapsed().as_secs_f64()}));
    let rows = data.rows();
    let mut along: Vec<i64> = Vec::with_capacity(rows);
    let base = std::fs::File::open(data.folder.join("base.f32")).expect("base.f32");
    let mut reader = std::io::BufReader::with_capacity(1 << 20, base);
    let mut bytes = vec![0; DIMENSION * 4];
    while reader.read_exact(&mut bytes).is_ok() {
        let dot: f32 =
            bytes.as_chunks::<4>().0.iter().zip(&data.queries[0]).map(|(b, q)| f32::from_le_bytes(*b) * q).sum();
        along.push((dot * 1e4) as i64);
    }
    along.sort_unstable();
    for percent in [0.01, 0.1, 1.0, 10.0, 50.0, 99.0] {
        let share = percent / 100.0;
        let least = along[(rows as f64 * share) as usize];
        let most = along[(rows as f64 * (1.0 - share)) as usize];
        let kinds = [
            ("random", json!({"field": "metadata.random", "lt": (share * 10_000.0) as i64})),
            // The questions are those nearest to the direction: of these rows some are what they look for, and of those none.
            ("with the question", json!({"field": "metadata.along", "gt": most})),
            ("against the question", json!({"field": "metadata.along", "lt": least})),
        ];
        for (kind, filter) in kinds {
            let mut queries: Vec<&Vec<f32>> = data.queries.iter().collect();
            let dot = |q: &[f32]| q.iter().zip(&data.queries[0]).map(|(a, b)| a * b).sum::<f32>();
            queries.sort_by(|a, b| dot(b).total_cmp(&dot(a)));
            let (mut times, mut exact_times, mut hit, mut wanted) = (Vec::new(), Vec::new(), 0, 0);
            for query in queries.iter().take(60) {
                let ask = |effort| {
                    let begun = Instant::now();
                    let answer = memory
                        .recall(TENANT, COLLECTION, &request(query, effort, Some(filter.clone())))
                        .expect("an answer");
                    (ids(&answer), begun.elapsed().as_secs_f64() * 1e3)
                };
                let (found, time) = ask(SearchEffort::default());
                let (truth, exact_time) = ask(SearchEffort { exact: true, ..SearchEffort::default() });
                times.push(time);
                exact_times.push(exact_time);
                hit += truth.iter().filter(|id| found.contains(id)).count();
                wanted += truth.len();
            }
            print(
                json!({"measure": "filter", "percent": percent, "kind": kind, "recall@10": hit as f64 / wanted.max(1) as f64,
                "p50_ms": percentile(&mut times, 0.5), "p99_ms": percentile(&mut times, 0.99), "exact_p50_ms": percentile(&mut exact_times, 0.5)}),
            );
        }
    }
}

/// One request on a kept-alive connection; gives the body.
fn call(stream: &mut TcpStream, path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
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

fn serve(memory: &Arc<MemoryBox>, data: &Data, ef_search: u32) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let memory = memory.clone();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            sender.send(listener.local_addr().expect("an address")).expect("a receiver");
            let server = Server::new(memory, ServerConfig::default()).expect("a server");
            server.run(listener, async { drop(stopped.await) }).await;
        });
    });
    let address: SocketAddr = receiver.recv().expect("an address");
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
        print(
            json!({"measure": "http", "connections": connections, "ef_search": ef_search, "p50_ms": percentile(&mut times, 0.5),
            "p99_ms": percentile(&mut times, 0.99), "qps": total as f64 / seconds}),
        );
    }
    drop(stop);
    server.join().expect("a server");
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(root)) = (args.next(), args.next()) else {
        eprintln!("scale DIR DATA [hnsw|ivf] [search] [serve] [filters]");
        std::process::exit(2);
    };
    let data = Data::read(folder.as_ref());
    let index = match args.next().as_deref() {
        Some("ivf") => IndexPolicy::Ivf { nlist: 0, nprobe: 32 },
        _ => IndexPolicy::Auto,
    };
    let phases: Vec<String> = args.collect();
    let has = |phase: &str| phases.is_empty() || phases.iter().any(|p| p == phase);
    let open = || Arc::new(MemoryBox::open(&MemoryConfig::new(&root), Models::default()).expect("a box"));
    let memory = open();
    if memory.collection(TENANT, COLLECTION).is_err() {
        ingest(&memory, &data, index);
    }
    drop(memory);
    let begun = Instant::now();
    let memory = open();
    let opened = begun.elapsed().as_secs_f64();
    memory.recall(TENANT, COLLECTION, &request(&data.queries[0], SearchEffort::default(), None)).expect("an answer");
    print(
        json!({"measure": "start", "open_s": opened, "first_answer_s": begun.elapsed().as_secs_f64(), "anonymous_mb": anonymous_mb(),
        "disk_bytes_per_record": disk_bytes(root.as_ref()) as f64 / data.rows() as f64}),
    );
    let is_ivf = matches!(index, IndexPolicy::Ivf { .. });
    if has("search") {
        search(&memory, &data, SearchEffort::default(), 1, "as the policy has it");
        for value in if is_ivf { [4, 8, 16, 32, 128] } else { [64, 128, 256, 512, 768] } {
            let effort = match is_ivf {
                true => SearchEffort { nprobe: Some(value), ..SearchEffort::default() },
                false => SearchEffort { ef_search: Some(value), ..SearchEffort::default() },
            };
            for threads in [1, 2] {
                let knob = if is_ivf { "nprobe" } else { "ef_search" };
                search(&memory, &data, effort, threads, &format!("{knob} {value}"));
            }
        }
    }
    if has("serve") {
        serve(&memory, &data, 256);
    }
    if has("filters") {
        filters(&memory, &data);
        print(json!({"measure": "memory after filters", "anonymous_mb": anonymous_mb()}));
    }
}
