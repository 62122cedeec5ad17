//! What the box promises about records: durable, whole, versioned, found at once, gone when they are gone. Given
//! vectors, so that these tests are about the store.

use membox_memory::{
    CollectionSettings, ContextWindow, Include, IndexPolicy, MemoryBox, MemoryConfig, MemoryError, Models, Neighbour,
    NewRecord, Order, RecallMode, RecallRequest, RecordPatch, RecordsError, Rerank,
};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const D: usize = 16;

fn open(folder: &Path) -> Arc<MemoryBox> {
    Arc::new(MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box"))
}

fn settings(index: IndexPolicy) -> CollectionSettings {
    CollectionSettings { dimension: Some(D), index, ..CollectionSettings::default() }
}

fn with_collection(folder: &Path) -> Arc<MemoryBox> {
    let memory = open(folder);
    memory.collections().create_collection("t", "c", &settings(IndexPolicy::Auto)).expect("a collection");
    memory
}

fn vector(i: usize) -> Vec<f32> {
    (0..D).map(|d| (((i * 37 + d * d * 11 + 5) % 97) as f32 - 48.0) / 48.0).collect()
}

fn record(i: usize) -> NewRecord {
    NewRecord {
        id: Some(format!("r{i}")),
        text: format!("memory number{i} of the {} kind", if i.is_multiple_of(2) { "even" } else { "odd" }),
        vector: Some(vector(i)),
        metadata: json!({"n": i, "even": i.is_multiple_of(2)}).as_object().cloned().unwrap_or_default(),
        ..NewRecord::default()
    }
}

fn near(i: usize, k: usize) -> RecallRequest {
    RecallRequest { vector: Some(vector(i)), mode: Some(RecallMode::Vector), k, ..RecallRequest::default() }
}

fn words(text: &str) -> RecallRequest {
    RecallRequest { query: Some(text.into()), mode: Some(RecallMode::Text), ..RecallRequest::default() }
}

fn ids(memory: &MemoryBox, request: &RecallRequest) -> Vec<String> {
    memory.recall("t", "c", request).expect("an answer").hits.into_iter().map(|h| h.id).collect()
}

fn is_under_way(state: &str) -> bool {
    ["queued", "running"].contains(&state)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_acknowledged_is_recalled_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    for i in 0..20 {
        memory.records().upsert("t", "c", vec![record(i)]).expect("a write");
        assert_eq!(ids(&memory, &near(i, 1)), [format!("r{i}")], "by vector");
        assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")], "by text");
    }
    drop(memory);
    let memory = open(folder.path());
    for i in 0..20 {
        assert_eq!(ids(&memory, &near(i, 1)), [format!("r{i}")]);
        assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")]);
    }
    drop(memory);
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
}

#[test]
fn a_new_version_replaces_the_old_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", vec![record(1), record(2)]).expect("a write");
    let changed = NewRecord { id: Some("r1".into()), ..record(50) };
    let written = memory.records().upsert("t", "c", vec![changed]).expect("a write");
    assert_eq!(written[0].version, 2);
    assert_eq!(ids(&memory, &words("number1")), Vec::<String>::new(), "the old text finds nothing");
    assert_eq!(ids(&memory, &words("number50")), ["r1"]);
    assert_eq!(ids(&memory, &near(50, 1)), ["r1"]);
    assert_eq!(ids(&memory, &near(1, 10)).len(), 2, "each record once");
}

#[test]
fn a_request_is_kept_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", vec![record(1)]).expect("a write");
    let conflict = NewRecord { version: Some(9), ..record(1) };
    let error = memory.records().upsert("t", "c", vec![record(2), conflict]).err();
    assert!(matches!(error, Some(MemoryError::Records(RecordsError::VersionConflict { current: 1, expected: 9, .. }))));
    assert!(matches!(memory.records().record("t", "c", "r2"), Err(MemoryError::NoRecord(_))));
    let bad = NewRecord { vector: Some(vec![1.0]), ..record(3) };
    assert!(matches!(memory.records().upsert("t", "c", vec![record(2), bad]), Err(MemoryError::Invalid { pointer,
            .. }) if pointer == "/records/1/vector"));
    assert_eq!(ids(&memory, &near(2, 10)), ["r1"]);
    let new = NewRecord { version: Some(0), ..record(4) };
    assert!(
        memory.records().upsert("t", "c", vec![new.clone()]).is_ok()
            && memory.records().upsert("t", "c", vec![new]).is_err(),
        "0 means: must be new"
    );
}

