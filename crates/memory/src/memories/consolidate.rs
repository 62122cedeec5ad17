//! Near-doubles become one memory: the newer text stands, the older is kept as its history.
//!
//! Alike is not enough: the two must [say the same](crate::same). "At 3" and "at 4", "on Tuesday" and "on Thursday"
//! are very much alike.

use super::Memories;
use crate::jobs::Job;
use crate::memories::same::say_the_same;
use crate::{MemoryError, now, time_text};
use membox_api::{ConsolidateReport, ConsolidateRequest, MergedPair, Metric, NewRecord, RecordPatch};
use membox_store::{Collection, Effort, Fetched, Filter, RecordReads, RecordsError, StoredRecord};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How alike two texts must be to be held against each other, where unrelated texts have 0. With it 47 of the 49
/// labelled pairs that say the same are compared by MiniLM, and 48 by E5; with 0.95 it was 31 and 16. Words decide
/// then.
pub(crate) const THRESHOLD: f32 = 0.8;
/// Neighbours that are looked at.
const NEIGHBOURS: usize = 20;
/// Pairs that a report names.
const NAMED_PAIRS: usize = 100;
/// Where a record's metadata says what it has taken the place of.
const HISTORY_FIELD: &str = "history";

impl Memories<'_> {
    pub(crate) fn run_consolidate(
        &self,
        collection: &Arc<Collection>,
        threshold: f32,
        request: &ConsolidateRequest,
        job: &Job,
    ) -> Result<ConsolidateReport, MemoryError> {
        let reads = self.store.read()?;
        let mut ids: Vec<(i64, i64, String)> = Vec::new();
        reads.each_record(&reads.snapshot(collection, None)?, |stored| {
            let r = stored.record;
            if r.message.is_none() && (request.user.is_none() || r.user == request.user) {
                ids.push((r.created_at, stored.seq, r.id));
            }
            true
        })?;
        drop(reads);
        // Oldest first: what one has absorbed goes along when it is absorbed itself.
        ids.sort_unstable();
        job.set_total(ids.len() as u64);
        let mut report = ConsolidateReport::default();
        for (_, _, id) in ids {
            if job.should_stop() {
                break;
            }
            job.add_done(1);
            report.records += 1;
            let Some((older, newer, score)) = self.newer_double(collection, &id, threshold)? else { continue };
            if !request.dry_run && !self.absorb(collection, &older, &newer, history_entry(&older))? {
                report.skipped += 1;
                continue;
            }
            report.merged += 1;
            if report.pairs.len() < NAMED_PAIRS {
                report.pairs.push(MergedPair { kept: newer.record.id, absorbed: older.record.id, score });
            }
        }
        Ok(report)
    }

    /// A record, and the newer one that is most like it and says the same.
    fn newer_double(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        threshold: f32,
    ) -> Result<Option<(StoredRecord, StoredRecord, f32)>, MemoryError> {
        let found = self.store.read()?.record(collection.id, id)?;
        let Some(own) = found.filter(|own| own.record.is_alive(now())) else { return Ok(None) };
        let mut near = self.nearest(collection, &own, None, NEIGHBOURS, threshold)?.into_iter();
        let newer = near.find(|(other, _)| may_be_one(&own, other) && is_older(&own, other));
        Ok(newer.map(|(other, score)| (own, other, score)))
    }

    /// The records that are most like one, itself not among them, of those that a filter allows: of `most` rows that
    /// are found, the nearest first. Their likeness is `least` at least; 1 is the same, and 0 is what unrelated texts
    /// have. None where the record has changed since it was read.
    pub(crate) fn nearest(
        &self,
        collection: &Arc<Collection>,
        own: &StoredRecord,
        filter: Option<&Filter>,
        most: usize,
        least: f32,
    ) -> Result<Vec<(StoredRecord, f32)>, MemoryError> {
        let reads = self.store.read()?;
        let snapshot = reads.snapshot(collection, filter)?;
        let Some(place) = snapshot.locate(own) else { return Ok(Vec::new()) };
        let vector = snapshot.vector(place);
        let least = self.models.least_cosine(collection, &vector, least)?;
        let found = snapshot.nearest(&[&vector], most, Effort::default())?.pop().unwrap_or_default();
        let is_cosine = collection.settings().metric.unwrap_or_default() == Metric::Cosine;
        let mut nearest = Vec::new();
        for (record, score) in found.records {
            let score = if is_cosine { score } else { snapshot.likeness(place, record) };
            if record != place
                && score >= least
                && let Fetched::Found(other) = reads.fetch(&snapshot, record)?
            {
                nearest.push((*other, score));
            }
        }
        Ok(nearest)
    }

    /// Makes one record the history of another, in one commit; `false` where one of them has changed since, or the
    /// history is full. `entry` is what the history keeps of it.
    pub(crate) fn absorb(
        &self,
        collection: &Arc<Collection>,
        older: &StoredRecord,
        newer: &StoredRecord,
        entry: Value,
    ) -> Result<bool, MemoryError> {
        let entries = [history(newer), history(older), vec![entry]].concat();
        let patch = RecordPatch { metadata: Some(history_patch(entries)), ..RecordPatch::default() };
        let absorbed = Some((older.record.id.clone(), older.version));
        was_made(self.records.patch_record(collection, &newer.record.id, &patch, Some(newer.version), absorbed))
    }
}

