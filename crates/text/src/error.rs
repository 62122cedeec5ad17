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
        io.kind() == std::io::ErrorKind::StorageFull
    }
}
