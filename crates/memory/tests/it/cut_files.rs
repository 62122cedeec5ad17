//! Somebody cuts a vector file of a running box, at any length: an error of that collection, and of nothing else.

use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, RecallMode, RecallRequest};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

const RECORDS: usize = 300;
const DIMENSION: usize = 64;

fn vector(i: usize) -> Vec<f32> {
    (0..DIMENSION).map(|d| ((i * 31 + d * 17) % 101) as f32 / 50.0 - 1.01).collect()
}

fn open(folder: &Path) -> MemoryBox {
    MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box")
}

fn fill(memory: &MemoryBox, tenant: &str, collection: &str) {
    let settings = CollectionSettings { dimension: Some(DIMENSION), ..CollectionSettings::default() };
    memory.collections().create_collection(tenant, collection, &settings).expect("a collection");
    let record = |i: usize| NewRecord {
        id: Some(format!("r{i}")),
        text: format!("note {i}"),
        vector: Some(vector(i)),
        ..NewRecord::default()
    };
    memory.records().upsert(tenant, collection, (0..RECORDS).map(record).collect()).expect("a write");
}

fn vector_file(folder: &Path, number: usize) -> PathBuf {
    let entries = fs::read_dir(folder.join(format!("collections/{number}"))).expect("a folder").flatten();
    let is_one = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mbv");
    entries.map(|entry| entry.path()).find(is_one).expect("a vector file")
}

fn nearest(memory: &MemoryBox, tenant: &str, collection: &str, i: usize) -> Result<Vec<String>, String> {
    let request =
        RecallRequest { vector: Some(vector(i)), mode: Some(RecallMode::Vector), k: 1, ..RecallRequest::default() };
    let answer = memory.recall(tenant, collection, &request).map_err(|error| error.to_string())?;
    Ok(answer.hits.into_iter().map(|hit| hit.id).collect())
}

#[test]
fn a_vector_file_that_is_cut_at_any_length_is_an_error_of_its_collection_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    fill(&memory, "other", "c");
    fill(&memory, "t", "first");
    let whole = fs::metadata(vector_file(folder.path(), 2)).expect("a length").len();
    let lengths: Vec<u64> = (0..whole).step_by(3001).chain([4095, 4096, whole - 1, whole]).collect();
    let mut damaged = 0;
    for (i, &length) in lengths.iter().enumerate() {
        let name = format!("c{i}");
        fill(&memory, "t", &name);
        let file = OpenOptions::new().write(true).open(vector_file(folder.path(), 3 + i)).expect("the file");
        file.set_len(length).expect("a cut");
        let found = nearest(&memory, "t", &name, 7);
        if length.next_multiple_of(4096) < whole {
            let error = found.expect_err("the search has read what is not there");
            assert!(error.contains("could not be read"), "{length}: {error}");
            damaged += 1;
        } else {
            assert_eq!(found.expect("an answer"), ["r7"], "{length} of {whole} bytes");
        }
        let words = RecallRequest {
            query: Some("note".into()),
            mode: Some(RecallMode::Text),
            k: 3,
            ..RecallRequest::default()
        };
        memory.recall("t", &name, &words).expect("words are found in what is left");
        let record = NewRecord { text: "more".into(), vector: Some(vector(1)), ..NewRecord::default() };
        assert_eq!(memory.records().upsert("t", &name, vec![record]).is_ok(), length == whole, "{length}");
        assert_eq!(nearest(&memory, "other", "c", 7).expect("the others are answered"), ["r7"]);
    }
    assert_eq!(memory.troubles().len(), damaged);
    assert!(memory.troubles().iter().all(|trouble| trouble.contains("collection number")), "{:?}", memory.troubles());
    memory.check_ready().expect_err("there is no model; but for that it is ready");
    assert_eq!(memory.read_only(), None);
}
