//! Folders and backups that somebody else has made: nothing in them leads out of them, and none of their code runs.

use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, backup, restore, verify};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A backup of a few records.
fn made(folder: &Path) -> PathBuf {
    let (data, target) = (folder.join("data"), folder.join("backup"));
    let memory = MemoryBox::open(&MemoryConfig::new(&data), Models::default()).expect("a box");
    let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
    memory.collections().create_collection("t", "c", &settings).expect("a collection");
    let record = |i: usize| NewRecord {
        id: Some(format!("r{i}")),
        text: format!("note {i}"),
        vector: Some(vec![1.0, i as f32]),
        ..NewRecord::default()
    };
    memory.records().upsert("t", "c", (0..5).map(record).collect()).expect("a write");
    drop(memory);
    backup(&data, &target, true).expect("a backup");
    target
}

fn change(database: &Path, sql: &str) {
    Connection::open(database).and_then(|db| db.execute_batch(sql)).expect("a change");
}

/// What restoring says, and that nothing has come into the box's folder or beside it.
fn refused(folder: &Path, backup: &Path) -> String {
    let root = folder.join("restored/box/data");
    fs::create_dir_all(root.parent().expect("a folder")).expect("folders");
    let error = restore(backup, &root).expect_err("a refusal").to_string();
    assert!(!root.join("membox.db").exists(), "{error}");
    let beside: Vec<_> = fs::read_dir(folder.join("restored/box")).expect("a folder").flatten().collect();
    assert!(beside.len() <= 1 && !folder.join("restored/pwned").exists(), "{beside:?}");
    error
}

#[test]
fn a_name_in_the_database_is_no_way_out_of_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = made(folder.path());
    let insert = "INSERT INTO media (record, collection, session, file) VALUES (1, 1, 's', '../../../../pwned')";
    change(&backup.join("membox.db"), insert);
    // So that the name leads to a file of the backup.
    fs::create_dir_all(backup.join("a/b/c/d")).expect("folders");
    symlink("../../a/b/c/d", backup.join("collections/1/media")).expect("a link");
    fs::write(backup.join("pwned"), "from the backup").expect("a file");
    let error = refused(folder.path(), &backup);
    assert!(error.contains("../../../../pwned") && error.contains("no name of a file"), "{error}");
    let report = verify(&MemoryConfig::new(&backup)).expect("a report");
    assert!(report.problems.iter().any(|problem| problem.found.contains("symbolic link")), "{report:?}");
    fs::remove_file(backup.join("collections/1/media")).expect("the link");
    let report = verify(&MemoryConfig::new(&backup)).expect("a report");
    assert!(report.problems.iter().any(|problem| problem.found.contains("no name of a file")), "{report:?}");
}

#[test]
fn no_link_in_a_backup_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("secret"), "a secret of the machine").expect("a file");
    let insert = "INSERT INTO media (record, collection, session, file) VALUES (1, 1, 's', 'image')";
    for link in ["collections", "collections/1", "collections/1/media", "collections/1/media/image", "membox.db"] {
        let made_in = folder.path().join(link.replace('/', "-"));
        fs::create_dir_all(&made_in).expect("a folder");
        let backup = made(&made_in);
        change(&backup.join("membox.db"), insert);
        fs::create_dir_all(backup.join("collections/1/media")).expect("a folder");
        fs::copy(folder.path().join("secret"), backup.join("collections/1/media/image")).expect("a file");
        let elsewhere = made_in.join("elsewhere");
        #[expect(clippy::disallowed_methods, reason = "a test's folder need not be durable")]
        fs::rename(backup.join(link), &elsewhere).expect("a move");
        symlink(&elsewhere, backup.join(link)).expect("a link");
        let error = refused(&made_in, &backup);
        assert!(error.contains("symbolic link"), "{link}: {error}");
        let found = match verify(&MemoryConfig::new(&backup)) {
            Ok(report) => format!("{:?}", report.problems),
            Err(error) => error.to_string(),
        };
        assert!(found.contains("symbolic link"), "{link}: {found}");
        let error = membox_memory::backup(&backup, &made_in.join("again"), true).expect_err("a refusal").to_string();
        assert!(error.contains("symbolic link"), "{link}: {error}");
        assert!(!made_in.join("again").exists());
    }
}

#[test]
fn code_of_a_database_is_refused_by_its_name_wherever_it_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = made(folder.path());
    let copy_texts = "CREATE TRIGGER spy AFTER INSERT ON records BEGIN
        INSERT INTO usage (tenant, user, day, tokens, requests, stored_tokens, messages)
        VALUES ('default', new.text, '2026-01-01', 1, 1, 1, 1); END";
    change(&backup.join("membox.db"), copy_texts);
    let config = MemoryConfig::new(&backup);
    for error in [
        refused(folder.path(), &backup),
        verify(&config).expect_err("a refusal").to_string(),
        MemoryBox::open(&config, Models::default()).err().expect("a refusal").to_string(),
        membox_memory::backup(&backup, &folder.path().join("again"), true).expect_err("a refusal").to_string(),
    ] {
        assert!(error.contains("trigger \"spy\""), "{error}");
    }
}
