//! Memories of topics: facts that a language model has found, or what was said, compressed.

use super::Memories;
use super::clock::weekday;
use super::cutting::is_remembered;
use super::made::SESSION_FIELD;
use super::prompts;
use super::state::TopicSpan;
use super::{SOURCES_FIELD, STAMP_FIELD, TOPIC_FIELD, Trace};
use crate::admission::add_keywords;
use crate::redaction::{redact, redacted};
use crate::{MemoryError, time_text, token_counter};
use membox_api::{CollectionSettings, MadeMemory, MemoriesPolicy, NewRecord};
use membox_compressor::{CompressOptions, beginning};
use membox_encoder::Lane;
use membox_llm::{Llm, Usage};
use membox_store::{Collection, NewVersion, StoredRecord, StoredSession};
use serde_json::{Map, Value, json};

/// Messages of one question to a language model.
const BATCH: usize = 20;
/// Tokens of one memory: more would not be seen by the embedding model.
const MAX_TOKENS: usize = 200;
/// Kinds of memories: what was said, and facts of it.
pub(super) const EPISODIC: &str = "episodic";
const FACT: &str = "semantic";
/// Characters of a fact.
const MAX_FACT_CHARS: usize = 2000;

/// A message that is meant, with the topic that it is of.
struct Said<'a> {
    topic: u64,
    stored: &'a StoredRecord,
}

/// What a memory is to say, and of which messages it is made.
struct Draft<'a> {
    text: String,
    compressed: Option<String>,
    kind: &'static str,
    of: Vec<&'a Said<'a>>,
}

impl Said<'_> {
    fn speaker(&self) -> &str {
        let message = self.stored.record.message.as_ref();
        message.and_then(|m| m.name.as_deref()).or(message.map(|m| m.role.as_str())).unwrap_or("user")
    }

    fn id(&self) -> &str {
        self.stored.record.message.as_ref().map_or("", |m| m.id.as_str())
    }
}

