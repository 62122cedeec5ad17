//! Names of files that the database tells.
//!
//! A database may be a backup that somebody else has made. A name that is taken from it names a file in a folder of
//! ours, and never a way out of it.

use crate::RecordsError;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use std::fmt;
use std::path::Path;

/// Bytes of a name that file systems take.
const MAX_NAME_BYTES: usize = 255;

/// The name of a file in its folder: it is no path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// A name that is not empty, is not `.` or `..`, and has no separator and no control character.
    pub fn new(name: impl Into<String>) -> Result<Self, RecordsError> {
        let name = name.into();
        let is_other = |c: char| c == '/' || c == '\\' || c.is_control();
        if matches!(name.as_str(), "" | "." | "..") || name.len() > MAX_NAME_BYTES || name.contains(is_other) {
            let start: String = name.chars().take(80).collect();
            return Err(RecordsError::Damaged(format!("{start:?} is no name of a file")));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        self.0.as_ref()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromSql for FileName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for FileName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_a_path_or_none_is_no_name() {
        for name in ["", ".", "..", "/", "a/b", "../a", "/etc/passwd", "a\\b", "a\0", "a\nb", "\u{7f}"] {
            assert!(FileName::new(name).is_err(), "{name:?}");
        }
        assert!(FileName::new("a".repeat(256)).is_err());
        for name in ["a", "0123abcd", "...", ".a", "a.small", "é"] {
            assert_eq!(FileName::new(name).expect("a name").as_str(), name);
        }
    }

    proptest! {
        #[test]
        fn a_name_stays_in_its_folder(name in any::<String>()) {
            if let Ok(name) = FileName::new(name) {
                let path = Path::new("/folder").join(&name);
                prop_assert_eq!(path.parent(), Some(Path::new("/folder")));
                prop_assert_eq!(path.file_name(), Some(name.as_str().as_ref()));
            }
        }
    }
}
