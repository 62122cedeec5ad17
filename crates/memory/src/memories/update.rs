//! Holding older memories against newer ones: LightMem's update at sleep time.
//!
//! Each memory queues up at the older ones that it is most like; then each older one is looked at with those that
//! stand in its queue. A language model says whether it is to be kept, to be changed or to go; without one, an
//! older memory that a newer one says again becomes its history. Each change is a commit of its own, and holds only
//! if the memory is still what it was when it was looked at.
//!
//! What a language model says may be what a message has told it to say. So nothing that it decides is for good: a
//! memory that is to go becomes the history of a newer one, whole. And a memory is held against those of its own
//! user alone, or without a user against those of its own session.

use super::Memories;
use super::consolidate::{
    THRESHOLD, history, history_entry, history_patch, is_older, may_be_one, was_made, whole_entry,
};
use super::made::SESSION_FIELD;
use super::{is_made, made_conditions, prompts};
use crate::convert::add_usage;
use crate::redaction::redacted;
use crate::{MemoryError, now, time_text};
use membox_api::{Decision, MemoryChange, RecordPatch, UpdateReport, UpdateRequest};
use membox_llm::{Llm, LlmError, Usage};
use membox_store::{Collection, Filter, RecordReads, StoredRecord};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// Older memories that are found for each, those that are kept of them, and how alike they must be for a language
/// model.
const TOP_K: usize = 20;
const KEEP_TOP_N: usize = 10;

/// Changes that a report names.
const NAMED_CHANGES: usize = 1000;

impl Memories<'_> {
    /// Ids of what the pipeline has made, of a user or of all.
    pub(crate) fn made_memories(
        &self,
        collection: &Arc<Collection>,
        user: Option<&str>,
    ) -> Result<Vec<String>, MemoryError> {
        let (reads, mut ids) = (self.store.read()?, Vec::new());
        reads.each_record(&reads.snapshot(collection, None)?, |stored| {
            let record = stored.record;
            if is_made(&record) && (user.is_none() || record.user.as_deref() == user) {
                ids.push(record.id);
            }
            true
        })?;
        Ok(ids)
    }

    /// Holds older memories against these ones. `goes_on` hears how many were looked at, and says whether to go on.
    pub(crate) fn update_with(
        &self,
        collection: &Arc<Collection>,
        newer: &[String],
        request: &UpdateRequest,
        use_llm: bool,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<UpdateReport, MemoryError> {
        let llm = self.models.llm().filter(|_| use_llm);
        let threshold = request.score_threshold.unwrap_or(THRESHOLD);
        let mut report = UpdateReport::default();
        // The older memories, each with the newer ones in its queue.
        let mut queues: HashMap<String, Vec<(String, f32)>> = HashMap::new();
        for id in newer {
            for (older, score) in self.older_ones(collection, id, request, threshold, llm.is_some())? {
                queues.entry(older).or_default().push((id.clone(), score));
            }
            report.memories += 1;
            if !goes_on(1) {
                return Ok(report);
            }
        }
        let mut older = Vec::with_capacity(queues.len());
        for id in queues.keys() {
            if let Some(stored) = self.store.read()?.record(collection.id, id)? {
                older.push((stored.record.created_at, id.clone()));
            }
        }
        // Oldest first: what it becomes is seen by those after it.
        older.sort_unstable();
        for (_, id) in older {
            let mut queue = queues.remove(&id).unwrap_or_default();
            queue.sort_by(|a, b| b.1.total_cmp(&a.1));
            match self.update_one(collection, &id, queue, llm, request.dry_run, &mut report) {
                // What is wrong with this one need not be wrong with the next.
                Err(MemoryError::Llm(error @ LlmError::Useless { .. })) => {
                    report.problem = Some(error.to_string());
                    report.skipped += 1;
                }
                Err(MemoryError::Llm(error)) => {
                    // What it says of the others is said already.
                    report.problem = Some(error.to_string());
                    break;
                }
                done => done?,
            }
            if !goes_on(0) {
                break;
            }
        }
        Ok(report)
    }

    /// The memories that one queues up at: the nearest that are not newer, of the same user, by a score of
    /// `threshold` and more; of these, where a language model decides, those on which the newer one has a say.
    fn older_ones(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        request: &UpdateRequest,
        threshold: f32,
        by_llm: bool,
    ) -> Result<Vec<(String, f32)>, MemoryError> {
        let found = self.store.read()?.record(collection.id, id)?;
        let Some(own) = found.filter(|own| own.record.is_alive(now())) else { return Ok(Vec::new()) };
        let mut conditions = made_conditions();
        conditions.push(json!({"field": "created_at", "lte": time_text(own.record.created_at)}));
        if let Some(user) = &own.record.user {
            conditions.push(json!({"field": "user", "eq": user}));
        } else if by_llm {
            conditions.push(json!({"field": "user", "exists": false}));
            conditions.push(json!({"field": "metadata.session", "eq": own.record.metadata.get(SESSION_FIELD)}));
        }
        let filter = Filter::parse(&json!({ "and": conditions }), "/filter")?;
        let near = self.nearest(collection, &own, Some(&filter), request.top_k.unwrap_or(TOP_K) + 1, threshold)?;
        let is_queued_at = |other: &StoredRecord| {
            is_made(&other.record) && is_older(other, &own) && (!by_llm || has_a_say(&own, other))
        };
        let older = near.into_iter().filter(|(other, _)| is_queued_at(other));
        let most = request.keep_top_n.unwrap_or(KEEP_TOP_N);
        Ok(older.map(|(other, score)| (other.record.id, score)).take(most).collect())
    }

    /// Decides what becomes of one memory, and does it.
    fn update_one(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        mut queue: Vec<(String, f32)>,
        llm: Option<&Llm>,
        dry_run: bool,
        report: &mut UpdateReport,
    ) -> Result<(), MemoryError> {
        let mut newer = Vec::new();
        let Some(older) = self.store.read()?.record(collection.id, id)? else { return Ok(()) };
        for (id, _) in &queue {
            newer.extend(self.store.read()?.record(collection.id, id)?);
        }
        if llm.is_some() {
            newer.retain(|newer| has_a_say(newer, &older));
        }
        queue.retain(|(id, _)| newer.iter().any(|newer| newer.record.id == *id));
        if newer.is_empty() {
            return Ok(());
        }
        report.queued += 1;
        let double = newer.iter().find(|newer| may_be_one(&older, newer));
        let redaction = collection.settings().redaction.unwrap_or_default();
        let (decision, text) = match llm {
            Some(llm) => {
                let mut usage = Usage::default();
                let decided = decide(llm, collection, &older, &newer, &mut usage);
                add_usage(&mut report.llm, usage);
                let (decision, text) = decided?;
                (decision, text.map(|text| redacted(&redaction, text)))
            }
            None if double.is_some() => (Decision::Merge, None),
            None => (Decision::Keep, None),
        };
        let done = dry_run
            || match (decision, &text) {
                (Decision::Keep, _) => true,
                (Decision::Merge, _) => {
                    self.absorb(collection, &older, double.unwrap_or(&newer[0]), history_entry(&older))?
                }
                (Decision::Delete, _) => self.absorb(collection, &older, &newer[0], whole_entry(&older))?,
                (Decision::Update, text) => {
                    let entries = [history(&older), vec![history_entry(&older)]].concat();
                    let metadata = Some(history_patch(entries));
                    let patch = RecordPatch { text: text.clone(), metadata, ..RecordPatch::default() };
                    was_made(self.records.patch_record(collection, id, &patch, Some(older.version), None))?
                }
            };
        let counter = match decision {
            _ if !done => &mut report.skipped,
            Decision::Keep => &mut report.kept,
            Decision::Update => &mut report.updated,
            Decision::Delete => &mut report.deleted,
            Decision::Merge => &mut report.merged,
        };
        *counter += 1;
        if decision != Decision::Keep && done && report.changes.len() < NAMED_CHANGES {
            report.changes.push(MemoryChange { id: id.to_owned(), decision, newer: queue, text });
        }
        Ok(())
    }
}