impl Memories<'_> {
    /// The memories of topics, as records to be written.
    pub(super) fn extract(
        &self,
        collection: &Collection,
        session: &StoredSession,
        job: &[TopicSpan],
        policy: &MemoriesPolicy,
        usage: &mut Usage,
        trace: &mut Trace,
    ) -> Result<Vec<(NewVersion, MadeMemory)>, MemoryError> {
        let mut messages = Vec::new();
        for span in job {
            let of_topic = self.messages_of(session, span.from..span.until)?;
            messages.extend(of_topic.into_iter().map(|stored| (span.number, stored)));
        }
        // They may be older than the policy, which holds for what is made of them now, and for what a language
        // model reads.
        let settings = collection.settings();
        let redaction = settings.redaction.clone().unwrap_or_default();
        messages.iter_mut().for_each(|(_, stored)| drop(redact(&redaction, &mut stored.record)));
        let is_said = |stored: &StoredRecord| {
            let is_remembered = stored.record.message.as_ref().is_some_and(|message| is_remembered(message, policy));
            is_remembered && !stored.record.text.trim().is_empty()
        };
        let said: Vec<Said> = messages
            .iter()
            .filter(|(_, stored)| is_said(stored))
            .map(|(topic, stored)| Said { topic: *topic, stored })
            .collect();
        let drafts = match self.models.llm().filter(|_| policy.llm) {
            Some(llm) => facts(llm, &session.tenant, &said, usage, trace)?,
            None => self.summaries(&said, policy, trace)?,
        };
        self.memories(collection, &settings, session, drafts)
    }

    /// What was said, cut to what an embedding holds; compressed if the policy says so.
    fn summaries<'a>(
        &self,
        said: &'a [Said<'a>],
        policy: &MemoriesPolicy,
        trace: &mut Trace,
    ) -> Result<Vec<Draft<'a>>, MemoryError> {
        let counter = token_counter(None, "")?;
        let compressed = self.compress_said(said, policy, trace)?;
        let line = |said: &Said, text: &str| format!("{}: {text}", said.speaker());
        let mut drafts: Vec<Draft> = Vec::new();
        let mut tokens = 0;
        for (i, message) in said.iter().enumerate() {
            let whole = line(message, &message.stored.record.text);
            let size = counter.count(&whole);
            let is_next = drafts.last().is_none_or(|draft| {
                draft.of.last().is_none_or(|last| last.topic != message.topic) || tokens + size > MAX_TOKENS
            });
            if is_next {
                let (text, compressed) = (String::new(), compressed.is_some().then(String::new));
                drafts.push(Draft { text, compressed, kind: EPISODIC, of: Vec::new() });
                tokens = 0;
            }
            let Some(draft) = drafts.last_mut() else { continue };
            let add = |to: &mut String, line: &str| {
                if !to.is_empty() {
                    to.push('\n');
                }
                to.push_str(line);
            };
            add(&mut draft.text, &whole);
            if let (Some(to), Some(compressed)) = (&mut draft.compressed, &compressed) {
                add(to, &line(message, &compressed[i]));
            }
            draft.of.push(message);
            tokens += size;
        }
        Ok(drafts)
    }

    /// What is left of each message at the policy's rate; `None` where all is kept, or nothing compresses.
    fn compress_said(
        &self,
        said: &[Said],
        policy: &MemoriesPolicy,
        trace: &mut Trace,
    ) -> Result<Option<Vec<String>>, MemoryError> {
        let Some(compressor) = self.models.compressor(None).ok().filter(|_| policy.rate < 1.0) else { return Ok(None) };
        let documents: Vec<Vec<String>> = said.iter().map(|said| vec![said.stored.record.text.clone()]).collect();
        let options = CompressOptions { rate: policy.rate, ..CompressOptions::default() };
        let answers = compressor.compress_many(&documents, &options, Lane::Bulk)?;
        let left = |(said, answer): (&Said, membox_compressor::CompressedText)| {
            trace.note(|| {
                json!({"step": "compress", "message": said.id(), "origin_tokens": answer.origin_tokens,
                    "compressed_tokens": answer.compressed_tokens, "text": answer.compressed_prompt})
            });
            // Nothing left is no memory of it.
            let is_blank = answer.compressed_prompt.trim().is_empty();
            if is_blank { said.stored.record.text.clone() } else { answer.compressed_prompt }
        };
        Ok(Some(said.iter().zip(answers).map(left).collect()))
    }

    /// Drafts as records, with the vectors of their whole texts.
    fn memories(
        &self,
        collection: &Collection,
        settings: &CollectionSettings,
        session: &StoredSession,
        drafts: Vec<Draft>,
    ) -> Result<Vec<(NewVersion, MadeMemory)>, MemoryError> {
        let redaction = settings.redaction.clone().unwrap_or_default();
        let (mut all, mut views) = (Vec::new(), Vec::new());
        for draft in &drafts {
            let Some(first) = draft.of.first() else { continue };
            let created_at = first.stored.record.created_at;
            let sources: Vec<String> = draft.of.iter().map(|said| said.id().to_owned()).collect();
            let mut speakers: Vec<&str> = draft.of.iter().map(|said| said.speaker()).collect();
            speakers.sort_unstable();
            speakers.dedup();
            let mut metadata = Map::new();
            metadata.insert(SESSION_FIELD.into(), json!(session.id));
            metadata.insert(TOPIC_FIELD.into(), json!(first.topic));
            metadata.insert("weekday".into(), json!(weekday(created_at)));
            metadata.insert("speakers".into(), json!(speakers));
            metadata.insert(SOURCES_FIELD.into(), json!(sources));
            metadata.insert("compressed".into(), json!(draft.compressed.is_some()));
            if let Some(stamp) = first.stored.record.metadata.get(STAMP_FIELD) {
                metadata.insert(STAMP_FIELD.into(), stamp.clone());
            }
            let record = NewRecord {
                text: draft.text.clone(),
                metadata,
                created_at: Some(time_text(created_at)),
                user: session.user.clone(),
                kind: Some(draft.kind.to_owned()),
                ..NewRecord::default()
            };
            let mut new = self.admission.admit(collection, settings, record, None, "/memories")?;
            add_keywords(&mut new.record);
            views.push(MadeMemory {
                id: new.record.id.clone(),
                text: match &draft.compressed {
                    // Digits that stood apart may stand together now.
                    Some(compressed) => redacted(&redaction, compressed.clone()),
                    None => new.record.text.clone(),
                },
                topic: first.topic,
                sources,
                created_at: time_text(created_at),
            });
            all.push(new);
        }
        self.models.embed_missing(collection, &mut all)?;
        for (new, view) in all.iter_mut().zip(&views) {
            if new.record.text != view.text {
                new.windows.forget_places();
            }
            new.record.text.clone_from(&view.text);
        }
        Ok(all.into_iter().zip(views).collect())
    }
}

