use std::path::PathBuf;

/// What can go wrong with an index. None of it loses anything: an index is derived and can be built anew.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// FAISS refused.
    #[error("FAISS cannot {action}: {message}")]
    Faiss {
        /// What was tried.
        action: &'static str,
        /// FAISS's own words.
        message: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The saved index is missing, damaged, or of another vector file: build it anew.
    #[error("the saved index in {path} cannot be used: {reason}", path = .path.display())]
    Unusable {
        /// Which folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A [`RowDevice`](crate::RowDevice) failed or has no room; searches go on without it.
    #[error("the device: {0}")]
    Device(String),
    /// The build was asked to stop.
    #[error("the build was stopped")]
    Stopped,
}
