//! Requests beside the end of what they are about: each is done, or says that it came too late, and none is lost
//! without a word.

use membox_memory::{
    AppendRequest, CollectionSettings, Export, IndexPolicy, MemoryBox, MemoryConfig, MemoryError, Models, NewRecord,
    Order, RecallMode, RecallRequest, RecordPatch, RecordsError, SessionSettings,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

fn open(folder: &Path) -> Arc<MemoryBox> {
    Arc::new(MemoryBox::open(&MemoryConfig::new(folder), Models::default()).expect("a box"))
}

fn settings() -> CollectionSettings {
    CollectionSettings { dimension: Some(2), ..CollectionSettings::default() }
}

fn note(id: &str) -> NewRecord {
    let (id, vector) = (Some(id.to_owned()), Some(vec![1.0, 0.0]));
    NewRecord { id, text: "a note".to_owned(), vector, ..NewRecord::default() }
}

/// Whether an error says that what a request was about is gone, or that somebody else works on it.
fn came_too_late(error: &MemoryError) -> bool {
    matches!(
        error,
        MemoryError::NoCollection(_)
            | MemoryError::NoRecord(_)
            | MemoryError::NoSession(_)
            | MemoryError::Missing { .. }
            | MemoryError::Dropped(_)
            | MemoryError::Busy(_)
            | MemoryError::Exists { .. }
            | MemoryError::Overloaded { .. }
            | MemoryError::Records(RecordsError::Gone(_) | RecordsError::VersionConflict { .. })
    )
}

/// A request, done again and again beside others.
type Request<'a> = Box<dyn Fn(usize) -> Result<(), MemoryError> + Send + Sync + 'a>;

/// Does all of them beside each other for a while.
fn beside_each_other(requests: &[(&str, Request<'_>)]) {
    let (end, wrong) = (Instant::now() + Duration::from_secs(2), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for (what, request) in requests {
            let wrong = &wrong;
            scope.spawn(move || {
                for round in 0.. {
                    if Instant::now() > end {
                        return;
                    }
                    if let Err(error) = request(round)
                        && !came_too_late(&error)
                    {
                        wrong.lock().expect("a lock").insert(format!("{what}: {error:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("a lock");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn whatever_is_asked_of_a_collection_that_is_dropped_meanwhile_is_done_or_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "a", &settings()).expect("a collection");
    let m = &memory;
    let message = || json!({"messages": [{"role": "user", "content": "", "id": "m"}], "collection": "a"});
    let append = move || -> AppendRequest { serde_json::from_value(message()).expect("an append") };
    let image = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    let pictured = json!({"messages": [{"role": "user", "type": "image", "content": "", "media": {"data": image}}],
        "collection": "a"});
    let requests: Vec<(&str, Request<'_>)> = vec![
        ("drop", Box::new(|_| m.collections().drop_collection("t", "x", "a"))),
        ("drop again", Box::new(|_| m.collections().drop_collection("t", "x", "a"))),
        ("create", Box::new(|_| m.collections().create_collection("t", "a", &settings()).map(drop))),
        ("write", Box::new(|i| m.records().upsert("t", "a", vec![note(&i.to_string()), note("one")]).map(drop))),
        ("append", Box::new(|_| m.sessions().append("t", "s", append(), None).map(drop))),
        (
            "append an image",
            Box::new(move |i| {
                let request = serde_json::from_value(pictured.clone()).expect("an append");
                m.sessions().append("t", &format!("s{}", i % 3), request, None)?;
                for message in m
                    .sessions()
                    .messages(
                        "t",
                        &format!("s{}", i % 3),
                        &membox_memory::MessageQuery { limit: 3, ..Default::default() },
                    )?
                    .0
                {
                    m.sessions().media("t", &format!("s{}", i % 3), &message.id, i % 2 == 0)?;
                }
                Ok(())
            }),
        ),
        (
            "put a session",
            Box::new(|_| {
                m.sessions()
                    .put_session("t", "s", SessionSettings { collection: Some("a".into()), ..Default::default() }, None)
                    .map(drop)
            }),
        ),
        ("delete a session", Box::new(|_| m.sessions().delete_session("t", "x", "s").map(drop))),
        ("list sessions", Box::new(|_| m.sessions().sessions("t", None, None, 100).map(drop))),
        (
            "patch a message",
            Box::new(|_| {
                m.sessions()
                    .patch_message(
                        "t",
                        "s",
                        "m",
                        serde_json::from_value(json!({"metadata": {"a": 1}})).expect("a patch"),
                        None,
                    )
                    .map(drop)
            }),
        ),
        ("delete a message", Box::new(|_| m.sessions().delete_message("t", "x", "s", "m", None))),
        (
            "recall",
            Box::new(|_| {
                m.recall(
                    "t",
                    "a",
                    &RecallRequest {
                        query: Some("note".into()),
                        mode: Some(RecallMode::Text),
                        filter: Some(json!({"field": "id", "exists": true})),
                        ..Default::default()
                    },
                )
                .map(drop)
            }),
        ),
        ("read", Box::new(|_| m.records().record("t", "a", "one").map(drop))),
        ("page", Box::new(|_| m.records().page("t", "a", Order::Newest, None, 10, None).map(drop))),
        (
            "patch",
            Box::new(|i| {
                m.records()
                    .patch(
                        "t",
                        "a",
                        "one",
                        &RecordPatch { text: Some(format!("note {i}")), ..Default::default() },
                        None,
                    )
                    .map(drop)
            }),
        ),
        ("delete", Box::new(|_| m.records().delete("t", "x", "a", vec![("one".into(), None)]).map(drop))),
        (
            "delete by filter",
            Box::new(|_| m.records().delete_by_filter("t", "x", "a", &json!({"field": "id", "eq": "1"})).map(drop)),
        ),
        ("rebuild", Box::new(|_| m.rebuild("t", "a").map(drop))),
        (
            "consolidate",
            Box::new(|_| m.consolidate("t", "a", serde_json::from_value(json!({})).expect("a request")).map(drop)),
        ),
        (
            "settings",
            Box::new(|i| {
                m.collections()
                    .create_collection("t", "a", &CollectionSettings { keywords: Some(i % 2 == 0), ..settings() })
                    .map(drop)
            }),
        ),
        ("list", Box::new(|_| m.collections().describe_all("t").map(drop))),
        (
            "export",
            Box::new(|_| {
                let mut export = Export::of("t", "x", "u");
                while m.tenants().next_part(&mut export)?.is_some() {}
                m.tenants().end_export(&export)
            }),
        ),
    ];
    beside_each_other(&requests);
    drop(requests);
    // Nothing of dropped ones is left behind, and the box has come to no harm.
    assert_eq!(memory.read_only(), None);
    let has_one = memory.collections().create_collection("t", "a", &settings()).is_ok();
    // Jobs hold the box until they have ended.
    while Arc::strong_count(&memory) > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(memory);
    let left = std::fs::read_dir(folder.path().join("collections")).expect("a folder").count();
    assert_eq!(left, usize::from(has_one));
    open(folder.path());
}

/// A write that is acknowledged is in the collection of its name until that is dropped: what a dropped one takes
/// with it was there before the drop.
#[test]
fn nothing_is_acknowledged_into_a_collection_that_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (memory, is_over) = (&memory, &is_over);
            scope.spawn(move || {
                let mut i = 0;
                while !is_over.load(Ordering::Relaxed) {
                    i += 1;
                    let _ = memory.records().upsert("t", "a", vec![note(&format!("{writer}-{i}"))]);
                }
            });
        }
        for round in 0..200 {
            memory.collections().create_collection("t", "a", &settings()).expect("a collection");
            std::thread::sleep(Duration::from_micros(round * 20));
            let collection = memory.collections().collection("t", "a").expect("a collection");
            memory.collections().drop_collection("t", "x", "a").expect("dropped");
            let gone = memory.collections().describe(&collection).rows;
            std::thread::sleep(Duration::from_micros(500));
            assert_eq!(memory.collections().describe(&collection).rows, gone, "rows went into a file that is gone");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn of_many_that_create_the_same_one_has_created_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    for round in 0..20 {
        let (barrier, name) = (Barrier::new(16), format!("c{round}"));
        let created = |i: usize| {
            barrier.wait();
            // Half of them want other settings.
            let dimension = Some(2 + i % 2);
            match memory.collections().create_collection("t", &name, &CollectionSettings { dimension, ..settings() }) {
                Ok((_, created)) => Some(created),
                Err(MemoryError::Exists { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        };
        let created = &created;
        let made: Vec<Option<bool>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|i| scope.spawn(move || created(i))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        let count = |wanted| made.iter().filter(|made| **made == wanted).count();
        assert_eq!((count(Some(true)), count(Some(false)), count(None)), (1, 7, 8), "round {round}");
        // Sessions likewise, half of them of another user.
        let put = |i: usize| {
            barrier.wait();
            let (user, collection) = (Some(format!("u{}", i % 2)), Some(name.clone()));
            let settings = SessionSettings { user, collection, ..SessionSettings::default() };
            match memory.sessions().put_session("t", &format!("s{round}"), settings, None) {
                Ok((_, created)) => Some(created),
                Err(MemoryError::Exists { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        };
        let put = &put;
        let made: Vec<Option<bool>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|i| scope.spawn(move || put(i))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        let count = |wanted| made.iter().filter(|made| **made == wanted).count();
        assert_eq!((count(Some(true)), count(Some(false)), count(None)), (1, 7, 8), "round {round}");
    }
}

#[test]
fn settings_that_are_changed_at_the_same_time_are_all_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    for round in 0..30 {
        let (barrier, name) = (Barrier::new(3), format!("c{round}"));
        memory.collections().create_collection("t", &name, &settings()).expect("a collection");
        let changes = [
            CollectionSettings { keywords: Some(true), ..settings() },
            CollectionSettings { synonyms: Some(vec![vec!["car".into(), "auto".into()]]), ..settings() },
            CollectionSettings { index: IndexPolicy::Flat, ..settings() },
        ];
        std::thread::scope(|scope| {
            for change in &changes {
                let (barrier, memory, name) = (&barrier, &memory, &name);
                scope.spawn(move || {
                    barrier.wait();
                    memory.collections().create_collection("t", name, change).expect("a change");
                });
            }
        });
        let now = memory.collections().collection("t", &name).expect("a collection").settings();
        assert_eq!((now.keywords, now.synonyms.is_some(), now.index), (Some(true), true, IndexPolicy::Flat));
    }
}

#[test]
fn a_job_is_cancelled_or_done_and_stays_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = open(folder.path());
    memory.collections().create_collection("t", "c", &settings()).expect("a collection");
    memory.records().upsert("t", "c", vec![note("1")]).expect("a write");
    let ended = |id: &str| loop {
        let job = memory.jobs().view("t", id).expect("the job");
        if !["queued", "running"].contains(&job.state.as_str()) {
            return job.state;
        }
        std::thread::yield_now();
    };
    let (mut cancelled, mut done) = (0, 0);
    for round in 0..200 {
        let id = loop {
            match memory.rebuild("t", "c") {
                Ok(job) => break job.id,
                // The job before has ended, and its thread not quite.
                Err(MemoryError::Busy(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        if round % 4 == 0 {
            ended(&id);
        } else {
            std::thread::sleep(Duration::from_micros(round * 20));
        }
        let answer = memory.jobs().cancel("t", &id);
        let state = ended(&id);
        match &answer {
            Ok(_) => cancelled += 1,
            Err(MemoryError::JobEnded { state: told, .. }) => {
                assert_eq!(*told, "done");
                done += 1;
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(state, if answer.is_ok() { "cancelled" } else { "done" }, "round {round}");
        // Once more changes nothing.
        assert_eq!(memory.jobs().cancel("t", &id).is_ok(), answer.is_ok());
        assert_eq!(ended(&id), state);
    }
    assert!(cancelled + done == 200 && done > 0, "{cancelled} cancelled, {done} done");
    assert!(matches!(memory.jobs().cancel("t", "none"), Err(MemoryError::NoJob(_))));
    assert!(matches!(memory.jobs().cancel("other", "none"), Err(MemoryError::NoJob(_))));
}
