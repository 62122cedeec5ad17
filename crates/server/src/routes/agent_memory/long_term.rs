//! Long-term memories as records.

use super::filters::{of_owner, of_search};
use super::{LONG_TERM, MAX_MEMORIES, Memories, TYPES, limited, moment};
use crate::problem::Problem;
use crate::routes::mem0::{bad, impossible, there};
use membox_api::{
    AgentMemory, AgentMemoryForget, AgentMemoryForgetQuery, AgentMemoryForgotten, AgentMemoryFound, AgentMemoryHit,
    AgentMemoryMode, AgentMemoryPatch, AgentMemoryPolicy, AgentMemorySearch, Direction, Hit, Include, NewRecord,
    OrderBy, RecallMode, RecallRequest, RecordPatch, RecordView, ScrollAnswer, ScrollRequest,
};
use membox_memory::{MemoryError, now, time_millis};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Memories of a search unless said otherwise, and at most.
const DEFAULT_HITS: usize = 10;
const MAX_HITS: usize = 100;
/// Memories that may be passed over.
const MAX_OFFSET: usize = 9000;
/// How much older than its limit a memory is at which it goes though it is in use.
const HARD_AGE: f64 = 12.0;
const MILLISECONDS_OF_DAY: f64 = 86_400_000.0;

