//! What a panic on a thread of the store takes with it, and who hears of it.

use super::sample::{Sample, numbered, settings};
use crate::command::Command;
use crate::writer::Work;
use crate::{AuditEvent, RecordReads, StoreError, WriteRecords, now};
use membox_api::IndexPolicy;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn half_done() -> AuditEvent {
    let [tenant, actor, action, subject] = ["t", "somebody", "half done", ""].map(str::to_owned);
    AuditEvent { at: now(), tenant, actor, action, subject, count: 0 }
}

#[test]
fn a_panic_within_a_request_of_the_writer_undoes_that_request_alone() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let collection = sample.collection.clone();
            scope.spawn(move || {
                for i in 0..25 {
                    let records = vec![numbered(writer * 25 + i)];
                    store.write_records(WriteRecords::new(collection.clone(), records)).expect("a write");
                }
            });
        }
        for _ in 0..25 {
            let panicked = store.commit(Command::Panic(half_done()));
            assert!(matches!(panicked, Err(StoreError::Panicked(_))), "{panicked:?}");
        }
    });
    assert_eq!(sample.count(), 100);
    let log = store.read().expect("reads").audit("t", 0, 1000).expect("the log");
    assert!(log.iter().all(|entry| entry.event.action != "half done"));
    assert_eq!(store.read_only(), None, "the writer is sound");
}

#[test]
fn a_panic_of_the_writer_itself_is_answered_and_nothing_more_is_written() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    sample.write(0..3);
    // What answers is called outside of any request.
    let begun = Instant::now();
    let answer: Result<bool, StoreError> = store.writer().ask(|reply| Work::EmptyLog {
        reply: Box::new(move |emptied: Result<bool, StoreError>| {
            let _owed = reply;
            panic!("as it should: {emptied:?}")
        }),
    });
    assert!(matches!(answer, Err(StoreError::Panicked(_))), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "whoever asked did not wait for nothing");
    wait_until("the store says that it is read-only", || store.read_only().is_some());
    assert!(store.read_only().expect("a reason").contains("as it should"));
    assert!(matches!(store.check_ready(), Err(StoreError::ReadOnly(_))));
    let refused = store.write_records(WriteRecords::new(sample.collection.clone(), vec![numbered(7)]));
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    assert_eq!(sample.found_by_words("number1").len(), 1, "reads go on");
}

#[test]
fn background_work_that_panics_is_tried_again_and_others_go_on() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, collection) = (&sample.store, &sample.collection);
    let is_idle = || !collection.is_maintained.load(Ordering::Acquire);
    wait_until("what the creation asked for is done", is_idle);
    collection.breaks.store(1, Ordering::Release);
    sample.write(0..1);
    wait_until("the work broke off", || collection.breaks.load(Ordering::Acquire) == 0 && is_idle());
    // Its thread goes on: another collection's work is done, and a sweep comes by.
    let (other, _) = store.create_collection("t", "other", settings(IndexPolicy::Flat)).expect("a collection");
    other.breaks.store(1, Ordering::Release);
    store.write_records(WriteRecords::new(other.clone(), vec![numbered(1)])).expect("a write");
    wait_until("the other's work was tried", || other.breaks.load(Ordering::Acquire) == 0);
    // After the pause it is tried again, without being asked for.
    collection.breaks.store(1, Ordering::Release);
    wait_until("it is tried again", || collection.breaks.load(Ordering::Acquire) == 0);
    assert_eq!(store.registry().broken(), None);
}
