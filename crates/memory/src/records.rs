//! Records: written, read, changed and deleted.

use crate::admission::Admission;
use crate::audit::Audit;
use crate::audit::event;
use crate::collections::Collections;
use crate::convert::{compress_options, compression};
use crate::models::lane;
use crate::models::{Models, NotEmbedded};
use crate::names::check_some;
use crate::redaction::redacted;
use crate::retry::retry;
use crate::views::{record_view, record_with_payload};
use crate::{MemoryError, now};
use membox_api::{CompressOptions, NewRecord, RecordPatch, RecordView, WrittenRecord};
use membox_compressor::CompressedText;
use membox_store::Store;
use membox_store::{
    Collection, DeleteRecords, NewVersion, Order, Position, RecordReads, RecordsError, Selection, StoredRecord,
    TextWindows, TokenVectors, WriteRecords,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Records of one upsert.
pub const MAX_RECORDS: usize = 2048;

/// Refuses a filter that says nothing, by the place that is wrong.
pub fn check_filter(filter: &Value) -> Result<(), MemoryError> {
    membox_store::Filter::parse(filter, "/filter")?;
    Ok(())
}

/// Records of collections.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) collections: Collections<'a>,
    pub(crate) admission: Admission<'a>,
    pub(crate) audit: Audit<'a>,
}

/// A record's vector, its windows, and the vectors of its tokens where it has them.
type KeptVectors = (Vec<f32>, TextWindows, Option<TokenVectors>);

