//! What is being erased is not written to, by whatever command, until its job says that nothing is left.

use super::sample::{Sample, numbered, settings};
use crate::{
    AppendMessages, ChangeSession, CheckpointBody, CheckpointKey, DayUsage, DeleteRecords, Erases, JobBody, JobState,
    Message, NewVersion, Record, RecordReads, Selection, SessionChange, SessionState, Spend, Store, StoreError,
    StoredJob, StoredSession, WriteRecords, day, now,
};
use membox_api::IndexPolicy;
use serde_json::{Map, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

fn erasure(erases: Erases) -> StoredJob {
    let (user, collection) = match erases {
        Erases::User => (Some("lena".to_owned()), Some("user-lena".to_owned())),
        Erases::Tenant => (None, None),
    };
    let body = JobBody { created_at: now(), ..JobBody::default() };
    let (id, tenant, kind) = ("erasure".into(), "t".into(), "erase".into());
    StoredJob { id, tenant, kind, user, collection, erases: Some(erases), body, ..StoredJob::default() }
}

fn ended(job: &StoredJob) -> StoredJob {
    StoredJob { state: JobState::Done, ended_at: Some(now()), erases: None, ..job.clone() }
}

fn of_user(number: usize, user: Option<&str>) -> NewVersion {
    let new = numbered(number);
    NewVersion { record: Record { user: user.map(str::to_owned), ..new.record }, ..new }
}

fn session(sample: &Sample, id: &str, user: &str) -> StoredSession {
    let (tenant, id, user) = ("t".into(), id.into(), Some(user.into()));
    let collection = sample.collection.id;
    StoredSession { number: 0, tenant, id, collection, user, version: 0, state: SessionState::default() }
}

fn append(sample: &Sample, id: &str, user: &str) -> Result<(), StoreError> {
    let message = Message {
        id: uuid::Uuid::new_v4().to_string(),
        role: "user".into(),
        kind: "text".into(),
        ..Message::default()
    };
    let new = of_user(1, Some(user));
    let record = Record {
        id: crate::record_id(id, &message.id),
        session: Some(id.into()),
        message: Some(message),
        ..new.record
    };
    let append = AppendMessages {
        collection: sample.collection.clone(),
        session: session(sample, id, user),
        messages: vec![NewVersion { record, expected: Some(0), ..new }],
        originals: HashMap::new(),
        expected: None,
        on_conflict: None,
    };
    sample.store.append_messages(append).map(drop)
}

/// All ways in which something is written to a user, by their names.
fn writes(sample: &Sample, user: &str) -> Vec<(&'static str, Result<(), StoreError>)> {
    let (store, own) = (&sample.store, format!("{user}-s"));
    let records = vec![of_user(7, Some(user))];
    let key = || CheckpointKey { tenant: "t".into(), thread: own.clone(), namespace: String::new(), id: "c".into() };
    let body = CheckpointBody {
        parent: None,
        state: json!(1),
        metadata: Map::new(),
        writes: BTreeMap::new(),
        created_at: now(),
    };
    let change_session = || {
        let set = SessionChange { max_messages: Some(5), ..SessionChange::default() };
        let Some(session) = store.read()?.session("t", &own)? else { return Ok(()) };
        store.change_session(ChangeSession { session, must_match: (false, false), set }).map(drop)
    };
    let (tenant, day) = ("t".to_owned(), day(now()));
    let spend = Spend { tenant: tenant.clone(), user: user.into(), day, tokens: 1, default_quota: None };
    let event = crate::AuditEvent {
        at: now(),
        tenant: tenant.clone(),
        actor: "test".into(),
        action: "set quota".into(),
        subject: String::new(),
        count: 0,
    };
    let job = StoredJob {
        id: format!("{user}{}", uuid::Uuid::new_v4()),
        tenant,
        user: Some(user.into()),
        ..StoredJob::default()
    };
    vec![
        ("records", store.write_records(WriteRecords::new(sample.collection.clone(), records)).map(drop)),
        ("messages", append(sample, &own, user)),
        ("a session", change_session()),
        ("inputs", store.push_inputs("t", &own, vec![json!(1)]).map(drop)),
        ("a checkpoint", store.put_checkpoint(key(), None, body, Default::default()).map(drop)),
        ("writes to one", store.put_checkpoint_writes(key(), "task", json!(1), 100)),
        ("usage", store.spend(spend).map(drop)),
        ("a quota", store.set_quota("t", user, None, event)),
        ("a collection", store.create_collection("t", &format!("user-{user}"), settings(IndexPolicy::Flat)).map(drop)),
        ("a job", store.insert_jobs(vec![job], None)),
    ]
}

fn is_refused(write: &Result<(), StoreError>) -> bool {
    matches!(write, Err(StoreError::Erasing(_)))
}

#[test]
fn nothing_is_written_to_a_user_who_is_being_erased_and_others_are_as_always() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    for user in ["lena", "otto"] {
        assert!(writes(&sample, user).iter().all(|(_, write)| write.is_ok()));
    }
    let own = store.collection("t", "user-lena").expect("a collection");
    let job = erasure(Erases::User);
    store.insert_jobs(vec![job.clone()], None).expect("a job");
    for (what, write) in writes(&sample, "lena") {
        // The collection is there already.
        assert!(is_refused(&write) || what == "a collection", "{what}: {write:?}");
    }
    for (what, write) in writes(&sample, "otto") {
        assert!(write.is_ok(), "{what} of another user: {write:?}");
    }
    // By another way too: into the user's own collection, and by making that.
    let nobodys = store.write_records(WriteRecords::new(own.clone(), vec![of_user(8, None)])).map(drop);
    assert!(is_refused(&nobodys), "{nobodys:?}");
    // What deletes goes on: the erasure does.
    let guard = crate::JobGuard::take(&own).expect("no job");
    assert!(store.drop_collection(&own, true, None).expect("it is dropped"));
    drop(guard);
    let again = store.create_collection("t", "user-lena", settings(IndexPolicy::Flat)).map(drop);
    assert!(is_refused(&again), "{again:?}");
    let which = Selection::Session { tenant: "t".into(), id: "lena-s".into() };
    let delete = DeleteRecords { collection: sample.collection.clone(), which, bump_sessions: false, audit: None };
    assert_eq!(store.delete_records(delete).expect("a deletion"), 1);
    store.add_usage(vec![usage("lena"), usage("otto")]).expect("it is passed over");
    let used = |user: &str| {
        let found = store.read().and_then(|reads| reads.usage("t", Some(user), ("2000-01-01", "9999-01-01"), 9));
        found.expect("usage").iter().map(|day| day.messages).sum::<i64>()
    };
    assert_eq!((used("lena"), used("otto")), (1, 12));
    // An erasure may be asked for once more.
    store.insert_jobs(vec![StoredJob { id: "again".into(), ..job.clone() }], None).expect("another job");
    assert!(store.put_job(&ended(&job)).expect("it is there"));
    assert!(writes(&sample, "lena").iter().any(|(_, write)| is_refused(write)), "the other one goes on");
    store.put_job(&ended(&StoredJob { id: "again".into(), ..job })).expect("it is there");
    for (what, write) in writes(&sample, "lena") {
        assert!(write.is_ok(), "{what}, once the job has ended: {write:?}");
    }
}

