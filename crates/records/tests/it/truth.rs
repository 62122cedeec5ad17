//! The record store keeps what it acknowledged, all of a request or none of it.

use membox_records::keys::{Keyring, MasterKey};
use membox_records::{
    CheckpointPlace, FileName, Message, OpaqueJson, Order, Reader, Record, RecordsError, Resealed, RowChecks, Sealing,
    Slots, Store, StoredCollection, StoredRecord, Window, WriteTransaction,
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
        ..Record::default()
    }
}

fn create(transaction: &mut WriteTransaction) -> Slots {
    let collection = collection("c");
    Slots::new(transaction.create_collection(&collection).expect("a collection"), collection.vector_file)
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    (folder, store)
}

#[test]
fn a_committed_record_comes_back_whole_and_versions_rise() {
    let (_folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    let c = slots.collection;
    let first = transaction.upsert(&slots, &record("a", 5), 0, 77, None).expect("a write");
    let second = transaction.upsert(&slots, &record("a", 6), 1, 78, Some(1)).expect("a write");
    transaction.commit().expect("a commit");
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
    let mut transaction = store.begin().expect("a transaction");
    let mut slots = create(&mut transaction);
    for row in 0..10 {
        transaction.upsert(&slots, &record(&format!("r{row}"), 0), row, 100 + row, None).expect("a write");
    }
    for row in [0, 3, 4] {
        transaction.delete(&slots, &format!("r{row}"), None).expect("a delete");
    }
    transaction.commit().expect("a commit");
    let before = slots.clone();
    // Twice, the second time with a row that was written after the first.
    for (copied, rows, ids) in [
        (vec![1, 2, 5, 6, 7, 8, 9], 10, vec!["r1", "r2", "r5", "r6", "r7", "r8", "r9"]),
        (vec![0, 1, 2, 4, 5, 6, 7], 8, vec!["r1", "r2", "r5", "r7", "r8", "r9", "new"]),
    ] {
        let reader = store.reader().expect("a reader");
        let gone = reader.record_of_row(&slots, 3).expect("a read");
        let mut transaction = store.begin().expect("a transaction");
        if copied[0] == 0 {
            transaction.delete(&slots, &gone.expect("r6").record.id, None).expect("a delete");
            transaction.upsert(&slots, &record("new", 0), 7, 107, None).expect("a write");
        }
        slots = slots.compacted(uuid::Uuid::new_v4(), &copied.into_iter().collect(), rows);
        transaction.compact(&slots, ids.len() as u32).expect("a switch");
        transaction.commit().expect("a commit");
        let stored = reader.collection(slots.collection).expect("a read").expect("the collection");
        assert_eq!(reader.slots(&stored).expect("slots"), slots, "they come back");
        let mut seen = Vec::new();
        let mut see = |row, stored: StoredRecord| {
            seen.push((row, stored.record.id));
            true
        };
        reader.each_record(&slots, 0..u32::MAX, &mut see).expect("a read");
        assert!(seen.iter().map(|(row, id)| (*row, id.as_str())).eq((0..).zip(ids.iter().copied())), "{seen:?}");
        assert_eq!(
            reader.live_rows(&slots).expect("a read").0.iter().map(|named| named.live.row).max(),
            Some(ids.len() as u32 - 1)
        );
    }
    let reader = store.reader().expect("a reader");
    let r9 = reader.record_of_row(&before, 9).expect("a read").map(|r| (r.record.id, r.row_crc));
    assert_eq!(r9, Some(("r9".into(), 109)), "who still looks at the file from before finds its records");
}

#[test]
fn damaged_slots_are_an_error_and_never_other_rows() {
    let (folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction).compacted(uuid::Uuid::new_v4(), &[1, 2, 5].into_iter().collect(), 9);
    transaction.compact(&slots, 3).expect("a switch");
    transaction.commit().expect("a commit");
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
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    transaction.upsert(&slots, &record("a", 5), 4, 77, None).expect("a write");
    transaction.commit().expect("a commit");
    drop(store);
    let path = folder.path().join("membox.db");
    let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; \
                 ALTER TABLE records DROP COLUMN windows; DROP TABLE jobs; \
                 DROP INDEX messages_by_id; ALTER TABLE records DROP COLUMN message_id; \
                 DROP TABLE uses; DROP TABLE media; DROP TABLE unused_media; DROP INDEX messages_by_position; \
                 DROP INDEX instruction_messages; DROP TABLE sessions; DROP TABLE checkpoints; DROP TABLE audit; \
                 DROP TABLE usage; DROP TABLE quotas; DROP TABLE queue; DROP TABLE compactions; \
                 ALTER TABLE records DROP COLUMN seal_key; ALTER TABLE records DROP COLUMN sealed; \
                 ALTER TABLE records DROP COLUMN position; ALTER TABLE records DROP COLUMN role; \
                 ALTER TABLE records DROP COLUMN message; ALTER TABLE records RENAME COLUMN slot TO row; \
                 PRAGMA user_version = 2;";
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch(older)).expect("a write");
    assert!(matches!(Reader::open(&path, Sealing::default()), Err(RecordsError::TooOld { found: 2, .. })));
    let reader = Store::open(&path, Sealing::default()).expect("a store").reader().expect("a reader");
    let stored = reader.collection(slots.collection).expect("a read").expect("the collection");
    assert_eq!(reader.slots(&stored).expect("slots"), slots);
    assert_eq!(reader.record_of_row(&slots, 4).expect("a read").map(|r| r.record), Some(record("a", 5)));
}

