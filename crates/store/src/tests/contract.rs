//! What any store of records promises, tried on the local one as a trait object.

use super::sample::{Sample, numbered};
use crate::collection::MAX_CHANGES;
use crate::{
    Change, Command, DeleteRecords, Durability, Freshness, RecordStore, Selection, StoreError, VersionId, WriteRecords,
};
use membox_api::IndexPolicy;
use std::collections::BTreeSet;
use std::time::Duration;

/// Ids of a collection's records, as its changes tell them.
#[derive(Default)]
struct Follower(BTreeSet<VersionId>);

impl Follower {
    fn follow(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Written { version, replaced } => {
                    if let Some(old) = replaced {
                        assert!(self.0.remove(&old), "{old:?} was there");
                    }
                    assert!(self.0.insert(version), "{version:?} is new");
                }
                Change::Deleted(version) => assert!(self.0.remove(&version), "{version:?} was there"),
            }
        }
    }

    fn ids(&self, store: &dyn RecordStore, collection: i64) -> Vec<String> {
        let reads = store.reads(Freshness::Any).expect("reads");
        let read = |version: &VersionId| reads.version(collection, *version).expect("a read").expect("the record");
        self.0.iter().map(|version| read(version).record.id).collect()
    }
}

fn write(sample: &Sample, numbers: impl Iterator<Item = usize>) {
    let records = numbers.map(numbered).collect();
    let command = Command::WriteRecords(WriteRecords::new(sample.collection.clone(), records));
    let store: &dyn RecordStore = &sample.store;
    store.commit(command, Durability::Majority).expect("a commit");
}

fn delete(sample: &Sample, id: &str) {
    let which = Selection::Ids(vec![(id.to_owned(), None)]);
    let delete = DeleteRecords { collection: sample.collection.clone(), which, bump_sessions: false, audit: None };
    let store: &dyn RecordStore = &sample.store;
    store.commit(Command::DeleteRecords(delete), Durability::Disk).expect("a commit");
}

#[test]
fn who_follows_the_changes_knows_what_is_there_in_the_order_of_the_commits() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, collection): (&dyn RecordStore, _) = (&sample.store, &sample.collection);
    let mut follower = Follower::default();
    let mut until = store.changes(collection, None).expect("a moment").until;
    write(&sample, 0..5);
    write(&sample, [3, 1].into_iter());
    for round in 0..3 {
        let changes = store.changes(collection, Some(until)).expect("changes");
        follower.follow(changes.changes);
        until = changes.until;
        match round {
            0 => assert_eq!(follower.ids(store, collection.id), ["0", "2", "4", "3", "1"]),
            1 => {
                assert_eq!(follower.ids(store, collection.id), ["0", "2", "3", "1", "9"]);
                // Rows have other numbers from here on, and versions do not.
                let guard = crate::JobGuard::take(collection).expect("no job runs");
                sample.store.compact(&guard, collection, &mut |_| true).expect("a compaction");
                delete(&sample, "2");
                continue;
            }
            _ => assert_eq!(follower.ids(store, collection.id), ["0", "3", "1", "9"]),
        }
        delete(&sample, "4");
        write(&sample, 9..10);
    }
}

#[test]
fn who_is_too_far_behind_or_asks_another_store_is_told() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, collection): (&dyn RecordStore, _) = (&sample.store, &sample.collection);
    let start = store.changes(collection, None).expect("a moment").until;
    write(&sample, 0..MAX_CHANGES);
    assert_eq!(store.changes(collection, Some(start)).expect("all of them").changes.len(), MAX_CHANGES);
    write(&sample, 0..1);
    let gone = store.changes(collection, Some(start));
    assert!(matches!(gone, Err(StoreError::ChangesGone(_))), "{gone:?}");
    let other = Sample::new(IndexPolicy::Flat);
    let foreign = RecordStore::changes(&other.store, &other.collection, Some(start));
    assert!(matches!(foreign, Err(StoreError::ChangesGone(_))), "{foreign:?}");
}

#[test]
fn a_lease_is_one_holders_at_a_time() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store: &dyn RecordStore = &sample.store;
    let lease = |holder: &str| store.lease("sweep", holder, Duration::from_secs(60)).expect("an answer");
    let first = lease("a").expect("it is free");
    assert!(lease("b").is_none());
    store.release(first).expect("it is given back");
    assert!(lease("b").is_some());
}
