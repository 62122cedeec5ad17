//! Limits of a tenant: nothing passes one, whoever is below one notices nothing, and other tenants are not meant.

use membox_api::NewCheckpoint;
use membox_memory::{
    CollectionSettings, MemoryBox, MemoryConfig, MemoryError, Models, NewRecord, Policies, Policy, RecallMode,
    RecallRequest, SessionSettings, TenantLimits,
};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Limited {
    memory: Arc<MemoryBox>,
    folder: TempDir,
}

/// A box whose tenant `t` has limits.
fn limited(limits: TenantLimits) -> Limited {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(&folder, limits);
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    for tenant in ["t", "other"] {
        memory.collections().create_collection(tenant, "c", &settings).expect("a collection");
    }
    Limited { memory, folder }
}

fn open(folder: &TempDir, limits: TenantLimits) -> Arc<MemoryBox> {
    let policy = Policy { limits, ..Policy::default() };
    let policies = Policies { tenants: [("t".to_owned(), policy)].into(), ..Policies::default() };
    let config = MemoryConfig { policies, ..MemoryConfig::new(folder.path()) };
    Arc::new(MemoryBox::open(&config, Models::default()).expect("a box"))
}

fn notes(from: usize, until: usize) -> Vec<NewRecord> {
    let note = |n| NewRecord {
        id: Some(format!("n{n}")),
        text: "a note".to_owned(),
        vector: Some(vec![1.0, 0.0]),
        ..NewRecord::default()
    };
    (from..until).map(note).collect()
}

/// The limit that an error names.
fn limit_of(error: MemoryError) -> &'static str {
    match error {
        MemoryError::LimitReached { limit, retry_after_s, .. } if retry_after_s > 0 => limit,
        other => panic!("{other}"),
    }
}

impl Limited {
    fn write(&self, tenant: &str, from: usize, until: usize) -> Result<(), MemoryError> {
        self.memory.records().upsert(tenant, "c", notes(from, until)).map(drop)
    }

    /// Writes where there is room, which is counted anew once in a while.
    fn write_in_time(&self, tenant: &str, from: usize, until: usize) {
        let begun = Instant::now();
        while let Err(error) = self.write(tenant, from, until) {
            assert_eq!(limit_of(error), "max_records");
            assert!(begun.elapsed() < Duration::from_secs(60), "there is room");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stored(&self, tenant: &str) -> u64 {
        self.memory.collections().describe_all(tenant).expect("collections").iter().map(|c| c.records).sum()
    }
}

#[test]
fn as_many_records_are_kept_as_there_may_be_and_deleting_makes_room() {
    let limits = TenantLimits { max_records: Some(10), ..TenantLimits::default() };
    let sample = limited(limits.clone());
    sample.write("t", 0, 8).expect("8 of 10");
    // What is replaced is no more than before, though it is counted ahead: there is room for two.
    sample.write("t", 0, 2).expect("replaced");
    sample.write_in_time("t", 8, 10);
    assert_eq!(limit_of(sample.write("t", 10, 11).expect_err("over the limit")), "max_records");
    assert_eq!(sample.stored("t"), 10);
    sample.write("other", 0, 50).expect("no limit");

    // A new start knows what there is.
    let Limited { memory, folder } = sample;
    drop(memory);
    let sample = Limited { memory: open(&folder, limits), folder };
    assert_eq!(limit_of(sample.write("t", 10, 11).expect_err("over the limit")), "max_records");
    sample.memory.records().delete("t", "x", "c", vec![("n0".into(), None), ("n1".into(), None)]).expect("deleted");
    sample.write_in_time("t", 10, 12);
    assert_eq!(sample.stored("t"), 10);
}

#[test]
fn collections_and_sessions_are_counted() {
    let limits = TenantLimits { max_collections: Some(2), max_sessions: Some(1), ..TenantLimits::default() };
    let Limited { memory, folder: _folder } = limited(limits);
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    let create = |tenant: &str, name: &str| memory.collections().create_collection(tenant, name, &settings).map(drop);
    create("t", "second").expect("2 of 2");
    create("t", "second").expect("it is there already");
    assert_eq!(limit_of(create("t", "third").expect_err("over the limit")), "max_collections");
    create("other", "second").and_then(|()| create("other", "third")).expect("no limit");

    let put = |tenant: &str, id: &str| {
        let settings = SessionSettings { collection: Some("c".to_owned()), ..SessionSettings::default() };
        memory.sessions().put_session(tenant, id, settings, None).map(drop)
    };
    put("t", "one").expect("1 of 1");
    put("t", "one").expect("it is there already");
    assert_eq!(limit_of(put("t", "two").expect_err("over the limit")), "max_sessions");
    put("other", "one").and_then(|()| put("other", "two")).expect("no limit");
}

#[test]
fn texts_states_and_vectors_are_bytes() {
    let limits = TenantLimits { max_stored_bytes: Some(4 << 20), ..TenantLimits::default() };
    let sample = limited(limits);
    let long = |n: usize| NewRecord {
        text: "x".repeat(100_000),
        id: Some(format!("n{n}")),
        vector: Some(vec![1.0, 0.0]),
        ..NewRecord::default()
    };
    let write = |n| sample.memory.records().upsert("t", "c", vec![long(n)]).map(drop);
    let written = (0..100).take_while(|&n| write(n).is_ok()).count();
    assert!((30..42).contains(&written), "{written}: 4 MiB with the files of the collection");
    let state = NewCheckpoint {
        state: json!("y".repeat(100_000)),
        ..serde_json::from_value(json!({"state": 0})).expect("one")
    };
    let put = |tenant: &str| sample.memory.sessions().put_checkpoint(tenant, "thread", "", "id", state.clone());
    assert_eq!(limit_of(put("t").expect_err("over the limit")), "max_stored_bytes");
    let push = sample.memory.sessions().push("t", "s", vec![json!("z".repeat(100_000))]);
    assert_eq!(limit_of(push.expect_err("over the limit")), "max_stored_bytes");
    put("other").expect("no limit");
}

#[test]
fn what_a_request_asks_is_bounded_and_the_error_names_field_and_limit() {
    let limits = TenantLimits { max_top_k: Some(5), max_filter_conditions: Some(2), ..TenantLimits::default() };
    let sample = limited(limits);
    sample.write("t", 0, 3).expect("records");
    sample.write("other", 0, 3).expect("records");
    let recall = |tenant: &str, k: usize, filter: serde_json::Value| {
        let request = RecallRequest {
            vector: Some(vec![1.0, 0.0]),
            mode: Some(RecallMode::Vector),
            k,
            filter: Some(filter),
            ..RecallRequest::default()
        };
        sample.memory.recall(tenant, "c", &request).map(|answer| answer.hits.len()).map_err(|error| error.to_string())
    };
    let one = json!({"field": "id", "eq": "n1"});
    let two = json!({"and": [one, one]});
    assert_eq!(recall("t", 5, one.clone()), Ok(1));
    let refused = recall("t", 6, one.clone()).expect_err("too many");
    assert!(refused.contains("/k") && refused.contains("max_top_k is 5"), "{refused}");
    let refused = recall("t", 5, two.clone()).expect_err("too many");
    assert!(refused.contains("/filter") && refused.contains("max_filter_conditions is 2"), "{refused}");
    assert_eq!(recall("other", 6, two.clone()), Ok(1));
    let deleted = sample.memory.records().delete_by_filter("t", "x", "c", &two);
    assert!(deleted.is_err_and(|error| error.to_string().contains("max_filter_conditions")));
    assert_eq!(sample.stored("t"), 3);
}
