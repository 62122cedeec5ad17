//! From what was said to memories: LightMem's pipeline (arXiv 2510.18866).
//!
//! ```text
//! messages ─▶ times ─▶ session (durable) ─▶ sensory buffer ─▶ topics ─▶ short-term buffer ─▶ memories ─▶ update
//!             clock      append              topics.rs                     extract.rs         update.rs
//! ```
//!
//! The buffers hold no text: they are places in the session, whose messages are where they always were. So nothing
//! that was acknowledged is lost with them, however a call ends, and the next one goes on where the last one
//! stopped. What a step makes and how far it has come are one commit.

mod clock;
mod consolidate;
mod cutting;
mod extract;
mod forget;
pub(crate) mod made;
mod profile;
mod prompts;
pub(crate) mod same;
mod state;
mod topics;
mod turns;
mod update;

use crate::admission::Admission;
use crate::collections::Collections;
use crate::convert::add_usage;
use crate::models::Models;
use crate::records::Records;
use crate::sessions::Sessions;
use crate::tenants::llm_usage;
use crate::{MemoryError, time_text};
use clock::Clock;
pub(crate) use consolidate::THRESHOLD;
pub(crate) use made::is_made;
pub use made::made_conditions;
use made::{SOURCES_FIELD, TOPIC_FIELD};
use membox_api::{
    AddMemories, AddedMemories, AppendRequest, LlmUsage, MadeMemory, MemoriesPolicy, MessageType, NewMessage, Role,
    UpdateRequest, UpdateTime, Waiting,
};
use membox_llm::Usage;
use membox_store::Store;
use membox_store::{Advance, Range, Record, RecordReads, StoredSession, WriteRecords};
use serde_json::{Value, json};
pub(crate) use state::PipelineState;
use state::TopicSpan;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use topics::Cues;
use turns::TurnVectors;

/// Where the stamp of a message's session is in its metadata.
const STAMP_FIELD: &str = "time_stamp";
/// Messages that are looked at together.
const MAX_READ: i64 = 4096;
/// Times that a step is tried again when the session has changed meanwhile.
const TRIES: usize = 16;

/// What each step did, for those who ask.
pub(crate) struct Trace(Option<Vec<Value>>);

impl Trace {
    fn note(&mut self, step: impl FnOnce() -> Value) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }
}

/// A call on its way: what was asked, and what has come of it so far.
pub(crate) struct Call<'a> {
    tenant: &'a str,
    session: &'a str,
    force: bool,
    answer: AddedMemories,
    trace: Trace,
}

/// A session by its tenant and id.
type SessionKey = (String, String);

/// What the pipeline keeps in memory.
#[derive(Default)]
pub(crate) struct Pipeline {
    /// A session's messages go their way one call at a time.
    sessions: Mutex<HashMap<SessionKey, Arc<Mutex<()>>>>,
    cues: OnceLock<Cues>,
    turns: TurnVectors,
}

impl Pipeline {
    /// Forgets what is remembered of a tenant.
    pub fn forget(&self, tenant: &str) {
        self.turns.forget(tenant);
    }

    fn lock_of(&self, key: &SessionKey) -> Arc<Mutex<()>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone()
    }

    fn unlock(&self, key: &SessionKey, lock: &Arc<Mutex<()>>) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        // This one and the map's own: nobody else waits for it.
        if Arc::strong_count(lock) == 2 {
            sessions.remove(key);
        }
    }
}

/// A session's step from what was read to another state.
fn advance(session: &StoredSession, to: &PipelineState) -> Result<Advance, MemoryError> {
    let (tenant, id, from) = (session.tenant.clone(), session.id.clone(), session.state.pipeline.clone());
    Ok(Advance { tenant, session: id, from, to: to.stored()? })
}

/// Memories that are made of what was said.
#[derive(Clone, Copy)]
pub struct Memories<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) collections: Collections<'a>,
    pub(crate) records: Records<'a>,
    pub(crate) admission: Admission<'a>,
    pub(crate) sessions: Sessions<'a>,
    pub(crate) pipeline: &'a Pipeline,
}

