//! A bit that flips in any file is found by `verify`, or does not matter; and what it damaged is never an answer.

use membox_memory::{
    AppendRequest, CollectionSettings, IndexPolicy, MemoryBox, MemoryConfig, MessageQuery, Models, NewRecord, Order,
    RecallMode, RecallRequest, RecordView,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORDS: usize = 10_200;
const FLIPS: u64 = 12;

fn vector(i: usize) -> Vec<f32> {
    (0..8).map(|d| ((i * 31 + d * 17 + i * i % 97) % 101) as f32 / 50.0 - 1.01).collect()
}

fn open(folder: &Path) -> MemoryBox {
    MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box")
}

/// A closed folder whose every kind of file has something in it.
fn filled(folder: &Path) {
    let memory = open(folder);
    let index = IndexPolicy::hnsw();
    let settings = CollectionSettings { dimension: Some(8), index, ..CollectionSettings::default() };
    memory.collections().create_collection("t", "c", &settings).expect("a collection");
    for first in (0..RECORDS).step_by(850) {
        let record = |i: usize| NewRecord {
            id: Some(format!("r{i}")),
            text: format!("note {i} about topic {}", i % 50),
            vector: Some(vector(i)),
            session: Some(format!("s{}", i / 20)),
            created_at: Some("2024-05-20T00:44:00Z".into()),
            ..NewRecord::default()
        };
        memory.records().upsert("t", "c", (first..first + 850).map(record).collect()).expect("a write");
    }
    let message = |i: usize| {
        json!({"id": format!("m{i}"), "role": "assistant", "content": null,
        "tool_calls": [{"id": i}], "created_at": "2024-05-20T00:44:00Z"})
    };
    for s in 0..200 {
        let append =
            json!({"messages": (0..10).map(message).collect::<Vec<_>>(), "collection": "c", "user": format!("u{s}")});
        let append: AppendRequest = serde_json::from_value(append).expect("an append");
        memory.sessions().append("t", &format!("said{s}"), append, None).expect("a write");
        let state = json!({"state": {"step": s, "said": "words ".repeat(20)}});
        let checkpoint = serde_json::from_value(state).expect("a checkpoint");
        memory.sessions().put_checkpoint("t", &format!("thread{s}"), "", "c", checkpoint).expect("a write");
        memory.sessions().push("t", &format!("said{s}"), vec![json!({"wait": "words ".repeat(20)})]).expect("a write");
        memory.audit().audit("t", "somebody", "test", &format!("subject number {s}"), s).expect("a write");
    }
    let collection = memory.collections().collection("t", "c").expect("a collection");
    let begun = Instant::now();
    loop {
        let index = memory.collections().describe(&collection).index;
        if index.covered_rows > 0 && index.text_covered_rows > 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{index:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Everything that the box says of its records.
fn contents(folder: &Path) -> (Vec<RecordView>, Vec<String>) {
    let memory = open(folder);
    let (records, _) = memory.records().page("t", "c", Order::Written, None, RECORDS + 2001, None).expect("a page");
    let recall = |i: usize, mode| {
        let (query, vector) = match mode {
            RecallMode::Text => (Some(format!("note {i}")), None),
            _ => (None, Some(vector(i))),
        };
        let request = RecallRequest { query, vector, mode: Some(mode), k: 5, ..RecallRequest::default() };
        let hits = memory.recall("t", "c", &request).expect("an answer").hits;
        hits.into_iter().map(|h| format!("{} {:?}", h.id, h.text)).collect::<Vec<_>>()
    };
    let said = |s: u64| {
        let page = MessageQuery { limit: 100, ..MessageQuery::default() };
        let (messages, _) = memory.sessions().messages("t", &format!("said{s}"), &page).expect("a page");
        let waiting = memory.sessions().queue("t", &format!("said{s}"), None, 10).expect("a queue");
        let checkpoint =
            memory.sessions().checkpoint("t", &format!("thread{s}"), "", None, false).expect("a checkpoint");
        [format!("{messages:?}"), format!("{:?}", waiting[0].payload), format!("{checkpoint:?}")]
    };
    let kept = (0..200).flat_map(said).chain([format!("{:?}", memory.audit().audit_log("t", 0, 500).expect("a log"))]);
    let answers =
        [3, 4000, 10_100].into_iter().flat_map(|i| [recall(i, RecallMode::Vector), recall(i, RecallMode::Text)]);
    (records, answers.flatten().chain(kept).collect())
}

#[test]
fn a_flipped_bit_is_found_or_does_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
    let want = contents(folder.path());
    let mut all = Vec::new();
    files(folder.path(), &mut all);
    let kinds: Vec<String> = all.iter().filter_map(|f| Some(f.extension()?.to_string_lossy().into_owned())).collect();
    for kind in ["db", "mbv", "faiss", "json", "store", "idx", "term"] {
        assert!(kinds.iter().any(|k| k == kind), "there is no file of kind {kind}: {kinds:?}");
    }
    let (mut found, mut harmless) = (0, 0);
    for path in &all {
        let whole = std::fs::read(path).expect("a file");
        for flip in 0..FLIPS.min(whole.len() as u64 * 8) {
            let bit = (flip * 2_654_435_761 + 977 * flip * flip) % (whole.len() as u64 * 8);
            let mut bytes = whole.clone();
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            std::fs::write(path, &bytes).expect("a write");
            let report = membox_memory::verify(&MemoryConfig::new(folder.path()));
            if report.is_ok_and(|r| r.problems.is_empty()) {
                harmless += 1;
                let got = contents(folder.path());
                assert!(
                    got.0.iter().map(|r| (&r.id, &r.text)).eq(want.0.iter().map(|r| (&r.id, &r.text))),
                    "{}: bit {bit}",
                    path.display()
                );
                assert_eq!(got.1, want.1, "{}: bit {bit}", path.display());
            } else {
                found += 1;
            }
            // Opening may have mended or removed derived files; the next flip begins from the same folder.
            std::fs::write(path, &whole).expect("a write");
        }
    }
    println!("{found} found, {harmless} harmless");
    assert!(found > harmless, "{found} found, {harmless} harmless");
}

#[test]
fn a_damaged_record_is_no_answer_and_no_obstacle() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let database = folder.path().join("membox.db");
    let mut bytes = std::fs::read(&database).expect("a file");
    let text = b"note 4321 about topic";
    let at = bytes.windows(text.len()).position(|w| w == text).expect("the record's text");
    bytes[at + 5] ^= 1;
    std::fs::write(&database, bytes).expect("a write");
    let report = membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report");
    assert!(report.problems.iter().any(|p| p.serious && p.found.contains("checksum")), "{:?}", report.problems);
    let memory = open(folder.path());
    let request =
        RecallRequest { vector: Some(vector(4321)), mode: Some(RecallMode::Vector), k: 3, ..RecallRequest::default() };
    let hits = memory.recall("t", "c", &request).expect("an answer").hits;
    assert!(!hits.is_empty() && hits.iter().all(|h| h.id != "r4321"), "{hits:?}");
    assert!(memory.records().record("t", "c", "r4321").is_err());
    assert_eq!(memory.records().record("t", "c", "r4322").expect("a record").text, "note 4322 about topic 22");
}