#[test]
fn concurrent_writers_lose_nothing_and_share_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    std::thread::scope(|scope| {
        for t in 0..8 {
            let memory = &memory;
            scope.spawn(move || {
                for i in 0..25 {
                    memory.records().upsert("t", "c", vec![record(t * 100 + i)]).expect("a write");
                    let shared = NewRecord { id: Some("shared".into()), ..record(7) };
                    memory.records().upsert("t", "c", vec![shared]).expect("a write");
                }
            });
        }
    });
    let view = memory.collections().describe(&memory.collections().collection("t", "c").expect("the collection"));
    assert_eq!(view.records, 201);
    assert_eq!(
        memory.records().record("t", "c", "shared").expect("the record").version,
        200,
        "every write of it counted"
    );
}

#[test]
fn a_patch_changes_what_it_names_and_honours_versions() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", vec![record(1)]).expect("a write");
    let patch: RecordPatch =
        serde_json::from_value(json!({"metadata": {"n": null, "new": {"a": 1}}, "user": "u", "importance": 0.5}))
            .expect("a patch");
    let after = memory.records().patch("t", "c", "r1", &patch, Some(1)).expect("a patch");
    assert_eq!((after.version, after.user.as_deref(), after.importance), (2, Some("u"), Some(0.5)));
    assert_eq!(json!(after.metadata), json!({"even": false, "new": {"a": 1}}));
    assert_eq!(after.text, record(1).text);
    assert_eq!(ids(&memory, &near(1, 1)), ["r1"], "its vector is kept");
    assert!(matches!(
        memory.records().patch("t", "c", "r1", &patch, Some(1)),
        Err(MemoryError::Records(RecordsError::VersionConflict { current: 2, .. }))
    ));
    let clear: RecordPatch = serde_json::from_value(json!({"user": null})).expect("a patch");
    assert_eq!(memory.records().patch("t", "c", "r1", &clear, None).expect("a patch").user, None);
    std::thread::scope(|scope| {
        for t in 0..4 {
            let memory = &memory;
            let patch: RecordPatch =
                serde_json::from_value(json!({"metadata": {format!("k{t}"): true}})).expect("a patch");
            scope.spawn(move || memory.records().patch("t", "c", "r1", &patch, None).expect("a patch"));
        }
    });
    assert_eq!(
        memory.records().record("t", "c", "r1").expect("the record").metadata.len(),
        6,
        "no concurrent patch is lost"
    );
}

