//! Ids never meet: a message and a record of one name, messages of two sessions, and whatever is made of users'
//! names are different things, over every way in. Messages say nothing but what tools they call, so that no model
//! is needed.

use membox_memory::{
    AppendAnswer, AppendRequest, CollectionSettings, MemoryBox, MemoryConfig, MemoryError, MessagePatch, MessageQuery,
    Models, NewMessage, NewRecord, Order, RecordPatch, RecordView, Role, SessionSettings,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

fn open(folder: &Path) -> Arc<MemoryBox> {
    Arc::new(MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box"))
}

fn with_collection(folder: &Path) -> Arc<MemoryBox> {
    let memory = open(folder);
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    memory.collections().create_collection("t", "c", &settings).expect("a collection");
    memory
}

fn number(n: u32) -> Map<String, Value> {
    json!({"n": n}).as_object().cloned().unwrap_or_default()
}

fn record(id: &str, n: u32) -> NewRecord {
    let vector = Some(vec![1.0, n as f32]);
    NewRecord { id: Some(id.into()), text: format!("record {n}"), vector, metadata: number(n), ..NewRecord::default() }
}

fn message(id: &str, n: u32) -> NewMessage {
    NewMessage {
        id: Some(id.into()),
        role: Role::Assistant,
        kind: Default::default(),
        content: None,
        media: None,
        name: None,
        tool_call_id: None,
        tool_calls: Some(vec![serde_json::Map::from_iter([("n".to_owned(), json!(n))])]),
        metadata: Map::new(),
        payload: None,
        created_at: None,
    }
}

fn append(memory: &MemoryBox, session: &str, messages: Vec<NewMessage>) -> Result<AppendAnswer, MemoryError> {
    let collection = Some("c".to_owned());
    let request = AppendRequest { messages, user: None, collection, max_messages: Some(0), on_conflict: None };
    memory.sessions().append("t", session, request, None)
}

fn shown(memory: &MemoryBox, filter: Option<Value>) -> Vec<RecordView> {
    memory.records().page("t", "c", Order::Written, None, 1000, filter.as_ref()).expect("a page").0
}

fn listed(memory: &MemoryBox, session: &str) -> Vec<(String, Value)> {
    let query = MessageQuery { limit: 1000, ..MessageQuery::default() };
    let (page, _) = memory.sessions().messages("t", session, &query).expect("messages");
    page.into_iter().map(|m| (m.id, m.tool_calls.unwrap_or_default()[0]["n"].clone())).collect()
}

#[test]
fn a_record_and_a_message_of_one_name_are_told_apart_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    // Filters are answered from memory from here on.
    assert!(shown(&memory, Some(json!({"field": "id", "eq": "s/1"}))).is_empty());
    memory.records().upsert("t", "c", vec![record("s/1", 1)]).expect("a write");
    append(&memory, "s", vec![message("1", 2), message("2", 3)]).expect("an append");
    memory.records().upsert("t", "c", vec![record("s/2", 4)]).expect("a write");
    assert_eq!(listed(&memory, "s"), [("1".to_owned(), json!(2)), ("2".to_owned(), json!(3))]);
    let all = shown(&memory, None);
    assert_eq!(all.iter().map(|r| &r.id).collect::<HashSet<_>>().len(), 4, "{all:?}");
    for view in &all {
        let same = shown(&memory, Some(json!({"field": "id", "eq": view.id})));
        assert_eq!(same.iter().map(|r| &r.message).collect::<Vec<_>>(), [&view.message], "{}", view.id);
        assert_eq!(memory.records().record("t", "c", &view.id).expect("a record").message, view.message);
    }
    let filter = json!({"field": "id", "eq": "s/2"});
    assert_eq!(memory.records().delete_by_filter("t", "local", "c", &filter).expect("a delete"), 1);
    assert_eq!(memory.records().delete("t", "local", "c", vec![("s/1".into(), None)]).expect("a delete"), 1);
    assert_eq!(listed(&memory, "s").len(), 2, "messages stay");
    memory.records().upsert("t", "c", vec![record("s/1", 5), record("s/2", 6)]).expect("a write");
    memory.sessions().delete_session("t", "local", "s").expect("a delete");
    assert_eq!(shown(&memory, None).len(), 2, "records stay");
}

#[test]
fn a_message_stays_in_its_session_and_what_changes_it_is_a_change_of_the_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    append(&memory, "s", vec![message("1", 1), message("2", 2)]).expect("an append");
    let version = || memory.sessions().session("t", "s").expect("a session").version;
    let patch = |patch: RecordPatch| memory.records().patch("t", "c", "s/1", &patch, None);
    let refused = |change: RecordPatch, field: &str| match patch(change) {
        Err(MemoryError::Impossible { pointer, .. }) => assert_eq!(pointer, field),
        other => panic!("{field}: {other:?}"),
    };
    refused(RecordPatch { session: Some(Some("other".into())), ..RecordPatch::default() }, "/session");
    refused(RecordPatch { session: Some(None), ..RecordPatch::default() }, "/session");
    refused(RecordPatch { user: Some(Some("bob".into())), ..RecordPatch::default() }, "/user");
    refused(RecordPatch { text: Some("never said".into()), ..RecordPatch::default() }, "/text");
    assert_eq!((version(), listed(&memory, "s").len()), (1, 2));
    // What says the same changes nothing, and metadata is the caller's.
    let same = RecordPatch { session: Some(Some("s".into())), metadata: Some(number(7)), ..RecordPatch::default() };
    assert_eq!(patch(same).expect("a change").metadata, number(7));
    assert_eq!(version(), 2);
    assert_eq!(memory.records().delete("t", "local", "c", vec![("s/1".into(), None)]).expect("a delete"), 1);
    assert_eq!((version(), listed(&memory, "s")), (3, vec![("2".to_owned(), json!(2))]));
    let filter = json!({"field": "session", "eq": "s"});
    assert_eq!(memory.records().delete_by_filter("t", "local", "c", &filter).expect("a delete"), 1);
    assert_eq!((version(), listed(&memory, "s")), (4, vec![]));
    // An append of what was said before is no write; what says something else by the same id is refused, and with
    // it all of the request.
    append(&memory, "s", vec![message("3", 3)]).expect("an append");
    assert_eq!(append(&memory, "s", vec![message("3", 3)]).expect("a repetition").messages[0].seq, None);
    match append(&memory, "s", vec![message("4", 4), message("3", 5)]) {
        Err(MemoryError::Taken { pointer, .. }) => assert_eq!(pointer, "/messages/1/id"),
        other => panic!("{other:?}"),
    }
    assert_eq!((version(), listed(&memory, "s")), (5, vec![("3".to_owned(), json!(3))]));
}

