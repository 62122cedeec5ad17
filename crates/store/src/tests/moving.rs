//! A collection that moves to another model: all of it, and what is written and deleted meanwhile.

use super::sample::{Sample, numbered};
use crate::{
    Collection, DeleteRecords, Fetched, JobGuard, Move, NewVector, Question, Selection, StoreError, TextWindows,
    Wanted, WriteRecords,
};
use membox_api::IndexPolicy;
use membox_index::Effort;
use std::sync::Arc;

/// The vector of a record by the other model, which has three numbers.
fn moved_vector(id: &str) -> Vec<f32> {
    let number: f32 = id.parse().expect("a number");
    vec![0.0, (number * 0.1).cos(), (number * 0.1).sin()]
}

/// Gives the next records their vectors, record 2 one more for a second window; how many there were.
fn put_page(moving: &mut Move, most: usize) -> usize {
    let page = moving.next_page(most).expect("a page");
    let new = |stored: crate::StoredRecord| {
        let vector = moved_vector(&stored.record.id);
        let windows = match stored.record.id.as_str() {
            "2" => TextWindows { places: vec![0..6, 6..12], vectors: vec![vec![1.0, 0.0, 0.0]] },
            _ => TextWindows::default(),
        };
        NewVector { stored, vector, windows, tokens: None }
    };
    let count = page.len();
    moving.put(page.into_iter().map(new).collect()).expect("vectors");
    count
}

/// The id of the record that is nearest to a vector.
fn nearest(sample: &Sample, collection: &Arc<Collection>, vector: Vec<f32>) -> String {
    let reads = sample.store.read().expect("reads");
    let question = Question { vector: Some(vector), ..Question::default() };
    let wanted = Wanted { nearest: 1, effort: Effort::default(), marked: None };
    let (snapshot, found) = reads.search(collection, None, &[&question], wanted).expect("an answer");
    match reads.fetch(&snapshot, found[0].nearest.records[0].0).expect("a record") {
        Fetched::Found(stored) => stored.record.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_and_deleted_meanwhile_moves_too() {
    let sample = Sample::new(IndexPolicy::default());
    sample.write(0..5);
    let old = &sample.collection;
    let guard = JobGuard::take(old).expect("no other job");
    let mut moving = sample.store.begin_move(&guard, old, "other", 3).expect("a move");
    assert_eq!((put_page(&mut moving, 3), put_page(&mut moving, 3), put_page(&mut moving, 3)), (3, 2, 0));
    // One is new, one is changed, and one is gone.
    sample.write(5..6);
    sample.write(1..2);
    let deletion = |id: &str| {
        let which = Selection::Ids(vec![(id.to_owned(), None)]);
        DeleteRecords { collection: old.clone(), which, bump_sessions: false, audit: None }
    };
    sample.store.delete_records(deletion("3")).expect("a deletion");
    assert_eq!(nearest(&sample, old, Sample::vector(4)), "4", "it answers by the vectors that it has");
    let mut moving = moving.finish().expect("an answer").expect("two have no new vectors");
    assert_eq!(put_page(&mut moving, 9), 2);
    assert!(moving.finish().expect("an answer").is_none());
    drop(guard);
    let refused = sample.store.write_records(WriteRecords::new(old.clone(), vec![numbered(7)]));
    assert!(matches!(refused, Err(StoreError::Moved(_))), "its vector is of the old model: {refused:?}");
    assert!(matches!(old.check_there(), Err(StoreError::Moved(_))));
    let new = sample.store.collection("t", "c").expect("the collection");
    assert_eq!((new.settings().model.as_deref(), new.dimension(), sample.count()), (Some("other"), 3, 5));
    for id in ["0", "1", "2", "4", "5"] {
        assert_eq!(nearest(&sample, &new, moved_vector(id)), id);
    }
    assert_eq!(nearest(&sample, &new, vec![1.0, 0.0, 0.0]), "2", "by its second window");
    assert_eq!(new.vectors(), 6);
}

#[test]
fn a_move_that_is_given_up_leaves_all_as_it_was() {
    let sample = Sample::new(IndexPolicy::default());
    sample.write(0..4);
    let guard = JobGuard::take(&sample.collection).expect("no other job");
    let mut moving = sample.store.begin_move(&guard, &sample.collection, "other", 3).expect("a move");
    assert_eq!(put_page(&mut moving, 2), 2);
    drop(moving);
    let folder = sample.collection.folder();
    assert!(!folder.compacting().exists(), "nothing of it is left");
    assert_eq!(nearest(&sample, &sample.collection, Sample::vector(3)), "3");
    assert_eq!(sample.collection.settings().model, None);
}
