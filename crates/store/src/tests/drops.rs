//! A collection of many records is dropped in steps, and a stop in between leaves none of it.

use super::sample::{numbered, settings};
use crate::{RecordReads, SealingConfig, Store, StoreConfig, WriteRecords};
use membox_api::IndexPolicy;
use membox_records::Store as Records;
use std::path::Path;

/// More than go in one commit.
const MANY: usize = 2500;

fn fill(store: &Store) -> i64 {
    let (collection, _) = store.create_collection("t", "c", settings(IndexPolicy::default())).expect("a collection");
    let records = (0..MANY).map(numbered).collect();
    store.write_records(WriteRecords::new(collection.clone(), records)).expect("a write");
    collection.id
}

fn is_gone(store: &Store, id: i64, folder: &Path) {
    assert_eq!(store.read().expect("reads").count(id).expect("a count"), 0);
    assert!(store.collection_names(None).is_empty());
    assert!(!folder.join(format!("collections/{id}")).exists());
    let (_, is_new) = store.create_collection("t", "c", settings(IndexPolicy::default())).expect("a collection");
    assert!(is_new, "its name is free");
}

#[test]
fn many_records_go_with_their_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&StoreConfig::new(folder.path())).expect("a store");
    let id = fill(&store);
    let collection = store.collection("t", "c").expect("a collection");
    assert!(store.drop_collection(&collection, false, None).expect("a drop"));
    is_gone(&store, id, folder.path());
}

#[test]
fn what_a_stop_has_left_of_a_drop_is_gone_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&StoreConfig::new(folder.path())).expect("a store");
    let id = fill(&store);
    drop(store);
    let sealing = SealingConfig::default().open(folder.path()).expect("no keys");
    let mut records = Records::open(&folder.path().join("membox.db"), sealing).expect("the records");
    let mut tx = records.begin().expect("a transaction");
    tx.mark_dropped(id).expect("a write");
    tx.drop_some_records(id, 1000).expect("some records");
    tx.commit().expect("a commit");
    drop(records);
    let store = Store::open(&StoreConfig::new(folder.path())).expect("a store");
    is_gone(&store, id, folder.path());
}
