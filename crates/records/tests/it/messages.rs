//! Messages and records have namespaces of their own, and a database of an older version comes to have them.

use membox_records::keys::{Keyring, MasterKey};
use membox_records::{
    Message, Range, Reader, Record, RecordsError, Sealing, SessionState, Slots, Store, StoredCollection, StoredSession,
    WriteTransaction,
};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::json;
use std::path::Path;

fn record(id: &str, text: &str) -> Record {
    Record {
        id: id.into(),
        text: text.into(),
        metadata: json!({"of": text}).as_object().cloned().unwrap_or_default(),
        created_at: 5,
        expires_at: None,
        importance: None,
        user: None,
        session: None,
        kind: None,
        ..Record::default()
    }
}

fn message(session: &str, id: &str, position: i64, text: &str) -> Record {
    let message = Message {
        id: id.into(),
        position,
        role: "user".into(),
        kind: "text".into(),
        written_by: 1,
        ..Message::default()
    };
    let id = membox_records::record_id(session, id);
    Record { session: Some(session.into()), message: Some(message), ..record(&id, text) }
}

fn create(transaction: &mut WriteTransaction, tenant: &str) -> Slots {
    let collection = StoredCollection {
        id: 0,
        tenant: tenant.into(),
        name: "c".into(),
        settings: "{}".into(),
        vector_file: uuid::Uuid::new_v4(),
        rows: 0,
        created_at: 1,
    };
    Slots::new(transaction.create_collection(&collection).expect("a collection"), collection.vector_file)
}

fn put_session(transaction: &mut WriteTransaction, slots: &Slots, tenant: &str, id: &str) {
    let session = StoredSession {
        number: 0,
        tenant: tenant.into(),
        id: id.into(),
        collection: slots.collection,
        user: None,
        version: 1,
        state: SessionState { next_position: 9, ..SessionState::default() },
    };
    transaction.put_session(&session).expect("a session");
}

fn said(reader: &Reader, c: i64, session: &str, id: &str) -> Option<String> {
    reader.message(c, session, id).expect("a read").map(|stored| stored.record.text)
}

fn text_of(reader: &Reader, c: i64, id: &str) -> Option<String> {
    reader.record(c, id).expect("a read").map(|stored| stored.record.text)
}

fn listed(reader: &Reader, c: i64, session: &str) -> Vec<String> {
    let mut listed = Vec::new();
    let range = Range::After(-1);
    reader
        .messages(c, session, range, |stored| {
            listed.push(stored.record.text);
            true
        })
        .expect("a read");
    listed
}

fn is_whole(reader: &Reader, c: i64) {
    reader.check_records(c, |record| assert!(record.is_ok(), "{record:?}")).expect("a read");
}

#[test]
fn a_record_and_a_message_of_one_name_are_two_things() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction, "t");
    let c = slots.collection;
    let mut row = 0;
    let mut put = |transaction: &mut WriteTransaction, record: &Record, expected| {
        row += 1;
        transaction.upsert(&slots, record, row, 7, expected).expect("a write")
    };
    // The record first: the message is there all the same, under another id among records.
    put(&mut transaction, &record("s/1", "a record"), None);
    let first = put(&mut transaction, &message("s", "1", 0, "a message"), Some(0));
    assert_eq!((first.version, first.id.len(), &first.renamed), (1, 36, &None));
    // The message first: the record gets the id that it asks for, and the message another one.
    let second = put(&mut transaction, &message("s", "2", 1, "another message"), Some(0));
    assert_eq!(second.id, "s/2");
    let written = put(&mut transaction, &record("s/2", "another record"), Some(0));
    let renamed = written.renamed.expect("the message gives way");
    assert_eq!((written.id.as_str(), renamed.slot, renamed.id.len()), ("s/2", 3, 36));
    transaction.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    for (message_id, own, wanted) in [("1", &first.id, "a message"), ("2", &renamed.id, "another message")] {
        assert_eq!(said(&reader, c, "s", message_id).as_deref(), Some(wanted));
        assert_eq!(text_of(&reader, c, own).as_deref(), Some(wanted), "the id that is shown names it");
    }
    assert_eq!(text_of(&reader, c, "s/1").as_deref(), Some("a record"));
    assert_eq!(text_of(&reader, c, "s/2").as_deref(), Some("another record"));
    assert_eq!(listed(&reader, c, "s"), ["a message", "another message"]);
    is_whole(&reader, c);
    // Each is written again and deleted alone, by its own name.
    let mut transaction = store.begin().expect("a transaction");
    assert_eq!(put(&mut transaction, &message("s", "2", 1, "with a caption"), Some(1)).version, 2);
    assert_eq!(put(&mut transaction, &record("s/2", "changed"), Some(1)).version, 2);
    let gone = transaction.delete(&slots, "s/1", None).expect("a delete").expect("a record");
    assert_eq!(gone.message_of, None);
    let gone = transaction.delete(&slots, &renamed.id, Some(2)).expect("a delete").expect("a message");
    assert_eq!(gone.message_of.as_deref(), Some("s"));
    assert!(transaction.delete_message(&slots, "s", "2", None).expect("a delete").is_none());
    transaction.commit().expect("a commit");
    let reader = store.reader().expect("a reader");
    assert_eq!(text_of(&reader, c, "s/2").as_deref(), Some("changed"));
    assert_eq!(text_of(&reader, c, "s/1"), None);
    assert_eq!(listed(&reader, c, "s"), ["a message"]);
    is_whole(&reader, c);
}

