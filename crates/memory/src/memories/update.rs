//! Holding older memories against newer ones: LightMem's update at sleep time.
//!
//! Each memory queues up at the older ones that it is most like; then each older one is looked at with those that stand in its queue. A language model
//! says whether it is to be kept, to be changed or to go; without one, an older memory that a newer one says again becomes its history.
//! Each change is a commit of its own, and holds only if the memory is still what it was when it was looked at.

use super::Memories;
use super::consolidate::{THRESHOLD, history, history_entry, history_patch, is_older, may_be_one, was_made};
use super::{is_made, made_conditions};
use crate::convert::add_usage;
use crate::redaction::redacted;
use crate::{MemoryError, now, time_text};
use membox_api::{Decision, MemoryChange, RecordPatch, Redaction, UpdateReport, UpdateRequest};
use membox_llm::{Llm, Usage};
use membox_store::{Collection, Filter, RecordReads, StoredRecord};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// Older memories that are found for each, those that are kept of them, and how alike they must be for a language model.
const TOP_K: usize = 20;
const KEEP_TOP_N: usize = 10;
const SCORE: f32 = 0.8;

const DECIDE: &str = "You keep the memory of an assistant. Here are an older memory and newer ones that may be about the same. Decide what becomes of the \
older one: \"update\" where the newer ones add to it or change it, and write the one sentence or few that are true now; \"delete\" where they make it \
untrue or say all of it; \"keep\" where they are about something else. Answer with a JSON object: {\"action\": \"update\" | \"delete\" | \"keep\", \
\"new_memory\": \"...\"}.";

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
        reads.snapshot(collection, None)?.each_record(&reads, |stored| {
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
        let threshold = request.score_threshold.unwrap_or(if llm.is_some() { SCORE } else { THRESHOLD });
        let mut report = UpdateReport::default();
        // The older memories, each with the newer ones in its queue.
        let mut queues: HashMap<String, Vec<(String, f32)>> = HashMap::new();
        for id in newer {
            for (older, score) in self.older_ones(collection, id, request, threshold)? {
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

    /// The memories that one queues up at: the nearest that are not newer, of the same user, by a score of `threshold` and more.
    fn older_ones(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        request: &UpdateRequest,
        threshold: f32,
    ) -> Result<Vec<(String, f32)>, MemoryError> {
        let found = self.store.read()?.record(collection.id, id)?;
        let Some(own) = found.filter(|own| own.record.is_alive(now())) else { return Ok(Vec::new()) };
        let mut conditions = made_conditions();
        conditions.push(json!({"field": "created_at", "lte": time_text(own.record.created_at)}));
        if let Some(user) = &own.record.user {
            conditions.push(json!({"field": "user", "eq": user}));
        }
        let filter = Filter::parse(&json!({ "and": conditions }), "/filter")?;
        let near = self.nearest(collection, &own, Some(&filter), request.top_k.unwrap_or(TOP_K) + 1, threshold)?;
        let older = near.into_iter().filter(|(other, _)| is_made(&other.record) && is_older(other, &own));
        let most = request.keep_top_n.unwrap_or(KEEP_TOP_N);
        Ok(older.map(|(other, score)| (other.record.id, score)).take(most).collect())
    }

    /// Decides what becomes of one memory, and does it.
    fn update_one(
        &self,
        collection: &Arc<Collection>,
        id: &str,
        queue: Vec<(String, f32)>,
        llm: Option<&Llm>,
        dry_run: bool,
        report: &mut UpdateReport,
    ) -> Result<(), MemoryError> {
        let mut newer = Vec::new();
        let Some(older) = self.store.read()?.record(collection.id, id)? else { return Ok(()) };
        for (id, _) in &queue {
            newer.extend(self.store.read()?.record(collection.id, id)?);
        }
        if newer.is_empty() {
            return Ok(());
        }
        report.queued += 1;
        let double = newer.iter().find(|newer| may_be_one(&older, newer));
        let redaction = collection.settings().redaction.unwrap_or_default();
        let (decision, text) = match llm {
            Some(llm) => {
                let mut usage = Usage::default();
                let decided = decide(llm, &redaction, &older, &newer, &mut usage);
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
                (Decision::Merge, _) => self.absorb(collection, &older, double.unwrap_or(&newer[0]))?,
                (Decision::Delete, _) => {
                    let doomed = vec![(older.record.id.clone(), Some(older.version))];
                    was_made(self.records.delete(&collection.tenant, "pipeline", &collection.name, doomed))?
                }
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

/// What a language model makes of an older memory beside newer ones.
fn decide(
    llm: &Llm,
    redaction: &Redaction,
    older: &StoredRecord,
    newer: &[StoredRecord],
    usage: &mut Usage,
) -> Result<(Decision, Option<String>), MemoryError> {
    // They may be older than the policy.
    let text = |stored: &StoredRecord| redacted(redaction, stored.record.text.clone());
    let line = |stored: &StoredRecord| format!("[{}] {}\n", time_text(stored.record.created_at), text(stored));
    let candidates: String = newer.iter().map(line).collect();
    let question = format!("Older memory:\n{}\nNewer memories:\n{candidates}", line(older));
    Ok(llm.ask(DECIDE, &question, usage, &|value| {
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
