//! Vectors of tokens: derived from texts, and kept in the order in which these are written.
//!
//! What fails here takes no record along: a file that is damaged, or of which an fsync has failed, is begun anew, and
//! its records have no vectors of tokens until these are made again. A full disk alone refuses the write that they
//! came with.

use super::kept_tokens::{Codes, KeptTokens, open_sealed, opener, tokens_place};
use super::{Collection, CompactedFiles};
use crate::StoreError;
use crate::command::VersionId;
use membox_api::TokenVectorsView;
use membox_records::RecordsError;
use membox_vectors::{RowReceipt, TokenFile, TokenSpace, TokenSync, TokenVectors, TokenView, VectorsError};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::sync::{MutexGuard, PoisonError};
use uuid::Uuid;

/// Rows whose codes a compaction copies in one go.
const COPIED_ROWS: usize = 4096;

impl Collection {
    pub(super) fn tokens(&self) -> MutexGuard<'_, KeptTokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of a token's vector; `None` where no vectors of tokens are kept.
    pub fn token_dimension(&self) -> Option<usize> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).token_dimension()
    }

    /// Vectors of tokens as they are now.
    pub(crate) fn token_view(&self) -> Option<TokenView> {
        self.tokens().view()
    }

    /// How many records have vectors of tokens; `None` where none are kept.
    pub(crate) fn count_tokens(&self) -> Option<TokenVectorsView> {
        self.token_dimension()?;
        let rows = self.state().rows.clone();
        let tokens = self.tokens();
        let (records, bytes) =
            tokens.file.as_ref().map_or((0, 0), |file| (file.filled().intersection_len(rows.rows()), file.bytes()));
        Some(TokenVectorsView { records, missing: rows.rows().len() - records, bytes })
    }

    /// Whether some of its vectors of tokens are sealed with another key than the one of this number, or with none.
    pub(crate) fn has_tokens_under_another_key(&self, key: u32) -> bool {
        let tokens = self.tokens();
        let Some(file) = &tokens.file else { return false };
        let view = file.view();
        file.filled().iter().any(|row| view.key(row) != Some(key))
    }

    /// Keeps what came with vectors that were appended past the first `before` rows.
    pub(crate) fn append_tokens<'a>(
        &self,
        before: u32,
        new: impl Iterator<Item = (&'a RowReceipt, Option<&'a TokenVectors>)>,
    ) -> Result<(), StoreError> {
        let slots = self.state().slots.clone();
        let new = new.filter_map(|(receipt, tokens)| Some((receipt, self.wanted(tokens?)?)));
        let new: Vec<_> = new.map(|(receipt, tokens)| (*receipt, slots.slot(receipt.row), tokens)).collect();
        self.write_tokens(before, &new, false)
    }

    /// Gives records vectors of their tokens, and leaves of `tokens` those that were written.
    pub(crate) fn put_tokens(
        &self,
        before: u32,
        tokens: &mut Vec<(VersionId, TokenVectors)>,
    ) -> Result<(), StoreError> {
        let (slots, rows, view, there) = {
            let state = self.state();
            (state.slots.clone(), state.rows.clone(), state.view.clone(), state.tokens.clone())
        };
        let mut seen = RoaringBitmap::new();
        let mut receipt = |slot: u64, tokens: &TokenVectors| {
            let row = slots.row(slot).filter(|&row| rows.contains(row) && seen.insert(row))?;
            let crc = view.crc(row);
            let there = there.as_ref().filter(|there| there.space() == tokens.space());
            let known = there.and_then(|there| there.get(row, crc));
            let is_whole = known.and_then(|known| open_sealed(known, (self.id, slot), opener(&self.sealing))).is_some();
            (!is_whole).then_some(RowReceipt { row, crc })
        };
        let mut receipts = Vec::new();
        tokens.retain(|(version, tokens)| {
            let receipt = self.wanted(tokens).and_then(|tokens| receipt(version.0, tokens));
            receipts.extend(receipt);
            receipt.is_some()
        });
        let new: Vec<_> = receipts
            .into_iter()
            .zip(&*tokens)
            .map(|(receipt, (version, tokens))| (receipt, version.0, tokens))
            .collect();
        self.write_tokens(before, &new, true)
    }

    /// The tokens, where such are kept.
    fn wanted<'a>(&self, tokens: &'a TokenVectors) -> Option<&'a TokenVectors> {
        (!tokens.is_empty() && self.token_dimension() == Some(tokens.dimension())).then_some(tokens)
    }

    fn write_tokens(
        &self,
        before: u32,
        new: &[(RowReceipt, u64, &TokenVectors)],
        later: bool,
    ) -> Result<(), StoreError> {
        let vector_file = self.state().view.header().uuid;
        let codes: Vec<Codes> = new.iter().map(|new| self.codes(new)).collect::<Result<_, _>>()?;
        let mut kept = self.tokens();
        // What a commit that failed has left there belongs to no record.
        if let Some(Err(error)) = kept.file.as_mut().map(|file| file.forget_rows_from(before)) {
            kept.remove(&self.name, &error);
        }
        let Some((_, _, first)) = new.first() else { return Ok(()) };
        if kept.file.as_ref().is_some_and(|file| file.space() != first.space()) {
            kept.remove(&self.name, &"they are of another model");
        }
        let written = self.write_codes(&mut kept, (vector_file, first.space()), &codes);
        let written = written.or_else(|error| match error {
            VectorsError::Damaged { .. } => {
                kept.remove(&self.name, &error);
                self.write_codes(&mut kept, (vector_file, first.space()), &codes)
            }
            error => Err(error),
        });
        if later && written.is_ok() {
            kept.filled_later.extend(codes.iter().map(|codes| codes.row));
        }
        Ok(written?)
    }

    fn codes<'a>(&self, (receipt, slot, of): &(RowReceipt, u64, &'a TokenVectors)) -> Result<Codes<'a>, StoreError> {
        let (key, bytes) = self.seal_tokens(*slot, Cow::Borrowed(of.bytes()))?;
        let tokens = u16::try_from(of.len()).unwrap_or(u16::MAX);
        Ok(Codes { row: receipt.row, vector_crc: receipt.crc, tokens, key, bytes })
    }

    fn write_codes(
        &self,
        kept: &mut KeptTokens,
        (vector_file, space): (Uuid, TokenSpace),
        codes: &[Codes],
    ) -> Result<(), VectorsError> {
        let file = match &mut kept.file {
            Some(file) => file,
            none => none.insert(TokenFile::create(&self.folder().tokens(vector_file), space, vector_file)?),
        };
        file.append(&codes.iter().map(Codes::as_row).collect::<Vec<_>>())
    }

    /// Codes as they are to be stored, and the number of the key that seals them, 0 for none.
    fn seal_tokens<'a>(&self, slot: u64, codes: Cow<'a, [u8]>) -> Result<(u32, Cow<'a, [u8]>), StoreError> {
        let Some(keyring) = self.sealing.keyring_of(&self.tenant) else { return Ok((0, codes)) };
        let place = tokens_place(self.id, slot);
        let sealed = keyring.seal(&self.tenant, &place.each_ref().map(String::as_str), &codes);
        let (key, bytes) = sealed.map_err(RecordsError::from)?;
        Ok((key, Cow::Owned(bytes)))
    }

    /// Overwrites the vectors of tokens of rows that nobody looks at any more.
    pub(super) fn erase_tokens(&self, rows: Vec<u32>) {
        let mut kept = self.tokens();
        if let Some(Err(error)) = kept.file.as_mut().map(|file| file.erase(rows)) {
            // They would stay.
            kept.remove(&self.name, &error);
        }
    }

    /// Removes vectors of tokens that are not wanted by the settings of now.
    pub(super) fn remove_unwanted_tokens(&self) {
        let wanted = self.token_dimension();
        let mut kept = self.tokens();
        if kept.file.as_ref().is_some_and(|file| wanted != Some(file.space().dimension)) {
            kept.remove(&self.name, &"the settings want others, or none");
            drop(kept);
            self.state_mut().tokens = None;
        }
    }

    /// Makes the vectors of tokens durable that were written until now, while more are written.
    pub(crate) fn sync_tokens(&self) {
        let unsynced = self.tokens().file.as_mut().and_then(TokenFile::take_unsynced);
        if let Some(Err(error)) = unsynced.map(TokenSync::sync) {
            self.tokens().remove(&self.name, &error);
            let mut state = self.state_mut();
            state.tokens = self.token_view();
            state.set_changed();
        }
    }

    /// From here on it is noted which rows get vectors of tokens later, for a compaction that begins.
    pub(crate) fn note_tokens_from_now(&self) {
        self.tokens().filled_later.clear();
    }

    /// Vectors of tokens of now, and the rows that have got them since that was asked last.
    fn take_tokens_filled_later(&self) -> (Option<TokenView>, RoaringBitmap) {
        let mut kept = self.tokens();
        (kept.view(), std::mem::take(&mut kept.filled_later))
    }
}

