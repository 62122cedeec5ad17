/// What can go wrong in the text index. It is derived: one that fails can be built anew.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// tantivy refused.
    #[error("the text index failed: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    /// Files of the index are damaged, or of another state than is wanted.
    #[error("the record store holds a damaged value: {0}")]
    Damaged(String),
}

impl TextError {
    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        use tantivy::TantivyError;
        use tantivy::directory::error::{OpenDirectoryError, OpenWriteError};
        let Self::Tantivy(error) = self else { return false };
        let io = match error {
            TantivyError::IoError(io_error)
            | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. })
            | TantivyError::OpenDirectoryError(
                OpenDirectoryError::IoError { io_error, .. } | OpenDirectoryError::FailedToCreateTempDir(io_error),
            ) => io_error,
            _ => return false,
        };
        is_storage_full(io)
    }
}

/// How the system says that the disk is full, where nothing but its words is handed on, as tantivy does of metadata.
const STORAGE_FULL: &str = "(os error 28)";

fn is_storage_full(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::StorageFull
        || error.get_ref().is_some_and(|wrapped| wrapped.to_string().contains(STORAGE_FULL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_full_disk_is_seen_through_what_is_wrapped_around_it() {
        let full = || Error::from_raw_os_error(28);
        for error in [full(), Error::other(full()), Error::other(full().to_string())] {
            assert!(TextError::from(tantivy::TantivyError::from(error)).is_disk_full());
        }
        let other = Error::other(Error::from(ErrorKind::NotFound));
        assert!(!TextError::from(tantivy::TantivyError::from(other)).is_disk_full());
    }
}
