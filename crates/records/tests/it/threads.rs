//! Threads as wholes: they are listed, cut down and copied, and no other thread notices.

use membox_records::{
    Blob, CheckpointBody, CheckpointOrder, CheckpointPlace, CheckpointQuery, Filter, MAX_PAGE_BYTES, Namespace, Reader,
    Sealing, Store, Thread, WriteTransaction,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    (folder, store)
}

fn place<'a>(thread: &'a str, namespace: &'a str) -> CheckpointPlace<'a> {
    CheckpointPlace { tenant: "t", thread, namespace }
}

/// An id as LangGraph makes them, of the n-th moment.
fn time_id(n: usize) -> String {
    format!("1f0a2b3c-0000-6aaa-8000-{n:012x}")
}

fn write<T>(store: &mut Store, write: impl FnOnce(&mut WriteTransaction) -> T) -> T {
    let mut transaction = store.begin().expect("a transaction");
    let done = write(&mut transaction);
    transaction.commit().expect("a commit");
    done
}

fn put(store: &mut Store, at: CheckpointPlace, id: &str, parent: Option<&str>, metadata: &Value) {
    let metadata = metadata.as_object().cloned().unwrap_or_default();
    let (parent, writes) = (parent.map(str::to_owned), BTreeMap::new());
    let body = CheckpointBody { parent, state: json!({"of": id}), metadata, writes, created_at: 1 };
    write(store, |tx| tx.put_checkpoint(at, id, None, body)).expect("a write");
}

fn put_writes(store: &mut Store, at: CheckpointPlace, id: &str) {
    write(store, |tx| tx.put_checkpoint_writes(at, id, "task", json!([["out", id]]), 1)).expect("a write");
}

fn query<'a>(thread: &'a str, namespace: Option<&'a str>) -> CheckpointQuery<'a> {
    CheckpointQuery { tenant: "t", thread, namespace, after: None, filter: None, limit: 100, with_blobs: false }
}

/// The namespaces and ids of a page, and where the next one begins.
fn page(reader: &Reader, query: CheckpointQuery) -> (Vec<(String, String)>, Option<CheckpointOrder>) {
    let (found, next) = reader.checkpoints(query, 5).expect("a page");
    (found.into_iter().map(|found| (found.namespace, found.id)).collect(), next)
}

fn ids(reader: &Reader, thread: &str, namespace: &str) -> Vec<String> {
    page(reader, query(thread, Some(namespace))).0.into_iter().map(|found| found.1).collect()
}

#[test]
fn threads_and_namespaces_are_listed_by_their_names_without_what_waits_or_has_expired() {
    let (_folder, mut store) = store();
    for (thread, namespace) in [("b", ""), ("b", "sub"), ("a", ""), ("c", "")] {
        put(&mut store, place(thread, namespace), &time_id(1), None, &json!({}));
    }
    put(&mut store, place("b", "sub"), &time_id(2), None, &json!({}));
    put_writes(&mut store, place("d", ""), &time_id(1));
    let body = CheckpointBody {
        parent: None,
        state: json!(0),
        metadata: Default::default(),
        writes: BTreeMap::new(),
        created_at: 1,
    };
    write(&mut store, |tx| tx.put_checkpoint(place("e", ""), "gone", Some(5), body.clone())).expect("a write");
    let other = CheckpointPlace { tenant: "other", ..place("a", "") };
    write(&mut store, |tx| tx.put_checkpoint(other, "x", None, body)).expect("a write");
    let reader = store.reader().expect("a reader");
    let thread = |id: &str, checkpoints, namespaces| Thread { id: id.to_owned(), checkpoints, namespaces };
    let all = [thread("a", 1, 1), thread("b", 3, 2), thread("c", 1, 1)];
    assert_eq!(reader.threads("t", "", 9, 5).expect("threads"), all);
    assert_eq!(reader.threads("t", "a", 1, 5).expect("threads"), all[1..2]);
    assert_eq!(reader.threads("t", "c", 9, 5).expect("threads"), []);
    let namespace = |name: &str, checkpoints| Namespace { name: name.to_owned(), checkpoints };
    assert_eq!(reader.namespaces("t", "b", None, 9, 5).expect("all"), [namespace("", 1), namespace("sub", 2)]);
    assert_eq!(reader.namespaces("t", "b", Some(""), 9, 5).expect("all"), [namespace("sub", 2)]);
    assert_eq!(reader.namespaces("t", "d", None, 9, 5).expect("all"), []);
}

