//! What a box writes is its owner's alone, and it takes no master key that others can read.

use crate::common::{Server, data_with_model, membox, post};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("its rights").permissions().mode() & 0o777
}

/// Everything below a folder that others may read, change or enter; links have no rights of their own.
fn open_to_others(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        if !kind.is_symlink() && mode(&path) & 0o077 != 0 {
            found.push(path.clone());
        }
        if kind.is_dir() {
            open_to_others(&path, found);
        }
    }
}

#[test]
fn what_a_box_and_its_commands_write_is_their_owners_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    post(&server, "/v1/collections/c/records", &json!({"records": [{"text": "the spare key is under the pot"}]}));
    let backup = folder.path().join("backup");
    assert!(membox(&data).arg("backup").arg(&backup).status().expect("the binary").success());
    server.stop();
    let restored = folder.path().join("restored");
    assert!(membox(&restored).arg("restore").arg(&backup).status().expect("the binary").success());
    let mut found = Vec::new();
    for folder in [&data, &backup, &restored] {
        open_to_others(folder, &mut found);
    }
    assert_eq!(found, Vec::<PathBuf>::new());
    assert_eq!((mode(&backup), mode(&restored)), (0o700, 0o700));
}

#[test]
fn a_master_key_that_others_can_read_is_refused_with_what_mends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let key = folder.path().join("master");
    assert!(membox(&data).args(["keys", "new"]).arg(&key).status().expect("the binary").success());
    fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"\n").expect("a file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("rights");
    let refused = membox(&data).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("the binary");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("chmod 600"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("rights");
    Server::start(&data, &[]).stop();
}