#[test]
fn what_a_message_is_found_by_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("membox.db");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction, "t");
    transaction.upsert(&slots, &message("s", "1", 0, "a message"), 0, 7, None).expect("a write");
    transaction.commit().expect("a commit");
    Connection::open(&path).and_then(|c| c.execute("UPDATE records SET message_id = '2'", [])).expect("a write");
    let reader = store.reader().expect("a reader");
    let found = reader.message(slots.collection, "s", "2");
    assert!(matches!(found, Err(RecordsError::Damaged(_))), "{found:?}");
}

/// Makes a database what a box of version 4 would have left: messages were found by their records' ids alone.
fn make_older(path: &Path) {
    let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; \
                 ALTER TABLE records DROP COLUMN windows; ALTER TABLE audit DROP COLUMN key; DROP TABLE jobs; \
                 DROP INDEX messages_by_id; \
                 ALTER TABLE records DROP COLUMN message_id; PRAGMA user_version = 4; VACUUM;";
    Connection::open(path).and_then(|c| c.execute_batch(older)).expect("a write");
}

#[test]
fn an_older_database_finds_its_messages_and_puts_back_those_that_a_patch_had_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("membox.db");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction, "t");
    let c = slots.collection;
    put_session(&mut transaction, &slots, "t", "s");
    let records = [
        record("s/9", "a record of that form"),
        record("plain", "a record"),
        message("s", "1", 0, "first"),
        message("s", "a/b\0c", 1, "an id of every byte"),
        // As a patch of `session` had left them: the first out of a session that is there, the others out of one that
        // is not.
        Record { session: Some("other".into()), ..message("s", "2", 2, "moved") },
        Record { session: None, ..message("gone", "1", 0, "moved from nowhere") },
    ];
    for (row, record) in (0..).zip(&records) {
        transaction.upsert(&slots, record, row, row, None).expect("a write");
    }
    transaction.upsert(&slots, &message("x", "2", 0, "was there"), 9, 9, None).expect("a write");
    transaction.commit().expect("a commit");
    drop(store);
    make_older(&path);
    // The session that the first was moved into has a message of that id.
    let there = "UPDATE records SET id = 'other/2', session = 'other', crc = NULL WHERE id = 'x/2'";
    Connection::open(&path).and_then(|db| db.execute(there, [])).expect("a write");
    assert!(matches!(Reader::open(&path, Sealing::default()), Err(RecordsError::TooOld { found: 4, .. })));
    let reader = Store::open(&path, Sealing::default()).expect("a store").reader().expect("a reader");
    is_whole(&reader, c);
    for record in &records {
        assert_eq!(text_of(&reader, c, &record.id).as_deref(), Some(record.text.as_str()), "the same ids as before");
    }
    assert_eq!(listed(&reader, c, "s"), ["first", "an id of every byte", "moved"]);
    assert_eq!(said(&reader, c, "s", "a/b\0c").as_deref(), Some("an id of every byte"));
    assert_eq!(said(&reader, c, "s", "9"), None, "a record is no message");
    assert_eq!(listed(&reader, c, "other"), ["was there"]);
    assert_eq!(said(&reader, c, "gone", "1").as_deref(), Some("moved from nowhere"));
    assert!(listed(&reader, c, "gone").is_empty(), "it is in no list of a session to come");
    assert_eq!(reader.damaged_tables(&[]).expect("a check"), Vec::<String>::new());
}