#[test]
fn deleted_records_are_gone_from_recall_and_from_the_vector_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", (0..10).map(record).collect()).expect("a write");
    assert_eq!(
        memory
            .records()
            .delete("t", "test", "c", vec![("r1".into(), None), ("nobody".into(), None)])
            .expect("a delete"),
        1
    );
    let even = json!({"field": "metadata.even", "eq": true});
    assert_eq!(memory.records().delete_by_filter("t", "test", "c", &even).expect("a delete"), 5);
    let mut left = ids(&memory, &near(0, 20));
    left.sort();
    assert_eq!(left, ["r3", "r5", "r7", "r9"]);
    assert!(ids(&memory, &words("number4")).is_empty());
    let collection = memory.collections().collection("t", "c").expect("the collection");
    let bytes = memory.collections().describe(&collection).vector_bytes;
    drop((collection, memory));
    let file =
        walk(folder.path()).into_iter().find(|p| p.extension().is_some_and(|e| e == "mbv")).expect("a vector file");
    let content = std::fs::read(file).expect("bytes");
    assert_eq!(content.len() as u64, bytes);
    let zero_rows = content[4096..].chunks(64).filter(|row| row.iter().all(|&b| b == 0)).count();
    assert_eq!(zero_rows, 6, "the rows of deleted records are zeros");
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() { files.extend(walk(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

#[test]
fn an_expired_record_is_never_returned_and_is_swept() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let soon = membox_memory::time_text(membox_memory::now() + 1500);
    let brief = NewRecord { expires_at: Some(soon), ..record(1) };
    memory.records().upsert("t", "c", vec![brief, record(2)]).expect("a write");
    assert_eq!(ids(&memory, &near(1, 1)), ["r1"]);
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(ids(&memory, &near(1, 10)), ["r2"]);
    assert!(ids(&memory, &words("number1")).is_empty());
    assert!(matches!(memory.records().record("t", "c", "r1"), Err(MemoryError::NoRecord(_))));
    assert_eq!(memory.records().page("t", "c", Order::Written, None, 10, None).expect("a page").0.len(), 1);
}

#[test]
fn filters_choose_and_context_shows_the_neighbours() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let in_session = |i: usize| NewRecord { session: Some(format!("s{}", i / 5)), ..record(i) };
    memory.records().upsert("t", "c", (0..15).map(in_session).collect()).expect("a write");
    let filter = Some(json!({"and": [{"field": "metadata.n", "gte": 4}, {"field": "session", "eq": "s0"}]}));
    assert_eq!(ids(&memory, &RecallRequest { filter, ..near(0, 10) }), ["r4"]);
    let request = RecallRequest {
        context: Some(ContextWindow { before: 2, after: 2 }),
        include: vec![Include::Vector],
        ..near(6, 1)
    };
    let hit = memory.recall("t", "c", &request).expect("an answer").hits.remove(0);
    let names = |n: &[membox_memory::Neighbour]| n.iter().map(|n| n.id.clone()).collect::<Vec<_>>();
    assert_eq!((names(&hit.before), names(&hit.after)), (vec!["r5".into()], vec!["r7".to_owned(), "r8".into()]));
    assert_eq!((hit.text, hit.vector.map(|v| v.len())), (None, Some(D)));
    // A filter answered before goes on to see what is written after it.
    memory.records().upsert("t", "c", vec![NewRecord { session: Some("s0".into()), ..record(99) }]).expect("a write");
    let filter = Some(json!({"and": [{"field": "metadata.n", "gte": 4}, {"field": "session", "eq": "s0"}]}));
    assert_eq!(ids(&memory, &RecallRequest { filter, ..near(99, 10) })[0], "r99");
}

#[test]
fn reranking_weighs_recency_and_importance_and_passes_over_doubles() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let at = |i: usize, days: i64| NewRecord {
        created_at: Some(membox_memory::time_text(membox_memory::now() - days * 86_400_000)),
        vector: Some(vector(1)),
        ..record(i)
    };
    let important = NewRecord { importance: Some(1.0), ..at(3, 300) };
    memory.records().upsert("t", "c", vec![at(1, 300), at(2, 0), important]).expect("a write");
    let with = |rerank| RecallRequest { rerank: Some(rerank), ..near(1, 3) };
    assert_eq!(ids(&memory, &with(Rerank { recency_weight: Some(0.5), ..Rerank::default() }))[0], "r2");
    assert_eq!(ids(&memory, &with(Rerank { importance_weight: Some(0.5), ..Rerank::default() }))[0], "r3");
    memory.records().upsert("t", "c", vec![record(9)]).expect("a write");
    let diverse = RecallRequest { rerank: Some(Rerank { mmr_lambda: Some(0.3), ..Rerank::default() }), ..near(1, 2) };
    assert_eq!(ids(&memory, &diverse)[1], "r9", "the second is not a double of the first");
}

#[test]
fn an_index_is_built_in_the_background_and_agrees_with_the_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "c", &settings(IndexPolicy::hnsw())).expect("a collection");
    for batch in 0..12 {
        memory.records().upsert("t", "c", (batch * 1000..(batch + 1) * 1000).map(record).collect()).expect("a write");
    }
    let collection = memory.collections().collection("t", "c").expect("the collection");
    wait_for("the index", || memory.collections().describe(&collection).index.covered_rows >= 1000);
    let IndexPolicy::Hnsw { ef_search, .. } = IndexPolicy::hnsw() else { panic!("HNSW") };
    assert_eq!(
        memory.collections().describe(&collection).index.ef_search,
        Some(ef_search),
        "the beam of the policy is shown"
    );
    wait_for("the text index", || memory.collections().describe(&collection).index.text_covered_rows >= 10_000);
    memory
        .records()
        .upsert("t", "c", vec![NewRecord { vector: Some(vec![9.0; D]), ..record(77_777) }])
        .expect("a write");
    let mut all_ones = near(0, 1);
    all_ones.vector = Some(vec![1.0; D]);
    assert_eq!(ids(&memory, &all_ones), ["r77777"], "a fresh row is found beside the index");
    for i in [3, 5000, 11_999] {
        assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")], "on disk or in the tail");
    }
    drop((collection, memory));
    let memory = open(folder.path());
    let collection = memory.collections().collection("t", "c").expect("the collection");
    assert!(memory.collections().describe(&collection).index.covered_rows >= 1000, "the saved index is loaded");
    assert_eq!(ids(&memory, &words("number5000")), ["r5000"]);
    drop((collection, memory));
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
}

