use std::path::PathBuf;

/// What can go wrong with a vector file.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
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
    /// The file is not a vector file, is damaged, or is of a version that this program does not know.
    #[error("{path} is damaged: {reason}", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer membox.
    #[error("{path} has format version {found}, and this membox knows versions up to {known}: use a newer membox",
        path = .path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A vector of the wrong length.
    #[error("the vector has {found} dimensions; the collection has {expected}")]
    Dimension {
        /// Numbers given.
        found: usize,
        /// Numbers needed.
        expected: usize,
    },
    /// A vector with NaN or infinity in it, or beyond what the row type holds.
    #[error("the vector holds {0}, which is not a finite number that fits the collection's row type")]
    NotFinite(f32),
    /// A vector whose products with others may be no numbers.
    #[error("the vector is longer than {most:e}, the most that is compared without being brought to length 1")]
    TooLong {
        /// The length that is possible.
        most: f64,
    },
    /// A write failed earlier, so what is on disk is unknown: the file takes no more writes until it is opened again.
    #[error("{path} takes no more writes after a failed write or fsync; restart membox to recover",
        path = .0.display())]
    Poisoned(PathBuf),
}

impl VectorsError {
    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    }
}
