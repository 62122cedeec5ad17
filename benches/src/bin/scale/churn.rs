//! A tenth of the rows replaced each minute, under questions.

use crate::{COLLECTION, DIMENSION, Data, TENANT, disk_bytes, floats, ids, percentile, print, request};
use membox_memory::{MemoryBox, NewRecord, SearchEffort};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Records of one write.
const BATCH: usize = 500;

/// Replaces each minute a tenth of the records by new versions with the same vectors, so that what is nearest stays
/// the same, and asks all the time; at last once more when it was compacted.
pub fn measure(memory: &Arc<MemoryBox>, data: &Data, root: &Path, minutes: u64) {
    let base = floats(&data.folder.join("base.f32"));
    let rows = data.rows();
    let (ended, writes) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            let batches = rows / 10 / BATCH * minutes as usize;
            for batch in 0..batches {
                let due = Duration::from_secs_f64(batch as f64 * 60.0 / (rows / 10 / BATCH) as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                let record = |i: usize| {
                    let id = (batch * BATCH + i) * 7919 % rows;
                    NewRecord {
                        id: Some(id.to_string()),
                        vector: Some(base[id * DIMENSION..(id + 1) * DIMENSION].to_vec()),
                        ..NewRecord::default()
                    }
                };
                let begun = Instant::now();
                memory.records().upsert(TENANT, COLLECTION, (0..BATCH).map(record).collect()).expect("a write");
                writes.lock().expect("a lock").push(begun.elapsed().as_secs_f64() * 1e3);
            }
            ended.store(true, Ordering::Relaxed);
        });
        let view = || {
            memory.collections().describe(&memory.collections().collection(TENANT, COLLECTION).expect("a collection"))
        };
        let report = |name: String| {
            let (mut times, mut found, begun) = (Vec::new(), Vec::new(), Instant::now());
            while begun.elapsed() < Duration::from_secs(60) {
                for query in &data.queries[found.len() % data.queries.len()..] {
                    let asked = Instant::now();
                    let answer = memory
                        .recall(TENANT, COLLECTION, &request(query, SearchEffort::default(), None))
                        .expect("an answer");
                    times.push(asked.elapsed().as_secs_f64() * 1e3);
                    found.push(ids(&answer));
                    if begun.elapsed() > Duration::from_secs(60) {
                        break;
                    }
                }
            }
            let whole: Vec<_> = found.chunks(data.queries.len()).map(|asked| data.recall(asked)).collect();
            let view = view();
            let mut writes = std::mem::take(&mut *writes.lock().expect("a lock"));
            if writes.is_empty() {
                writes.push(0.0);
            }
            print(json!({"measure": "churn", "minute": name,
                "recall@10": whole.iter().sum::<f64>() / whole.len() as f64, "asked": times.len(),
                "p50_ms": percentile(&mut times, 0.5), "p99_ms": percentile(&mut times, 0.99),
                "write_p50_ms": percentile(&mut writes, 0.5),
                "write_p99_ms": percentile(&mut writes, 0.99), "write_most_ms": percentile(&mut writes, 1.0),
                "ef_search": view.index.ef_search, "rows": view.rows, "covered": view.index.covered_rows,
                "building": view.index.building_rows, "disk_mb": disk_bytes(root) / 1_000_000}));
        };
        let mut minute = 0;
        while !ended.load(Ordering::Relaxed) {
            minute += 1;
            report(minute.to_string());
        }
        // Until background work has nothing left to do.
        loop {
            report("after".into());
            let view = view();
            if view.index.building_rows == 0 && u64::from(view.rows) < view.records * 2 {
                break;
            }
        }
        memory.rebuild(TENANT, COLLECTION).expect("a job");
        while u64::from(view().rows) > view().records {
            report("it compacts".into());
        }
        report("compacted".into());
    });
}
