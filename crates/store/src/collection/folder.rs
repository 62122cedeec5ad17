//! Where the parts of a collection lie.

use membox_index::VectorIndex;
use membox_records::FileName;
use membox_text::TextIndex;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The folder of one collection.
pub(crate) struct CollectionFolder(pub PathBuf);

impl CollectionFolder {
    pub fn of(root: &Path, collection: i64) -> Self {
        Self(root.join("collections").join(collection.to_string()))
    }

    /// Bytes that its files take on the disk. What goes away meanwhile takes none.
    pub fn disk_bytes(&self) -> u64 {
        fn of_folder(path: &Path) -> u64 {
            let of_entry = |entry: std::fs::DirEntry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => of_folder(&entry.path()),
                Ok(metadata) => metadata.blocks() * 512,
                Err(_) => 0,
            };
            std::fs::read_dir(path).map_or(0, |entries| entries.flatten().map(of_entry).sum())
        }
        of_folder(&self.0)
    }

    pub fn vectors(&self, file: Uuid) -> PathBuf {
        self.0.join(format!("{file}.mbv"))
    }

    /// The entries of the vectors of tokens that belong to a vector file; their codes lie beside them.
    pub fn tokens(&self, vector_file: Uuid) -> PathBuf {
        self.0.join(format!("{vector_file}.mbe"))
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

    /// A file of a message.
    pub fn media_file(&self, name: &FileName) -> PathBuf {
        self.media().join(name)
    }

    /// The vector file that a compaction writes.
    pub fn compacting(&self) -> PathBuf {
        self.0.join("compacting.mbv")
    }

    /// Where a compaction builds what will lie here.
    pub fn next(&self) -> Self {
        Self(self.0.join("next"))
    }

    /// Removes vector files that no commit names, and vectors of tokens of any other vector file: what an interrupted
    /// compaction left.
    pub fn remove_other_vector_files(&self, keep: Uuid) {
        let keep = self.vectors(keep);
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_one = path.extension().is_some_and(|e| e == "mbv" || e == "mbe" || e == "mbt");
            if is_one && path.file_stem() != keep.file_stem() {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Removes what a compaction that came to nothing has written: it may be a full disk that stopped it.
    pub fn discard_next(&self) {
        let _ = std::fs::remove_file(self.compacting());
        let _ = std::fs::remove_dir_all(self.next().0);
    }

    /// Where the index and the text index of a vector file are: in the place of a compaction that was broken off after
    /// its commit, or in theirs.
    pub fn derived(&self, vector_file: Uuid) -> (PathBuf, PathBuf) {
        let next = self.next();
        let has_index = VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file);
        let has_text = TextIndex::covered(&next.text(), vector_file).is_some();
        let of = |is_next: bool| if is_next { &next } else { self };
        (of(has_index || has_text).index(), of(has_text).text())
    }

    /// Puts the derived files of a compaction in their place if it is that of the vector file that the records name,
    /// and removes what is left of it.
    pub fn settle_next(&self, vector_file: Uuid) {
        let next = self.next();
        if !next.0.exists() {
            return;
        }
        // Entries without their codes would be those of none.
        for extension in ["mbt", "mbe"] {
            let [from, to] = [&next, self].map(|folder| folder.tokens(vector_file).with_extension(extension));
            #[expect(clippy::disallowed_methods, reason = "vectors of tokens whose name is lost are made anew")]
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(file = %to.display(), %error, "vectors of tokens of a compaction are lost");
                }
                _ => {}
            }
        }
        let replace = |from: PathBuf, to: PathBuf| {
            let _ = std::fs::remove_dir_all(&to);
            #[expect(clippy::disallowed_methods, reason = "an index whose name is lost is built anew")]
            if let Err(error) = std::fs::rename(&from, &to) {
                tracing::warn!(folder = %to.display(), %error, "an index of a compaction is lost; it is built anew");
            }
        };
        if VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file) {
            replace(next.index(), self.index());
        }
        if TextIndex::covered(&next.text(), vector_file).is_some() {
            if VectorIndex::manifest(&self.index()).is_ok_and(|manifest| manifest.vector_file != vector_file) {
                VectorIndex::remove(&self.index());
            }
            replace(next.text(), self.text());
        }
        let _ = std::fs::remove_dir_all(&next.0);
    }
}
