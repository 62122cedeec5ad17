//! mem0's routes: what its hosted client (`MemoryClient`) and the clients of its own server say, over one collection.
//!
//! A memory is a record of the collection `mem0`. Its user is `user_id`; `agent_id`, `app_id` and `run_id` are in its
//! metadata. What it said before stands in its payload. Messages of which memories are made are kept in a session of
//! whoever they are about. What needs a language model of mem0's own (instructions, categories, schemas) is refused.

mod filters;
pub mod hosted;
pub mod server;
mod views;

use crate::auth::Caller;
use crate::problem::Problem;
use axum::http::StatusCode;
use filters::{all_of, conditions, field, of_categories, owned_by};
use membox_api::{
    AddMemories, Direction, FacetsRequest, GetRequest, Mem0Add, Mem0BatchUpdate, Mem0Change, Mem0Entity, Mem0Event,
    Mem0List, Mem0Memory, Mem0Owner, Mem0PageQuery, Mem0Search, Mem0Update, MemoryMessage, NewRecord, OrderBy,
    PatchManyRequest, RecallRequest, RecordPatch, RecordView, ScrollRequest, WrittenRecord,
};
use membox_memory::{MemoryBox, MemoryError};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::collections::HashSet;
use views::{History, day_end, memory_of_hit, memory_of_record, second};

/// The collection of all of a tenant's memories.
const COLLECTION: &str = "mem0";
/// Memories of a page, and of a search, unless said otherwise.
const DEFAULT_PAGE: usize = 100;
const DEFAULT_TOP_K: usize = 10;
/// Of both, at most; so many may be changed at once.
const MAX_MEMORIES: usize = 1000;
/// Kinds of owners, as their fields are called.
const OWNERS: [(&str, &str); 4] = [("user", "user_id"), ("agent", "agent_id"), ("app", "app_id"), ("run", "run_id")];
/// How often a change is tried anew that another one has overtaken.
const TRIES: usize = 5;

pub(super) fn bad(at: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::field(StatusCode::BAD_REQUEST, at, detail)
}

pub(super) fn impossible(at: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::field(StatusCode::UNPROCESSABLE_ENTITY, at, detail)
}

fn check_count(count: usize, at: &str) -> Result<(), Problem> {
    match count {
        1..=MAX_MEMORIES => Ok(()),
        _ => Err(bad(at, format!("there are {count}; 1 to {MAX_MEMORIES} are possible"))),
    }
}

/// A tenant's memories.
struct Memories<'a> {
    memory: &'a MemoryBox,
    caller: &'a Caller,
}

fn of<'a>(memory: &'a MemoryBox, caller: &'a Caller) -> Memories<'a> {
    Memories { memory, caller }
}