/// The facts that a language model finds, each by the message that it is from.
fn facts<'a>(
    llm: &Llm,
    tenant: &str,
    said: &'a [Said<'a>],
    usage: &mut Usage,
    trace: &mut Trace,
) -> Result<Vec<Draft<'a>>, MemoryError> {
    let mut drafts = Vec::new();
    for batch in said.chunks(BATCH) {
        let line = |(number, said): (usize, &Said)| {
            let record = &said.stored.record;
            let (time, day) = (time_text(record.created_at), weekday(record.created_at));
            prompts::line(&json!({"number": number, "time": time, "day": day, "topic": said.topic,
                "speaker": said.speaker(), "text": record.text}))
        };
        let text: String = (1..).zip(batch).map(line).collect();
        let found = llm.ask(&prompts::facts(tenant, &text), usage, &|value| read_facts(value, batch.len()))?;
        trace.note(|| json!({"step": "extract", "model": llm.model(), "messages": batch.len(), "facts": found}));
        let of = |(source, text): (Option<usize>, String)| {
            // A fact whose message the model does not name is one of all of them.
            let of = source.map_or_else(|| batch.iter().collect(), |source| vec![&batch[source]]);
            Draft { text, compressed: None, kind: FACT, of }
        };
        drafts.extend(found.into_iter().map(of));
    }
    Ok(drafts)
}

/// Facts with the places of their messages in the batch; `None` for a place that is not there.
fn read_facts(value: &Value, messages: usize) -> Result<Vec<(Option<usize>, String)>, String> {
    let data = value["data"].as_array().ok_or("the answer has no list \"data\"")?;
    let fact = |item: &Value| {
        let text = item["fact"].as_str()?.trim();
        let id = item["source_id"].as_u64().or_else(|| item["source_id"].as_str()?.trim().parse().ok());
        let place = id.and_then(|id| usize::try_from(id).ok()?.checked_sub(1)).filter(|&place| place < messages);
        let most = text.char_indices().nth(MAX_FACT_CHARS).map_or(text.len(), |(at, _)| at);
        (!text.is_empty()).then(|| (place, beginning(text, most).to_owned()))
    };
    Ok(data.iter().filter_map(fact).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_with_the_messages_that_they_are_from() {
        let value = json!({"data": [
            {"source_id": 1, "fact": " Ann has a dog. "}, {"source_id": "2", "fact": "Bo lives in Oslo."},
            {"source_id": 9, "fact": "of nobody"}, {"source_id": 0, "fact": "of nobody either"},
            {"fact": "nor this"}, {"source_id": 1, "fact": ""}, 7
        ]});
        let facts = read_facts(&value, 2).expect("a list");
        let places: Vec<Option<usize>> = facts.iter().map(|fact| fact.0).collect();
        assert_eq!(places, [Some(0), Some(1), None, None, None]);
        assert_eq!(facts[0].1, "Ann has a dog.");
        assert!(read_facts(&json!({"facts": []}), 2).is_err());
        assert!(read_facts(&json!([]), 2).is_err());
    }
}
