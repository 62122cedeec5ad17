//! Files that nobody but their owner can read.

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Rights of the group and of everybody else.
const OTHERS: u32 = 0o077;
/// Rights of everybody else.
const EVERYBODY: u32 = 0o007;

/// Has every file that this process makes be its owner's alone.
pub fn make_files_private() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Refuses a secret that others can read. One that is not our own, as a secret that is mounted, is read by its group.
pub fn check_secret(path: &Path, what: &str) -> Result<()> {
    let found = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    let (wrong, mode) = if is_own { (OTHERS, "600") } else { (EVERYBODY, "o=") };
    if rights(&found) & wrong != 0 {
        let (path, rights) = (path.display(), rights(&found));
        bail!("others can read or change {what} {path} (mode {rights:o}): run `chmod {mode} {path}`");
    }
    Ok(())
}

/// Says so in the log when others can read a data folder.
pub fn look_at_data_folder(data_dir: &Path) {
    let Ok(found) = fs::metadata(data_dir) else { return };
    if rights(&found) & OTHERS != 0 {
        let (data_dir, mode) = (data_dir.display(), rights(&found));
        tracing::warn!("other users of this machine may read {data_dir} (mode {mode:o}): run `chmod 700 {data_dir}`");
    }
}

fn rights(found: &Metadata) -> u32 {
    found.mode() & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_master_key_that_others_can_read_is_refused_with_what_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master");
        fs::write(&path, "a key").expect("a file");
        for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("rights");
            let checked = check_secret(&path, "the master key");
            assert_eq!(checked.is_ok(), is_private, "{mode:o}");
            if let Err(error) = checked {
                assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
            }
        }
    }
}
