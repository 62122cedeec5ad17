//! Commits through the box, and recall end to end over HTTP: text in, hits out, on one kept-alive connection.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use membox_encoder::{Encoder, EncoderConfig, Scheduler, SchedulerConfig};
use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, RecallMode, RecallRequest};
use membox_server::{Server, ServerConfig};
use serde_json::json;
use std::sync::Arc;

const RECORDS: usize = 5_000;

fn commits(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
    let settings = CollectionSettings { dimension: Some(384), ..CollectionSettings::default() };
    memory.collections().create_collection("t", "c", &settings).expect("a collection");
    let vectors = membox_benches::vectors(256, 384);
    let record = |i: usize| NewRecord {
        id: Some(format!("r{}", i % 10_000)),
        text: membox_benches::text(i, 20),
        vector: Some(vectors[i % 256].clone()),
        ..NewRecord::default()
    };
    let mut group = c.benchmark_group("commit");
    group.sample_size(20);
    let mut i = 0;
    for batch in [1, 256] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("{batch} records, durable"), |b| {
            b.iter(|| {
                i += batch;
                memory.records().upsert("t", "c", (i..i + batch).map(record).collect()).expect("a write")
            })
        });
    }
}

fn recalls(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    // No cache: each question is embedded.
    let config = EncoderConfig { query_cache: 1, ..EncoderConfig::default() };
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let encoder = Encoder::load("all-MiniLM-L6-v2", &membox_benches::model(), config, &scheduler).expect("the model");
    let models = Models { encoder: Some(Arc::new(encoder)), ..Models::default() };
    let memory = Arc::new(MemoryBox::open(&MemoryConfig::new(folder.path()), models).expect("a box"));
    memory.collections().create_collection("default", "c", &CollectionSettings::default()).expect("a collection");
    for start in (0..RECORDS).step_by(1000) {
        let record = |i: usize| NewRecord {
            text: format!("{} {i}", membox_benches::text(i, 12 + i % 30)),
            session: Some(format!("s{}", i / 20)),
            ..NewRecord::default()
        };
        memory.records().upsert("default", "c", (start..start + 1000).map(record).collect()).expect("a write");
    }
    let question = |i: usize| format!("when will Lena bring the tomatoes {i}?");
    let mut group = c.benchmark_group("recall of 5 000 records");
    group.sample_size(50);
    let mut i = 0;
    for (name, mode) in [("vector", RecallMode::Vector), ("text", RecallMode::Text), ("hybrid", RecallMode::Hybrid)] {
        group.bench_function(format!("{name}, in process"), |b| {
            b.iter(|| {
                i += 1;
                let request = RecallRequest { query: Some(question(i)), mode: Some(mode), ..RecallRequest::default() };
                memory.recall("default", "c", &request).expect("an answer")
            })
        });
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a socket");
    let url = format!("http://{}/v1/collections/c/recall", listener.local_addr().expect("an address"));
    let server = Server::new(memory, ServerConfig::default()).expect("a server");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(server.run(listener, async { drop(stopped.await) }));
    let agent = ureq::Agent::new_with_defaults();
    group.bench_function("hybrid, over HTTP", |b| {
        b.iter(|| {
            i += 1;
            let mut response = agent.post(&url).send_json(json!({"query": question(i)})).expect("an answer");
            response.body_mut().read_to_string().expect("text")
        })
    });
    drop(stop);
    runtime.block_on(serving).expect("an orderly end");
}

criterion_group!(benches, commits, recalls);
criterion_main!(benches);