#[test]
fn no_way_leads_into_a_session_whose_id_has_a_slash() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let settings = || SessionSettings { collection: Some("c".into()), ..SessionSettings::default() };
    for id in ["a/b", "/", "a/", "a\0b", "", &"a".repeat(256)] {
        let refused = |done: Result<(), MemoryError>| {
            assert!(
                matches!(&done, Err(MemoryError::Invalid { pointer, .. }) if pointer == "/session"),
                "{id:?} {done:?}"
            );
        };
        refused(memory.sessions().put_session("t", id, settings(), None).map(drop));
        refused(append(&memory, id, vec![message("1", 1)]).map(drop));
        refused(memory.sessions().push("t", id, vec![json!(1)]).map(drop));
        let said = json!({"session": id, "collection": "c", "messages": [{"content": "x"}]});
        refused(memory.memories().add_memories("t", serde_json::from_value(said).expect("a request"), false).map(drop));
        refused(memory.sessions().message("t", id, "1").map(drop));
    }
    assert!(memory.sessions().sessions("t", None, None, 10).expect("sessions").0.is_empty());
}

/// The folder of a box of version 4, made of one of today's.
fn make_older(folder: &Path) {
    // Their checksums say when they were written, which is not kept then.
    let older = "UPDATE records SET crc = NULL; \
                 DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; ALTER TABLE records DROP COLUMN windows; \
                 ALTER TABLE audit DROP COLUMN key; DROP TABLE jobs; \
                 DROP INDEX messages_by_id; \
                 ALTER TABLE records DROP COLUMN message_id; PRAGMA user_version = 4; VACUUM;";
    rusqlite::Connection::open(folder.join("membox.db")).and_then(|db| db.execute_batch(older)).expect("a write");
}

#[test]
fn an_older_folder_answers_by_the_same_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    append(&memory, "s", vec![message("1", 1), message("a/b", 2)]).expect("an append");
    memory.records().upsert("t", "c", vec![record("s/9", 9), record("plain", 10)]).expect("a write");
    let before: Vec<String> = shown(&memory, None).into_iter().map(|view| view.id).collect();
    drop(memory);
    make_older(folder.path());
    let memory = open(folder.path());
    let after: Vec<String> = shown(&memory, None).into_iter().map(|view| view.id).collect();
    assert_eq!(after, before);
    assert_eq!(listed(&memory, "s"), [("1".to_owned(), json!(1)), ("a/b".to_owned(), json!(2))]);
    assert_eq!(append(&memory, "s", vec![message("1", 1)]).expect("a repetition").messages[0].seq, None);
    append(&memory, "s", vec![message("9", 3)]).expect("an append");
    assert_eq!(memory.records().record("t", "c", "s/9").expect("the record").text, "record 9");
    assert_eq!(listed(&memory, "s").len(), 3);
    drop(memory);
    assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
}