impl Records<'_> {
    /// Writes records. When it returns they are durable and can be recalled; on an error none of them was kept.
    pub fn upsert(&self, tenant: &str, name: &str, records: Vec<NewRecord>) -> Result<Vec<WrittenRecord>, MemoryError> {
        self.remember(tenant, name, records, None)
    }

    /// Writes records of which, if `compress` says so, the texts are compressed first: their vectors are still
    /// those of the whole texts, and with the keep head one pass of the model gives both.
    pub fn remember(
        &self,
        tenant: &str,
        name: &str,
        records: Vec<NewRecord>,
        compress: Option<&CompressOptions>,
    ) -> Result<Vec<WrittenRecord>, MemoryError> {
        if records.is_empty() || records.len() > MAX_RECORDS {
            let reason = format!("{} records; 1 to {MAX_RECORDS} can be written at once", records.len());
            return Err(MemoryError::impossible("/records", reason));
        }
        let collection = self.collections.collection(tenant, name)?;
        let settings = collection.settings();
        let mut versions = Vec::with_capacity(records.len());
        for (i, record) in records.into_iter().enumerate() {
            let NewRecord { id, user, session, kind, .. } = &record;
            for (name, given) in [("id", id), ("user", user), ("session", session), ("kind", kind)] {
                check_some(given.as_ref(), format!("/records/{i}/{name}"))?;
            }
            versions.push(self.admission.admit(&collection, &settings, record, None, &format!("/records/{i}"))?);
        }
        let mut compressed = Vec::new();
        if let Some(options) = compress {
            compressed = self.compress_texts(&collection, &mut versions, options)?;
        }
        let not_embedded = self.models.embed_missing(&collection, &mut versions)?;
        let redaction = settings.redaction.unwrap_or_default();
        for (new, compressed) in versions.iter_mut().zip(&compressed) {
            // Digits that stood apart may stand together now.
            let text = redacted(&redaction, compressed.compressed_prompt.clone());
            if text != new.record.text {
                new.windows.forget_places();
            }
            new.record.text = text;
        }
        let ids: Vec<String> = versions.iter().map(|u| u.record.id.clone()).collect();
        let versions = self.store.write_records(WriteRecords::new(collection, versions))?;
        let mut compressed = compressed.iter().map(compression);
        let written = |((id, version), NotEmbedded { truncated_at, unknown_percent })| {
            let compression = compressed.next();
            WrittenRecord { id, version, compression, truncated_at, unknown_percent }
        };
        Ok(ids.into_iter().zip(versions).zip(not_embedded).map(written).collect())
    }

    /// Compresses the texts of records, and sets the vectors of those that have none where the same pass gives them.
    fn compress_texts(
        &self,
        collection: &Collection,
        versions: &mut [NewVersion],
        options: &CompressOptions,
    ) -> Result<Vec<CompressedText>, MemoryError> {
        let compressor = self.models.compressor(None)?;
        let options = &compress_options(options);
        let lane = lane(versions.len());
        let texts: Vec<String> = versions.iter().map(|u| u.record.text.clone()).collect();
        let is_own = compressor.embeds() && collection.settings().model.as_deref() == Some(compressor.encoder().name());
        if !is_own {
            let documents: Vec<Vec<String>> = texts.into_iter().map(|text| vec![text]).collect();
            return Ok(compressor.compress_many(&documents, options, lane)?);
        }
        let mut answers = Vec::with_capacity(texts.len());
        for (new, remembered) in versions.iter_mut().zip(compressor.remember(&texts, options, lane)?) {
            if new.vector.is_empty() {
                new.vector = remembered.vector;
            }
            answers.push(remembered.compressed);
        }
        Ok(answers)
    }

    /// A record by its id.
    pub fn record(&self, tenant: &str, name: &str, id: &str) -> Result<RecordView, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        Ok(record_view(self.stored(&collection, id)?))
    }

    /// A record by its id, with its payload.
    pub fn record_with_payload(&self, tenant: &str, name: &str, id: &str) -> Result<RecordView, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        Ok(record_with_payload(self.stored(&collection, id)?))
    }

    pub(crate) fn stored(&self, collection: &Collection, id: &str) -> Result<StoredRecord, MemoryError> {
        let stored = self.store.read()?.record(collection.id, id)?;
        let stored = stored.filter(|s| s.record.is_alive(now()));
        stored.map_or_else(
            || collection.check_there().map_err(MemoryError::from).and(Err(MemoryError::NoRecord(id.to_owned()))),
            Ok,
        )
    }

    /// A page of records without their payloads, and where the next one begins; `None` after the last.
    pub fn page(
        &self,
        tenant: &str,
        name: &str,
        order: Order,
        after: Option<Position>,
        limit: usize,
        filter: Option<&Value>,
    ) -> Result<(Vec<RecordView>, Option<Position>), MemoryError> {
        let (mut page, next) = self.page_with_payloads(tenant, name, order, after, limit, filter)?;
        page.iter_mut().for_each(|record| record.payload = None);
        Ok((page, next))
    }

    /// As [`Self::page`], with payloads.
    pub fn page_with_payloads(
        &self,
        tenant: &str,
        name: &str,
        order: Order,
        after: Option<Position>,
        limit: usize,
        filter: Option<&Value>,
    ) -> Result<(Vec<RecordView>, Option<Position>), MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        let filter = filter.map(|filter| self.collections.limits.filter(tenant, filter)).transpose()?;
        let mut page = self.store.read()?.page(&collection, order, after, limit + 1, filter.as_ref())?;
        collection.check_there()?;
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|last| (last.record.created_at, last.seq));
        Ok((page.into_iter().map(record_with_payload).collect(), next))
    }

    /// Changes a record. With `expected`, its version must be that one.
    pub fn patch(
        &self,
        tenant: &str,
        name: &str,
        id: &str,
        patch: &RecordPatch,
        expected: Option<u64>,
    ) -> Result<RecordView, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        self.patch_record(&collection, id, patch, expected, None)
    }

    /// Changes a record, and deletes another one with it, at a version.
    pub(crate) fn patch_record(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        patch: &RecordPatch,
        expected: Option<u64>,
        delete: Option<(String, u64)>,
    ) -> Result<RecordView, MemoryError> {
        Ok(record_view(self.patch_found(collection, || self.stored(collection, id), patch, expected, delete)?))
    }

    /// As [`Self::patch_record`], of the record that `find` finds, and gives it as it is then. With a message its
    /// session has another version.
    pub(crate) fn patch_found(
        &self,
        collection: &Arc<Collection>,
        find: impl Fn() -> Result<StoredRecord, MemoryError>,
        patch: &RecordPatch,
        expected: Option<u64>,
        delete: Option<(String, u64)>,
    ) -> Result<StoredRecord, MemoryError> {
        retry(|| {
            let stored = find()?;
            let conflict = |current| RecordsError::VersionConflict {
                id: stored.record.id.clone(),
                current,
                expected: expected.unwrap_or_default(),
            };
            if expected.is_some_and(|expected| expected != stored.version) {
                return Ok(Some(Err(conflict(stored.version).into())));
            }
            let Some(changed) = self.changed(collection, &stored, patch)? else {
                // It is committed and not yet published.
                std::thread::sleep(Duration::from_millis(1));
                return Ok(None);
            };
            let is_message = changed.record.message.is_some();
            let bump_sessions = changed.record.session.clone().filter(|_| is_message).into_iter().collect();
            let mut records = vec![changed];
            self.embed_changed(collection, &mut records)?;
            let write = WriteRecords {
                bump_sessions,
                delete: delete.clone(),
                ..WriteRecords::new(collection.clone(), records)
            };
            match self.store.write_records(write).map_err(MemoryError::from) {
                Ok(_) => find().map(|found| Some(Ok(found))),
                // Whoever names a version hears of it; the others try again.
                Err(error) if error.is_conflict() && expected.is_some() => Ok(Some(Err(error))),
                Err(error) => Err(error),
            }
        })?
    }

    /// Embeds the texts of changed records that are others now. What else they lack, they lack as before.
    pub(crate) fn embed_changed(&self, collection: &Collection, records: &mut [NewVersion]) -> Result<(), MemoryError> {
        records.sort_by_key(|new| !new.vector.is_empty());
        let changed = records.partition_point(|new| new.vector.is_empty());
        self.models.embed_missing(collection, &mut records[..changed]).map(drop)
    }

    /// A record as a patch changes it, with the vectors that it keeps: others are missing. `None` where its vectors are
    /// not published yet.
    pub(crate) fn changed(
        &self,
        collection: &Arc<Collection>,
        stored: &StoredRecord,
        patch: &RecordPatch,
    ) -> Result<Option<NewVersion>, MemoryError> {
        let record = self.admission.admit_patch(&collection.settings(), &stored.record, patch)?;
        let keeps_text = record.text == stored.record.text;
        let keeps_vector = keeps_text || record.given_vector;
        let (vector, windows, expected) = (Vec::new(), TextWindows::default(), Some(stored.version));
        let mut new = NewVersion { record, vector, windows, tokens: None, expected, keeps_created_at: false };
        if !keeps_vector {
            return Ok(Some(new));
        }
        let Some((vector, windows, tokens)) = self.vectors_of(collection, stored)? else { return Ok(None) };
        if !keeps_text && vector.iter().all(|x| *x == 0.0) {
            // What said nothing was like nothing.
            new.record.given_vector = false;
            return Ok(Some(new));
        }
        // A given vector has no windows.
        (new.vector, new.windows, new.tokens) = (vector, windows, tokens.filter(|_| keeps_text));
        Ok(Some(new))
    }

    /// The vector of a record as it was read, its windows, and the vectors of its tokens; `None` where it is not
    /// published yet, or is not that of the record.
    fn vectors_of(
        &self,
        collection: &Arc<Collection>,
        stored: &StoredRecord,
    ) -> Result<Option<KeptVectors>, MemoryError> {
        let snapshot = self.store.read()?.snapshot(collection, None)?;
        let found = snapshot.locate(stored);
        Ok(found.map(|record| {
            let places = stored.windows.iter().map(|window| window.start..window.end).collect();
            let windows = TextWindows { places, vectors: snapshot.further_vectors(record) };
            (snapshot.vector(record), windows, snapshot.token_vectors(record))
        }))
    }

    /// Deletes records by id; one with a version must have it. Gives how many there were.
    pub fn delete(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        ids: Vec<(String, Option<u64>)>,
    ) -> Result<usize, MemoryError> {
        self.delete_selected(tenant, actor, self.collections.collection(tenant, name)?, Selection::Ids(ids))
    }

    /// Deletes the records that a filter allows. Gives how many there were.
    pub fn delete_by_filter(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        filter: &Value,
    ) -> Result<usize, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        let filter = self.collections.limits.filter(tenant, filter)?;
        let which = self.store.read()?.snapshot(&collection, Some(&filter))?.selection();
        self.delete_selected(tenant, actor, collection, which)
    }

    fn delete_selected(
        &self,
        tenant: &str,
        actor: &str,
        collection: Arc<Collection>,
        which: Selection,
    ) -> Result<usize, MemoryError> {
        let audit = Some(event(tenant, actor, "delete records", &self.audit.collection_subject(&collection.name)?));
        Ok(self.store.delete_records(DeleteRecords { collection, which, bump_sessions: true, audit })?)
    }
}
