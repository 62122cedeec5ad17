//! Where the parts of a collection lie.

use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The folder of one collection.
pub(crate) struct CollectionFolder(pub PathBuf);

impl CollectionFolder {
    pub fn of(root: &Path, collection: i64) -> Self {
        Self(root.join("collections").join(collection.to_string()))
    }

    pub fn vectors(&self, file: Uuid) -> PathBuf {
        self.0.join(format!("{file}.mbv"))
    }

    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    pub fn text(&self) -> PathBuf {
        self.0.join("text")
    }

    pub fn media(&self) -> PathBuf {
        self.0.join("media")
    }

    /// The vector file that a compaction writes.
    pub fn compacting(&self) -> PathBuf {
        self.0.join("compacting.mbv")
    }

    /// Where a compaction builds what will lie here.
    pub fn next(&self) -> Self {
        Self(self.0.join("next"))
    }

    /// Removes vector files that no commit names: what an interrupted compaction left.
    pub fn remove_other_vector_files(&self, keep: Uuid) {
        let keep = self.vectors(keep);
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "mbv") && path != keep {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}
