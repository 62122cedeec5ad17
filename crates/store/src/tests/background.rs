//! Compaction and background work, beside writes and reads.

use super::sample::{Sample, numbered, settings};
use crate::maintenance::Maintenance;
use crate::{Filter, JobGuard, Store, StoreConfig, WriteRecords};
use crossbeam_channel::bounded;
use membox_api::IndexPolicy;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};

/// As words of the text are: in memory, and in the index on disk.
#[test]
fn records_are_found_by_their_tags() {
    let sample = Sample::new(IndexPolicy::Flat);
    let mut tagged = [numbered(1), numbered(2), numbered(3)];
    for (version, tags) in tagged.iter_mut().zip([json!(["health", "Sleep"]), json!("gardening"), json!({"health": 1})])
    {
        version.record.metadata.insert("tags".to_owned(), tags);
    }
    sample.store.write_records(WriteRecords::new(sample.collection.clone(), tagged.into())).expect("a write");
    for _ in 0..2 {
        assert_eq!(sample.found_by_words("What of my health?"), ["1"]);
        assert_eq!(sample.found_by_words("how do I sleep in the garden"), ["1", "2"]);
        sample.sweep();
    }
}

#[test]
fn texts_that_are_written_during_a_compaction_neither_wait_in_memory_for_its_end_nor_are_lost_by_it() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, collection) = (&sample.store, &sample.collection);
    let job = JobGuard::take(collection).expect("no other job");
    sample.write(0..9_900);
    let (mut steps, mut most_in_tail) = (0, 0);
    let compacted = store.compact(&job, collection, &mut |_| {
        steps += 1;
        match steps {
            // With these there are enough to be handed on, most of them copied already.
            1 => sample.write(9_900..10_400),
            _ => most_in_tail = most_in_tail.max(collection.state().texts.tail().len()),
        }
        true
    });
    compacted.expect("a compaction");
    assert!(most_in_tail < 10_000, "{most_in_tail} texts waited");
    let covered = collection.state().texts.disk().map(|disk| disk.rows());
    assert_eq!((collection.state().texts.tail().len(), covered), (0, Some(10_400)));
    for number in [0, 9_899, 9_900, 10_399] {
        assert_eq!(sample.found_by_words(&format!("number{number}")), [number.to_string()]);
    }
}

#[test]
fn a_filter_allows_the_same_records_at_every_moment_of_a_compaction() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, collection) = (&sample.store, &sample.collection);
    let job = JobGuard::take(collection).expect("no other job");
    sample.write(0..10_000);
    // The rows of half of them are dead.
    sample.write(0..5_000);
    let filter = Filter::parse(&json!({"field": "id", "in": ["17", "4999", "5000"]}), "/filter").expect("a filter");
    let allowed = || {
        let snapshot = store.read().expect("reads").snapshot(collection, Some(&filter)).expect("a snapshot");
        let rows = snapshot.allowed.rows().iter();
        let mut vectors: Vec<_> = rows.map(|row| snapshot.view.vector(row)).collect();
        vectors.sort_by(|a, b| a[0].total_cmp(&b[0]));
        vectors
    };
    let before = allowed();
    assert_eq!(before.len(), 3);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(allowed(), before);
            }
        });
        let compacted = store.compact(&job, collection, &mut |_| true);
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("the same records");
        compacted.expect("a compaction");
    });
    assert_eq!(collection.state().view.rows(), 10_000);
}

#[test]
fn a_filter_is_prepared_by_whoever_takes_a_snapshot_with_it() {
    let sample = Sample::new(IndexPolicy::Flat);
    sample.write(0..10);
    let filter = Filter::parse(&json!({"field": "id", "in": ["3", "4"]}), "/filter").expect("a filter");
    let snapshot = sample.store.read().expect("reads").snapshot(&sample.collection, Some(&filter));
    assert_eq!(snapshot.expect("a snapshot").len(), 2);
}

#[test]
fn collections_that_wait_for_background_work_are_closed_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig { open_collections: 2, ..StoreConfig::new(folder.path()) };
    let store = Store::open(&config).expect("a store");
    let names: Vec<String> = (0..10).map(|c| c.to_string()).collect();
    for name in &names {
        store.create_collection("t", name, settings(IndexPolicy::Auto)).expect("a collection");
    }
    // Background work on the first waits for this, and the others wait behind it.
    let first = store.collection("t", "0").expect("a collection");
    let state = first.state_mut();
    store.maintain(&first);
    names.iter().for_each(|name| drop(store.collection("t", name).expect("a collection")));
    let open = store.open_collections().len();
    drop(state);
    assert!(open <= 3, "{open} collections are open");
}

#[test]
fn texts_do_not_wait_in_memory_for_an_index() {
    let sample = Sample::new(IndexPolicy::Hnsw { m: 8, ef_construction: 16, ef_search: 16 });
    let (store, collection) = (&sample.store, &sample.collection);
    // The store's own thread leaves it alone.
    let _derived_files = collection.derived_files.lock().expect("a lock");
    sample.write(0..11_000);
    assert!(collection.state().texts.tail().len() > 10_000);
    let (_keep_on, stop) = bounded(0);
    let (registry, writer) = (store.registry_arc(), store.writer().clone());
    let maintenance = Maintenance { registry, writer, stop, threads: 1 };
    maintenance.keep_index(collection).expect("an index");
    let state = collection.state();
    assert!(state.index.is_some());
    assert_eq!((state.texts.tail().len(), state.texts.disk().map(|disk| disk.rows())), (0, Some(11_000)));
}

#[test]
fn large_collections_are_asked_by_meaning_and_by_words_at_the_same_time() {
    use crate::{Question, Wanted};
    let sample = Sample::new(IndexPolicy::Flat);
    sample.write(0..crate::search::ROWS_FOR_TWO_THREADS as usize);
    let (reads, collection) = (sample.store.read().expect("reads"), &sample.collection);
    let terms = collection.query_terms("number150077");
    let question = Question { vector: Some(Sample::vector(77)), terms, tokens: None };
    let wanted = Wanted { nearest: 200, effort: Default::default(), marked: None };
    let (snapshot, found) = reads.search(collection, None, &[&question], wanted).expect("an answer");
    let words = found[0].words.best(3);
    assert_eq!(words.len(), 1);
    assert_eq!(snapshot.vector(words[0].0).len(), 2);
    assert_eq!(words[0].0, crate::RecordRef(150_077));
    assert!(found[0].nearest.records.iter().all(|(_, score)| *score > 0.99));
}