#[test]
fn a_page_of_all_namespaces_is_in_one_order_and_goes_on_where_the_same_id_stands_in_several() {
    let (_folder, mut store) = store();
    for n in 1..4 {
        for namespace in ["", "sub", "other"] {
            put(&mut store, place("a", namespace), &time_id(n), None, &json!({}));
            put(&mut store, place("a", namespace), &n.to_string(), None, &json!({}));
        }
    }
    let reader = store.reader().expect("a reader");
    let (all, next) = page(&reader, query("a", None));
    assert_eq!((all.len(), next), (18, None));
    assert_eq!(all[..4].iter().map(|found| found.1.clone()).collect::<Vec<_>>()[..3], vec![time_id(3); 3]);
    assert_eq!(all[17], (String::new(), "1".to_owned()));
    for limit in 1..7 {
        let (mut by_pages, mut after) = (Vec::new(), None);
        loop {
            let (found, next) = page(&reader, CheckpointQuery { after, limit, ..query("a", None) });
            by_pages.extend(found);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(by_pages, all, "by pages of {limit}");
    }
    // What comes before an id, whether that is there or not.
    let after = CheckpointOrder::before_id(&time_id(2));
    assert_eq!(page(&reader, CheckpointQuery { after, ..query("a", Some("")) }).0.len(), 1 + 3);
    let after = CheckpointOrder::before_id(&time_id(99));
    assert_eq!(page(&reader, CheckpointQuery { after, ..query("a", Some("")) }).0.len(), 6);
    assert_eq!(CheckpointOrder::before_id("2"), None);
}

#[test]
fn a_filter_is_over_metadata_and_a_page_looks_at_a_thousand() {
    let (_folder, mut store) = store();
    write(&mut store, |tx| {
        for n in 0..2500 {
            let metadata = json!({"source": if n == 3 { "input" } else { "loop" }, "step": n});
            let body = CheckpointBody {
                parent: None,
                state: json!(n),
                metadata: metadata.as_object().cloned().unwrap_or_default(),
                writes: BTreeMap::new(),
                created_at: 1,
            };
            tx.put_checkpoint(place("a", ""), &time_id(n), None, body).expect("a write");
        }
    });
    let reader = store.reader().expect("a reader");
    let filter = |value: Value| Filter::parse(&value, "/filter").expect("a filter");
    let newest = filter(json!({"field": "metadata.step", "gte": 2490}));
    let asked = CheckpointQuery { filter: Some(&newest), limit: 4, ..query("a", Some("")) };
    let (found, next) = page(&reader, asked);
    assert_eq!(found.iter().map(|found| found.1.clone()).collect::<Vec<_>>(), [2499, 2498, 2497, 2496].map(time_id));
    assert!(next.is_some());
    let input = filter(json!({"field": "metadata.source", "eq": "input"}));
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let asked = CheckpointQuery { filter: Some(&input), after, ..query("a", Some("")) };
        let (some, next) = page(&reader, asked);
        (found, after, pages) = ([found, some].concat(), next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec![(String::new(), time_id(3))], 3));
}

#[test]
fn a_page_has_a_bound_in_octets_and_one_checkpoint_at_least() {
    let (_folder, mut store) = store();
    let at = place("a", "");
    for (i, share) in [3, 3, 3, 1].into_iter().enumerate() {
        let (channel, version) = ("c".to_owned(), i.to_string());
        let channels = BTreeMap::from([(channel.clone(), version.clone())]);
        put(&mut store, at, &time_id(i), None, &json!({}));
        // Two of a third leave no room for a third one: a checkpoint has bytes of its own.
        let blob = Blob { channel, version, kind: String::new(), data: vec![7; MAX_PAGE_BYTES / share] };
        write(&mut store, |tx| tx.put_blob(at, &blob).and_then(|()| tx.set_channels(at, &time_id(i), &channels)))
            .expect("a write");
    }
    let reader = store.reader().expect("a reader");
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let (found, next) = page(&reader, CheckpointQuery { after, with_blobs: true, ..query("a", Some("")) });
        pages.push(found.into_iter().map(|found| found.1).collect::<Vec<_>>());
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![time_id(3)], vec![time_id(2), time_id(1)], vec![time_id(0)]]);
    assert_eq!(ids(&reader, "a", "").len(), 4, "without blobs they are small");
}

