//! Jobs are kept as they were promised, sealed with their tenant, and a database of an older version comes to keep
//! them.

use membox_records::keys::{Keyring, MasterKey};
use membox_records::{Erases, Erasure, JobBody, JobState, Reader, RecordsError, Resealed, Sealing, Store, StoredJob};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;

fn job(tenant: &str, id: &str, kind: &str) -> StoredJob {
    let body = JobBody { work: json!({"work": kind}), created_at: 7, ..JobBody::default() };
    StoredJob { id: id.into(), tenant: tenant.into(), kind: kind.into(), body, ..StoredJob::default() }
}

fn erasure(tenant: &str, id: &str, user: &str) -> StoredJob {
    let (user, collection) = (Some(user.to_owned()), Some(format!("user-{user}")));
    StoredJob { user, collection, erases: Some(Erases::User), ..job(tenant, id, "erase") }
}

fn write<T>(
    store: &mut Store,
    writes: impl FnOnce(&mut membox_records::WriteTransaction) -> Result<T, RecordsError>,
) -> T {
    let mut transaction = store.begin().expect("a transaction");
    let done = writes(&mut transaction).expect("a write");
    transaction.commit().expect("a commit");
    done
}

fn ids(jobs: &[StoredJob]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

#[test]
fn a_job_is_there_until_it_is_removed_and_is_listed_by_state_and_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("membox.db");
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    for (tenant, id, kind) in [("t", "1", "rebuild"), ("t", "2", "erase"), ("u", "3", "rebuild"), ("t", "4", "rebuild")]
    {
        write(&mut store, |tx| tx.insert_job(&job(tenant, id, kind)));
    }
    let mut ended = job("t", "1", "rebuild");
    (ended.state, ended.ended_at, ended.body.result) = (JobState::Done, Some(1000), Some(json!({"n": 1})));
    assert!(write(&mut store, |tx| tx.put_job(&ended)));
    assert!(!write(&mut store, |tx| tx.put_job(&job("u", "1", "rebuild"))), "it is another tenant's");
    drop(store);

    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    let reader = store.reader().expect("a reader");
    let found = reader.job("t", "1").expect("a read").expect("the job");
    assert_eq!(found, StoredJob { number: 1, ..ended });
    assert_eq!(reader.job("u", "1").expect("a read"), None);
    let list = |state, kind, before, limit| reader.jobs("t", state, kind, before, limit).expect("a list");
    assert_eq!(ids(&list(None, None, i64::MAX, 9)), ["4", "2", "1"]);
    assert_eq!(ids(&list(None, None, i64::MAX, 2)), ["4", "2"]);
    assert_eq!(ids(&list(None, None, 4, 2)), ["2", "1"]);
    assert_eq!(ids(&list(Some(JobState::Queued), None, i64::MAX, 9)), ["4", "2"]);
    assert_eq!(ids(&list(Some(JobState::Queued), Some("erase"), i64::MAX, 9)), ["2"]);
    assert_eq!(ids(&reader.jobs_under_way().expect("a list")), ["2", "3", "4"]);

    assert!(
        !reader.has_jobs_ended_before(1000).expect("a read") && reader.has_jobs_ended_before(1001).expect("a read")
    );
    assert_eq!(write(&mut store, |tx| tx.drop_jobs_ended_before(1001)), 1);
    write(&mut store, |tx| tx.drop_tenant("t", "4"));
    assert_eq!(ids(&list(None, None, i64::MAX, 9)), ["4"], "the job that erases the tenant stays");
    assert_eq!(reader.jobs("u", None, None, i64::MAX, 9).expect("a list").len(), 1);
}

#[test]
fn an_erasure_holds_until_its_job_says_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    write(&mut store, |tx| tx.insert_job(&erasure("t", "1", "lena")));
    write(&mut store, |tx| tx.insert_job(&StoredJob { erases: Some(Erases::Tenant), ..job("u", "2", "erase") }));
    let erasures = |store: &mut Store, tenant: &str| write(store, |tx| tx.erasures(tenant));
    let lenas = Erasure::User { user: "lena".into(), collection: Some("user-lena".into()) };
    assert_eq!((erasures(&mut store, "t"), erasures(&mut store, "u")), (vec![lenas], vec![Erasure::Tenant]));
    // What names the user goes, and the job has not ended yet.
    let nobody = StoredJob { user: None, collection: None, erases: None, ..erasure("t", "1", "lena") };
    write(&mut store, |tx| tx.put_job(&nobody));
    assert_eq!(erasures(&mut store, "t"), []);
    assert_eq!(store.reader().and_then(|r| r.jobs_under_way()).expect("a list").len(), 2);
}

