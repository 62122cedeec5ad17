//! Opening files of a folder that may be somebody else's work: no symbolic link in it leads out of it.

use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io;
use std::path::{Component, Path};

/// Opens a file for reading that lies below `root`. Links on the way to `root` are its owner's; below it none is
/// followed, and nothing but a plain file is opened.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "it is not below its folder");
    let names = path.strip_prefix(root).map_err(|_| outside())?.components();
    let names = names.map(|part| if let Component::Normal(name) = part { Some(name) } else { None });
    let names = names.collect::<Option<Vec<_>>>().ok_or_else(outside)?;
    let (name, folders) = names.split_last().ok_or_else(outside)?;
    // Waits for no pipe to be written to.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut folder = File::open(root)?;
    for name in folders {
        folder = openat(&folder, *name, flags | OFlags::DIRECTORY, Mode::empty()).map_err(explained)?.into();
    }
    let file: File = openat(&folder, *name, flags, Mode::empty()).map_err(explained)?.into();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a plain file")),
    }
}

/// The system says `ELOOP` of a link as a file, and `ENOTDIR` of one as a folder.
fn explained(errno: rustix::io::Errno) -> io::Error {
    match errno {
        rustix::io::Errno::LOOP => io::Error::other("it is a symbolic link, which a data folder does not have"),
        rustix::io::Errno::NOTDIR => {
            io::Error::other("a part of its path is no folder, or a symbolic link, which a data folder does not have")
        }
        other => other.into(),
    }
}

#[cfg(all(test, not(membox_loom)))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_below_is_opened_and_no_link_is_followed() {
        let outer = tempfile::tempdir().expect("a folder");
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::write(root.join("a/b/file"), "inside").expect("a file");
        std::fs::write(outer.path().join("secret"), "outside").expect("a file");
        symlink(outer.path(), root.join("folder-link")).expect("a link");
        symlink("../../secret", root.join("a/file-link")).expect("a link");
        symlink("b/file", root.join("a/inner-link")).expect("a link");
        let mut text = String::new();
        open_beneath(&root, &root.join("a/b/file")).and_then(|mut f| f.read_to_string(&mut text)).expect("the file");
        assert_eq!(text, "inside");
        for path in ["folder-link/secret", "a/file-link", "a/inner-link", "../secret", "a/../../secret", "a/b", ""] {
            let error = open_beneath(&root, &root.join(path)).expect_err("no file of the folder");
            assert_ne!(error.kind(), io::ErrorKind::NotFound, "{path}: {error}");
        }
        let missing = open_beneath(&root, &root.join("a/none")).expect_err("no file");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        // The folder itself may be reached by a link.
        symlink(&root, outer.path().join("to-root")).expect("a link");
        let linked = outer.path().join("to-root");
        open_beneath(&linked, &linked.join("a/b/file")).expect("the file");
    }
}