#[test]
fn users_of_older_boxes_keep_their_sessions_and_meet_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = with_collection(folder.path());
    let make = |id: &str, user: &str| {
        let settings =
            SessionSettings { collection: Some("c".into()), user: Some(user.into()), ..SessionSettings::default() };
        memory.sessions().put_session("t", id, settings, None).expect("a session");
    };
    let session_of = |user: &str| memory.sessions().user_session("t", "lightmem", user).expect("a session");
    // An older box put `_` for `/`.
    make("lightmem-a_b", "a/b");
    make("lightmem-Lena B", "Lena B");
    assert_eq!(session_of("a/b"), "lightmem-a_b", "what was said is not lost");
    assert_eq!(session_of("Lena B"), "lightmem-Lena B");
    let other = session_of("a_b");
    assert!(other.starts_with("lightmem."), "{other}");
    make(&other, "a_b");
    memory.sessions().delete_session("t", "local", "lightmem-a_b").expect("a delete");
    assert_eq!(session_of("a_b"), other, "it stays where it is");
    assert_eq!(session_of("new"), "lightmem-new");
}

/// Users whose names differ by little. None has what ends a line, which no name may hold.
fn user() -> impl proptest::strategy::Strategy<Value = String> {
    prop_oneof![
        "[aAbB/_.]{1,3}",
        "[\\PC--\\p{Zl}--\\p{Zp}]{1,4}",
        "[a/_]{250,256}",
        Just("é".to_owned()),
        Just("e\u{301}".to_owned())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_two_users_have_the_same_session(users in prop::collection::hash_set(user(), 1..12)) {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = with_collection(folder.path());
        let mut sessions = BTreeMap::new();
        for user in &users {
            let id = memory.sessions().user_session("t", "lightmem", user).expect("a session");
            let settings = SessionSettings { collection: Some("c".into()), user: Some(user.clone()),
                ..SessionSettings::default() };
            let (_, is_new) = memory.sessions().put_session("t", &id, settings, None).expect("a session");
            prop_assert!(is_new, "{id}");
            sessions.insert(user, id);
        }
        for (user, id) in sessions {
            prop_assert_eq!(memory.sessions().user_session("t", "lightmem", user).expect("a session"), id);
        }
    }
}

/// What callers do with records and messages whose names clash.
#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, u32),
    Append(&'static str, &'static str, u32),
    DeleteMessage(&'static str, &'static str),
    PatchMessage(&'static str, &'static str, u32),
    /// Of what is shown, the one at this place.
    DeleteShown(usize),
    DeleteShownByFilter(usize),
    PatchShown(usize, u32),
    DeleteSession(&'static str),
    Reopen,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    let ids = prop::sample::select(vec!["s/1", "s/2", "s/1/2", "t/1", "t/1/2", "s", "1"]);
    let sessions = || prop::sample::select(vec!["s", "t"]);
    let messages = || prop::sample::select(vec!["1", "2", "1/2"]);
    prop_oneof![
        4 => (ids, 0..1000u32).prop_map(|(id, n)| Step::Put(id, n)),
        5 => (sessions(), messages(), 0..3u32).prop_map(|(s, m, n)| Step::Append(s, m, n)),
        1 => (sessions(), messages()).prop_map(|(s, m)| Step::DeleteMessage(s, m)),
        1 => (sessions(), messages(), any::<u32>()).prop_map(|(s, m, n)| Step::PatchMessage(s, m, n)),
        1 => any::<usize>().prop_map(Step::DeleteShown),
        1 => any::<usize>().prop_map(Step::DeleteShownByFilter),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(i, n)| Step::PatchShown(i, n)),
        1 => sessions().prop_map(Step::DeleteSession),
        1 => Just(Step::Reopen),
    ]
}

type MessageName = (String, String);

/// What must be there: of records and messages, what they say and what their metadata says.
#[derive(Default)]
struct Model {
    records: BTreeMap<String, u32>,
    messages: BTreeMap<MessageName, (u32, Map<String, Value>)>,
    /// Messages in the order in which they were appended.
    order: Vec<MessageName>,
    sessions: HashSet<String>,
}

impl Model {
    fn forget(&mut self, view: &RecordView) {
        match (&view.session, &view.message) {
            (Some(session), Some(message)) => drop(self.messages.remove(&(session.clone(), message.clone()))),
            _ => drop(self.records.remove(&view.id)),
        }
    }

