//! The record store keeps what it acknowledged, all of a request or none of it.

use membox_records::{
    Group, Message, Order, Reader, Record, RecordsError, Slots, Store, StoredCollection, StoredRecord,
};
use proptest::prelude::*;
use serde_json::json;

fn collection(name: &str) -> StoredCollection {
    StoredCollection {
        id: 0,
        tenant: "t".into(),
        name: name.into(),
        settings: "{}".into(),
        vector_file: uuid::Uuid::new_v4(),
        rows: 0,
        created_at: 1,
    }
}

fn record(id: &str, created_at: i64) -> Record {
    Record {
        id: id.into(),
        text: format!("text of {id}"),
        metadata: json!({"n": created_at}).as_object().cloned().unwrap_or_default(),
        created_at,
        expires_at: None,
        importance: Some(0.5),
        user: Some("u".into()),
        session: None,
        kind: None,
        given_vector: false,
        message: None,
    }
}

fn create(group: &mut Group) -> Slots {
    let collection = collection("c");
    Slots::new(group.create_collection(&collection).expect("a collection"), collection.vector_file)
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("membox.db")).expect("a store");
    (folder, store)
}

#[test]
fn a_committed_record_comes_back_whole_and_versions_rise() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let slots = create(&mut group);
    let c = slots.collection;
    let first = group.upsert(&slots, &record("a", 5), 0, 77, None).expect("a write");
    let second = group.upsert(&slots, &record("a", 6), 1, 78, Some(1)).expect("a write");
    group.commit().expect("a commit");
    assert_eq!((first.version, second.version, second.replaced.map(|r| r.row)), (1, 2, Some(0)));
    assert_eq!(first.seq, second.seq);
    let reader = store.reader().expect("a reader");
    let stored = reader.record(c, "a").expect("a read").expect("the record");
    assert_eq!((stored.record, stored.slot, stored.row_crc), (record("a", 6), 1, 78));
    let of_row = |row| reader.record_of_row(&slots, row).expect("a read").map(|r| r.version);
    assert_eq!((of_row(0), of_row(1)), (None, Some(2)), "the older version's row names nothing");
}

#[test]
fn a_compaction_gives_records_other_rows_and_writes_none_of_them() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let mut slots = create(&mut group);
    for row in 0..10 {
        group.upsert(&slots, &record(&format!("r{row}"), 0), row, 100 + row, None).expect("a write");
    }
    for row in [0, 3, 4] {
        group.delete(&slots, &format!("r{row}"), None).expect("a delete");
    }
    group.commit().expect("a commit");
    let before = slots.clone();
    // Twice, the second time with a row that was written after the first.
    for (copied, rows, ids) in [
        (vec![1, 2, 5, 6, 7, 8, 9], 10, vec!["r1", "r2", "r5", "r6", "r7", "r8", "r9"]),
        (vec![0, 1, 2, 4, 5, 6, 7], 8, vec!["r1", "r2", "r5", "r7", "r8", "r9", "new"]),
    ] {
        let reader = store.reader().expect("a reader");
        let gone = reader.record_of_row(&slots, 3).expect("a read");
        let mut group = store.begin().expect("a group");
        if copied[0] == 0 {
            group.delete(&slots, &gone.expect("r6").record.id, None).expect("a delete");
            group.upsert(&slots, &record("new", 0), 7, 107, None).expect("a write");
        }
        slots = slots.compacted(uuid::Uuid::new_v4(), &copied.into_iter().collect(), rows);
        group.compact(&slots, ids.len() as u32).expect("a switch");
        group.commit().expect("a commit");
        let stored = reader.collection(slots.collection).expect("a read").expect("the collection");
        assert_eq!(reader.slots(&stored).expect("slots"), slots, "they come back");
        let mut seen = Vec::new();
        let mut see = |row, stored: StoredRecord| {
            seen.push((row, stored.record.id));
            true
        };
        reader.each_record(&slots, 0, &mut see).expect("a read");
        assert!(seen.iter().map(|(row, id)| (*row, id.as_str())).eq((0..).zip(ids.iter().copied())), "{seen:?}");
        assert_eq!(reader.live_rows(&slots).expect("a read").iter().map(|l| l.row).max(), Some(ids.len() as u32 - 1));
    }
    let reader = store.reader().expect("a reader");
    let r9 = reader.record_of_row(&before, 9).expect("a read").map(|r| (r.record.id, r.row_crc));
    assert_eq!(r9, Some(("r9".into(), 109)), "who still looks at the file from before finds its records");
}