#[test]
fn damage_is_found_never_answered_and_mended_where_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "c", &settings(IndexPolicy::hnsw())).expect("a collection");
    memory.records().upsert("t", "c", (0..2000).map(record).collect()).expect("a write");
    memory.records().upsert("t", "c", (2000..4000).map(record).collect()).expect("a write");
    let collection = memory.collections().collection("t", "c").expect("the collection");
    wait_for("the index", || memory.collections().describe(&collection).index.covered_rows > 0);
    drop((collection, memory));

    let files = walk(folder.path());
    let flip = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).expect("bytes");
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).expect("a write");
    };
    let faiss = files.iter().find(|p| p.extension().is_some_and(|e| e == "faiss")).expect("an index");
    flip(faiss, 5000);
    let report = membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report");
    assert_eq!(report.problems.len(), 1);
    assert!(!report.problems[0].serious && report.problems[0].remedy.contains("built anew"), "{:?}", report.problems);
    membox_memory::rebuild(&MemoryConfig::new(folder.path()), Models::default()).expect("a rebuild");
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);

    let vectors = files.iter().find(|p| p.extension().is_some_and(|e| e == "mbv")).expect("a vector file");
    flip(vectors, 4096 + 64 * 42 + 3);
    let report = membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report");
    assert!(report.problems[0].serious && report.problems[0].found.contains("r42"), "{:?}", report.problems);
    let memory = open(folder.path());
    assert!(!ids(&memory, &near(42, 5)).contains(&"r42".to_owned()), "a damaged vector is no answer");
    assert_eq!(
        memory.records().record("t", "c", "r42").expect("the record").text,
        record(42).text,
        "the record itself is whole"
    );
}

#[test]
fn a_truncated_or_missing_vector_file_is_reported_and_not_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", (0..10).map(record).collect()).expect("a write");
    drop(memory);
    let path =
        walk(folder.path()).into_iter().find(|p| p.extension().is_some_and(|e| e == "mbv")).expect("a vector file");
    let whole = std::fs::read(&path).expect("bytes");
    std::fs::write(&path, &whole[..whole.len() - 100]).expect("a write");
    assert!(
        membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems[0]
            .found
            .contains("10 were committed")
    );
    let memory = open(folder.path());
    assert!(memory.recall("t", "c", &near(1, 1)).is_err_and(|e| e.to_string().contains("damaged")));
    memory.collections().create_collection("t", "other", &settings(IndexPolicy::Auto)).expect("others go on");
    drop(memory);
    std::fs::remove_file(&path).expect("a removal");
    assert!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems[0].serious);
}

#[test]
fn a_rebuild_compacts_and_keeps_every_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    for _ in 0..4 {
        memory.records().upsert("t", "c", (0..100).map(record).collect()).expect("a write");
    }
    let collection = memory.collections().collection("t", "c").expect("the collection");
    assert_eq!(memory.collections().describe(&collection).rows, 400);
    let job = memory.rebuild("t", "c").expect("a job");
    wait_for("the job", || !is_under_way(&memory.jobs().view("t", &job.id).expect("the job").state));
    assert_eq!(memory.jobs().view("t", &job.id).expect("the job").state, "done");
    assert!(memory.jobs().view("another tenant", &job.id).is_err());
    let view = memory.collections().describe(&collection);
    assert_eq!((view.rows, view.records), (100, 100));
    for i in [10, 50, 90] {
        assert_eq!(ids(&memory, &near(i, 1)), [format!("r{i}")]);
        assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")]);
    }
    memory.records().upsert("t", "c", vec![record(500)]).expect("writes go on");
    drop((collection, memory));
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
    assert_eq!(ids(&open(folder.path()), &words("number500")), ["r500"]);
}