#[test]
fn the_latest_of_each_namespace_stay_and_have_no_parent_that_is_gone() {
    let (_folder, mut store) = store();
    for namespace in ["", "sub"] {
        for n in 0..5 {
            let parent = (n > 0).then(|| time_id(n - 1));
            put(&mut store, place("a", namespace), &time_id(n), parent.as_deref(), &json!({}));
        }
        put_writes(&mut store, place("a", namespace), &time_id(3));
        put_writes(&mut store, place("a", namespace), &time_id(77));
    }
    put(&mut store, place("b", ""), &time_id(0), None, &json!({}));
    assert_eq!(write(&mut store, |tx| tx.prune_checkpoints("t", "a", Some("sub"), 1, 5)).expect("pruned"), 4);
    assert_eq!(write(&mut store, |tx| tx.prune_checkpoints("t", "a", None, 2, 5)).expect("pruned"), 3);
    assert_eq!(write(&mut store, |tx| tx.prune_checkpoints("t", "none", None, 2, 5)).expect("pruned"), 0);
    let reader = store.reader().expect("a reader");
    assert_eq!(ids(&reader, "a", ""), [time_id(4), time_id(3)]);
    assert_eq!(ids(&reader, "a", "sub"), [time_id(4)]);
    assert_eq!(ids(&reader, "b", ""), [time_id(0)]);
    let body = |namespace, n| {
        reader.checkpoint(place("a", namespace), &time_id(n), 5).expect("a read").expect("a checkpoint").body
    };
    assert_eq!(body("", 4).parent, Some(time_id(3)));
    assert_eq!((body("", 3).parent, body("", 3).writes.len()), (None, 1));
    assert_eq!(body("sub", 4).parent, None);
    assert_eq!(reader.awaited_checkpoints(place("a", "")).expect("a read").len(), 1);
    assert_eq!(reader.damaged_tables(&[]).expect("a check"), Vec::<String>::new());
}

#[test]
fn one_checkpoint_is_deleted_with_its_writes_and_a_namespace_by_itself() {
    let (_folder, mut store) = store();
    for namespace in ["", "sub"] {
        put(&mut store, place("a", namespace), "1", None, &json!({}));
        put(&mut store, place("a", namespace), "2", None, &json!({}));
        put_writes(&mut store, place("a", namespace), "2");
        put_writes(&mut store, place("a", namespace), "3");
    }
    let mut drop_one = |id: &str| write(&mut store, |tx| tx.drop_checkpoint(place("a", ""), id, 5)).expect("a write");
    assert!(drop_one("2"));
    assert!(!drop_one("2"));
    assert!(!drop_one("3"), "what waits is no checkpoint");
    let reader = store.reader().expect("a reader");
    assert_eq!((ids(&reader, "a", ""), ids(&reader, "a", "sub")), (vec!["1".into()], vec!["2".into(), "1".into()]));
    put(&mut store, place("a", ""), "2", None, &json!({}));
    let found = reader.checkpoint(place("a", ""), "2", 5).expect("a read").expect("a checkpoint");
    assert!(found.body.writes.is_empty());
    assert_eq!(write(&mut store, |tx| tx.drop_checkpoints("t", "a", Some("sub"))).expect("dropped"), 2);
    assert_eq!(reader.checkpoint_namespaces("t", "a").expect("a read"), [""]);
    assert_eq!(reader.awaited_checkpoints(place("a", "")).expect("a read").len(), 1);
}

#[test]
fn a_copy_says_the_same_in_the_same_order_and_leaves_the_original() {
    let (_folder, mut store) = store();
    for id in [&time_id(1), &time_id(2), "z", "y"] {
        put(&mut store, place("a", "n"), id, None, &json!({"id": id}));
    }
    put_writes(&mut store, place("a", "n"), &time_id(2));
    put_writes(&mut store, place("a", "n"), &time_id(3));
    put(&mut store, place("b", "n"), "z", None, &json!({"id": "another"}));
    put_writes(&mut store, place("b", "n"), &time_id(4));
    let reader = store.reader().expect("a reader");
    let mut all = reader.checkpoint_ids(place("a", "n"), 5).expect("ids");
    all.reverse();
    all.extend([time_id(3), "none".to_owned()]);
    let copied = write(&mut store, |tx| tx.copy_checkpoints(place("a", "n"), "b", &all, 5)).expect("a copy");
    assert_eq!(copied, 4);
    let said = |thread: &str| {
        let (found, _) = reader.checkpoints(query(thread, Some("n")), 5).expect("a page");
        found.into_iter().map(|found| (found.id, found.body)).collect::<Vec<_>>()
    };
    assert_eq!(said("b"), said("a"));
    let waiting = |thread: &str| reader.awaited_checkpoints(place(thread, "n")).expect("a read").len();
    assert_eq!((waiting("a"), waiting("b")), (1, 2));
    assert_eq!(reader.damaged_tables(&[]).expect("a check"), Vec::<String>::new());
}