    fn check(&self, memory: &MemoryBox) {
        let all = shown(memory, None);
        assert_eq!(all.len(), self.records.len() + self.messages.len(), "{all:?}");
        assert_eq!(all.iter().map(|view| &view.id).collect::<HashSet<_>>().len(), all.len(), "one name for two things");
        for view in &all {
            let named = memory.records().record("t", "c", &view.id).expect("what is shown is found");
            assert_eq!((&named.message, &named.session), (&view.message, &view.session));
            let filtered = shown(memory, Some(json!({"field": "id", "eq": view.id})));
            assert_eq!(
                filtered.iter().map(|r| (&r.message, &r.session)).collect::<Vec<_>>(),
                [(&view.message, &view.session)]
            );
        }
        for (id, n) in &self.records {
            let view = memory.records().record("t", "c", id).expect("the record");
            assert_eq!((view.message, view.metadata), (None, number(*n)));
        }
        for ((session, id), (n, metadata)) in &self.messages {
            let view = memory.sessions().message("t", session, id).expect("the message");
            assert_eq!((view.tool_calls, &view.metadata), (Some(json!([{ "n": n }])), metadata));
        }
        for session in &self.sessions {
            let names = self.order.iter().filter(|name| name.0 == *session && self.messages.contains_key(*name));
            let wanted: Vec<&String> = names.map(|name| &name.1).collect();
            assert_eq!(listed(memory, session).iter().map(|m| &m.0).collect::<Vec<_>>(), wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_done_to_one_is_done_to_no_other(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut memory = with_collection(folder.path());
        let mut model = Model::default();
        for step in steps {
            let all = shown(&memory, None);
            let at = |i: usize| all.get(i.checked_rem(all.len())?);
            match step {
                Step::Put(id, n) => {
                    memory.records().upsert("t", "c", vec![record(id, n)]).expect("a write");
                    model.records.insert(id.to_owned(), n);
                }
                Step::Append(session, id, n) => {
                    let name = (session.to_owned(), id.to_owned());
                    let is_other = model.messages.get(&name).is_some_and(|known| known.0 != n);
                    match append(&memory, session, vec![message(id, n)]) {
                        Err(MemoryError::Taken { .. }) => assert!(is_other),
                        done => {
                            let is_new = done.expect("an append").messages[0].seq.is_some();
                            assert_eq!((is_other, is_new), (false, !model.messages.contains_key(&name)));
                            if is_new {
                                model.order.retain(|known| *known != name);
                                model.order.push(name.clone());
                                model.messages.insert(name, (n, Map::new()));
                            }
                            model.sessions.insert(session.to_owned());
                        }
                    }
                }
                Step::DeleteMessage(session, id) => {
                    let was_there = model.messages.remove(&(session.to_owned(), id.to_owned())).is_some();
                    assert_eq!(memory.sessions().delete_message("t", "x", session, id, None).is_ok(), was_there);
                }
                Step::PatchMessage(session, id, n) => {
                    let patch = MessagePatch { metadata: number(n), content: None };
                    let known = model.messages.get_mut(&(session.to_owned(), id.to_owned()));
                    assert_eq!(memory.sessions().patch_message("t", session, id, patch, None).is_ok(), known.is_some());
                    known.into_iter().for_each(|known| known.1 = number(n));
                }
                Step::DeleteShown(i) => {
                    let Some(view) = at(i) else { continue };
                    let deleted = memory.records().delete("t", "local", "c", vec![(view.id.clone(),
                        Some(view.version))]);
                    assert_eq!(deleted.expect("a delete"), 1);
                    model.forget(view);
                }
                Step::DeleteShownByFilter(i) => {
                    let Some(view) = at(i) else { continue };
                    let filter = json!({"field": "id", "eq": view.id});
                    assert_eq!(memory.records().delete_by_filter("t", "local", "c", &filter).expect("a delete"), 1);
                    model.forget(view);
                }
                Step::PatchShown(i, n) => {
                    let Some(view) = at(i) else { continue };
                    let patch = RecordPatch { metadata: Some(number(n)), ..RecordPatch::default() };
                    memory.records().patch("t", "c", &view.id, &patch, Some(view.version)).expect("a change");
                    match (&view.session, &view.message) {
                        (Some(session), Some(message)) => {
                            let name = (session.clone(), message.clone());
                            model.messages.get_mut(&name).expect("a message that is known").1 = number(n);
                        }
                        _ => drop(model.records.insert(view.id.clone(), n)),
                    }
                }
                Step::DeleteSession(session) => {
                    let count = model.messages.keys().filter(|name| name.0 == session).count();
                    let deleted = memory.sessions().delete_session("t", "local", session);
                    assert_eq!(deleted.ok(), model.sessions.remove(session).then_some(count));
                    model.messages.retain(|name, _| name.0 != session);
                }
                Step::Reopen => {
                    drop(memory);
                    memory = open(folder.path());
                }
            }
            model.check(&memory);
        }
        drop(memory);
        prop_assert_eq!(membox_memory::verify(&MemoryConfig::new(folder.path())).expect("a report").problems, []);
    }
}