/// What is known of a record's earlier texts.
pub(crate) fn history(stored: &StoredRecord) -> Vec<Value> {
    match stored.record.metadata.get(HISTORY_FIELD) {
        Some(Value::Array(entries)) => entries.clone(),
        _ => Vec::new(),
    }
}

/// What a record that is no more has said, as a history keeps it.
pub(crate) fn history_entry(older: &StoredRecord) -> Value {
    json!({"id": older.record.id, "text": older.record.text, "created_at": time_text(older.record.created_at)})
}

/// All of a record that is no more but its own history, as a request that remembers it again would say it.
pub(crate) fn whole_entry(older: &StoredRecord) -> Value {
    let record = older.record.clone();
    let mut metadata = record.metadata;
    metadata.remove(HISTORY_FIELD);
    json!(NewRecord {
        id: Some(record.id),
        text: record.text,
        metadata,
        created_at: Some(time_text(record.created_at)),
        expires_at: record.expires_at.map(time_text),
        importance: record.importance,
        user: record.user,
        session: record.session,
        kind: record.kind,
        ..NewRecord::default()
    })
}

/// A change of metadata: a record's history.
pub(crate) fn history_patch(entries: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([(HISTORY_FIELD.to_owned(), Value::Array(entries))])
}

/// Whether a change was made: `false` where somebody else has changed the record since, or it does not fit.
pub(crate) fn was_made<T>(change: Result<T, MemoryError>) -> Result<bool, MemoryError> {
    match change {
        Ok(_) => Ok(true),
        Err(
            MemoryError::Records(RecordsError::VersionConflict { .. })
            | MemoryError::Impossible { .. }
            | MemoryError::NoRecord(_)
            | MemoryError::Erasing(_)
            | MemoryError::Overloaded { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether one record was there before another; of those of one moment, by the order in which they were written.
pub(crate) fn is_older(a: &StoredRecord, b: &StoredRecord) -> bool {
    (a.record.created_at, a.seq) < (b.record.created_at, b.seq)
}

/// Whether two records that are alike may be one: of the same user and kind, no messages, and of texts that say the
/// same.
pub(crate) fn may_be_one(a: &StoredRecord, b: &StoredRecord) -> bool {
    let (a, b) = (&a.record, &b.record);
    (&a.user, &a.kind) == (&b.user, &b.kind) && b.message.is_none() && say_the_same(&a.text, &b.text)
}
