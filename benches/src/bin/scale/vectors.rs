//! Given vectors: writing them, searching them, filtering them.

use crate::corpus::Corpus;
use crate::{COLLECTION, DIMENSION, Data, TENANT, ids, percentile, print, request};
use membox_memory::{CollectionSettings, IndexPolicy, MemoryBox, NewRecord, SearchEffort};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Records of one write.
const BATCH: usize = 1000;

/// Writes every row from two threads; each record's metadata holds a number that is random, and one that follows the
/// vector.
pub fn ingest(memory: &MemoryBox, data: &Data, index: IndexPolicy, corpus: Option<&Corpus>) {
    let settings = CollectionSettings { dimension: Some(DIMENSION), index, ..CollectionSettings::default() };
    memory.collections().create_collection(TENANT, COLLECTION, &settings).expect("a collection");
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
                            text: corpus.map_or_else(String::new, |corpus| corpus.text(id as u64)),
                            vector: Some(vector.to_vec()),
                            metadata,
                            ..NewRecord::default()
                        }
                    };
                    let records = vectors.chunks(DIMENSION).enumerate().map(record).collect();
                    memory.records().upsert(TENANT, COLLECTION, records).expect("a write");
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    print(json!({"measure": "ingest", "rows": rows, "seconds": seconds, "durable_rows_per_s": rows as f64 / seconds}));
    let collection = memory.collections().collection(TENANT, COLLECTION).expect("a collection");
    loop {
        let view = memory.collections().describe(&collection);
        // A few rows are always left to be scanned; of a small collection that has the choice, all of them.
        let fresh = rows - view.index.covered_rows as usize;
        let is_covered = fresh < (rows / 25).max(10_000) && view.index.building_rows == 0;
        if is_covered || !collection.wants_index() {
            print(json!({"measure": "covered", "kind": view.index.kind, "covered": view.index.covered_rows,
                "seconds_since_begin": begun.elapsed().as_secs_f64()}));
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
        "p50_ms": percentile(&mut times, 0.5), "p99_ms": percentile(&mut times, 0.99),
        "qps": found.len() as f64 / seconds}));
}

/// Searches of rising effort, from one thread and from two.
pub fn sweep(memory: &MemoryBox, data: &Data, is_ivf: bool) {
    search(memory, data, SearchEffort::default(), 1, "as the policy has it");
    let efforts: &[u32] = if is_ivf { &[2, 4, 8, 16, 32] } else { &[64, 256, 384, 768, 1536, 3072] };
    for &value in efforts {
        let effort = match is_ivf {
            true => SearchEffort { nprobe: Some(value), ..SearchEffort::default() },
            false => SearchEffort { ef_search: Some(value), ..SearchEffort::default() },
        };
        for threads in [1, 2] {
            search(memory, data, effort, threads, &format!("{} {value}", if is_ivf { "nprobe" } else { "ef_search" }));
        }
    }
}

/// Filters of several widths, random and along or against the question, held against an exact search.
pub fn filters(memory: &MemoryBox, data: &Data, effort: SearchEffort) {
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
    for percent in [0.01, 0.1, 1.0, 5.0, 10.0, 50.0, 99.0] {
        let share = percent / 100.0;
        let least = along[(rows as f64 * share) as usize];
        let most = along[(rows as f64 * (1.0 - share)) as usize];
        let kinds = [
            ("random", json!({"field": "metadata.random", "lt": (share * 10_000.0) as i64})),
            // The questions are those nearest to the direction: of these rows some are what they look for, and of
            // those none.
            ("with the question", json!({"field": "metadata.along", "gt": most})),
            ("against the question", json!({"field": "metadata.along", "lt": least})),
        ];
        for (kind, filter) in kinds {
            let mut queries: Vec<&Vec<f32>> = data.queries.iter().collect();
            let dot = |q: &[f32]| q.iter().zip(&data.queries[0]).map(|(a, b)| a * b).sum::<f32>();
            queries.sort_by(|a, b| dot(b).total_cmp(&dot(a)));
            let ask = |effort, filter: Option<&Value>| -> (Vec<f64>, Vec<Vec<u64>>) {
                let asked = queries.iter().take(60).map(|query| {
                    let begun = Instant::now();
                    let answer = memory.recall(TENANT, COLLECTION, &request(query, effort, filter.cloned()));
                    (begun.elapsed().as_secs_f64() * 1e3, ids(&answer.expect("an answer")))
                });
                asked.unzip()
            };
            // One kind of question after another, as a user asks them: an exact search between them leaves nothing in
            // the caches.
            let exactly = SearchEffort { exact: true, ..SearchEffort::default() };
            let (mut all_times, _) = ask(effort, None);
            let (mut times, found) = ask(effort, Some(&filter));
            let (mut exact_times, truth) = ask(exactly, Some(&filter));
            let wanted = truth.iter().map(Vec::len).sum::<usize>().max(1);
            let hit =
                truth.iter().zip(&found).map(|(truth, found)| truth.iter().filter(|id| found.contains(id)).count());
            let recall = hit.sum::<usize>() as f64 / wanted as f64;
            print(json!({"measure": "filter", "percent": percent, "kind": kind, "recall@10": recall,
                "p50_ms": percentile(&mut times, 0.5), "p99_ms": percentile(&mut times, 0.99),
                "all_p50_ms": percentile(&mut all_times, 0.5), "exact_p50_ms": percentile(&mut exact_times, 0.5)}));
        }
    }
}
