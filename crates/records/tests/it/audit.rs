//! The audit log holds: what was written is found as it was, and nothing else passes for it.

use membox_records::{AuditEvent, AuditKey, Reader, RecordsError, Sealing, Store};
use std::path::Path;

fn key(byte: u8) -> AuditKey {
    AuditKey::new([byte; 32])
}

fn open(folder: &Path, key: Option<AuditKey>) -> Store {
    let store = Store::open(&folder.join("membox.db"), Sealing::default()).expect("a store");
    match key {
        Some(key) => store.with_audit_key(key),
        None => store,
    }
}

fn write(folder: &Path, key: Option<AuditKey>, counts: std::ops::Range<u64>) {
    let mut store = open(folder, key);
    let mut transaction = store.begin().expect("a transaction");
    for count in counts {
        let [tenant, actor, action, subject] = ["t", "key:a", "delete records", "notes"].map(str::to_owned);
        transaction.audit(&AuditEvent { at: 1, tenant, actor, action, subject, count }).expect("an entry");
    }
    transaction.commit().expect("a commit");
}

fn verify(folder: &Path, keys: &[AuditKey]) -> Result<(u64, u64, u64), String> {
    let reader = Reader::open(&folder.join("membox.db"), Sealing::default()).expect("a reader");
    let chains = reader.verify_audit(keys).map_err(|error: RecordsError| error.to_string())?;
    assert!(chains.len() <= 1);
    Ok(chains.first().map_or((0, 0, 0), |chain| (chain.entries, chain.unchecked, chain.without_key)))
}

fn change(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("membox.db")).expect("the database");
    connection.execute_batch(sql).expect(sql);
}

#[test]
fn a_changed_entry_is_found_and_so_is_one_that_is_missing_or_has_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, Some(key(1)), 0..5);
    assert_eq!(verify(folder, &[key(1)]), Ok((5, 0, 0)));
    for (changed, entry) in [
        ("UPDATE audit SET count = 9 WHERE number = 3", "entry 3"),
        ("UPDATE audit SET actor = 'key:b' WHERE number = 2", "entry 2"),
        ("DELETE FROM audit WHERE number = 2", "entry 2"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE number = 4", "entry 4"),
        ("UPDATE audit SET key = 0 WHERE number = 5", "entry 5"),
    ] {
        let copy = tempfile::tempdir().expect("a folder");
        drop(open(folder, None));
        std::fs::copy(folder.join("membox.db"), copy.path().join("membox.db")).expect("a copy");
        change(copy.path(), changed);
        let found = verify(copy.path(), &[key(1)]);
        assert!(found.as_ref().is_err_and(|reason| reason.contains(entry)), "{changed}: {found:?}");
    }
}

#[test]
fn who_has_no_key_cannot_make_a_chain_that_holds() {
    let real = tempfile::tempdir().expect("a folder");
    write(real.path(), Some(key(1)), 0..3);
    // The same entries but one, by somebody who knows how it is done.
    for forger in [None, Some(key(2))] {
        let forged = tempfile::tempdir().expect("a folder");
        write(forged.path(), forger.clone(), 0..2);
        write(forged.path(), Some(key(1)), 2..3);
        change(
            real.path(),
            &format!(
                "ATTACH '{}' AS forged; DELETE FROM audit WHERE number < 3;
                 INSERT INTO audit SELECT * FROM forged.audit WHERE number < 3; DETACH forged;",
                forged.path().join("membox.db").display()
            ),
        );
        let found = verify(real.path(), &[key(1)]);
        assert!(found.as_ref().is_err_and(|reason| reason.contains("entry 3")), "{forger:?}: {found:?}");
    }
}

#[test]
fn entries_of_older_versions_stay_and_are_held_by_the_first_keyed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write(folder, None, 0..3);
    assert_eq!(verify(folder, &[key(1)]), Ok((3, 0, 3)), "it ends without a key");
    let without_key = || {
        let reader = Reader::open(&folder.join("membox.db"), Sealing::default()).expect("a reader");
        reader.audit_logs_without_key().expect("a read")
    };
    assert_eq!(without_key(), ["t"]);
    write(folder, Some(key(1)), 3..5);
    assert_eq!(without_key(), [""; 0]);
    assert_eq!(verify(folder, &[key(1)]), Ok((5, 0, 0)));
    // A box that was restored elsewhere has another key.
    write(folder, Some(key(2)), 5..6);
    assert_eq!(verify(folder, &[key(2)]), Ok((6, 2, 0)));
    assert_eq!(verify(folder, &[key(2), key(1)]), Ok((6, 0, 0)));
    change(folder, "UPDATE audit SET count = 9 WHERE number = 1");
    assert!(verify(folder, &[key(2), key(1)]).is_err_and(|reason| reason.contains("entry 1")));
}
