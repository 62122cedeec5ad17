//! Checkpoints and what tasks have written to them, in whatever order they come: nothing of either is lost, and the
//! latest is the latest.

use membox_records::{
    Checkpoint, CheckpointBody, CheckpointOrder, CheckpointPlace, CheckpointQuery, Reader, Sealing, Store,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PLACE: CheckpointPlace = CheckpointPlace { tenant: "t", thread: "th", namespace: "" };

/// Ids as LangGraph makes them, which carry their time, and others. One looks like the former and is none.
const IDS: [&str; 6] = [
    "1f0a2b3c-0000-6aaa-8000-000000000001",
    "1f0a2b3c-0000-6aaa-bfff-000000000002",
    "019a2b3c-0000-7aaa-8000-000000000003",
    "9",
    "10",
    "1F0A2B3C-0000-6AAA-8000-000000000001",
];

fn body(state: i64, now: i64) -> CheckpointBody {
    let (parent, metadata, writes) = (None, Map::new(), BTreeMap::new());
    CheckpointBody { parent, state: json!(state), metadata, writes, created_at: now }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    (folder, store)
}

fn put(store: &mut Store, id: &str, expires_at: Option<i64>, body: CheckpointBody) -> CheckpointBody {
    let mut transaction = store.begin().expect("a transaction");
    let put = transaction.put_checkpoint(PLACE, id, expires_at, body).expect("a write");
    transaction.commit().expect("a commit");
    put
}

fn put_writes(store: &mut Store, id: &str, task: &str, writes: Value, now: i64) {
    let mut transaction = store.begin().expect("a transaction");
    transaction.put_checkpoint_writes(PLACE, id, task, writes, now).expect("a write");
    transaction.commit().expect("a commit");
}

/// Every checkpoint by pages of one length.
fn listed(reader: &Reader, now: i64, page: usize) -> Vec<(String, Value, BTreeMap<String, Value>)> {
    let (mut all, mut after) = (Vec::new(), None::<CheckpointOrder>);
    loop {
        let CheckpointPlace { tenant, thread, namespace } = PLACE;
        let query = CheckpointQuery {
            tenant,
            thread,
            namespace: Some(namespace),
            after,
            filter: None,
            limit: page,
            with_blobs: false,
        };
        let (found, next) = reader.checkpoints(query, now).expect("a page");
        assert!(found.len() <= page);
        assert!(next.is_none() || next == found.last().map(Checkpoint::order));
        all.extend(found.into_iter().map(|c| (c.id, c.body.state, c.body.writes)));
        if next.is_none() {
            return all;
        }
        after = next;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, i64),
    Writes(usize, u8, u8),
    Delete,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..IDS.len(), 0..9i64).prop_map(|(id, state)| Step::Put(id, state)),
        4 => (0..IDS.len(), 0..2u8, 0..9u8).prop_map(|(id, task, value)| Step::Writes(id, task, value)),
        1 => Just(Step::Delete),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn checkpoints_and_writes_come_together_in_whatever_order_they_come(steps in steps(), page in 1usize..4) {
        let (_folder, mut store) = store();
        let mut states: Vec<(usize, i64)> = Vec::new();
        let mut writes: BTreeMap<usize, BTreeMap<String, Value>> = BTreeMap::new();
        for (now, step) in (1..).zip(steps) {
            match step {
                Step::Put(id, state) => {
                    put(&mut store, IDS[id], None, body(state, now));
                    match states.iter_mut().find(|known| known.0 == id) {
                        Some(known) => known.1 = state,
                        None => states.push((id, state)),
                    }
                }
                Step::Writes(id, task, value) => {
                    let (task, value) = (format!("task {task}"), json!([["out", value]]));
                    put_writes(&mut store, IDS[id], &task, value.clone(), now);
                    writes.entry(id).or_default().insert(task, value);
                }
                Step::Delete => {
                    let mut transaction = store.begin().expect("a transaction");
                    assert_eq!(transaction.drop_checkpoints("t", "th", None).expect("dropped"), states.len());
                    transaction.commit().expect("a commit");
                    (states, writes) = Default::default();
                }
            }
        }
        // Those that carry their time by it, then the others by when they were first written; the latest first.
        let mut wanted = states.clone();
        wanted.reverse();
        wanted.sort_by_key(|(id, _)| if *id < 3 { std::cmp::Reverse(Some(IDS[*id])) } else { std::cmp::Reverse(None) });
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|(id, state)| (IDS[id].to_owned(), json!(state), writes.get(&id).cloned().unwrap_or_default()))
            .collect();
        let reader = store.reader().expect("a reader");
        let ids: Vec<String> = wanted.iter().map(|(id, ..)| id.clone()).collect();
        prop_assert_eq!(listed(&reader, 100, page), wanted);
        prop_assert_eq!(reader.checkpoint_ids(PLACE, 100).expect("a read"), ids);
        let awaited = reader.awaited_checkpoints(PLACE).expect("a read").into_iter().map(|c| (c.id, c.body.writes));
        let waiting = writes.iter().filter(|(id, _)| !states.iter().any(|known| known.0 == **id));
        let waiting: BTreeMap<String, _> = waiting.map(|(id, writes)| (IDS[*id].to_owned(), writes.clone())).collect();
        prop_assert_eq!(awaited.collect::<BTreeMap<_, _>>(), waiting);
        for id in IDS {
            let found = reader.checkpoint(PLACE, id, 100).expect("a read");
            prop_assert_eq!(found.is_some(), states.iter().any(|known| IDS[known.0] == id));
        }
        prop_assert_eq!(reader.damaged_tables(&[]).expect("a check"), Vec::<String>::new());
    }
}