#[test]
fn a_backup_of_a_running_box_restores_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, target, restored) =
        (folder.path().join("data"), folder.path().join("backup"), folder.path().join("restored"));
    let memory = with_collection(&data);
    memory.records().upsert("t", "c", (0..50).map(record).collect()).expect("a write");
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            (50..90).for_each(|i| drop(memory.records().upsert("t", "c", vec![record(i)]).expect("a write")))
        });
        membox_memory::backup(&data, &target, true).expect("a backup")
    });
    assert!((50..=90).contains(&summary.records));
    assert!(membox_memory::backup(&data, &target, true).is_err(), "a backup is not overwritten");
    assert!(membox_memory::restore(&target, &data).is_err(), "nor is a data folder");
    membox_memory::restore(&target, &restored).expect("a restore");
    let report = membox_memory::verify(&MemoryConfig::new(&restored)).expect("a report");
    assert_eq!((report.records, report.problems), (summary.records, vec![]));
    assert_eq!(ids(&open(&restored), &near(7, 1)), ["r7"]);
}

#[test]
fn a_backup_is_of_one_moment_whatever_is_overwritten_and_compacted_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let memory = with_collection(&data);
    for first in (0..6000).step_by(1000) {
        memory.records().upsert("t", "c", (first..first + 1000).map(unlike).collect()).expect("a write");
    }
    std::thread::scope(|scope| {
        let backups = scope.spawn(|| {
            for b in 0..6 {
                let (target, restored) = (folder.path().join(format!("b{b}")), folder.path().join(format!("r{b}")));
                assert_eq!(membox_memory::backup(&data, &target, true).expect("a backup").records, 6000);
                membox_memory::restore(&target, &restored).expect("a restore");
                assert_eq!(
                    membox_memory::verify(&MemoryConfig::new(&restored)).expect("a report").problems,
                    [],
                    "backup {b}"
                );
            }
        });
        let mut round = 0;
        while !backups.is_finished() {
            // Both records of a request are of one version in every moment.
            let i = round * 2 % 6000;
            memory.records().upsert("t", "c", vec![unlike(i), unlike(i + 1)]).expect("a write");
            if round % 400 == 399 {
                drop(memory.rebuild("t", "c"));
            }
            round += 1;
        }
    });
    let restored = open(&folder.path().join("r5"));
    for i in (0..6000).step_by(500) {
        let versions =
            [i, i + 1].map(|i| restored.records().record("t", "c", &format!("r{i}")).expect("a record").version);
        assert_eq!(versions[0], versions[1]);
    }
}

#[test]
fn a_data_folder_has_one_box_at_a_time_and_collections_keep_their_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    assert!(matches!(
        MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()),
        Err(MemoryError::Locked(_))
    ));
    assert!(matches!(membox_memory::verify(&MemoryConfig::new(folder.path())), Err(MemoryError::Locked(_))));
    let other = CollectionSettings { dimension: Some(D + 1), ..CollectionSettings::default() };
    assert!(matches!(memory.collections().create_collection("t", "c", &other), Err(MemoryError::Exists { .. })));
    assert!(!memory.collections().create_collection("t", "c", &settings(IndexPolicy::Auto)).expect("it is there").1);
    assert!(memory.collections().create_collection("u", "c", &other).expect("another tenant's").1);
    assert!(matches!(memory.recall("u", "x", &near(0, 1)), Err(MemoryError::NoCollection(_))));
    memory.collections().drop_collection("t", "test", "c").expect("a drop");
    assert!(matches!(memory.recall("t", "c", &near(0, 1)), Err(MemoryError::NoCollection(_))));
    assert_eq!(memory.collections().collection_names("u"), ["c"]);
}

#[test]
fn without_a_model_texts_say_how_to_get_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let text = NewRecord { text: "no vector".into(), ..NewRecord::default() };
    let error = memory.records().upsert("t", "c", vec![text]).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("membox models pull"), "{error}");
}

#[test]
fn a_record_that_is_written_over_and_over_is_in_every_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    memory.records().upsert("t", "c", (0..50).map(record).collect()).expect("a write");
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            for _ in 0..300 {
                memory.records().upsert("t", "c", vec![record(7)]).expect("a write");
            }
        });
        while !writes.is_finished() {
            assert_eq!(ids(&memory, &near(7, 1)), ["r7"]);
            assert_eq!(ids(&memory, &words("number7")), ["r7"]);
        }
    });
}

