//! Jobs are done once they are promised: over a stop of the box, in turn, and beside writes.

use membox_memory::{
    CollectionSettings, JobView, JobsQuery, MemoryBox, MemoryConfig, MemoryError, Models, NewRecord, RecordPatch,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A box as a start leaves it.
fn start(folder: &Path) -> Arc<MemoryBox> {
    let memory = Arc::new(MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box"));
    memory.resume().expect("jobs go on");
    memory
}

/// Stops a box as a signal does.
fn stop(memory: Arc<MemoryBox>) {
    memory.stop_jobs();
    assert!(memory.wait_for_jobs(PATIENCE));
    assert_eq!(Arc::strong_count(&memory), 1, "no job holds the box");
}

fn fill(memory: &MemoryBox, collection: &str, user: &str, count: usize) {
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    memory.collections().create_collection("t", collection, &settings).expect("a collection");
    let record = |i: usize| note(user, &format!("{user}{i}"), &format!("zyxgarnet {user} {i}"));
    for first in (0..count).step_by(1000) {
        let records = (first..count.min(first + 1000)).map(record).collect();
        memory.records().upsert("t", collection, records).expect("a write");
    }
}

fn note(user: &str, id: &str, text: &str) -> NewRecord {
    let (id, user, vector) = (Some(id.to_owned()), Some(user.to_owned()), Some(vec![1.0, 0.0]));
    NewRecord { id, user, text: text.to_owned(), vector, ..NewRecord::default() }
}

fn ended(memory: &MemoryBox, id: &str) -> JobView {
    let begun = Instant::now();
    loop {
        let job = memory.jobs().view("t", id).expect("the job");
        if !["queued", "running"].contains(&job.state.as_str()) {
            return job;
        }
        assert!(begun.elapsed() < PATIENCE, "{job:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn count(memory: &MemoryBox, collection: &str) -> u64 {
    let all = memory.collections().describe_all("t").expect("collections");
    all.iter().find(|view| view.name == collection).map_or(0, |view| view.records)
}

fn query(state: Option<membox_memory::JobState>) -> JobsQuery {
    JobsQuery { state, kind: None, limit: None, cursor: None }
}

#[test]
fn what_is_promised_before_a_stop_is_done_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(folder.path());
    fill(&memory, "shared", "lena", 30);
    fill(&memory, "shared", "otto", 20);
    fill(&memory, "other", "otto", 20);
    // From here on no job begins.
    memory.stop_jobs();
    let erasure = memory.erase_user("t", "test", "lena").expect("a promise");
    let rebuild = memory.rebuild("t", "other").expect("a promise");
    let cancelled = memory.rebuild("t", "shared").expect("a promise");
    assert_eq!(memory.jobs().cancel("t", &cancelled.id).expect("it is cancelled").state, "cancelled");
    assert_eq!((erasure.state.as_str(), count(&memory, "shared")), ("queued", 50));
    stop(memory);

    let memory = start(folder.path());
    let done = ended(&memory, &erasure.id);
    let receipt = done.result.expect("a receipt");
    assert_eq!((done.state.as_str(), &receipt["records"]), ("done", &30.into()));
    assert_eq!(count(&memory, "shared"), 20);
    assert_eq!(ended(&memory, &rebuild.id).state, "done");
    assert_eq!(ended(&memory, &cancelled.id).state, "cancelled", "it stays so");
    stop(memory);

    // What they came to is there after a stop too, newest first.
    let memory = start(folder.path());
    let (jobs, next) = memory.jobs().list("t", &query(None), None, 2).expect("a page");
    let (rest, end) = memory.jobs().list("t", &query(None), next, 2).expect("a page");
    let ids: Vec<&str> = jobs.iter().chain(&rest).map(|job| job.id.as_str()).collect();
    assert_eq!((ids, end), (vec![cancelled.id.as_str(), &rebuild.id, &erasure.id], None));
    assert_eq!(rest[0].result.as_ref().expect("a receipt")["records"], 30);
    let list = |state| memory.jobs().list("t", &query(Some(state)), None, 9).expect("a page").0.len();
    assert_eq!((list(membox_memory::JobState::Done), list(membox_memory::JobState::Queued)), (2, 0));
    assert!(memory.jobs().list("another", &query(None), None, 9).expect("a page").0.is_empty());
}

#[test]
fn an_erasure_that_is_stopped_in_the_middle_goes_on_and_its_receipt_counts_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(folder.path());
    fill(&memory, "a", "lena", 12_000);
    fill(&memory, "b", "lena", 4_000);
    let id = memory.erase_user("t", "test", "lena").expect("a job").id;
    let mut starts = 1;
    let mut box_now = memory;
    while !["done", "failed"].contains(&box_now.jobs().view("t", &id).expect("the job").state.as_str()) {
        std::thread::sleep(Duration::from_millis(5 * starts));
        stop(box_now);
        starts += 1;
        box_now = start(folder.path());
    }
    let job = ended(&box_now, &id);
    let receipt = job.result.expect("a receipt");
    assert_eq!((job.state.as_str(), &receipt["records"]), ("done", &16_000.into()), "{receipt}, {starts} starts");
    assert_eq!(receipt["rewritten"], serde_json::json!(["a", "b"]), "also those that were gone through before a stop");
    assert!(!receipt.to_string().contains("lena"), "{receipt}");
    assert_eq!((count(&box_now, "a"), count(&box_now, "b")), (0, 0));
    assert!(job.user.is_none() && job.collection.is_none());
}

#[test]
fn what_is_written_to_a_user_during_the_erasure_is_refused_or_survives_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(folder.path());
    fill(&memory, "c", "lena", 3_000);
    fill(&memory, "c", "otto", 10);
    let mut refused = 0;
    let write = |id: String| memory.records().upsert("t", "c", vec![note("lena", &id, "written during it")]);
    let id = memory.erase_user("t", "test", "lena").expect("a job").id;
    let mut kept = Vec::new();
    for number in 0.. {
        let is_over = memory.jobs().view("t", &id).expect("the job").state == "done";
        let id = format!("new{number}");
        match write(id.clone()) {
            Ok(_) => kept.push(id),
            Err(MemoryError::Erasing(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        let patch = RecordPatch { importance: Some(Some(0.5)), ..RecordPatch::default() };
        memory.records().patch("t", "c", "otto1", &patch, None).expect("another user's is written as always");
        if is_over {
            break;
        }
    }
    assert!(refused > 0, "the first comes after the promise");
    assert!(!kept.is_empty(), "the last comes after the end");
    for id in &kept {
        assert_eq!(memory.records().record("t", "c", id).expect("it has survived").text, "written during it");
    }
    assert_eq!(count(&memory, "c"), kept.len() as u64 + 10);
}

#[test]
fn a_tenant_that_is_erased_takes_nothing_until_it_is_done_and_ends_its_other_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(folder.path());
    fill(&memory, "a", "lena", 10);
    fill(&memory, "b", "lena", 10);
    memory.stop_jobs();
    let rebuild = memory.rebuild("t", "a").expect("a promise");
    let erasure = memory.erase_tenant("t", "test").expect("a promise");
    assert_eq!(memory.jobs().view("t", &rebuild.id).expect("the job").state, "cancelled");
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    let made = memory.collections().create_collection("t", "during", &settings).map(drop);
    assert!(matches!(made, Err(MemoryError::Erasing(_))), "{made:?}");
    let job = memory.rebuild("t", "b").map(drop);
    assert!(matches!(job, Err(MemoryError::Erasing(_))), "{job:?}");
    assert!(matches!(memory.erase_tenant("t", "test"), Err(MemoryError::TenantBusy(_))));
    memory.collections().create_collection("u", "theirs", &settings).expect("another tenant's");
    stop(memory);

    let memory = start(folder.path());
    let receipt = ended(&memory, &erasure.id).result.expect("a receipt");
    assert_eq!((&receipt["collections"], &receipt["records"]), (&2.into(), &20.into()));
    assert!(memory.jobs().view("t", &rebuild.id).is_err(), "it went with the tenant");
    memory.collections().create_collection("t", "anew", &settings).expect("the tenant may begin anew");
    stop(memory);
    assert_eq!(start(folder.path()).collections().collection_names("t"), ["anew"], "it is not erased again");
}

#[test]
fn an_erasure_takes_results_that_may_quote_the_user_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = start(folder.path());
    fill(&memory, "c", "lena", 3);
    let request = membox_memory::ConsolidateRequest { threshold: Some(0.5), ..Default::default() };
    let report = ended(&memory, &memory.consolidate("t", "c", request).expect("a job").id);
    assert!(report.result.is_some(), "{report:?}");
    let rebuild = memory.rebuild("t", "c").expect("a job").id;
    ended(&memory, &rebuild);
    ended(&memory, &memory.erase_user("t", "test", "lena").expect("a job").id);
    assert!(matches!(memory.jobs().view("t", &report.id), Err(MemoryError::NoJob(_))));
    assert_eq!(memory.jobs().view("t", &rebuild).expect("it says nothing of anybody").state, "done");
}
