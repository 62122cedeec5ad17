//! What the bytes of a model's files must be. They are hashed as they are loaded: what is checked is what is used,
//! whenever a file was changed, and whatever its size and its time say.

use crate::EncoderError;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Who says what the files must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumSource {
    /// membox itself, which has the checksums built in.
    Manifest,
    /// `SHA256SUMS` beside the files: what they were when the model was installed.
    Recorded,
    /// Nobody: any file is loaded.
    #[default]
    Nobody,
}

impl ChecksumSource {
    /// As answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Recorded => "recorded",
            Self::Nobody => "none",
        }
    }
}

/// SHA-256 of a model's files, as 64 hexadecimal digits, by their names. A file without one is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// Who says so.
    pub source: ChecksumSource,
    /// The checksums.
    pub sha256: BTreeMap<String, String>,
}

/// A model folder whose files are read once, and checked.
pub(crate) struct ModelFiles<'a> {
    folder: &'a Path,
    checksums: &'a Checksums,
}

impl<'a> ModelFiles<'a> {
    pub fn new(folder: &'a Path, checksums: &'a Checksums) -> Self {
        Self { folder, checksums }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The bytes of a file. One that is not there says how to get it.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, EncoderError> {
        if self.checksums.sha256.contains_key(name) {
            return self.read_hashed(name).map(|(bytes, _)| bytes);
        }
        read_file(&self.path(name))
    }

    /// The bytes of a file, and their SHA-256.
    pub fn read_hashed(&self, name: &str) -> Result<(Vec<u8>, [u8; 32]), EncoderError> {
        let path = self.path(name);
        let bytes = read_file(&path)?;
        let hash = <[u8; 32]>::from(Sha256::digest(&bytes));
        let Some(wanted) = self.checksums.sha256.get(name) else { return Ok((bytes, hash)) };
        let found = Hex(&hash).to_string();
        if found.eq_ignore_ascii_case(wanted) {
            return Ok((bytes, hash));
        }
        Err(EncoderError::WrongChecksum { path, found, wanted: wanted.clone(), by: self.checksums.source })
    }
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, EncoderError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => EncoderError::MissingFile(path.to_owned()),
        _ => EncoderError::Read { path: path.to_owned(), source },
    })
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_if_it_has_its_checksum_and_named_if_it_has_another() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), "abc").expect("a file");
        // Of FIPS 180-2.
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let checksums = |wanted: &str| Checksums {
            source: ChecksumSource::Recorded,
            sha256: [("config.json".to_owned(), wanted.to_owned())].into(),
        };
        let read = |checksums: &Checksums| ModelFiles::new(folder.path(), checksums).read("config.json");
        assert_eq!(read(&checksums(wanted)).expect("the file"), b"abc");
        assert_eq!(read(&Checksums::default()).expect("a file that nobody has a checksum of"), b"abc");
        let refused = read(&checksums(&wanted.replace('b', "c"))).expect_err("another checksum").to_string();
        assert!(refused.contains("config.json") && refused.contains(wanted), "{refused}");
        assert!(refused.contains("membox models pull --force"), "it says what to do: {refused}");
    }
}