/// Vector files that this process has open.
#[test]
fn pages_and_neighbours_are_whole_whatever_is_overwritten_and_compacted_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let in_session = |i: usize| NewRecord { session: Some("s".into()), ..record(i) };
    memory.records().upsert("t", "c", (0..50).map(in_session).collect()).expect("a write");
    let page = |filter: Option<serde_json::Value>| {
        let (records, _) = memory.records().page("t", "c", Order::Written, None, 100, filter.as_ref()).expect("a page");
        records.into_iter().map(|r| r.id).collect::<Vec<_>>()
    };
    let all: Vec<String> = (0..50).map(|i| format!("r{i}")).collect();
    let even: Vec<String> = (0..50).step_by(2).map(|i| format!("r{i}")).collect();
    let context = Some(ContextWindow { before: 20, after: 20 });
    let mut compactions = 0;
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            for i in 0..600 {
                memory.records().upsert("t", "c", vec![in_session(i % 50), in_session((i + 7) % 50)]).expect("a write");
            }
        });
        while !writes.is_finished() {
            compactions += usize::from(memory.rebuild("t", "c").is_ok());
            assert_eq!(page(None), all);
            assert_eq!(page(Some(json!({"field": "metadata.even", "eq": true}))), even);
            let hit =
                memory.recall("t", "c", &RecallRequest { context, ..near(25, 1) }).expect("an answer").hits.remove(0);
            let ids = |around: Vec<membox_memory::Neighbour>| around.into_iter().map(|n| n.id).collect::<Vec<_>>();
            assert_eq!((ids(hit.before), ids(hit.after)), (all[5..25].to_vec(), all[26..46].to_vec()));
        }
    });
    assert!(compactions > 2, "{compactions} compactions");
}

#[test]
fn no_compaction_loses_records_that_are_being_published() {
    const WRITERS: usize = 4;
    const WRITES: usize = 1000;
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let write = &|writer: usize| {
        for i in 0..WRITES {
            // Some are written over and over, so that there are dead rows to leave out; one stays as it is.
            let again = (0..10).map(|j| WRITERS * WRITES + writer * 10 + j);
            let records = again.chain([writer * WRITES + i]).map(record).collect();
            memory.records().upsert("t", "c", records).expect("a write");
        }
    };
    let mut jobs = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            jobs.extend(memory.rebuild("t", "c"));
        }
    });
    let state = |id: &str| memory.jobs().view("t", id).map(|job| job.state.to_owned());
    wait_for("the last compaction", || jobs.iter().all(|job| state(&job.id).is_ok_and(|state| !is_under_way(&state))));
    let count = WRITERS * (WRITES + 10);
    let (records, _) = memory.records().page("t", "c", Order::Written, None, count, None).expect("a page");
    assert_eq!(records.len(), count, "after {} compactions", jobs.len());
    for i in (0..count).step_by(7) {
        assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")], "after {} compactions", jobs.len());
    }
    drop(memory);
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
}

fn open_vector_files(under: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").expect("a folder").flatten();
    entries
        .filter(|e| {
            std::fs::read_link(e.path()).is_ok_and(|to| to.starts_with(under) && to.extension() == Some("mbv".as_ref()))
        })
        .count()
}

#[test]
fn idle_collections_hold_no_file_and_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = MemoryConfig { open_collections: 8, ..MemoryConfig::new(folder.path()) };
    let memory = MemoryBox::open(&config, Models::default()).expect("a box");
    let name = |c: usize| format!("user-{c}");
    for c in 0..60 {
        memory.collections().create_collection("t", &name(c), &settings(IndexPolicy::Auto)).expect("a collection");
        memory.records().upsert("t", &name(c), (c..c + 5).map(record).collect()).expect("a write");
    }
    assert!(open_vector_files(folder.path()) < 40, "{} vector files are open", open_vector_files(folder.path()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for round in 0..120 {
                    let c = (round * 7 + thread * 13) % 60;
                    let hits = memory.recall("t", &name(c), &near(c + 2, 1)).expect("an answer").hits;
                    assert_eq!(hits[0].id, format!("r{}", c + 2));
                    if round % 10 == thread {
                        memory.records().upsert("t", &name(c), vec![record(c + 2)]).expect("a write");
                    }
                }
            });
        }
    });
    let views = memory.collections().describe_all("t").expect("a list");
    assert_eq!(views.len(), 60);
    for view in views {
        assert_eq!((view.records, view.settings.dimension), (5, Some(D)));
        let open =
            memory.collections().describe(&memory.collections().collection("t", &view.name).expect("a collection"));
        assert_eq!(
            (open.rows, open.vector_bytes),
            (view.rows, view.vector_bytes),
            "as it is described when it is open"
        );
    }
}