#[test]
fn an_older_database_that_is_sealed_is_brought_up_to_date_without_its_keys() {
    let (folder, master) = (tempfile::tempdir().expect("a folder"), MasterKey::generate().expect("a key"));
    let path = folder.path().join("membox.db");
    let sealed = || {
        let keyring = Keyring::open(&folder.path().join("keys.json"), master.clone(), &[]).expect("keys");
        Sealing::new(keyring, |_| true)
    };
    let mut store = Store::open(&path, sealed()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    let slots = create(&mut transaction, "t");
    let c = slots.collection;
    put_session(&mut transaction, &slots, "t", "s");
    for (row, record) in (0..).zip([&message("s", "1", 0, "first"), &record("r", "a record")]) {
        transaction.upsert(&slots, record, row, row, None).expect("a write");
    }
    transaction.commit().expect("a commit");
    drop(store);
    // What version 4 had sealed was bound to the record's id.
    let place = ["record", &c.to_string(), "s/1", "1"];
    let body = json!({"id": "1", "role": "user", "type": "text", "tokens": 0, "written_by": 1}).to_string();
    let all = json!(["{}", body, "as version 4 has sealed it"]).to_string();
    let (key, text) = sealed().keyring().expect("keys").seal("t", &place, all.as_bytes()).expect("sealed");
    Connection::open(&path)
        .and_then(|db| {
            db.execute("UPDATE records SET seal_key = ?, sealed = ?, crc = NULL WHERE id = 's/1'", params![key, text])
        })
        .expect("a write");
    make_older(&path);
    // Nobody has the keys when the new version comes, nor when a record takes the message's id.
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    assert!(matches!(store.reader().expect("a reader").message(c, "s", "1"), Err(RecordsError::Sealed)));
    let mut transaction = store.begin().expect("a transaction");
    let written = transaction.upsert(&slots, &record("s/1", "a record of the same name"), 2, 2, None).expect("a write");
    let renamed = written.renamed.expect("the message gives way");
    transaction.commit().expect("a commit");
    drop(store);
    let reader = Store::open(&path, sealed()).expect("a store").reader().expect("a reader");
    assert_eq!(said(&reader, c, "s", "1").as_deref(), Some("as version 4 has sealed it"));
    assert_eq!(text_of(&reader, c, &renamed.id).as_deref(), Some("as version 4 has sealed it"));
    assert_eq!(text_of(&reader, c, "s/1").as_deref(), Some("a record of the same name"));
    assert_eq!(text_of(&reader, c, "r").as_deref(), Some("a record"));
    is_whole(&reader, c);
    // A record and a message of one name and version are sealed for one place, and yet neither opens in the place of
    // the other.
    let mut store = Store::open(&path, sealed()).expect("a store");
    let mut transaction = store.begin().expect("a transaction");
    transaction.upsert(&slots, &record("s/1", "sealed too"), 3, 3, Some(1)).expect("a write");
    transaction.upsert(&slots, &message("s", "1", 0, "sealed again"), 4, 4, Some(1)).expect("a write");
    transaction.commit().expect("a commit");
    let db = Connection::open(&path).expect("a connection");
    db.execute(
        "UPDATE records SET sealed = (SELECT sealed FROM records WHERE message_id = '1'), crc = NULL WHERE id = 's/1'",
        [],
    )
    .expect("a write");
    assert!(matches!(store.reader().expect("a reader").record(c, "s/1"), Err(RecordsError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever messages and records are called and in whatever order they come, each is found by its own name, and
    /// by the one that is shown.
    #[test]
    fn names_that_clash_take_nothing_from_each_other(
        writes in prop::collection::vec((any::<bool>(), "[ab]", "[ab/]{1,3}"), 1..24),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
        let mut transaction = store.begin().expect("a transaction");
        let slots = create(&mut transaction, "t");
        let c = slots.collection;
        let (mut of_messages, mut of_records) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for (row, (is_message, session, id)) in (0u32..).zip(&writes) {
            let text = format!("text {row}");
            if *is_message {
                let record = message(session, id, i64::from(row), &text);
                transaction.upsert(&slots, &record, row, row, None).expect("a write");
                of_messages.insert((session.clone(), id.clone()), text);
            } else {
                let id = format!("{session}/{id}");
                transaction.upsert(&slots, &record(&id, &text), row, row, None).expect("a write");
                of_records.insert(id, text);
            }
        }
        transaction.commit().expect("a commit");
        let reader = store.reader().expect("a reader");
        prop_assert_eq!(reader.count(c).expect("a count") as usize, of_messages.len() + of_records.len());
        is_whole(&reader, c);
        for ((session, id), text) in &of_messages {
            let stored = reader.message(c, session, id).expect("a read").expect("the message");
            prop_assert_eq!(&stored.record.text, text);
            prop_assert_eq!(reader.record(c, &stored.record.id).expect("a read").map(|r| r.seq), Some(stored.seq));
        }
        for (id, text) in &of_records {
            let stored = reader.record(c, id).expect("a read").expect("the record");
            prop_assert!(stored.record.message.is_none());
            prop_assert_eq!(&stored.record.text, text);
        }
    }
}