impl Memories<'_> {
    /// Writes memories; those of ids that exist are replaced.
    pub(super) fn write(&self, memories: Vec<AgentMemory>, at: &str) -> Result<usize, Problem> {
        let count = memories.len();
        if !(1..=MAX_MEMORIES).contains(&count) {
            return Err(bad(at, format!("there are {count}; 1 to {MAX_MEMORIES} are possible")));
        }
        let record = |(i, memory)| record_of(memory, &format!("{at}/{i}"));
        let records = memories.into_iter().enumerate().map(record).collect::<Result<_, _>>()?;
        self.memory.collections().ensure_collection(self.tenant(), LONG_TERM)?;
        let written = self.memory.records().upsert(self.tenant(), LONG_TERM, records);
        Ok(written.map_err(|error| renamed(error.into(), at))?.len())
    }

    /// A memory.
    pub(super) fn get(&self, id: &str) -> Result<AgentMemory, Problem> {
        let record = there(self.memory.records().record(self.tenant(), LONG_TERM, id))?;
        Ok(memory_of(record.ok_or_else(|| MemoryError::NoRecord(id.to_owned()))?))
    }

    /// Changes a memory.
    pub(super) fn patch(&self, id: &str, patch: AgentMemoryPatch) -> Result<AgentMemory, Problem> {
        let AgentMemoryPatch {
            text,
            topics,
            entities,
            memory_type,
            namespace,
            user_id,
            session_id,
            event_date,
            pinned,
        } = patch;
        check_type(memory_type.as_ref(), "")?;
        let event_date = event_date.map(|date| moment(&date, "/event_date")).transpose()?;
        let metadata = metadata_of(namespace, session_id, topics, entities, event_date, None, pinned);
        let patch = RecordPatch {
            text,
            user: user_id.map(Some),
            kind: memory_type.map(Some),
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
            ..RecordPatch::default()
        };
        if patch.text.is_none() && patch.user.is_none() && patch.kind.is_none() && patch.metadata.is_none() {
            return Err(bad("", "a field to be changed is wanted"));
        }
        let patched = there(self.memory.records().patch(self.tenant(), LONG_TERM, id, &patch, None))?;
        Ok(memory_of(patched.ok_or_else(|| MemoryError::NoRecord(id.to_owned()))?))
    }

    pub(super) fn delete(&self, ids: Vec<String>) -> Result<usize, Problem> {
        if ids.len() > MAX_MEMORIES {
            return Err(bad("/memory_ids", format!("{} ids; at most {MAX_MEMORIES} are possible", ids.len())));
        }
        let ids: Vec<_> = ids.into_iter().map(|id| (id, None)).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        let deleted = self.memory.records().delete(self.tenant(), &self.caller.actor, LONG_TERM, ids);
        Ok(there(deleted)?.unwrap_or(0))
    }

    /// Memories that answer a question, or those that the filters leave where there is none.
    pub(super) fn search(&self, search: &AgentMemorySearch, at: &str) -> Result<AgentMemoryFound, Problem> {
        let limit = limited(search.limit, DEFAULT_HITS, MAX_HITS).map_err(|problem| renamed(problem, at))?;
        if search.offset > MAX_OFFSET {
            return Err(bad(format!("{at}/offset"), format!("at most {MAX_OFFSET} is possible")));
        }
        let filter = json!({"and": of_search(search, at)?});
        let question = search.text.as_deref().filter(|text| !text.trim().is_empty());
        let (found, more) = match question {
            Some(question) => self.recalled(question, search, filter, limit, at)?,
            None => {
                let listed = self.newest(filter, search.offset, limit)?;
                let more = listed.as_ref().is_some_and(|listed| listed.next_offset.is_some());
                let records = listed.map(|listed| listed.records).unwrap_or_default();
                let hit =
                    |record| AgentMemoryHit { memory: memory_of(record), dist: 0.0, score: None, score_type: None };
                (records.into_iter().map(|listed| hit(listed.record)).collect(), more)
            }
        };
        let total = search.offset + found.len();
        Ok(AgentMemoryFound { memories: found, total, next_offset: more.then_some(total) })
    }

    /// Memories by a recall, and whether there are more.
    fn recalled(
        &self,
        question: &str,
        search: &AgentMemorySearch,
        filter: Value,
        limit: usize,
        at: &str,
    ) -> Result<(Vec<AgentMemoryHit>, bool), Problem> {
        let mode = search.search_mode;
        let threshold = search.distance_threshold;
        if threshold.is_some_and(|threshold| !(0.0..=2.0).contains(&threshold)) {
            return Err(bad(format!("{at}/distance_threshold"), "0 to 2 is possible"));
        }
        if threshold.is_some() && mode != AgentMemoryMode::Semantic {
            return Err(bad(format!("{at}/distance_threshold"), "it goes with search_mode \"semantic\""));
        }
        let k = search.offset.saturating_add(limit).saturating_add(1);
        let asked = RecallRequest {
            query: Some(question.to_owned()),
            k,
            mode: Some(match mode {
                AgentMemoryMode::Semantic => RecallMode::Vector,
                AgentMemoryMode::Keyword => RecallMode::Text,
                AgentMemoryMode::Hybrid => RecallMode::Hybrid,
            }),
            filter: Some(filter),
            min_score: threshold.map(|threshold| 1.0 - threshold),
            include: vec![Include::Text, Include::Metadata],
            ..RecallRequest::default()
        };
        let answer = there(self.memory.recall(self.tenant(), LONG_TERM, &asked))?;
        let mut hits = answer.map(|answer| answer.hits).unwrap_or_default();
        let more = hits.len() == k;
        hits.truncate(k - 1);
        Ok((hits.into_iter().skip(search.offset).map(|hit| found(hit, mode)).collect(), more))
    }

    /// Memories that a filter leaves, the newest first; `None` where nobody has written one yet.
    fn newest(&self, filter: Value, offset: usize, limit: usize) -> Result<Option<ScrollAnswer>, Problem> {
        let newest = OrderBy { field: "created_at".to_owned(), direction: Direction::Desc };
        let request = ScrollRequest {
            filter: Some(filter),
            order_by: Some(newest),
            offset,
            limit: Some(limit),
            ..ScrollRequest::default()
        };
        there(self.memory.records().scroll(self.tenant(), LONG_TERM, &request))
    }

    /// Forgets what a policy says.
    pub(super) fn forget(
        &self,
        request: AgentMemoryForget,
        query: AgentMemoryForgetQuery,
    ) -> Result<AgentMemoryForgotten, Problem> {
        let AgentMemoryForgetQuery { namespace, user_id, session_id, limit, dry_run } = query;
        let AgentMemoryForget { policy, pinned_ids } = request;
        let limit = limited(limit, MAX_MEMORIES, MAX_MEMORIES)?;
        let filter = json!({"and": of_owner(namespace.as_ref(), user_id.as_ref(), session_id.as_ref())});
        let records = self.newest(filter, 0, limit)?.map(|listed| listed.records).unwrap_or_default();
        let scanned = records.len();
        let pinned: HashSet<String> = pinned_ids.unwrap_or_default().into_iter().collect();
        let memories = records.into_iter().map(|listed| memory_of(listed.record));
        let deleted_ids = forgotten(memories.filter(|memory| !pinned.contains(&memory.id)), &policy, now());
        let dry_run = dry_run.unwrap_or(true);
        let deleted = if dry_run { deleted_ids.len() } else { self.delete(deleted_ids.clone())? };
        Ok(AgentMemoryForgotten { scanned, deleted, deleted_ids, dry_run })
    }
}