#[test]
fn expired_records_of_a_collection_that_is_not_open_are_removed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = MemoryConfig { open_collections: 1, ..MemoryConfig::new(folder.path()) };
    let memory = MemoryBox::open(&config, Models::default()).expect("a box");
    for name in ["a", "b", "c"] {
        memory.collections().create_collection("t", name, &settings(IndexPolicy::Auto)).expect("a collection");
        let soon = membox_memory::time_text(membox_memory::now() + 50);
        let mortal = NewRecord { expires_at: Some(soon), ..record(1) };
        memory.records().upsert("t", name, vec![mortal, record(2)]).expect("a write");
    }
    let stored = || {
        let store = membox_records::Reader::open(&folder.path().join("membox.db"), membox_records::Sealing::default())
            .expect("a database");
        (1..=3).map(|id| store.count(id).expect("a count")).collect::<Vec<_>>()
    };
    wait_for("the sweep", || stored() == [1, 1, 1]);
}

#[test]
fn the_first_filter_sees_what_is_written_while_it_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    for first in (0..6000).step_by(1000) {
        memory.records().upsert("t", "c", (first..first + 1000).map(record).collect()).expect("a write");
    }
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            for i in 6000..6200 {
                memory.records().upsert("t", "c", vec![record(i)]).expect("a write");
                memory.records().delete("t", "test", "c", vec![(format!("r{}", i - 6000), None)]).expect("a deletion");
            }
        });
        while !writes.is_finished() {
            let filter = Some(json!({"field": "metadata.even", "eq": true}));
            memory.recall("t", "c", &RecallRequest { filter, ..near(3, 10) }).expect("an answer");
        }
    });
    let filter = Some(json!({"field": "metadata.n", "gte": 0}));
    let found = memory.recall("t", "c", &RecallRequest { filter, ..near(3, 10_000) }).expect("an answer").hits;
    assert_eq!(found.len(), 6000);
}

/// Sessions, times to expire, words and filters are carried from file to file in memory; a restart reads all of
/// them anew.
#[test]
fn what_compactions_carry_over_is_what_a_restart_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let in_session = |i: usize, version: usize| NewRecord {
        session: Some(format!("s{}", i % 7)),
        expires_at: i.is_multiple_of(3).then(|| "2099-01-01T00:00:00Z".into()),
        text: format!("memory number{i} version{version}"),
        ..record(i)
    };
    let everything = |memory: &MemoryBox| -> Vec<String> {
        let context = Some(ContextWindow { before: 2, after: 2 });
        let filter = Some(json!({"field": "session", "in": ["s1", "s4"]}));
        let mut all = Vec::new();
        for request in
            [near(3, 40), RecallRequest { filter, ..near(5, 40) }, RecallRequest { k: 40, ..words("version3") }]
        {
            let hits = memory.recall("t", "c", &RecallRequest { context, ..request }).expect("an answer").hits;
            assert_eq!(hits.len(), 40);
            all.extend(hits.iter().map(|h| {
                let texts = |around: &[Neighbour]| around.iter().map(|n| n.text.clone()).collect::<Vec<_>>();
                format!("{} {} {:?} {:?} {:?}", h.id, h.score, h.text, texts(&h.before), texts(&h.after))
            }));
        }
        all
    };
    memory.records().upsert("t", "c", (0..700).map(|i| in_session(i, 0)).collect()).expect("a write");
    for version in 1..=3 {
        let job = memory.rebuild("t", "c").expect("a job");
        let mut i = version;
        while is_under_way(&memory.jobs().view("t", &job.id).expect("the job").state) || i < 400 {
            memory
                .records()
                .upsert("t", "c", vec![in_session(i % 700, version), in_session(700 + i, version)])
                .expect("a write");
            memory.records().delete("t", "test", "c", vec![(format!("r{}", 699 - i % 300), None)]).expect("a deletion");
            i += 2;
        }
        wait_for("the job's end", || memory.jobs().view("t", &job.id).expect("the job").state == "done");
        let filter = Some(json!({"field": "session", "eq": "s1"}));
        assert_eq!(ids(&memory, &RecallRequest { filter, ..near(5, 40) }).len(), 40, "version {version}");
    }
    let before = everything(&memory);
    drop(memory);
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
    assert_eq!(everything(&open(folder.path())), before);
}

