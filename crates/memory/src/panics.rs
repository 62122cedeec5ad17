//! What a panic on a thread of the box takes with it, and who hears of it.

use crate::MemoryError;
use crate::sample::Sample;
use crate::work::{Work, ask};
use membox_api::{IndexPolicy, NewRecord, RecallMode, RecallRequest};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn note(id: &str) -> NewRecord {
    let (id, vector) = (Some(id.to_owned()), Some(Sample::vector(1)));
    NewRecord { id, text: "a note".to_owned(), vector, ..NewRecord::default() }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_panic_within_a_request_of_the_writer_undoes_that_request_alone() {
    let sample = Sample::new(IndexPolicy::Flat);
    let memory = &sample.memory;
    let panics = || {
        memory.transact(|group| -> Result<(), MemoryError> {
            group.audit(&crate::users::event("t", "somebody", "half done", ""))?;
            panic!("as it should")
        })
    };
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for i in 0..25 {
                    memory.upsert("t", "c", vec![note(&format!("{writer}-{i}"))]).expect("a write");
                }
            });
        }
        for _ in 0..25 {
            assert!(matches!(panics(), Err(MemoryError::Panicked(_))));
        }
    });
    assert_eq!(memory.describe(&sample.collection).records, 100);
    assert!(memory.audit_log("t", 0, 1000).expect("the log").iter().all(|entry| entry.action != "half done"));
    assert_eq!(memory.read_only(), None, "the writer is sound");
}

#[test]
fn a_panic_of_the_writer_itself_is_answered_and_nothing_more_is_written() {
    let sample = Sample::new(IndexPolicy::Flat);
    let memory = &sample.memory;
    sample.write(0..3);
    // What answers is called outside of any request.
    let begun = Instant::now();
    let answer: Result<bool, MemoryError> = ask(memory.writer(), |reply| Work::Checkpoint {
        reply: Box::new(move |emptied: Result<bool, MemoryError>| {
            let _owed = reply;
            panic!("as it should: {emptied:?}")
        }),
    });
    assert!(matches!(answer, Err(MemoryError::Panicked(_))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "whoever asked did not wait for nothing");
    wait_until("the box says that it is read-only", || memory.read_only().is_some());
    assert!(memory.read_only().expect("a reason").contains("as it should"));
    assert!(matches!(memory.check_ready(), Err(MemoryError::ReadOnly(_))));
    let refused = memory.upsert("t", "c", vec![note("late")]);
    assert!(matches!(refused, Err(MemoryError::ReadOnly(_))), "{refused:?}");
    let question = RecallRequest { query: Some("number1".into()), mode: RecallMode::Text, ..Default::default() };
    assert_eq!(memory.recall("t", "c", &question).expect("reads go on").hits.len(), 1);
}

#[test]
fn background_work_that_panics_is_tried_again_and_others_go_on() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (memory, collection) = (&sample.memory, &sample.collection);
    let is_idle = || !collection.maintained.load(Ordering::Acquire);
    wait_until("what the creation asked for is done", is_idle);
    collection.breaks.store(1, Ordering::Release);
    sample.write(0..1);
    wait_until("the work broke off", || collection.breaks.load(Ordering::Acquire) == 0 && is_idle());
    // Its thread goes on: another collection's work is done, and a sweep comes by.
    let settings = crate::CollectionSettings { dimension: Some(2), ..Default::default() };
    memory.create_collection("t", "other", &settings).expect("a collection");
    let other = memory.collection("t", "other").expect("a collection");
    other.breaks.store(1, Ordering::Release);
    memory.upsert("t", "other", vec![note("1")]).expect("a write");
    wait_until("the other's work was tried", || other.breaks.load(Ordering::Acquire) == 0);
    // After the pause it is tried again, without being asked for.
    collection.breaks.store(1, Ordering::Release);
    wait_until("it is tried again", || collection.breaks.load(Ordering::Acquire) == 0);
    assert_eq!(memory.shared().broken(), None);
}

#[test]
fn a_job_that_panics_has_failed_and_holds_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = crate::MemoryConfig::new(folder.path());
    let memory = std::sync::Arc::new(crate::MemoryBox::open(&config, crate::Models::default()).expect("a box"));
    let settings = crate::CollectionSettings { dimension: Some(2), ..Default::default() };
    memory.create_collection("t", "c", &settings).expect("a collection");
    let collection = memory.collection("t", "c").expect("a collection");
    let guard = crate::collection::JobGuard::take(&collection).expect("no other job");
    let job = memory.jobs().begin("rebuild", "t", Some("c"));
    let job = memory.run_job(job, move |_, _| {
        let _guard = guard;
        panic!("as it should")
    });
    let id = job.expect("a job").id;
    let state = || memory.jobs().view("t", &id).expect("the job");
    wait_until("the job ends", || state().state != "running");
    assert_eq!(state().state, "failed");
    assert!(state().error.expect("a reason").contains("as it should"));
    let next = memory.rebuild("t", "c").expect("another job can begin").id;
    wait_until("it ends", || memory.jobs().view("t", &next).expect("the job").state == "done");
}
