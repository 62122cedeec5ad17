//! Many small collections: one a user.

use crate::{Data, TENANT, anonymous_mb, disk_bytes, floats, ids, open, percentile, print, request};
use membox_memory::{CollectionSettings, Models, NewRecord, SearchEffort};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

const USERS: usize = 10_000;
const RECORDS: usize = 100;

fn count(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| entries.count())
}

pub fn measure(root: &Path, data: &Data) {
    let base = floats(&data.folder.join("base.f32"));
    let vector = |user: usize, i: usize| {
        let row = (user * RECORDS + i) * 7919 % (base.len() / crate::DIMENSION);
        base[row * crate::DIMENSION..(row + 1) * crate::DIMENSION].to_vec()
    };
    let memory = open(root, Models::default());
    if memory.collections().collection_names(TENANT).is_empty() {
        let begun = Instant::now();
        for user in 0..USERS {
            let name = format!("user-{user}");
            let settings = CollectionSettings { dimension: Some(crate::DIMENSION), ..CollectionSettings::default() };
            memory.collections().create_collection(TENANT, &name, &settings).expect("a collection");
            let record = |i: usize| NewRecord {
                id: Some(i.to_string()),
                text: format!("user {user} said the {i}th thing about the garden"),
                vector: Some(vector(user, i)),
                ..NewRecord::default()
            };
            memory.records().upsert(TENANT, &name, (0..RECORDS).map(record).collect()).expect("a write");
        }
        print(json!({"measure": "users written", "collections": USERS, "records_each": RECORDS,
            "seconds": begun.elapsed().as_secs_f64()}));
    }
    drop(memory);
    let begun = Instant::now();
    let memory = open(root, Models::default());
    let opened = begun.elapsed().as_secs_f64();
    print(json!({"measure": "users start", "open_s": opened,
        "anonymous_mb": anonymous_mb() - base.len() as f64 * 4.0 / 1048576.0,
        "open_files": count("/proc/self/fd"), "threads": count("/proc/self/task"),
        "disk_bytes_per_record": disk_bytes(root) as f64 / (USERS * RECORDS) as f64}));
    // Every user once, then a few users over and over.
    for (name, asked, users) in [("each once", USERS, USERS), ("100 users", 5000, 100)] {
        let mut times = Vec::new();
        for i in 0..asked {
            let user = i * 7919 % users;
            let begun = Instant::now();
            let answer = memory
                .recall(TENANT, &format!("user-{user}"), &request(&vector(user, 42), SearchEffort::default(), None))
                .expect("an answer");
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            assert_eq!(ids(&answer)[0], 42);
        }
        print(json!({"measure": "users asked", "which": name, "p50_ms": percentile(&mut times, 0.5),
            "p99_ms": percentile(&mut times, 0.99),
            "anonymous_mb": anonymous_mb() - base.len() as f64 * 4.0 / 1048576.0,
            "open_files": count("/proc/self/fd"), "threads": count("/proc/self/task")}));
    }
    let begun = Instant::now();
    let listed = memory.collections().describe_all(TENANT).expect("a list").len();
    print(json!({"measure": "users listed", "collections": listed, "seconds": begun.elapsed().as_secs_f64()}));
}
