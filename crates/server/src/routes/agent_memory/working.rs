//! Working memories as payloads of records.

use super::filters::of_owner;
use super::{Memories, WORKING, limited, moment};
use crate::problem::Problem;
use crate::routes::mem0::{bad, impossible, there};
use membox_api::{
    AgentMemory, Direction, NewRecord, OrderBy, RecordView, ScrollRequest, WorkingMemories, WorkingMemoriesQuery,
    WorkingMemory, WorkingMemoryQuery, WorkingMemoryView, WorkingMessage,
};
use membox_memory::compressor::TokenCounter;
use membox_memory::{MemoryError, now, time_text};
use serde_json::json;
use serde_json::value::to_raw_value;

/// Ids of a list unless said otherwise, and at most.
const DEFAULT_IDS: usize = 20;
const MAX_IDS: usize = 100;
/// What agent-memory-server counts tokens by.
const ENCODING: &str = "cl100k_base";

/// The id of a record: of a namespace and a conversation in it.
fn id_of(namespace: Option<&str>, session: &str) -> String {
    json!([namespace, session]).to_string()
}

/// Takes the oldest messages away until the others have so many tokens at most, or one is left. Gives how many tokens
/// they have.
pub(super) fn cut_to(messages: &mut Vec<WorkingMessage>, most: usize) -> Result<usize, Problem> {
    let counter = TokenCounter::by_name(ENCODING).map_err(MemoryError::from)?;
    let counts: Vec<usize> = messages.iter().map(|m| counter.count(&format!("{}: {}", m.role, m.content))).collect();
    let (mut total, mut cut) = (counts.iter().sum::<usize>(), 0);
    while total > most && cut + 1 < messages.len() {
        total -= counts[cut];
        cut += 1;
    }
    messages.drain(..cut);
    Ok(total)
}