/// Which of some memories, the newest first, a policy does not keep.
fn forgotten(memories: impl Iterator<Item = AgentMemory>, policy: &AgentMemoryPolicy, now: i64) -> Vec<String> {
    let days = |time: &Option<String>| {
        let time = time.as_deref().and_then(time_millis).unwrap_or(now);
        (now - time) as f64 / MILLISECONDS_OF_DAY
    };
    let hard = policy.hard_age_multiplier.unwrap_or(HARD_AGE);
    let is_over = |memory: &AgentMemory| {
        let (age, idle) = (days(&memory.created_at), days(&memory.last_accessed));
        match (policy.max_age_days, policy.max_inactive_days) {
            (Some(most), Some(most_idle)) => age > most * hard || age > most && idle > most_idle,
            (Some(most), None) => age > most,
            (None, Some(most_idle)) => idle > most_idle,
            (None, None) => false,
        }
    };
    let types = policy.memory_type_allowlist.as_deref();
    let is_of_type =
        |memory: &AgentMemory| types.is_none_or(|types| types.iter().any(|t| memory.memory_type.as_ref() == Some(t)));
    let may_go = memories.filter(|memory| memory.pinned != Some(true) && is_of_type(memory));
    let (mut over, kept): (Vec<AgentMemory>, Vec<AgentMemory>) = may_go.partition(is_over);
    over.extend(kept.into_iter().skip(policy.budget.unwrap_or(usize::MAX)));
    over.into_iter().map(|memory| memory.id).collect()
}

/// The place of a field below that of a request's part, in the words of the client.
fn renamed(mut problem: Problem, at: &str) -> Problem {
    for field in &mut problem.errors {
        field.pointer = match field.pointer.strip_prefix("/records") {
            Some(rest) => format!("{at}{rest}"),
            None => format!("{at}{}", field.pointer),
        };
    }
    problem
}

fn check_type(memory_type: Option<&String>, at: &str) -> Result<(), Problem> {
    match memory_type {
        Some(given) if !TYPES.contains(&given.as_str()) => {
            Err(bad(format!("{at}/memory_type"), format!("{given:?} is none of {}", TYPES.join(", "))))
        }
        _ => Ok(()),
    }
}