#[test]
fn a_refused_request_takes_nothing_of_the_others_back() {
    let (_folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    transaction.request(|g| g.upsert(&slots, &record("a", 1), 0, 0, None)).expect("a write");
    let refused = transaction.request(|g| {
        g.upsert(&slots, &record("b", 1), 1, 0, None)?;
        g.upsert(&slots, &record("a", 1), 2, 0, Some(7))
    });
    assert!(matches!(refused, Err(RecordsError::VersionConflict { current: 1, expected: 7, .. })));
    transaction.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    assert_eq!(reader.count(slots.collection).expect("a count"), 1);
}

#[test]
fn an_uncommitted_group_leaves_nothing() {
    let (_folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    transaction.create_collection(&collection("c")).expect("a collection");
    drop(transaction);
    assert_eq!(store.reader().expect("a reader").collections().expect("a read"), []);
    store.begin().expect("the next transaction begins");
}

#[test]
fn pages_go_on_where_they_ended_whatever_is_written_between() {
    let (_folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    let c = slots.collection;
    for i in 0..10 {
        transaction.upsert(&slots, &record(&format!("r{i}"), i64::from(i % 3)), i, 0, None).expect("a write");
    }
    transaction.commit().expect("a commit");
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
fn a_path_in_the_place_of_a_files_name_is_given_to_nobody_and_forgotten() {
    let (folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    transaction.expect_media(slots.collection, &FileName::new("image").expect("a name"), 0).expect("a write");
    transaction.commit().expect("a commit");
    let path = folder.path().join("membox.db");
    let foreign = "INSERT INTO unused_media (collection, file, since) VALUES (1, '../../victim', 0)";
    rusqlite::Connection::open(&path).and_then(|db| db.execute_batch(foreign)).expect("a write");
    let mut transaction = store.begin().expect("a transaction");
    let mut removed = Vec::new();
    let remove = |_, name: &FileName| {
        removed.push(name.to_string());
        Ok(())
    };
    transaction.remove_unused_media(1, remove).expect("a removal");
    transaction.commit().expect("a commit");
    assert_eq!(removed, ["image"]);
    assert!(!store.reader().expect("a reader").has_unused_media(1).expect("a read"));
}

#[test]
fn a_newer_database_is_refused_with_both_versions() {
    let (folder, store) = store();
    drop(store);
    let path = folder.path().join("membox.db");
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch("PRAGMA user_version = 99")).expect("a write");
    let error = Store::open(&path, Sealing::default()).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("99") && error.contains("newer"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// SQLite has its own idea of some values: it keeps no −0, and a text may hold a NUL.
    #[test]
    fn any_record_comes_back_as_it_was_written(
        importance in prop::option::of(prop_oneof![
            prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
            Just(-0.0),
            Just(1e15),
        ]),
        (created_at, expires_at) in (any::<i64>(), any::<Option<i64>>()),
        (id, text) in (any::<String>(), any::<String>()),
        (user, session, kind) in (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>()),
        (key, number, word) in (any::<String>(), prop::num::f64::NORMAL, any::<String>()),
        given_vector: bool,
        (is_message, position, role, name) in (any::<bool>(), 0i64..1 << 40, any::<String>(), any::<Option<String>>()),
        (windows, later) in (windows(), windows()),
        (updated_at, payload) in (any::<Option<i64>>(), prop::option::of(any::<(String, f32)>())),
    ) {
        let (_folder, mut store) = store();
        let mut transaction = store.begin().expect("a transaction");
        let slots = create(&mut transaction);
        let message = is_message.then(|| Message { id: role.clone(), position, role, name, ..Message::default() });
        let metadata = json!({key: {"number": number, "word": word}}).as_object().cloned().unwrap_or_default();
        let payload = payload.and_then(|payload| OpaqueJson::of(&payload).ok());
        let written = Record { id, text, metadata, payload, created_at, updated_at, expires_at, importance, user,
            session, kind, given_vector, message };
        let checks = RowChecks { row_crc: 7, windows: windows.clone() };
        transaction.upsert(&slots, &written, 0, checks, None).expect("a write");
        transaction.commit().expect("a commit");
        let reader = store.reader().expect("a reader");
        reader.check_records(slots.collection, |record| assert!(record.is_ok(), "{record:?}")).expect("a read");
        let stored = reader.record(slots.collection, &written.id).expect("a read").expect("the record");
        prop_assert_eq!((&stored.record, &stored.windows), (&written, &windows));
        let mut transaction = store.begin().expect("a transaction");
        let checks = RowChecks { row_crc: 8, windows: later.clone() };
        prop_assert!(transaction.move_row(&slots, &stored, 20, checks.clone()).expect("a write"));
        prop_assert!(!transaction.move_row(&slots, &stored, 30, checks).expect("a read"), "it is in another row");
        transaction.commit().expect("a commit");
        let moved = reader.record(slots.collection, &written.id).expect("a read").expect("the record");
        prop_assert_eq!((&moved.record, moved.row_crc, &moved.windows), (&written, 8, &later));
        let (named, damaged) = reader.live_rows(&slots).expect("a read");
        prop_assert_eq!((named[0].live.row, named[0].row_crc, damaged), (20, 8, 0));
        prop_assert_eq!(named[0].further as usize, later.len().saturating_sub(1));
    }
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let window = any::<(u32, u32, u32)>().prop_map(|(row_crc, start, end)| Window { row_crc, start, end });
    prop::collection::vec(window, 0..5)
}

/// A database as version 7 wrote it.
#[test]
fn records_of_an_older_database_have_no_windows_until_they_are_written_again() {
    let (folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    transaction.upsert(&slots, &record("a", 5), 0, 77, None).expect("a write");
    transaction.commit().expect("a commit");
    drop(store);
    let path = folder.path().join("membox.db");
    let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; \
                 ALTER TABLE records DROP COLUMN windows; PRAGMA user_version = 7;";
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch(older)).expect("a write");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let reader = store.reader().expect("a reader");
    let stored = || reader.record(slots.collection, "a").expect("a read").expect("the record");
    assert_eq!((stored().record, stored().windows), (record("a", 5), Vec::new()));
    let windows: Vec<Window> = (0..3).map(|i| Window { row_crc: 80 + i, start: 9 * i, end: 9 * i + 10 }).collect();
    let mut transaction = store.begin().expect("a transaction");
    let checks = RowChecks { row_crc: 80, windows: windows.clone() };
    transaction.upsert(&slots, &record("a", 6), 1, checks, Some(1)).expect("a write");
    transaction.commit().expect("a commit");
    assert_eq!(stored().windows, windows);
    rusqlite::Connection::open(&path)
        .and_then(|c| c.execute("UPDATE records SET windows = substr(windows, 1, 24)", []))
        .expect("a write");
    assert!(matches!(reader.record(slots.collection, "a"), Err(RecordsError::Damaged(_))), "a window is gone");
}

/// A database as version 8 wrote it.
#[test]
fn records_of_an_older_database_have_no_payload_and_are_whole() {
    let (folder, mut store) = store();
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    transaction.upsert(&slots, &record("a", 5), 0, 77, None).expect("a write");
    transaction.commit().expect("a commit");
    drop(store);
    let path = folder.path().join("membox.db");
    let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; \
                 PRAGMA user_version = 8;";
    rusqlite::Connection::open(&path).and_then(|c| c.execute_batch(older)).expect("a write");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let reader = store.reader().expect("a reader");
    let stored = || reader.record(slots.collection, "a").expect("a read").expect("the record").record;
    assert_eq!(stored(), record("a", 5));
    let written = Record { payload: OpaqueJson::of(&json!([1])).ok(), updated_at: Some(9), ..record("a", 6) };
    let mut transaction = store.begin().expect("a transaction");
    transaction.upsert(&slots, &written, 1, 78, Some(1)).expect("a write");
    transaction.commit().expect("a commit");
    assert_eq!(stored(), written);
    for damage in ["payload = '[2]'", "payload = NULL", "updated_at = 8", "updated_at = NULL"] {
        let both = format!("UPDATE records SET {damage}");
        rusqlite::Connection::open(&path).and_then(|c| c.execute(&both, [])).expect("a write");
        let found = reader.record(slots.collection, "a");
        assert!(matches!(found, Err(RecordsError::Damaged(_))), "{damage}: {found:?}");
        let mut transaction = store.begin().expect("a transaction");
        transaction.upsert(&slots, &written, 1, 78, None).expect("a write");
        transaction.commit().expect("a commit");
    }
}

fn sealed_store(folder: &std::path::Path, master: &MasterKey) -> (Store, Sealing) {
    let keyring = Keyring::open(&folder.join("keys.json"), master.clone(), &[]).expect("keys");
    let sealing = Sealing::new(keyring, |tenant| tenant != "open");
    (Store::open(&folder.join("membox.db"), sealing.clone()).expect("a store"), sealing)
}

#[test]
fn what_is_sealed_comes_back_whole_in_its_own_row_alone() {
    let (folder, master) = (tempfile::tempdir().expect("a folder"), MasterKey::generate().expect("a key"));
    let (mut store, _) = sealed_store(folder.path(), &master);
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    let message = Message { id: "m".into(), role: "user".into(), kind: "text".into(), ..Message::default() };
    let said = Record { session: Some("s".into()), message: Some(message), ..record("b", 2) };
    for (row, record) in (0..).zip([&record("a", 1), &said]) {
        transaction.upsert(&slots, record, row, 70 + row, None).expect("a write");
    }
    transaction.commit().expect("a commit");
    let c = slots.collection;
    let reader = store.reader().expect("a reader");
    let read = |reader: &Reader, id: &str| reader.record(c, id).map(|found| found.expect("the record").record);
    assert_eq!(read(&reader, "a").expect("a read"), record("a", 1));
    assert_eq!(read(&reader, "b").expect("a read"), said);
    let path = folder.path().join("membox.db");
    assert!(matches!(
        read(&Reader::open(&path, Sealing::default()).expect("a reader"), "a"),
        Err(RecordsError::Sealed)
    ));
    // Whoever can write the file, checksums and all, cannot put one text in the place of another, nor an older
    // version in that of a newer one.
    let other = rusqlite::Connection::open(&path).expect("a connection");
    let sealed = |id: &str| -> Vec<u8> {
        other.query_row("SELECT sealed FROM records WHERE id = ?", [id], |r| r.get(0)).expect("a row")
    };
    let (of_a, of_b) = (sealed("a"), sealed("b"));
    assert!(!of_a.windows(4).any(|w| w == b"text"), "no text is to be read");
    let put = |id: &str, bytes: &[u8]| {
        other
            .execute("UPDATE records SET sealed = ?, crc = NULL WHERE id = ?", rusqlite::params![bytes, id])
            .expect("a write");
    };
    put("a", &of_b);
    assert!(matches!(read(&reader, "a"), Err(RecordsError::Damaged(_))));
    put("a", &of_a);
    assert_eq!(read(&reader, "a").expect("a read"), record("a", 1));
    other.execute("UPDATE records SET version = 2, crc = NULL WHERE id = 'a'", []).expect("a write");
    assert!(matches!(read(&reader, "a"), Err(RecordsError::Damaged(_))));
}

#[test]
fn what_was_written_before_a_key_or_under_an_older_one_is_sealed_with_the_newest() {
    let (folder, master) = (tempfile::tempdir().expect("a folder"), MasterKey::generate().expect("a key"));
    let path = folder.path().join("membox.db");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction);
    let ids: Vec<String> = (0..10).map(|i| format!("r{i}")).collect();
    for (row, id) in (0..).zip(&ids) {
        transaction.upsert(&slots, &record(id, i64::from(row)), row, row, None).expect("a write");
    }
    let body = json!({"parent": null, "state": {"n": 1}, "metadata": {}, "writes": {}, "created_at": 5});
    let place = CheckpointPlace { tenant: "t", thread: "th", namespace: "" };
    transaction.put_checkpoint(place, "one", None, serde_json::from_value(body).expect("a body")).expect("a write");
    transaction.push("t", "s", json!({"input": 1}), 9).expect("a write");
    transaction.commit().expect("a commit");
    let state = |reader: &Reader| {
        let records: Vec<StoredRecord> =
            ids.iter().map(|id| reader.record(slots.collection, id).expect("a read").expect("the record")).collect();
        let checkpoint = reader.checkpoint(place, "one", 0).expect("a read");
        (records, checkpoint, reader.queue("t", "s", 0, 9).expect("a read"))
    };
    let before = state(&store.reader().expect("a reader"));
    drop(store);
    let (mut store, sealing) = sealed_store(folder.path(), &master);
    assert_eq!(state(&store.reader().expect("a reader")), before, "what is not sealed is still read");
    let keyring = sealing.keyring().expect("keys");
    for round in 0..2 {
        let (mut from, mut sealed) = (Some(Resealed::default()), 0);
        while let Some(place) = from {
            let mut transaction = store.begin().expect("a transaction");
            let (done, next) = transaction.reseal("t", place, 3).expect("sealed");
            transaction.commit().expect("a commit");
            (sealed, from) = (sealed + done, next);
        }
        assert_eq!(sealed, 12, "round {round}");
        keyring.settle("t", keyring.number("t").expect("a key")).expect("settled");
        assert_eq!(state(&store.reader().expect("a reader")), before, "round {round}");
        let keys: Vec<Option<u32>> = ["records", "checkpoints", "queue"]
            .iter()
            .map(|table| {
                let other = rusqlite::Connection::open(&path).expect("a connection");
                other.query_row(&format!("SELECT max(seal_key) FROM {table}"), [], |r| r.get(0)).expect("a row")
            })
            .collect();
        assert_eq!(keys, [Some(keyring.number("t").expect("a key")); 3]);
        keyring.rotate("t").expect("a key");
    }
    assert_eq!(store.reader().expect("a reader").damaged_tables(&[]).expect("a check"), Vec::<String>::new());
}
