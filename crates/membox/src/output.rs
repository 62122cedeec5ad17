//! Files that commands write: whole at their name, or not there.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A new file, written beside its name until it is whole.
pub struct NewFile {
    file: File,
    target: PathBuf,
    /// Where it is until then; `None` for a target that is no file, such as /dev/null, and is written as it is.
    partial: Option<PathBuf>,
}

impl NewFile {
    /// Begins a file that is to have the name `target`. What is there under that name stays until the new one is whole.
    pub fn create(target: &Path) -> Result<Self> {
        // A link stays, and what it leads to is replaced.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let is_special = fs::metadata(&target).is_ok_and(|found| !found.is_file());
        let partial = (!is_special).then(|| partial_of(&target));
        let path = partial.as_ref().unwrap_or(&target);
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file, target, partial })
    }

    /// The file, to be written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes what was written durable, and gives it its name.
    pub fn finish(mut self) -> Result<()> {
        let Some(partial) = self.partial.take() else { return Ok(()) };
        settle(&partial, &self.target)
    }
}

/// Where a file is written before it has its name.
pub fn partial_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Makes a file that was written whole durable, and gives it its name.
pub fn settle(partial: &Path, target: &Path) -> Result<()> {
    let settled = File::open(partial)
        .and_then(|file| file.sync_all())
        .and_then(|()| membox_memory::rename_durably(partial, target));
    settled.with_context(|| {
        let _ = fs::remove_file(partial);
        format!("cannot write {}", target.display())
    })
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_has_its_name_once_it_is_whole_and_what_was_there_stays_until_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("v.npy");
        fs::write(&path, "before").expect("a file");
        let dropped = NewFile::create(&path).expect("a file");
        dropped.file().write_all(b"half").expect("a write");
        drop(dropped);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "before");
        let whole = NewFile::create(&path).expect("a file");
        whole.file().write_all(b"whole").expect("a write");
        whole.finish().expect("its name");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "whole");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
        let null = NewFile::create(Path::new("/dev/null")).expect("no file");
        null.finish().expect("it stays what it is");
    }
}