#[test]
fn damaged_slots_are_an_error_and_never_other_rows() {
    let (folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let slots = create(&mut group).compacted(uuid::Uuid::new_v4(), &[1, 2, 5].into_iter().collect(), 9);
    group.compact(&slots, 3).expect("a switch");
    group.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    let stored = reader.collection(slots.collection).expect("a read").expect("the collection");
    let other = rusqlite::Connection::open(folder.path().join("membox.db")).expect("a connection");
    for damage in ["next = next + 1", "kept = substr(kept, 2)", "kept = x''"] {
        other.execute_batch(&format!("BEGIN; UPDATE compactions SET {damage}; COMMIT;")).expect("a write");
        assert!(matches!(reader.slots(&stored), Err(RecordsError::Damaged(_))), "{damage}");
    }
}

/// A database as version 2 wrote it: `row` was what is `slot` now, and no compaction was known.
#[test]
fn an_older_database_keeps_its_records_and_gets_slots() {
    let (folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let slots = create(&mut group);
    group.upsert(&slots, &record("a", 5), 4, 77, None).expect("a write");
    group.commit().expect("a commit");
    drop(store);
    let path = folder.path().join("membox.db");
    let older = "DROP INDEX messages_by_position; DROP INDEX system_messages; DROP TABLE sessions; DROP TABLE checkpoints; DROP TABLE audit; DROP TABLE usage; DROP TABLE quotas;
        DROP TABLE queue; DROP TABLE compactions; ALTER TABLE records DROP COLUMN position; ALTER TABLE records DROP COLUMN role;
        ALTER TABLE records DROP COLUMN message; ALTER TABLE records RENAME COLUMN slot TO row; PRAGMA user_version = 2;";
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch(older)).expect("a write");
    assert!(matches!(Reader::open(&path), Err(RecordsError::TooOld { found: 2, .. })));
    let reader = Store::open(&path).expect("a store").reader().expect("a reader");
    let stored = reader.collection(slots.collection).expect("a read").expect("the collection");
    assert_eq!(reader.slots(&stored).expect("slots"), slots);
    assert_eq!(reader.record_of_row(&slots, 4).expect("a read").map(|r| r.record), Some(record("a", 5)));
}

#[test]
fn a_refused_request_takes_nothing_of_the_others_back() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let slots = create(&mut group);
    group.request(|g| g.upsert(&slots, &record("a", 1), 0, 0, None)).expect("a write");
    let refused = group.request(|g| {
        g.upsert(&slots, &record("b", 1), 1, 0, None)?;
        g.upsert(&slots, &record("a", 1), 2, 0, Some(7))
    });
    assert!(matches!(refused, Err(RecordsError::VersionConflict { current: 1, expected: 7, .. })));
    group.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    assert_eq!(reader.count(slots.collection).expect("a count"), 1);
}

#[test]
fn an_uncommitted_group_leaves_nothing() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    group.create_collection(&collection("c")).expect("a collection");
    drop(group);
    assert_eq!(store.reader().expect("a reader").collections().expect("a read"), []);
    store.begin().expect("the next group begins");
}

#[test]
fn pages_go_on_where_they_ended_whatever_is_written_between() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let slots = create(&mut group);
    let c = slots.collection;
    for i in 0..10 {
        group.upsert(&slots, &record(&format!("r{i}"), i64::from(i % 3)), i, 0, None).expect("a write");
    }
    group.commit().expect("a commit");
    for (order, key) in [(Order::Written, (0, 1)), (Order::Oldest, (1, 1)), (Order::Newest, (-1, -1))] {
        let reader = store.reader().expect("a reader");
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = reader
                .page(c, order, after, 3, |slot| (slot < 8).then_some(slot != 4), |r| r.id != "r9")
                .expect("a page");
            let Some(last) = page.last() else { break };
            after = Some((last.record.created_at, last.seq));
            seen.extend(page.iter().map(|r| (r.record.created_at * key.0, r.seq * key.1)));
        }
        assert_eq!(seen.len(), 8, "{order:?}");
        assert!(seen.is_sorted(), "{order:?}: {seen:?}");
    }
}

#[test]
fn a_newer_database_is_refused_with_both_versions() {
    let (folder, store) = store();
    drop(store);
    let path = folder.path().join("membox.db");
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch("PRAGMA user_version = 99")).expect("a write");
    let error = Store::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("99") && error.contains("newer"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// SQLite has its own idea of some values: it keeps no −0, and a text may hold a NUL.
    #[test]
    fn any_record_comes_back_as_it_was_written(
        importance in prop::option::of(prop_oneof![prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO, Just(-0.0), Just(1e15)]),
        (created_at, expires_at) in (any::<i64>(), any::<Option<i64>>()),
        (id, text) in (any::<String>(), any::<String>()),
        (user, session, kind) in (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>()),
        (key, number, word) in (any::<String>(), prop::num::f64::NORMAL, any::<String>()),
        given_vector: bool,
        (is_message, position, role, name) in (any::<bool>(), 0i64..1 << 40, any::<String>(), any::<Option<String>>()),
    ) {
        let (_folder, mut store) = store();
        let mut group = store.begin().expect("a group");
        let slots = create(&mut group);
        let message = is_message.then(|| Message { id: role.clone(), position, role, name, ..Message::default() });
        let metadata = json!({key: {"number": number, "word": word}}).as_object().cloned().unwrap_or_default();
        let written = Record { id, text, metadata, created_at, expires_at, importance, user, session, kind, given_vector, message };
        group.upsert(&slots, &written, 0, 7, None).expect("a write");
        group.commit().expect("a commit");
        let reader = store.reader().expect("a reader");
        reader.check_records(slots.collection, |record| assert!(record.is_ok(), "{record:?}")).expect("a read");
        let stored = reader.record(slots.collection, &written.id).expect("a read").expect("the record");
        prop_assert_eq!(stored.record, written);
    }
}