/// A record whose vector is like no other's.
fn unlike(i: usize) -> NewRecord {
    let mut state = i as u64 + 1;
    let mut next = || {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    NewRecord { vector: Some((0..D).map(|_| next()).collect()), ..record(i) }
}

fn near_to(record: NewRecord) -> RecallRequest {
    RecallRequest { vector: record.vector, mode: Some(RecallMode::Vector), k: 1, ..RecallRequest::default() }
}

#[test]
fn a_compaction_runs_beside_writes_deletions_and_recalls_and_misses_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "c", &settings(IndexPolicy::hnsw())).expect("a collection");
    for _ in 0..2 {
        for first in (0..8000).step_by(1000) {
            memory.records().upsert("t", "c", (first..first + 1000).map(unlike).collect()).expect("a write");
        }
    }
    // The box may be compacting of its own accord already.
    let mut begun = None;
    wait_for("the compaction before", || {
        begun = memory.rebuild("t", "c").ok();
        begun.is_some()
    });
    let job = begun.expect("a job");
    let running = || is_under_way(&memory.jobs().view("t", &job.id).expect("the job").state);
    let (mut written, mut asked) = (0, 0);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut i = 0;
            while running() || i < 200 {
                memory.records().upsert("t", "c", vec![unlike(8000 + i), unlike(i)]).expect("a write");
                memory.records().delete("t", "test", "c", vec![(format!("r{}", 4000 + i), None)]).expect("a deletion");
                i += 1;
            }
            i
        });
        while !writes.is_finished() {
            let i = 2000 + asked * 31 % 2000;
            assert_eq!(ids(&memory, &near_to(unlike(i))), [format!("r{i}")], "while the files are switched");
            assert_eq!(ids(&memory, &words(&format!("number{i}"))), [format!("r{i}")]);
            asked += 1;
        }
        written = writes.join().expect("the writer");
    });
    assert!(asked > 0);
    assert_eq!(memory.jobs().view("t", &job.id).expect("the job").state, "done");
    let view = memory.collections().describe(&memory.collections().collection("t", "c").expect("the collection"));
    assert_eq!(view.records as usize, 8000);
    assert!(view.rows < 16_000 && view.index.covered_rows >= 8000 && view.index.text_covered_rows >= 8000, "{view:?}");
    let check = |memory: &MemoryBox| {
        for i in (0..written).step_by(7) {
            assert_eq!(ids(memory, &words(&format!("number{i}"))), [format!("r{i}")]);
            assert_eq!(ids(memory, &near_to(unlike(8000 + i))), [format!("r{}", 8000 + i)]);
            assert!(ids(memory, &words(&format!("number{}", 4000 + i))).is_empty(), "deleted while it was copied");
        }
    };
    check(&memory);
    drop(memory);
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
    let files = walk(folder.path()).into_iter().filter(|p| p.extension().is_some_and(|e| e == "mbv")).count();
    assert_eq!(files, 1, "the old vector file is removed");
    check(&open(folder.path()));
}

/// What the sweep asks of the writer was never answered when the writer had been told to stop in the same moment,
/// and the end of the box waited for it.
#[test]
fn a_box_that_is_dropped_while_it_sweeps_ends() {
    const SWEEP: Duration = Duration::from_secs(10);
    let (done, ended) = std::sync::mpsc::channel();
    for i in 0..96u64 {
        let done = done.clone();
        std::thread::spawn(move || {
            let folder = tempfile::tempdir().expect("a folder");
            let memory = open(folder.path());
            let opened = Instant::now();
            memory.collections().create_collection("t", "c", &settings(IndexPolicy::Auto)).expect("a collection");
            let mortal = NewRecord { expires_at: Some("2020-01-01T00:00:00Z".into()), ..record(1) };
            memory.records().upsert("t", "c", vec![mortal]).expect("a write");
            // Some end before it sweeps, some while it does, and some after.
            std::thread::sleep((SWEEP + Duration::from_micros(i * 100)).saturating_sub(opened.elapsed()));
            drop(memory);
            let _ = done.send(());
        });
    }
    for _ in 0..96 {
        ended.recv_timeout(Duration::from_secs(60)).expect("a box that ends");
    }
}