#[test]
fn what_tasks_say_of_their_fate_stands_beside_what_they_have_written() {
    let (_folder, mut store) = store();
    let mut written = |writes: Value| {
        put_writes(&mut store, "c", "task", writes, 1);
        put(&mut store, "c", None, body(1, 2)).writes["task"].clone()
    };
    assert_eq!(written(json!([["a", 1], ["b", 2]])), json!([["a", 1], ["b", 2]]));
    assert_eq!(written(json!([["__interrupt__", "?"]])), json!([["a", 1], ["b", 2], ["__interrupt__", "?"]]));
    let resumed = json!([["a", 1], ["b", 2], ["__interrupt__", "?"], ["__resume__", "yes"]]);
    assert_eq!(written(json!([["__resume__", "yes"]])), resumed);
    // Written again: each its own.
    let again = json!([["a", 1], ["b", 2], ["__interrupt__", "?"], ["__resume__", "no"]]);
    assert_eq!(written(json!([["__resume__", "no"]])), again);
    assert_eq!(written(json!([["a", 3]])), json!([["__interrupt__", "?"], ["__resume__", "no"], ["a", 3]]));
    assert_eq!(written(json!([])), json!([["__interrupt__", "?"], ["__resume__", "no"], ["a", 3]]));
    // What is no list of channels is replaced as it is.
    assert_eq!(written(json!({"a": 4})), json!({"a": 4}));
    assert_eq!(written(json!([["a", 5], 6])), json!([["a", 5], 6]));
    assert_eq!(written(json!([{"channel": "a", "value": 7}])), json!([{"channel": "a", "value": 7}]));
}

#[test]
fn an_expired_checkpoint_leaves_nothing_to_one_of_its_id() {
    let (_folder, mut store) = store();
    put(&mut store, "old", None, body(0, 1));
    put(&mut store, "c", Some(10), body(1, 1));
    put_writes(&mut store, "c", "task", json!(1), 2);
    put_writes(&mut store, "d", "task", json!(2), 2);
    put_writes(&mut store, "e", "task", json!(3), 2);
    let reader = store.reader().expect("a reader");
    assert_eq!(listed(&reader, 9, 9).len(), 2);
    assert!(!reader.has_expired_checkpoints(9).expect("a read"));
    assert!(reader.has_expired_checkpoints(10).expect("a read"));
    // Not swept yet, and gone all the same: what is written now is of another one.
    put_writes(&mut store, "c", "other", json!(4), 11);
    assert_eq!(reader.checkpoint(PLACE, "c", 11).expect("a read"), None);
    let now = put(&mut store, "c", None, body(5, 12));
    assert_eq!((now.writes, now.created_at), (BTreeMap::from([("other".to_owned(), json!(4))]), 12));
    // What waits for its checkpoint is not swept.
    put(&mut store, "f", Some(13), body(6, 12));
    let mut transaction = store.begin().expect("a transaction");
    assert_eq!(transaction.drop_expired_checkpoints(20).expect("a sweep").into_values().sum::<u64>(), 1);
    transaction.commit().expect("a commit");
    assert_eq!(reader.awaited_checkpoints(PLACE).expect("a read").len(), 2);
    assert_eq!(put(&mut store, "d", None, body(7, 21)).writes, BTreeMap::from([("task".to_owned(), json!(2))]));
    let ids: Vec<String> = listed(&reader, 22, 9).into_iter().map(|found| found.0).collect();
    assert_eq!(ids, ["d", "c", "old"]);
}