impl Memories<'_> {
    /// Remembers messages: they are appended to their session, and what they make full is cut into topics and made
    /// memories of. When it returns the messages are durable, and so is what was made of them.
    pub fn add_memories(
        &self,
        tenant: &str,
        request: AddMemories,
        explain: bool,
    ) -> Result<AddedMemories, MemoryError> {
        let key = (tenant.to_owned(), request.session.clone());
        let lock = self.pipeline.lock_of(&key);
        let added = {
            let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.add_alone(tenant, &key.1, request, explain)
        };
        self.pipeline.unlock(&key, &lock);
        added
    }

    /// What nobody else does with this session at the same time.
    fn add_alone(
        &self,
        tenant: &str,
        id: &str,
        request: AddMemories,
        explain: bool,
    ) -> Result<AddedMemories, MemoryError> {
        let (answer, trace) = (AddedMemories::default(), Trace(explain.then(Vec::new)));
        let mut call = Call { tenant, session: id, force: request.force, answer, trace };
        if request.messages.is_empty() && !request.force {
            return Err(MemoryError::invalid("/messages", "there are none; `force` finishes what is waiting"));
        }
        if !request.messages.is_empty() {
            self.append_stamped(request, &mut call)?;
        }
        let session = self.sessions.stored_session(tenant, id)?;
        let policy = self.sessions.collection_of(&session)?.settings().memories.unwrap_or_default();
        let made = self.cut_topics(&policy, &mut call).and_then(|()| self.make_memories(&policy, &mut call));
        let Call { mut answer, trace, .. } = call;
        if let Err(error) = made {
            match error {
                // The messages are there and wait, and so do the topics: what failed is tried again with the next call.
                MemoryError::Llm(_) | MemoryError::Encoder(_) | MemoryError::Overloaded { .. } => {
                    tracing::warn!(%error, "no memories were made of what is waiting");
                    metrics::counter!("membox_extractions_failed_total").increment(1);
                    answer.problem = Some(error.to_string());
                }
                error => return Err(error),
            }
        }
        llm_usage::count(self.store, tenant, session.user.as_deref(), answer.llm)?;
        let session = self.sessions.stored_session(tenant, id)?;
        let state = PipelineState::of(&session)?;
        answer.version = session.version;
        answer.waiting = Waiting {
            buffered_messages: (session.state.next_position - state.buffered_from).max(0) as u64,
            topics: state.waiting.len(),
            topic_tokens: state.waiting.iter().map(|topic| topic.tokens).sum(),
        };
        answer.explain = trace.0;
        Ok(answer)
    }

    /// Gives messages their times and appends them.
    fn append_stamped(&self, request: AddMemories, call: &mut Call) -> Result<(), MemoryError> {
        let mut clock = Clock::after(self.last_stamp(call.tenant, call.session)?);
        let mut messages = Vec::with_capacity(request.messages.len());
        for (i, message) in request.messages.into_iter().enumerate() {
            let stamp = message.time_stamp.as_deref().or(request.time_stamp.as_deref());
            let time = clock.next(stamp, &format!("/messages/{i}/time_stamp"))?;
            call.trace.note(|| {
                json!({"step": "normalise", "message": i, "created_at": time_text(time),
                    "weekday": clock::weekday(time), "time_stamp": stamp})
            });
            let mut metadata = message.metadata;
            if let Some(stamp) = stamp {
                metadata.insert(STAMP_FIELD.to_owned(), json!(stamp));
            }
            messages.push(NewMessage {
                id: message.id,
                role: message.role.unwrap_or(Role::User),
                kind: MessageType::Text,
                content: Some(message.content),
                media: None,
                name: message.name,
                tool_call_id: None,
                tool_calls: None,
                metadata,
                payload: None,
                created_at: Some(time_text(time)),
            });
        }
        let append = AppendRequest {
            messages,
            user: request.user,
            collection: request.collection,
            max_messages: None,
            on_conflict: None,
        };
        call.answer.messages = self.sessions.append(call.tenant, call.session, append, None)?.messages;
        Ok(())
    }

    /// The stamp and the time of a session's last message, if it has one.
    fn last_stamp(&self, tenant: &str, id: &str) -> Result<Option<(String, i64)>, MemoryError> {
        let reads = self.store.read()?;
        let Some(session) = reads.session(tenant, id)? else { return Ok(None) };
        let mut last = None;
        reads.messages(session.collection, id, Range::Before(i64::MAX), &mut |stored| {
            let stamp = stored.record.metadata.get(STAMP_FIELD).and_then(Value::as_str);
            last = stamp.map(|stamp| (stamp.to_owned(), stored.record.created_at));
            false
        })?;
        Ok(last)
    }

    /// Makes memories of the topics that are waiting, as far as there are enough of them.
    fn make_memories(&self, policy: &MemoriesPolicy, call: &mut Call) -> Result<(), MemoryError> {
        for _ in 0..TRIES {
            let session = self.sessions.stored_session(call.tenant, call.session)?;
            let from = PipelineState::of(&session)?;
            let job = next_job(&from.waiting, policy.topic_tokens, call.force);
            if job.is_empty() {
                return Ok(());
            }
            match self.make_from(&session, &from, job, policy, call) {
                Err(error) if error.is_conflict() => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn make_from(
        &self,
        session: &StoredSession,
        from: &PipelineState,
        job: &[TopicSpan],
        policy: &MemoriesPolicy,
        call: &mut Call,
    ) -> Result<(), MemoryError> {
        let collection = self.sessions.collection_of(session)?;
        let mut usage = Usage::default();
        let made = self.extract(&collection, session, job, policy, &mut usage, &mut call.trace);
        let answer = &mut call.answer;
        add_usage(&mut answer.llm, usage);
        let made = made?;
        let to = PipelineState { waiting: from.waiting[job.len()..].to_vec(), ..from.clone() };
        let advance = advance(session, &to)?;
        let (records, views): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        if records.is_empty() {
            self.store.advance_pipeline(advance)?;
        } else {
            let write = WriteRecords { advance: Some(advance), ..WriteRecords::new(collection.clone(), records) };
            self.store.write_records(write)?;
        }
        metrics::counter!("membox_memories_made_total").increment(views.len() as u64);
        if policy.update == UpdateTime::Online && !views.is_empty() {
            let ids: Vec<String> = views.iter().map(|view: &MadeMemory| view.id.clone()).collect();
            let report = self.update_with(&collection, &ids, &UpdateRequest::default(), policy.llm, &mut |_| true)?;
            let LlmUsage { calls, failed, prompt_tokens, completion_tokens } = report.llm;
            add_usage(&mut answer.llm, Usage { calls, failed, prompt_tokens, completion_tokens });
            answer.updates.extend(report.changes);
            // What it could not decide is left to the next update.
            answer.problem = answer.problem.take().or(report.problem);
        }
        answer.memories.extend(views);
        Ok(())
    }
}

/// Whether a record says again what messages say, and no fact of its own.
pub(crate) fn repeats_messages(record: &Record) -> bool {
    is_made(record) && record.kind.as_deref() == Some(extract::EPISODIC)
}

/// The oldest topics of which memories are made together: as many as fit, once there are enough.
fn next_job(waiting: &[TopicSpan], topic_tokens: u64, force: bool) -> &[TopicSpan] {
    let mut tokens = 0;
    for (i, topic) in waiting.iter().enumerate() {
        tokens += topic.tokens;
        if tokens > topic_tokens {
            return &waiting[..i.max(1)];
        }
    }
    if force { waiting } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_gather_until_there_are_enough_and_none_is_left_behind() {
        let topics = |tokens: &[u64]| -> Vec<TopicSpan> {
            let span = |(i, &tokens): (usize, &u64)| TopicSpan { number: i as u64, from: 0, until: 0, tokens };
            tokens.iter().enumerate().map(span).collect()
        };
        let job = |tokens: &[u64], force| next_job(&topics(tokens), 2000, force).len();
        assert_eq!(job(&[500, 1500], false), 0, "they fit, and more may come");
        assert_eq!(job(&[500, 1500, 1], false), 2);
        assert_eq!(job(&[5000], false), 1, "one that is too large goes alone");
        assert_eq!(job(&[5000, 1], false), 1);
        assert_eq!(job(&[500, 1500], true), 2);
        assert_eq!(job(&[1500, 1500], true), 1, "the rest comes next");
        assert_eq!(job(&[], true), 0);
    }
}
