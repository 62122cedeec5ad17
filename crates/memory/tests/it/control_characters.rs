//! Names that nobody can see are refused where they come in, and what an older membox has written under such names is
//! read and deleted by them.

use membox_memory::{
    AppendRequest, CollectionSettings, MemoryBox, MemoryConfig, MemoryError, MessageQuery, Models, NewMessage,
    NewRecord, QuotaSettings, RecordPatch, Role, SessionSettings, UsageReport,
};
use membox_store::{NewVersion, Record, Store, StoreConfig, WriteRecords};
use serde_json::{Map, json};
use std::path::Path;
use std::sync::Arc;

/// Turns what follows it around.
const WRONG: &str = "le\u{202e}na";

fn open(folder: &Path) -> Arc<MemoryBox> {
    Arc::new(MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box"))
}

fn settings() -> CollectionSettings {
    CollectionSettings { dimension: Some(2), ..CollectionSettings::default() }
}

fn record(id: &str) -> NewRecord {
    NewRecord { id: Some(id.into()), text: "a".into(), vector: Some(vec![1.0, 0.0]), ..NewRecord::default() }
}

fn message(id: &str) -> NewMessage {
    NewMessage {
        id: Some(id.into()),
        role: Role::Assistant,
        kind: Default::default(),
        content: None,
        media: None,
        name: None,
        tool_call_id: None,
        tool_calls: Some(vec![Map::from_iter([("n".to_owned(), json!(1))])]),
        metadata: Map::new(),
        payload: None,
        created_at: None,
    }
}

/// The field that a refusal names.
fn refused<T>(result: Result<T, MemoryError>) -> String {
    match result.map(drop) {
        Err(MemoryError::Invalid { pointer, reason }) => {
            assert!(reason.contains("U+202E"), "{reason}");
            pointer
        }
        other => panic!("it was not refused: {other:?}"),
    }
}

#[test]
fn a_name_that_turns_a_line_around_is_refused_and_the_field_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "c", &settings()).expect("a collection");
    let write = |record: NewRecord| memory.records().upsert("t", "c", vec![record]);
    let (user, session, kind) = (Some(WRONG.to_owned()), Some(WRONG.to_owned()), Some(WRONG.to_owned()));
    assert_eq!(refused(write(record(WRONG))), "/records/0/id");
    assert_eq!(refused(write(NewRecord { user: user.clone(), ..record("1") })), "/records/0/user");
    assert_eq!(refused(write(NewRecord { session, ..record("1") })), "/records/0/session");
    assert_eq!(refused(write(NewRecord { kind, ..record("1") })), "/records/0/kind");
    write(record("1")).expect("a record");
    let patch = RecordPatch { user: Some(user.clone()), ..RecordPatch::default() };
    assert_eq!(refused(memory.records().patch("t", "c", "1", &patch, None)), "/user");

    let sessions = memory.sessions();
    let of = |user| SessionSettings { user, collection: Some("c".into()), ..SessionSettings::default() };
    assert_eq!(refused(sessions.put_session("t", WRONG, of(None), None)), "/session");
    assert_eq!(refused(sessions.put_session("t", "s", of(user.clone()), None)), "/user");
    let append = |id: &str, session: &str| {
        let collection = Some("c".to_owned());
        let messages = vec![message(id)];
        let request = AppendRequest { messages, user: None, collection, max_messages: None, on_conflict: None };
        sessions.append("t", session, request, None)
    };
    assert_eq!(refused(append("1", WRONG)), "/session");
    assert_eq!(refused(append(WRONG, "s")), "/messages/0/id");
    append("1", "s").expect("a message");
    assert_eq!(refused(sessions.push("t", WRONG, vec![json!(1)])), "/session");
    let checkpoint = || serde_json::from_value(json!({"state": 1})).expect("a checkpoint");
    let put = |thread, namespace, id| sessions.put_checkpoint("t", thread, namespace, id, checkpoint());
    assert_eq!(refused(put(WRONG, "", "1")), "/thread");
    assert_eq!(refused(put("s", WRONG, "1")), "/namespace");
    assert_eq!(refused(put("s", "", WRONG)), "/id");
    put("s", "", "1").expect("a checkpoint");

    let usage = memory.usage();
    assert_eq!(refused(usage.report_usage("t", UsageReport { user: WRONG.into(), tokens: 1 })), "/user");
    let quota = QuotaSettings { tokens_per_day: 1, price_per_1000: 0.0 };
    assert_eq!(refused(usage.set_quota("t", "me", WRONG, Some(quota))), "/user");
    usage.set_quota("t", "me", WRONG, None).expect("what is there can be taken away");
}

#[test]
fn what_is_there_by_such_a_name_is_read_changed_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&StoreConfig::new(folder.path())).expect("a store");
    let (collection, _) = store.create_collection("t", "c", settings()).expect("a collection");
    let version = |id: &str| {
        let (id, text, user) = (id.to_owned(), "a".to_owned(), Some(WRONG.to_owned()));
        let record = Record { id, text, user, given_vector: true, ..Record::default() };
        NewVersion {
            record,
            vector: vec![1.0, 0.0],
            windows: Default::default(),
            tokens: None,
            expected: None,
            keeps_created_at: false,
        }
    };
    let records = vec![version(WRONG), version("2")];
    store.write_records(WriteRecords::new(collection.clone(), records)).expect("a write");
    drop((collection, store));

    let memory = open(folder.path());
    let records = memory.records();
    assert_eq!(records.record("t", "c", WRONG).expect("it is found by its name").id, WRONG);
    let patch = RecordPatch { importance: Some(Some(0.5)), ..RecordPatch::default() };
    assert_eq!(records.patch("t", "c", WRONG, &patch, None).expect("a change").user.as_deref(), Some(WRONG));
    let moved = RecordPatch { user: Some(Some("lena".into())), ..RecordPatch::default() };
    assert_eq!(records.patch("t", "c", WRONG, &moved, None).expect("a change").user.as_deref(), Some("lena"));
    let deleted = records.delete("t", "me", "c", vec![(WRONG.to_owned(), None)]);
    assert_eq!(deleted.expect("it is deleted by its name"), 1);
    let job = memory.erase_user("t", "me", WRONG).expect("a job");
    assert!(memory.wait_for_jobs(std::time::Duration::from_secs(60)), "{job:?}");
    assert!(records.record("t", "c", "2").is_err(), "a user of such a name is erased");
    let none = memory.sessions().messages("t", WRONG, &MessageQuery::default());
    assert!(matches!(none, Err(MemoryError::NoSession(_))), "a session is looked for by any name");
}