impl CompactedFiles {
    /// Copies the vectors of tokens of the rows that were copied, sealed with the tenant's newest key where they are to
    /// be sealed. Those that cannot be opened stay behind.
    pub(crate) fn copy_tokens(&mut self, of: &Collection) -> Result<(), StoreError> {
        let (there, filled_later) = of.take_tokens_filled_later();
        let there = there.filter(|there| of.token_dimension() == Some(there.space().dimension));
        let is_other = |file: &TokenFile| there.as_ref().is_none_or(|there| there.space() != file.space());
        if self.tokens.as_ref().is_some_and(is_other) {
            self.tokens.take().map_or(Ok(()), TokenFile::remove)?;
            self.tokens_copied.clear();
        }
        let Some(there) = there else { return Ok(()) };
        let file = match &mut self.tokens {
            Some(file) => file,
            none => {
                let uuid = self.file.header().uuid;
                none.insert(TokenFile::create(&of.folder().next().tokens(uuid), there.space(), uuid)?)
            }
        };
        let keyring = of.sealing.keyring_of(&of.tenant);
        let newest = keyring.map(|keyring| keyring.number(&of.tenant)).transpose().map_err(RecordsError::from)?;
        let (view, slots) = {
            let state = of.state();
            (state.view.clone(), state.slots.clone())
        };
        let is_new = &self.copied - &self.tokens_copied;
        let rows = (is_new | (filled_later & &self.copied)) - &self.erased;
        let mut rows = rows.iter().peekable();
        while rows.peek().is_some() {
            let mut codes = Vec::new();
            for old in rows.by_ref().take(COPIED_ROWS) {
                let vector_crc = view.crc(old);
                let Some(stored) = there.get(old, vector_crc) else { continue };
                let is_sealed_so = newest.is_none_or(|newest| newest == stored.key);
                let (key, bytes) = match is_sealed_so {
                    true => (stored.key, Cow::Borrowed(stored.bytes)),
                    false => match open_sealed(stored, (of.id, slots.slot(old)), opener(&of.sealing)) {
                        Some(opened) => of.seal_tokens(slots.slot(old), opened)?,
                        None => continue,
                    },
                };
                let row = self.copied.rank(old) as u32 - 1;
                codes.push(Codes { row, vector_crc, tokens: stored.tokens, key, bytes });
            }
            file.append(&codes.iter().map(Codes::as_row).collect::<Vec<_>>())?;
        }
        self.tokens_copied.clone_from(&self.copied);
        Ok(())
    }
}