#[test]
fn jobs_that_name_or_quote_somebody_are_forgotten_and_others_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
    let ended = |job: StoredJob| StoredJob { state: JobState::Done, ended_at: Some(1), ..job };
    let of_lena = StoredJob { user: Some("lena".into()), ..job("t", "user", "update") };
    let own = StoredJob { collection: Some("user-lena".into()), ..job("t", "own", "rebuild") };
    let quoting = StoredJob { quotes: true, ..job("t", "quotes", "update") };
    let all = [
        ended(of_lena.clone()),
        ended(own),
        ended(quoting),
        ended(job("t", "plain", "rebuild")),
        ended(StoredJob { id: "another's".into(), tenant: "u".into(), ..of_lena.clone() }),
        StoredJob { id: "waits".into(), ..of_lena },
    ];
    all.iter().for_each(|job| write(&mut store, |tx| tx.insert_job(job)));
    assert_eq!(write(&mut store, |tx| tx.forget_jobs("t", "lena", "user-lena")), 3);
    let reader = store.reader().expect("a reader");
    assert_eq!(ids(&reader.jobs("t", None, None, i64::MAX, 9).expect("a list")), ["waits", "plain"]);
    assert_eq!(reader.jobs("u", None, None, i64::MAX, 9).expect("a list").len(), 1);
}

fn sealed(folder: &Path, master: &MasterKey) -> (Store, Sealing) {
    let keyring = Keyring::open(&folder.join("keys.json"), master.clone(), &[]).expect("keys");
    let sealing = Sealing::new(keyring, |tenant| tenant != "open");
    (Store::open(&folder.join("membox.db"), sealing.clone()).expect("a store"), sealing)
}

#[test]
fn what_a_job_says_is_sealed_with_its_tenant_and_anew_with_a_newer_key() {
    let (folder, master) = (tempfile::tempdir().expect("a folder"), MasterKey::generate().expect("a key"));
    let (mut store, sealing) = sealed(folder.path(), &master);
    let saying = |job: StoredJob| {
        let body = JobBody { result: Some(json!({"text": "zyxgarnet"})), ..job.body };
        StoredJob { body, ..job }
    };
    let secret = saying(job("t", "1", "update"));
    write(&mut store, |tx| tx.insert_job(&secret));
    let whole = || std::fs::read(folder.path().join("membox.db")).expect("the database");
    let is_readable = |bytes: Vec<u8>| bytes.windows(9).any(|window| window == b"zyxgarnet");
    assert!(store.checkpoint().expect("a checkpoint"));
    assert!(!is_readable(whole()));
    // An erased tenant's receipt is read when its keys are gone.
    write(&mut store, |tx| tx.insert_job(&saying(StoredJob { is_open: true, ..job("t", "2", "erase") })));
    assert!(store.checkpoint().expect("a checkpoint"));
    assert!(is_readable(whole()));

    let keyring = sealing.keyring().expect("keys");
    let newest = keyring.rotate("t").expect("a key");
    let (mut place, mut count) = (Some(Resealed::default()), 0);
    while let Some(from) = place {
        let (done, next) = write(&mut store, |tx| tx.reseal("t", from, 1));
        (place, count) = (next, count + done);
    }
    assert_eq!(count, 2);
    keyring.settle("t", newest).expect("settled");
    let found = store.reader().expect("a reader").job("t", "1").expect("a read").expect("the job");
    assert_eq!(found, StoredJob { number: 1, ..secret });
}

#[test]
fn a_damaged_job_is_found_and_not_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("membox.db");
    for change in
        ["user = 'otto'", "collection = NULL", "state = 'done'", "erases = 'tenant'", "body = '{}'", "kind = 'x'"]
    {
        let mut store = Store::open(&path, Sealing::default()).expect("a store");
        write(&mut store, |tx| tx.drop_tenant("t", ""));
        write(&mut store, |tx| tx.insert_job(&erasure("t", "1", "lena")));
        write(&mut store, |tx| tx.insert_job(&job("t", "2", "rebuild")));
        Connection::open(&path)
            .and_then(|db| db.execute(&format!("UPDATE jobs SET {change} WHERE id = '1'"), []))
            .expect("a change");
        let reader = store.reader().expect("a reader");
        assert_eq!(reader.damaged_tables(&[]).expect("a check").len(), 1, "{change}");
        assert_eq!(ids(&reader.jobs_under_way().expect("a list")), ["2"], "{change}");
    }
}

#[test]
fn a_database_of_version_5_comes_to_keep_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("membox.db");
    drop(Store::open(&path, Sealing::default()).expect("a store"));
    let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; \
                 ALTER TABLE records DROP COLUMN windows; \
                 ALTER TABLE audit DROP COLUMN key; DROP TABLE jobs; PRAGMA user_version = 5;";
    Connection::open(&path).and_then(|db| db.execute_batch(older)).expect("a change");
    assert!(matches!(Reader::open(&path, Sealing::default()), Err(RecordsError::TooOld { found: 5, .. })));
    let mut store = Store::open(&path, Sealing::default()).expect("a store");
    write(&mut store, |tx| tx.insert_job(&job("t", "1", "rebuild")));
    assert!(store.reader().and_then(|r| r.job("t", "1")).expect("a read").is_some());
}
