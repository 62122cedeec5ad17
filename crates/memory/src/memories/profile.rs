//! Who a user is, by what is remembered: fields that callers set, and what the user's records are about.
//!
//! A profile is a record of the user's own collection like any other, of kind `profile`: it is recalled by meaning,
//! exported and erased with the rest.

use super::{Memories, prompts};
use crate::convert::add_usage;
use crate::names::check_new;
use crate::redaction::{redacted, redacted_changes};
use crate::retry::retry;
use crate::tenants::llm_usage;
use crate::{MemoryError, time_text, user_collection};
use membox_api::{LlmUsage, NewRecord, ProfileView, Term};
use membox_keywords::Keywords;
use membox_llm::{Llm, Usage};
use membox_store::{Record, RecordReads, StoredRecord};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The id of a profile's record.
const PROFILE: &str = "profile";
/// Keywords and names that a profile shows, and topics of its text.
const MAX_TERMS: usize = 20;
const TOPICS: usize = 5;
/// Newest records without keywords that are read for them.
const MAX_READ: usize = 500;
/// Newest memories that a language model reads.
const MAX_SUMMARIZED: usize = 50;

/// What is counted of a user's records.
#[derive(Default)]
struct Counts {
    keywords: HashMap<String, u64>,
    entities: HashMap<String, u64>,
    messages: u64,
    memories: HashMap<String, u64>,
    last_seen: Option<i64>,
    /// Time and text of what a language model may read, and the number of the collection that it is in.
    newest: Vec<(i64, String, i64)>,
}

impl Counts {
    /// `of` is the collection's number, where a language model may read what is in it.
    fn add(&mut self, record: Record, of: Option<i64>, read: &mut usize) {
        self.last_seen = self.last_seen.max(Some(record.created_at));
        match &record.message {
            Some(_) => self.messages += 1,
            None => *self.memories.entry(record.kind.clone().unwrap_or_else(|| "other".to_owned())).or_default() += 1,
        }
        let listed = |name: &str| -> Option<Vec<String>> {
            let list = record.metadata.get(name)?.as_array()?;
            Some(list.iter().filter_map(|term| term.as_str().map(str::to_owned)).collect())
        };
        let found = match (listed("keywords"), listed("entities")) {
            (Some(keywords), entities) => Keywords { keywords, entities: entities.unwrap_or_default() },
            _ if *read < MAX_READ => {
                *read += 1;
                membox_keywords::extract(&record.text)
            }
            _ => Keywords::default(),
        };
        for (counts, terms) in [(&mut self.keywords, found.keywords), (&mut self.entities, found.entities)] {
            for term in terms {
                *counts.entry(term).or_default() += 1;
            }
        }
        if let (None, Some(collection)) = (&record.message, of) {
            self.newest.push((record.created_at, record.text, collection));
        }
    }
}

fn is_profile(stored: &StoredRecord) -> bool {
    stored.record.kind.as_deref() == Some("profile")
}

fn most(counts: HashMap<String, u64>) -> Vec<Term> {
    let mut terms: Vec<Term> = counts.into_iter().map(|(term, records)| Term { term, records }).collect();
    terms.sort_by(|a, b| b.records.cmp(&a.records).then(a.term.cmp(&b.term)));
    terms.truncate(MAX_TERMS);
    terms
}