/// Whether what a language model makes of a newer memory may change an older one: both are of one user, or of one
/// session where they have no user. One that is pinned stays as it is.
fn has_a_say(newer: &StoredRecord, older: &StoredRecord) -> bool {
    let (newer, older) = (&newer.record, &older.record);
    let session = newer.metadata.get(SESSION_FIELD);
    let are_of_one = match &newer.user {
        Some(_) => newer.user == older.user,
        None => older.user.is_none() && session.is_some() && session == older.metadata.get(SESSION_FIELD),
    };
    are_of_one && is_made(newer) && is_made(older) && older.metadata.get("pinned") != Some(&json!(true))
}

/// What a language model makes of an older memory beside newer ones.
fn decide(
    llm: &Llm,
    collection: &Collection,
    older: &StoredRecord,
    newer: &[StoredRecord],
    usage: &mut Usage,
) -> Result<(Decision, Option<String>), MemoryError> {
    // They may be older than the policy.
    let redaction = collection.settings().redaction.unwrap_or_default();
    let line = |stored: &StoredRecord| {
        let text = redacted(&redaction, stored.record.text.clone());
        prompts::line(&json!({"time": time_text(stored.record.created_at), "text": text}))
    };
    let candidates: String = newer.iter().map(line).collect();
    let text = format!("Older memory:\n{}\nNewer memories:\n{candidates}", line(older));
    Ok(llm.ask(&prompts::decision(&collection.tenant, &text), usage, &|value| {
        let text = value["new_memory"].as_str().map(str::trim).filter(|text| !text.is_empty());
        match (value["action"].as_str(), text) {
            (Some("update"), Some(text)) => Ok((Decision::Update, Some(text.to_owned()))),
            (Some("update"), None) => Err("an update says what the memory is to say".to_owned()),
            (Some("delete"), _) => Ok((Decision::Delete, None)),
            (Some("keep" | "ignore"), _) => Ok((Decision::Keep, None)),
            _ => Err("the answer has no action: update, delete or keep".to_owned()),
        }
    })?)
}
