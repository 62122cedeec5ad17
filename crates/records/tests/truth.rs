//! The record store keeps what it acknowledged, all of a request or none of it.

use membox_records::{Order, Record, RecordsError, Store, StoredCollection};
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
    }
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
    let c = group.create_collection(&collection("c")).expect("a collection");
    let first = group.upsert(c, &record("a", 5), 0, 77, None).expect("a write");
    let second = group.upsert(c, &record("a", 6), 1, 78, Some(1)).expect("a write");
    group.commit().expect("a commit");
    assert_eq!((first.version, second.version, second.replaced.map(|r| r.row)), (1, 2, Some(0)));
    assert_eq!(first.seq, second.seq);
    let reader = store.reader().expect("a reader");
    let stored = reader.record(c, "a").expect("a read").expect("the record");
    assert_eq!((stored.record, stored.row, stored.row_crc), (record("a", 6), 1, 78));
    let file = reader.collections().expect("a read")[0].vector_file;
    assert_eq!(reader.record_of_row(c, file, 0).expect("a read"), None, "the older version's row names nothing");
    assert_eq!(reader.record_of_row(c, file, 1).expect("a read").map(|r| r.version), Some(2));
    assert_eq!(
        reader.record_of_row(c, uuid::Uuid::new_v4(), 1).expect("a read"),
        None,
        "nor does a row of another file"
    );
}

#[test]
fn a_refused_request_takes_nothing_of_the_others_back() {
    let (_folder, mut store) = store();
    let mut group = store.begin().expect("a group");
    let c = group.create_collection(&collection("c")).expect("a collection");
    group.request(|g| g.upsert(c, &record("a", 1), 0, 0, None)).expect("a write");
    let refused = group.request(|g| {
        g.upsert(c, &record("b", 1), 1, 0, None)?;
        g.upsert(c, &record("a", 1), 2, 0, Some(7))
    });
    assert!(matches!(refused, Err(RecordsError::VersionConflict { current: 1, expected: 7, .. })));
    group.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    assert_eq!(reader.count(c).expect("a count"), 1);
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
    let c = group.create_collection(&collection("c")).expect("a collection");
    for i in 0..10 {
        group.upsert(c, &record(&format!("r{i}"), i64::from(i % 3)), i, 0, None).expect("a write");
    }
    group.commit().expect("a commit");
    for (order, key) in [(Order::Written, (0, 1)), (Order::Oldest, (1, 1)), (Order::Newest, (-1, -1))] {
        let reader = store.reader().expect("a reader");
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page =
                reader.page(c, order, after, 3, |row| (row < 8).then_some(row != 4), |r| r.id != "r9").expect("a page");
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
    ) {
        let (_folder, mut store) = store();
        let mut group = store.begin().expect("a group");
        let c = group.create_collection(&collection("c")).expect("a collection");
        let metadata = json!({key: {"number": number, "word": word}}).as_object().cloned().unwrap_or_default();
        let written = Record { id, text, metadata, created_at, expires_at, importance, user, session, kind, given_vector };
        group.upsert(c, &written, 0, 7, None).expect("a write");
        group.commit().expect("a commit");
        let reader = store.reader().expect("a reader");
        prop_assert_eq!(reader.damaged_records(c).expect("a read"), Vec::<String>::new());
        let stored = reader.record(c, &written.id).expect("a read").expect("the record");
        prop_assert_eq!(stored.record, written);
    }
}