impl Memories<'_> {
    /// Who a user is, by what is remembered now.
    pub fn profile(&self, tenant: &str, user: &str) -> Result<ProfileView, MemoryError> {
        let stored = self.stored_profile(tenant, user)?;
        Ok(self.view_profile(tenant, user, stored)?.0)
    }

    /// Stores a user's profile as it is now, with changes to its fields (RFC 7396: `null` takes one away), so that
    /// it is recalled. With a language model it is given a summary, if that is wanted.
    pub fn put_profile(
        &self,
        tenant: &str,
        user: &str,
        changes: &Map<String, Value>,
        summarize: bool,
    ) -> Result<ProfileView, MemoryError> {
        check_new(user, "/user")?;
        let name = user_collection(user);
        let redaction = self.collections.ensure_collection(tenant, &name)?.settings().redaction.unwrap_or_default();
        if self.profile_record(tenant, user)?.is_some_and(|record| !is_profile(&record)) {
            let reason =
                format!("record {PROFILE:?} of collection {name:?} is another one: give that another id first");
            return Err(MemoryError::Taken { pointer: "/user".to_owned(), reason });
        }
        let changes = &redacted_changes(&redaction, changes, &mut Default::default());
        let summary = if summarize { self.summary_of(tenant, user)? } else { None };
        retry(|| {
            let stored = self.stored_profile(tenant, user)?;
            let version = stored.as_ref().map_or(0, |stored| stored.version);
            let (mut view, _) = self.view_profile(tenant, user, stored)?;
            crate::admission::merge(&mut view.fields, changes);
            view.summary = summary.clone().or(view.summary);
            let record = NewRecord {
                id: Some(PROFILE.to_owned()),
                text: text_of(&view),
                metadata: Map::from_iter([
                    ("fields".to_owned(), Value::Object(view.fields.clone())),
                    ("summary".to_owned(), json!(view.summary)),
                    ("pinned".to_owned(), json!(true)),
                ]),
                user: Some(user.to_owned()),
                kind: Some("profile".to_owned()),
                version: Some(version),
                ..NewRecord::default()
            };
            match self.records.upsert(tenant, &name, vec![record]) {
                // The request is the fields themselves.
                Err(MemoryError::Impossible { pointer, reason }) if pointer == "/records/0/metadata" => {
                    Err(MemoryError::impossible("", reason))
                }
                written => written.map(Some),
            }
        })?;
        self.profile(tenant, user)
    }

    /// What a language model makes of a user's newest memories, where there are both.
    fn summary_of(&self, tenant: &str, user: &str) -> Result<Option<String>, MemoryError> {
        let Some(llm) = self.models.llm() else { return Ok(None) };
        let (_, newest) = self.view_profile(tenant, user, None)?;
        if newest.is_empty() {
            return Ok(None);
        }
        let mut usage = Usage::default();
        let summary = describe(llm, tenant, &newest, &mut usage);
        let mut used = LlmUsage::default();
        add_usage(&mut used, usage);
        llm_usage::count(self.store, tenant, Some(user), used)?;
        summary.map(Some)
    }

    fn stored_profile(&self, tenant: &str, user: &str) -> Result<Option<StoredRecord>, MemoryError> {
        Ok(self.profile_record(tenant, user)?.filter(is_profile))
    }

    /// What has the id of a profile.
    fn profile_record(&self, tenant: &str, user: &str) -> Result<Option<StoredRecord>, MemoryError> {
        let Some(collection) = self.store.existing(tenant, &user_collection(user))? else { return Ok(None) };
        Ok(self.store.read()?.record(collection.id, PROFILE)?)
    }

    /// A profile, and the user's newest memories, as far as a language model may read them and as the policies of
    /// their collections let it.
    fn view_profile(
        &self,
        tenant: &str,
        user: &str,
        stored: Option<StoredRecord>,
    ) -> Result<(ProfileView, Vec<String>), MemoryError> {
        let (mut counts, mut read, mut redactions) = (Counts::default(), 0, HashMap::new());
        for (_, name) in self.store.collection_names(Some(tenant)) {
            let Some(collection) = self.store.existing(tenant, &name)? else { continue };
            let settings = collection.settings();
            let of = settings.memories.unwrap_or_default().llm.then_some(collection.id);
            redactions.insert(collection.id, settings.redaction.unwrap_or_default());
            self.store.read()?.records_of_user(collection.id, user, &mut |found| {
                if found.record.is_alive(crate::now()) && found.record.kind.as_deref() != Some("profile") {
                    counts.add(found.record, of, &mut read);
                }
                true
            })?;
        }
        let sessions = self.store.read()?.count_sessions(tenant, user)?;
        let object = |name: &str| Some(stored.as_ref()?.record.metadata.get(name)?.clone());
        let fields = object("fields").and_then(|fields| fields.as_object().cloned()).unwrap_or_default();
        let keywords = most(counts.keywords);
        counts.newest.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
        counts.newest.truncate(MAX_SUMMARIZED);
        let view = ProfileView {
            user: user.to_owned(),
            fields,
            summary: object("summary").and_then(|summary| summary.as_str().map(str::to_owned)),
            topics: keywords.iter().take(TOPICS).map(|term| term.term.clone()).collect(),
            keywords,
            entities: most(counts.entities),
            messages: counts.messages,
            memories: counts.memories,
            sessions,
            last_seen: counts.last_seen.map(time_text),
            version: stored.as_ref().map_or(0, |stored| stored.version),
            updated_at: stored.map(|stored| time_text(stored.record.created_at)),
        };
        let text = |(_, text, of)| redactions.get(&of).map(|redaction| redacted(redaction, text));
        Ok((view, counts.newest.into_iter().filter_map(text).collect()))
    }
}

fn describe(llm: &Llm, tenant: &str, memories: &[String], usage: &mut Usage) -> Result<String, MemoryError> {
    let text: String = memories.iter().map(|text| prompts::line(&json!({ "text": text }))).collect();
    Ok(llm.ask(&prompts::summary(tenant, &text), usage, &|value| {
        let summary = value["summary"].as_str().map(str::trim).filter(|text| !text.is_empty());
        summary.map(str::to_owned).ok_or_else(|| "the answer has no summary".to_owned())
    })?)
}

/// What a profile says, in words that can be recalled.
fn text_of(view: &ProfileView) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = vec![format!("Profile of {}.", view.user)];
    lines.extend(view.summary.clone());
    lines.extend(view.fields.iter().map(|(name, value)| format!("{name}: {}", plain(value))));
    if !view.topics.is_empty() {
        lines.push(format!("Talks about {}.", view.topics.join(", ")));
    }
    let names: Vec<&str> = view.entities.iter().take(TOPICS).map(|term| term.term.as_str()).collect();
    if !names.is_empty() {
        lines.push(format!("Mentions {}.", names.join(", ")));
    }
    lines.join("\n")
}