fn metadata_of(
    namespace: Option<String>,
    session_id: Option<String>,
    topics: Option<Vec<String>>,
    entities: Option<Vec<String>>,
    event_date: Option<String>,
    extracted_from: Option<Vec<String>>,
    pinned: Option<bool>,
) -> Map<String, Value> {
    let given = [
        ("namespace", namespace.map(Value::from)),
        ("session_id", session_id.map(Value::from)),
        ("topics", topics.map(Value::from)),
        ("entities", entities.map(Value::from)),
        ("event_date", event_date.map(Value::from)),
        ("extracted_from", extracted_from.map(Value::from)),
        ("pinned", pinned.map(Value::from)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A memory as a record.
fn record_of(memory: AgentMemory, at: &str) -> Result<NewRecord, Problem> {
    let AgentMemory { id, text, session_id, user_id, namespace, topics, entities, memory_type, .. } = memory;
    if text.trim().is_empty() {
        return Err(impossible(format!("{at}/text"), "the text is empty"));
    }
    check_type(memory_type.as_ref(), at)?;
    let event_date = memory.event_date.map(|date| moment(&date, &format!("{at}/event_date"))).transpose()?;
    let created_at = memory.created_at.map(|time| moment(&time, &format!("{at}/created_at"))).transpose()?;
    let (extracted_from, pinned) = (memory.extracted_from, memory.pinned);
    Ok(NewRecord {
        id: Some(id),
        text,
        user: user_id,
        kind: memory_type.or_else(|| Some(TYPES[0].to_owned())),
        created_at,
        metadata: metadata_of(namespace, session_id, topics, entities, event_date, extracted_from, pinned),
        ..NewRecord::default()
    })
}

/// The parts of a record that a memory is made of.
struct Parts {
    id: String,
    text: String,
    user: Option<String>,
    kind: Option<String>,
    metadata: Map<String, Value>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

fn memory_of(record: RecordView) -> AgentMemory {
    let RecordView { id, text, user, kind, metadata, created_at, updated_at, .. } = record;
    memory(Parts { id, text, user, kind, metadata, created_at: Some(created_at), updated_at })
}

fn found(hit: Hit, mode: AgentMemoryMode) -> AgentMemoryHit {
    let Hit { id, text, user, kind, metadata, created_at, updated_at, relevance, score, .. } = hit;
    let (text, metadata) = (text.unwrap_or_default(), metadata.unwrap_or_default());
    let likeness = if mode == AgentMemoryMode::Semantic { score } else { relevance.unwrap_or_default() };
    AgentMemoryHit {
        memory: memory(Parts { id, text, user, kind, metadata, created_at, updated_at }),
        dist: 1.0 - likeness,
        score: relevance,
        score_type: Some(mode),
    }
}

fn memory(parts: Parts) -> AgentMemory {
    let Parts { id, text, user, kind, mut metadata, created_at, updated_at } = parts;
    let texts = |value: Option<Value>| value.and_then(|value| serde_json::from_value(value).ok());
    let word = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let (namespace, session_id, event_date) = (word("namespace"), word("session_id"), word("event_date"));
    let written = updated_at.or_else(|| created_at.clone());
    AgentMemory {
        id,
        text,
        session_id,
        user_id: user,
        namespace,
        topics: texts(metadata.remove("topics")),
        entities: texts(metadata.remove("entities")),
        memory_type: Some(kind.filter(|kind| TYPES.contains(&kind.as_str())).unwrap_or_else(|| TYPES[0].to_owned())),
        event_date,
        extracted_from: texts(metadata.remove("extracted_from")),
        pinned: metadata.get("pinned").and_then(Value::as_bool),
        created_at,
        updated_at: written.clone(),
        last_accessed: written.clone(),
        persisted_at: written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_memory::time_text;

    fn aged(id: &str, age: i64, idle: i64, memory_type: &str) -> AgentMemory {
        let before = |days: i64| time_text(now() - days * 86_400_000 - 1000);
        let record = json!({"id": id, "text": "t", "memory_type": memory_type, "created_at": before(age),
            "last_accessed": before(idle)});
        serde_json::from_value(record).expect("a memory")
    }

    #[test]
    fn a_policy_says_what_is_forgotten() {
        let memories = || {
            let pinned = AgentMemory { pinned: Some(true), ..aged("pinned", 900, 900, "semantic") };
            let others = [
                aged("new", 0, 0, "semantic"),
                aged("used", 20, 1, "semantic"),
                aged("idle", 20, 20, "episodic"),
                aged("ancient", 200, 0, "semantic"),
            ];
            others.into_iter().chain([pinned])
        };
        let of = |policy: Value| forgotten(memories(), &serde_json::from_value(policy).expect("a policy"), now());
        assert!(of(json!({})).is_empty());
        assert_eq!(of(json!({"max_age_days": 10})), ["used", "idle", "ancient"]);
        assert_eq!(of(json!({"max_inactive_days": 10})), ["idle"]);
        assert_eq!(of(json!({"max_age_days": 10, "max_inactive_days": 10})), ["idle", "ancient"]);
        assert_eq!(of(json!({"max_age_days": 10, "memory_type_allowlist": ["episodic"]})), ["idle"]);
        assert_eq!(of(json!({"budget": 2})), ["idle", "ancient"]);
        assert_eq!(of(json!({"max_inactive_days": 10, "budget": 1})), ["idle", "used", "ancient"]);
    }
}