impl Memories<'_> {
    fn tenant(&self) -> &str {
        &self.caller.tenant
    }

    /// Remembers messages: as they are, or what is made of them.
    fn add(&self, request: Mem0Add) -> Result<Vec<Mem0Event>, Problem> {
        check_count(request.messages.len(), "/messages")?;
        if request.prompt.is_some() {
            return Err(impossible("/prompt", "no language model reads it here"));
        }
        let refused = [
            ("custom_instructions", &request.custom_instructions),
            ("agent_custom_instructions", &request.agent_custom_instructions),
            ("custom_categories", &request.custom_categories),
            ("structured_data_schema", &request.structured_data_schema),
        ];
        if let Some((name, _)) = refused.into_iter().find(|(_, value)| value.as_ref().is_some_and(|v| !v.is_null())) {
            return Err(impossible(format!("/{name}"), "no language model reads it here"));
        }
        let owner = owner_of(&request)?;
        let mut metadata = request.metadata.clone().unwrap_or_default();
        let others = [("agent_id", &owner.agent_id), ("app_id", &owner.app_id), ("run_id", &owner.run_id)];
        metadata.extend(others.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.clone()?.into()))));
        let expires_at = request.expiration_date.as_deref().map(|day| day_end(day, "/expiration_date")).transpose()?;
        let created_at = request.timestamp.map(|seconds| second(seconds, "/timestamp")).transpose()?;
        self.memory.collections().ensure_collection(self.tenant(), COLLECTION)?;
        if request.infer.unwrap_or(true) {
            self.infer(request, &owner, metadata, expires_at, created_at)
        } else {
            self.keep(request, &owner, &metadata, expires_at, created_at)
        }
    }

    /// Each message is a memory.
    fn keep(
        &self,
        request: Mem0Add,
        owner: &Mem0Owner,
        metadata: &Map<String, Value>,
        expires_at: Option<String>,
        created_at: Option<String>,
    ) -> Result<Vec<Mem0Event>, Problem> {
        let record = |message: membox_api::Mem0Message| NewRecord {
            text: message.content,
            user: owner.user_id.clone(),
            metadata: metadata.clone(),
            expires_at: expires_at.clone(),
            created_at: created_at.clone(),
            ..NewRecord::default()
        };
        let records = request.messages.into_iter().map(record).collect();
        let written = self.memory.records().upsert(self.tenant(), COLLECTION, records)?;
        // As they are kept: personal data may be gone.
        let ids = written.into_iter().map(|WrittenRecord { id, .. }| id).collect();
        let kept = GetRequest { ids, with: Some(Vec::new()) };
        let kept = self.memory.records().get_many(self.tenant(), COLLECTION, &kept)?.records;
        let event = |RecordView { id, text, .. }| Mem0Event { id, memory: text, event: "ADD" };
        Ok(kept.into_iter().map(|listed| event(listed.record)).collect())
    }

    /// Memories are made of the messages.
    fn infer(
        &self,
        request: Mem0Add,
        owner: &Mem0Owner,
        metadata: Map<String, Value>,
        expires_at: Option<String>,
        created_at: Option<String>,
    ) -> Result<Vec<Mem0Event>, Problem> {
        let ids = [&owner.run_id, &owner.user_id, &owner.agent_id, &owner.app_id];
        let conversation = ids.into_iter().flatten().next().cloned().unwrap_or_default();
        let message = |message: membox_api::Mem0Message| MemoryMessage {
            id: None,
            role: message.role,
            content: message.content,
            name: None,
            time_stamp: None,
            metadata: Map::new(),
        };
        let said = AddMemories {
            session: format!("mem0:{conversation}"),
            user: owner.user_id.clone(),
            collection: Some(COLLECTION.to_owned()),
            messages: request.messages.into_iter().map(message).collect(),
            time_stamp: created_at,
            force: true,
        };
        let made = self.memory.memories().add_memories(self.tenant(), said, false)?;
        if let Some(problem) = made.problem {
            return Err(Problem::new(StatusCode::BAD_GATEWAY, problem));
        }
        let ids: Vec<String> = made.memories.iter().map(|memory| memory.id.clone()).collect();
        if !ids.is_empty() && (!metadata.is_empty() || expires_at.is_some()) {
            let patch =
                RecordPatch { metadata: Some(metadata), expires_at: expires_at.map(Some), ..RecordPatch::default() };
            self.memory.records().patch_many(self.tenant(), COLLECTION, &PatchManyRequest { ids, patch }, None)?;
        }
        let event = |made: membox_api::MadeMemory| Mem0Event { id: made.id, memory: made.text, event: "ADD" };
        Ok(made.memories.into_iter().map(event).collect())
    }

    /// Answers a question.
    fn search(&self, request: Mem0Search) -> Result<Vec<Mem0Memory>, Problem> {
        let Mem0Search {
            query,
            filters,
            user_id,
            agent_id,
            run_id,
            top_k,
            limit,
            threshold,
            reference_date,
            categories,
        } = request;
        let k = top_k.or(limit).unwrap_or(DEFAULT_TOP_K);
        check_count(k, if top_k.is_none() && limit.is_some() { "/limit" } else { "/top_k" })?;
        if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(bad("/threshold", "0 to 1 is possible"));
        }
        let mut of = owned_by(&Mem0Owner { user_id, agent_id, app_id: None, run_id });
        of.extend(filters.map(|filters| conditions(&filters, "/filters")).transpose()?.unwrap_or_default());
        of.extend(of_categories(categories.as_ref()));
        let asked = RecallRequest {
            query: Some(query),
            k,
            filter: Some(all_of(of)),
            min_relevance: threshold,
            now: reference_date.map(|date| views::moment(&date, "/reference_date")).transpose()?,
            include: vec![membox_api::Include::Text, membox_api::Include::Metadata],
            ..RecallRequest::default()
        };
        let Some(answer) = there(self.memory.recall(self.tenant(), COLLECTION, &asked))? else { return Ok(Vec::new()) };
        Ok(answer.hits.into_iter().map(memory_of_hit).collect())
    }

    /// A part of all memories, the newest first, and how many there are.
    fn list(&self, request: Mem0List, query: &Mem0PageQuery) -> Result<(Vec<Mem0Memory>, u64), Problem> {
        let Mem0List { filters, start_date, end_date, categories } = request;
        let (page, size) = (query.page.unwrap_or(1), query.page_size.unwrap_or(DEFAULT_PAGE));
        check_count(size, "/page_size")?;
        let before = page.checked_sub(1).and_then(|pages| pages.checked_mul(size));
        let offset = before.ok_or_else(|| bad("/page", "pages are counted from 1"))?;
        let mut of = filters.map(|filters| conditions(&filters, "/filters")).transpose()?.unwrap_or_default();
        let bounds = [("gte", start_date, "/start_date"), ("lte", end_date, "/end_date")];
        for (operator, date, at) in bounds {
            if let Some(date) = date {
                of.push(serde_json::json!({"field": "created_at", operator: views::moment(&date.into(), at)?}));
            }
        }
        of.extend(of_categories(categories.as_ref()));
        self.listed(all_of(of), offset, size)
    }

    /// Deletes all memories.
    fn reset(&self) -> Result<usize, Problem> {
        let (tenant, actor) = (self.tenant(), &self.caller.actor);
        let all = all_of(Vec::new());
        Ok(there(self.memory.records().delete_by_filter(tenant, actor, COLLECTION, &all))?.unwrap_or(0))
    }

    fn listed(&self, filter: Value, offset: usize, limit: usize) -> Result<(Vec<Mem0Memory>, u64), Problem> {
        let newest = OrderBy { field: "created_at".to_owned(), direction: Direction::Desc };
        let request = ScrollRequest {
            filter: Some(filter),
            order_by: Some(newest),
            offset,
            limit: Some(limit),
            ..ScrollRequest::default()
        };
        let answer = there(self.memory.records().scroll(self.tenant(), COLLECTION, &request))?;
        let Some(answer) = answer else { return Ok((Vec::new(), 0)) };
        Ok((answer.records.into_iter().map(|listed| memory_of_record(listed.record)).collect(), answer.count))
    }

    fn record(&self, id: &str) -> Result<RecordView, Problem> {
        let record = there(self.memory.records().record_with_payload(self.tenant(), COLLECTION, id))?;
        Ok(record.ok_or_else(|| MemoryError::NoRecord(id.to_owned()))?)
    }

    /// Changes a memory, and notes what it said before.
    fn update(&self, id: &str, update: &Mem0Update) -> Result<Mem0Memory, Problem> {
        let patch = patch_of(update)?;
        for _ in 0..TRIES {
            let record = self.record(id)?;
            let patch = with_history(patch.clone(), &record)?;
            match self.memory.records().patch(self.tenant(), COLLECTION, id, &patch, Some(record.version)) {
                Err(error) if error.is_conflict() => {}
                patched => return Ok(memory_of_record(patched?)),
            }
        }
        Err(Problem::new(StatusCode::CONFLICT, "others change the memory all the time"))
    }

    /// Changes memories: all of them, or none where one is wrong.
    fn update_many(&self, updates: &[Mem0BatchUpdate]) -> Result<usize, Problem> {
        check_count(updates.len(), "/memories")?;
        let place = |i: usize| format!("/memories/{i}");
        let mut seen = HashSet::new();
        if let Some(i) = updates.iter().position(|update| !seen.insert(&update.memory_id)) {
            return Err(bad(format!("{}/memory_id", place(i)), "it stands twice"));
        }
        let within = |i: usize, mut problem: Problem| {
            problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, &place(i)));
            problem
        };
        let patches =
            updates.iter().enumerate().map(|(i, one)| patch_of(&one.update).map_err(|error| within(i, error)));
        let patches: Vec<RecordPatch> = patches.collect::<Result<_, _>>()?;
        for _ in 0..TRIES {
            let (mut changes, mut versions) = (Vec::with_capacity(patches.len()), Vec::with_capacity(patches.len()));
            for (one, patch) in updates.iter().zip(&patches) {
                let record = self.record(&one.memory_id)?;
                changes.push((one.memory_id.as_str(), with_history(patch.clone(), &record)?));
                versions.push(record.version);
            }
            let changes: Vec<(&str, &RecordPatch)> = changes.iter().map(|(id, patch)| (*id, patch)).collect();
            match self.memory.records().patch_each(self.tenant(), COLLECTION, &changes, Some(&versions), place) {
                Err(error) if error.is_conflict() => {}
                // One has gone since.
                Ok(answer) if !answer.missing.is_empty() => {}
                patched => return Ok(patched?.patched),
            }
        }
        Err(Problem::new(StatusCode::CONFLICT, "others change the memories all the time"))
    }

    /// What a memory said, the oldest first.
    fn history(&self, id: &str) -> Result<Vec<Mem0Change>, Problem> {
        Ok(History::of(&self.record(id)?).changes(id))
    }

    fn delete(&self, ids: Vec<String>) -> Result<usize, Problem> {
        let ids = ids.into_iter().map(|id| (id, None)).collect();
        Ok(there(self.memory.records().delete(self.tenant(), &self.caller.actor, COLLECTION, ids))?.unwrap_or(0))
    }

    /// Deletes the memories of an owner.
    fn delete_of(&self, owner: &Mem0Owner) -> Result<usize, Problem> {
        let of = owned_by(owner);
        if of.is_empty() {
            return Err(bad("", "user_id, agent_id, app_id or run_id is wanted"));
        }
        let (tenant, actor) = (self.tenant(), &self.caller.actor);
        Ok(there(self.memory.records().delete_by_filter(tenant, actor, COLLECTION, &all_of(of)))?.unwrap_or(0))
    }

    /// Who has memories.
    fn entities(&self) -> Result<Vec<Mem0Entity>, Problem> {
        let fields = OWNERS.map(|(_, name)| field(name)).to_vec();
        let request = FacetsRequest { fields, filter: Some(all_of(Vec::new())), limit: Some(MAX_MEMORIES) };
        let answer = there(self.memory.records().facets(self.tenant(), COLLECTION, &request))?;
        let facets = answer.map(|answer| answer.facets).unwrap_or_default();
        let of_kind = |((kind, _), facet): ((&'static str, _), membox_api::Facet)| {
            facet.values.into_iter().map(move |value| {
                let name = value.value.as_str().map_or_else(|| value.value.to_string(), str::to_owned);
                Mem0Entity { id: name.clone(), name, kind, total_memories: value.count }
            })
        };
        Ok(OWNERS.into_iter().zip(facets).flat_map(of_kind).collect())
    }

    /// Whether there is such a memory.
    fn has(&self, id: &str) -> Result<bool, Problem> {
        let request = GetRequest { ids: vec![id.to_owned()], with: Some(Vec::new()) };
        let found = there(self.memory.records().get_many(self.tenant(), COLLECTION, &request))?;
        Ok(found.is_some_and(|found| found.missing.is_empty()))
    }
}

