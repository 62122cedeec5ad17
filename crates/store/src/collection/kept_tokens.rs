//! The file of a collection's vectors of tokens, and what is stored in it.

use super::CollectionFolder;
use crate::StoreError;
use membox_api::CollectionSettings;
use membox_records::keys::Opener;
use membox_records::{Sealing, StoredCollection};
use membox_vectors::{RowCodes, StoredCodes, TokenFile, TokenView, remove_token_files};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::fmt::Display;

/// The file, and what of it a compaction has to copy again.
#[derive(Default)]
pub(super) struct KeptTokens {
    /// Made with the first tokens that are written.
    pub file: Option<TokenFile>,
    /// Rows that have got codes since they were written, of which a compaction may have copied none.
    pub filled_later: RoaringBitmap,
}

impl From<Option<TokenFile>> for KeptTokens {
    fn from(file: Option<TokenFile>) -> Self {
        Self { file, filled_later: RoaringBitmap::new() }
    }
}

impl KeptTokens {
    /// Opens the file of a collection. What is there and is not wanted, or cannot be used, is removed.
    pub fn open(
        folder: &CollectionFolder,
        stored: &StoredCollection,
        settings: &CollectionSettings,
    ) -> Result<Self, StoreError> {
        let path = folder.tokens(stored.vector_file);
        let unusable = match TokenFile::open(&path, stored.vector_file, stored.rows) {
            Ok(file) if Some(file.space().dimension) == settings.token_dimension() => return Ok(Some(file).into()),
            Ok(_) => "they are not wanted any more".to_owned(),
            Err(error) => match StoreError::from(error) {
                error if error.is_missing_file() && !path.exists() => {
                    // Codes without entries are nobody's.
                    remove_token_files(&path)?;
                    return Ok(Self::default());
                }
                error @ (StoreError::NoFiles(_) | StoreError::DiskFull) => return Err(error),
                error => error.to_string(),
            },
        };
        tracing::warn!(collection = stored.name, reason = unusable, "vectors of tokens are begun anew");
        remove_token_files(&path)?;
        Ok(Self::default())
    }

    pub fn view(&self) -> Option<TokenView> {
        self.file.as_ref().map(TokenFile::view)
    }

    pub fn into_file(self) -> Option<TokenFile> {
        self.file
    }

    /// Removes the file; views of it stay.
    pub fn remove(&mut self, collection: &str, reason: &dyn Display) {
        self.filled_later.clear();
        if let Some(file) = self.file.take() {
            tracing::warn!(collection, %reason, "vectors of tokens are begun anew");
            if let Err(error) = file.remove() {
                tracing::warn!(collection, %error, "vectors of tokens could not be removed");
            }
        }
    }
}

/// Codes for a row, as they are to be stored.
pub(super) struct Codes<'a> {
    pub row: u32,
    pub vector_crc: u32,
    pub tokens: u16,
    pub key: u32,
    pub bytes: Cow<'a, [u8]>,
}

/// Where sealed codes belong: to their slot, which stays when a compaction gives them another row.
pub(super) fn tokens_place(collection: i64, slot: u64) -> [String; 3] {
    ["tokens".to_owned(), collection.to_string(), slot.to_string()]
}

/// Codes as they were packed; `None` where their key is gone or they are of another place.
pub(crate) fn open_sealed<'a>(
    codes: StoredCodes<'a>,
    (collection, slot): (i64, u64),
    opener: impl FnOnce(u32) -> Option<Opener>,
) -> Option<Cow<'a, [u8]>> {
    if codes.key == 0 {
        return Some(Cow::Borrowed(codes.bytes));
    }
    let place = tokens_place(collection, slot);
    let opened = opener(codes.key)?.open(&place.each_ref().map(String::as_str), codes.bytes).ok()?;
    Some(Cow::Owned(opened))
}

pub(super) fn opener(sealing: &Sealing) -> impl FnOnce(u32) -> Option<Opener> {
    |key| sealing.keyring()?.opener(key).ok()
}

impl Codes<'_> {
    pub fn as_row(&self) -> RowCodes<'_> {
        let Self { row, vector_crc, tokens, key, bytes } = self;
        RowCodes { row: *row, vector_crc: *vector_crc, codes: StoredCodes { tokens: *tokens, key: *key, bytes } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_records::keys::{Keyring, MasterKey};

    #[test]
    fn sealed_codes_open_in_their_own_slot_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let master = MasterKey::generate().expect("a key");
        let keyring = Keyring::open(&folder.path().join("keys.json"), master, &[]).expect("keys");
        let place = tokens_place(7, 3);
        let (key, bytes) = keyring.seal("t", &place.each_ref().map(String::as_str), &[5; 48]).expect("sealed");
        let codes = StoredCodes { tokens: 3, key, bytes: &bytes };
        let opened = |slot, collection| open_sealed(codes, (collection, slot), |key| keyring.opener(key).ok());
        assert_eq!(opened(3, 7).as_deref(), Some([5; 48].as_slice()));
        assert_eq!((opened(4, 7), opened(3, 8)), (None, None), "those of another record");
        assert_eq!(open_sealed(codes, (7, 3), |_| None), None, "the key is gone");
        let plain = StoredCodes { key: 0, ..codes };
        assert_eq!(open_sealed(plain, (7, 4), |_| None).as_deref(), Some(bytes.as_slice()));
    }
}