fn usage(user: &str) -> (String, DayUsage) {
    ("t".into(), DayUsage { user: user.into(), day: day(now()), messages: 10, ..DayUsage::default() })
}

#[test]
fn nothing_is_written_to_a_tenant_who_is_being_erased_and_other_tenants_are_as_always() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store = &sample.store;
    let job = erasure(Erases::Tenant);
    store.insert_jobs(vec![job.clone()], None).expect("a job");
    for (what, write) in writes(&sample, "lena") {
        assert!(is_refused(&write) || what == "a session", "{what}: {write:?}");
    }
    let (theirs, is_new) = store.create_collection("u", "c", settings(IndexPolicy::Flat)).expect("a collection");
    assert!(is_new);
    store.write_records(WriteRecords::new(theirs, vec![of_user(1, Some("lena"))])).expect("a write");
    store.drop_tenant("t", &job.id).expect("it is gone");
    store.put_job(&ended(&job)).expect("its job is there still");
    assert!(writes(&sample, "lena").iter().all(|(_, write)| write.is_ok()));
}

#[test]
fn what_was_written_before_an_erasure_is_there_when_it_begins_and_nothing_after() {
    let sample = Sample::new(IndexPolicy::Flat);
    let (store, is_over) = (&sample.store, AtomicBool::new(false));
    let job = erasure(Erases::User);
    let count = || {
        let (reads, mut count) = (store.read().expect("reads"), 0);
        reads
            .records_of_user(sample.collection.id, "lena", &mut |_| {
                count += 1;
                true
            })
            .expect("a read");
        count
    };
    let (begun, acknowledged) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (sample, is_over) = (&sample, &is_over);
                scope.spawn(move || {
                    let mut acknowledged = 0;
                    for number in 0.. {
                        let new = of_user(writer * 1_000_000 + number, Some("lena"));
                        match sample.store.write_records(WriteRecords::new(sample.collection.clone(), vec![new])) {
                            Ok(_) => acknowledged += 1,
                            Err(StoreError::Erasing(_)) if is_over.load(Ordering::Relaxed) => break,
                            Err(StoreError::Erasing(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(50));
        store.insert_jobs(vec![job], None).expect("a job");
        let begun = count();
        std::thread::sleep(std::time::Duration::from_millis(50));
        is_over.store(true, Ordering::Relaxed);
        (begun, writers.into_iter().map(|writer| writer.join().expect("a writer")).sum::<u64>())
    });
    assert!(begun > 0);
    assert_eq!((begun, count()), (acknowledged, acknowledged));
}

#[test]
fn old_jobs_are_swept() {
    let sample = Sample::new(IndexPolicy::Flat);
    let store: &Store = &sample.store;
    let of = |id: &str, days: i64| {
        let job = StoredJob { id: id.into(), tenant: "t".into(), ..StoredJob::default() };
        StoredJob { ended_at: Some(now() - days * 24 * 3600 * 1000), state: JobState::Done, ..job }
    };
    store.insert_jobs(vec![of("old", 31), of("new", 29)], None).expect("jobs");
    sample.sweep();
    let left = store.read().and_then(|reads| reads.jobs("t", None, None, i64::MAX, 9)).expect("a list");
    assert_eq!(left.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["new"]);
}