/// A change as one of records.
fn patch_of(update: &Mem0Update) -> Result<RecordPatch, Problem> {
    if update.timestamp.as_ref().is_some_and(|timestamp| !timestamp.is_null()) {
        return Err(impossible("/timestamp", "when it was said is not changed"));
    }
    let until = |day: &String| day_end(day, "/expiration_date");
    let expires_at = update.expiration_date.as_ref();
    let expires_at = expires_at.map(|day| day.as_ref().map(until).transpose()).transpose()?;
    if update.text.is_none() && update.metadata.is_none() && expires_at.is_none() {
        return Err(bad("", "text, metadata or expiration_date is wanted"));
    }
    let (text, metadata) = (update.text.clone(), update.metadata.clone());
    Ok(RecordPatch { text, metadata, expires_at, ..RecordPatch::default() })
}

/// A change of a memory that notes what it said before.
fn with_history(mut patch: RecordPatch, record: &RecordView) -> Result<RecordPatch, Problem> {
    if let Some(text) = patch.text.as_ref().filter(|text| **text != record.text) {
        patch.payload = Some(Some(raw(&History::of(record).with(text))?));
    }
    Ok(patch)
}

/// Whose memories are to be made: by the fields of a request, or by its filters.
fn owner_of(request: &Mem0Add) -> Result<Mem0Owner, Problem> {
    let filters = request.filters.as_ref();
    let id = |given: &Option<String>, name: &str| match (given, filters.and_then(|filters| filters.get(name))) {
        (Some(given), _) => Ok(Some(given.clone())),
        (None, Some(Value::String(given))) => Ok(Some(given.clone())),
        (None, None | Some(Value::Null)) => Ok(None),
        (None, Some(_)) => Err(bad(format!("/filters/{name}"), "a string is wanted")),
    };
    let owner = Mem0Owner {
        user_id: id(&request.user_id, "user_id")?,
        agent_id: id(&request.agent_id, "agent_id")?,
        app_id: id(&request.app_id, "app_id")?,
        run_id: id(&request.run_id, "run_id")?,
    };
    if owned_by(&owner).is_empty() {
        return Err(bad("/user_id", "one of user_id, agent_id, app_id and run_id is wanted"));
    }
    Ok(owner)
}

/// What is there; nothing where nobody has written a memory yet.
pub(super) fn there<T>(found: Result<T, MemoryError>) -> Result<Option<T>, Problem> {
    match found {
        Err(MemoryError::NoCollection(_)) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, Problem> {
    to_raw_value(value).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
