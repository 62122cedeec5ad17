//! Files of a compaction, until the collection switches to them.

use crate::StoreError;
use membox_index::VectorIndex;
use membox_text::TextIndex;
use membox_vectors::{TokenFile, VectorFile, VectorView};
use roaring::RoaringBitmap;
use uuid::Uuid;

/// Files of a collection that hold its current rows alone, until the writer switches to them.
pub(crate) struct CompactedFiles {
    /// The rows, in the order in which they were.
    pub file: VectorFile,
    /// Vectors of tokens, where there are any.
    pub tokens: Option<TokenFile>,
    /// The rows whose vectors of tokens were looked for.
    pub tokens_copied: RoaringBitmap,
    /// The vector file that the rows are of.
    pub of: Uuid,
    /// The rows that were copied.
    pub copied: RoaringBitmap,
    /// Those of them that died since, and whose copies are overwritten.
    pub erased: RoaringBitmap,
    pub index: Option<VectorIndex>,
    pub text: Option<TextIndex>,
    /// The row of the other file from which on no text is in the text index: all of them are in the collection's tail.
    pub texts_until: u32,
}

impl CompactedFiles {
    /// Copies what has become current since, durably, and overwrites the copies of what no longer is. Rows are
    /// current once, from when they come into view: what is copied now comes after all that was.
    pub fn catch_up(&mut self, view: &VectorView, rows: &RoaringBitmap) -> Result<(), StoreError> {
        let since = rows - &self.copied;
        self.file.append_rows(view, since.iter())?;
        self.copied |= since;
        let dead = &self.copied - rows - &self.erased;
        let copies: Vec<u32> = dead.iter().map(|row| self.copied.rank(row) as u32 - 1).collect();
        self.file.erase(copies.iter().copied())?;
        if let Some(tokens) = &mut self.tokens {
            tokens.erase(copies)?;
        }
        self.erased |= dead;
        Ok(())
    }
}