impl Memories<'_> {
    /// Keeps a working memory in the place of that of its conversation, and its memories as long-term ones.
    pub(super) fn put(
        &self,
        session: &str,
        mut memory: WorkingMemory,
        query: &WorkingMemoryQuery,
    ) -> Result<WorkingMemoryView, Problem> {
        memory.user_id = query.user_id.clone().or(memory.user_id);
        memory.namespace = memory.namespace.or_else(|| query.namespace.clone());
        for (i, message) in memory.messages.iter_mut().enumerate() {
            let at = format!("/messages/{i}");
            if message.content.trim().is_empty() {
                return Err(bad(format!("{at}/content"), "the content is empty"));
            }
            let time = message.created_at.as_deref().map(|time| moment(time, &format!("{at}/created_at")));
            message.created_at = Some(time.transpose()?.unwrap_or_else(|| time_text(now())));
        }
        self.promote(session, &mut memory)?;
        let WorkingMemory { namespace, user_id, ttl_seconds, .. } = &memory;
        let mut metadata = serde_json::Map::from_iter([("session_id".to_owned(), json!(session))]);
        metadata.extend(namespace.as_ref().map(|namespace| ("namespace".to_owned(), json!(namespace))));
        let expires_at = ttl_seconds.map(|seconds| {
            let until = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000).saturating_add(now());
            time_text(until)
        });
        let payload = to_raw_value(&memory).map_err(|error| bad("", error.to_string()))?;
        let id = id_of(namespace.as_deref(), session);
        let record = NewRecord {
            id: Some(id),
            user: user_id.clone(),
            metadata,
            expires_at,
            payload: Some(payload),
            ..NewRecord::default()
        };
        self.memory.collections().ensure_collection(self.tenant(), WORKING)?;
        self.memory.records().upsert(self.tenant(), WORKING, vec![record]).map_err(in_its_words)?;
        self.working(session, &WorkingMemoryQuery { namespace: memory.namespace, user_id: None, ..query.clone() })
    }

    /// Writes the memories of a working memory that are not long-term ones yet.
    fn promote(&self, session: &str, memory: &mut WorkingMemory) -> Result<(), Problem> {
        let WorkingMemory { memories, user_id, namespace, .. } = memory;
        let own = |given: &AgentMemory| AgentMemory {
            user_id: given.user_id.clone().or_else(|| user_id.clone()),
            namespace: given.namespace.clone().or_else(|| namespace.clone()),
            session_id: given.session_id.clone().or_else(|| Some(session.to_owned())),
            ..given.clone()
        };
        let new: Vec<AgentMemory> = memories.iter().filter(|given| given.persisted_at.is_none()).map(own).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.write(new, "/memories")?;
        let persisted_at = time_text(now());
        memories.iter_mut().for_each(|given| {
            given.persisted_at.get_or_insert_with(|| persisted_at.clone());
        });
        Ok(())
    }

    /// The working memory of a conversation.
    pub(super) fn working(&self, session: &str, query: &WorkingMemoryQuery) -> Result<WorkingMemoryView, Problem> {
        let bounds = [
            ("/context_window_max", query.context_window_max),
            ("/recent_messages_limit", query.recent_messages_limit),
        ];
        if let Some((at, _)) = bounds.into_iter().find(|(_, bound)| *bound == Some(0)) {
            return Err(bad(at, "1 or more is possible"));
        }
        let missing = || Problem::from(MemoryError::Missing { what: "working memory", id: session.to_owned() });
        let id = id_of(query.namespace.as_deref(), session);
        let record = self.memory.records().record_with_payload(self.tenant(), WORKING, &id);
        let record = match record {
            Err(MemoryError::NoRecord(_) | MemoryError::NoCollection(_)) => return Err(missing()),
            record => record?,
        };
        if query.user_id.is_some() && query.user_id != record.user {
            return Err(missing());
        }
        let RecordView { payload, created_at, updated_at, user, .. } = record;
        let kept = payload.as_ref().and_then(|payload| serde_json::from_str::<WorkingMemory>(payload.get()).ok());
        let mut memory = kept.ok_or_else(missing)?;
        memory.user_id = user;
        if let Some(newest) = query.recent_messages_limit {
            memory.messages.drain(..memory.messages.len().saturating_sub(newest));
        }
        let mut context_percentage_total_used = None;
        if let Some(most) = query.context_window_max {
            let used = cut_to(&mut memory.messages, most)?;
            context_percentage_total_used = Some((used as f64 / most.max(1) as f64 * 100.0).min(100.0));
        }
        let written = updated_at.unwrap_or_else(|| created_at.clone());
        Ok(WorkingMemoryView {
            session_id: session.to_owned(),
            memory,
            created_at,
            updated_at: written.clone(),
            last_accessed: written,
            context_percentage_total_used,
        })
    }

    /// Forgets the working memory of a conversation, if there is one.
    pub(super) fn drop_working(&self, session: &str, query: &WorkingMemoryQuery) -> Result<(), Problem> {
        match self.working(session, query) {
            Err(problem) if problem.status == 404 => return Ok(()),
            found => drop(found?),
        }
        let ids = vec![(id_of(query.namespace.as_deref(), session), None)];
        there(self.memory.records().delete(self.tenant(), &self.caller.actor, WORKING, ids))?;
        Ok(())
    }

    /// Conversations that have a working memory, the newest first.
    pub(super) fn conversations(&self, query: WorkingMemoriesQuery) -> Result<WorkingMemories, Problem> {
        let WorkingMemoriesQuery { limit, offset, namespace, user_id } = query;
        let request = ScrollRequest {
            filter: Some(json!({"and": of_owner(namespace.as_ref(), user_id.as_ref(), None)})),
            order_by: Some(OrderBy { field: "created_at".to_owned(), direction: Direction::Desc }),
            offset,
            limit: Some(limited(limit, DEFAULT_IDS, MAX_IDS)?),
            ..ScrollRequest::default()
        };
        let listed = there(self.memory.records().scroll(self.tenant(), WORKING, &request))?;
        let Some(listed) = listed else { return Ok(WorkingMemories { sessions: Vec::new(), total: 0 }) };
        let session = |record: &RecordView| record.metadata.get("session_id")?.as_str().map(str::to_owned);
        let sessions = listed.records.iter().filter_map(|listed| session(&listed.record)).collect();
        Ok(WorkingMemories { sessions, total: listed.count })
    }
}

/// What a record cannot be, in the words of a working memory.
fn in_its_words(error: MemoryError) -> Problem {
    let problem = Problem::from(error);
    match problem.errors.first().map(|field| field.pointer.as_str()) {
        Some("/records/0/payload") => impossible("", problem.detail.clone()),
        Some("/records/0/id") => impossible("/session_id", problem.detail.clone()),
        Some("/records/0/user") => impossible("/user_id", problem.detail.clone()),
        Some("/records/0/metadata") => impossible("/namespace", problem.detail.clone()),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_and_a_conversation_have_one_id_and_no_others() {
        let ids = [id_of(None, "s"), id_of(Some(""), "s"), id_of(Some("n"), "s"), id_of(Some("n\",\"s"), "")];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn the_oldest_messages_go_and_one_stays() {
        let message = |content: &str| WorkingMessage {
            role: "user".to_owned(),
            content: content.to_owned(),
            id: None,
            created_at: None,
            persisted_at: None,
            discrete_memory_extracted: None,
        };
        let all = || vec![message("one two three"), message("four five"), message("six")];
        for (most, left) in [(100, 3), (8, 2), (1, 1)] {
            let mut messages = all();
            let tokens = cut_to(&mut messages, most).expect("a count");
            assert_eq!(messages.len(), left, "{most}: {tokens}");
        }
    }
}
