//! Messages within a budget of tokens: what each costs, and what of it is taken.

use crate::fields::{message_tokens, tokens_beside};
use crate::{MemoryError, time_text, token_counter};
use membox_api::{ContextMessage, ContextRequest};
use membox_compressor::{DEFAULT_ENCODING, TokenCounter, conversation_overhead, wholes};
use membox_store::{Message, StoredRecord, Summary};
use std::collections::HashSet;
use std::ops::Deref;

/// Tokens of a context unless said otherwise.
const MAX_TOKENS: usize = 4000;
/// Bytes that a token stands for at most, in texts worth cutting.
const MOST_TOKEN_BYTES: usize = 16;
/// How a summary is brought into a prompt.
const SUMMARY_HEADING: &str = "Earlier in this conversation: ";

/// A message that may go into the context, and where it stands.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub message: ContextMessage,
    pub position: i64,
    pub time: i64,
    /// The record that it is.
    pub record: String,
}

impl Deref for Candidate {
    type Target = ContextMessage;

    fn deref(&self) -> &ContextMessage {
        &self.message
    }
}

/// Messages that fit a budget, as they come.
pub(crate) struct Fitting<'a> {
    session: &'a str,
    request: &'a ContextRequest,
    pub counter: TokenCounter,
    pub max_tokens: usize,
    pub used: usize,
    pub chosen: Vec<Candidate>,
    taken: HashSet<String>,
}

impl<'a> Fitting<'a> {
    pub fn new(session: &'a str, request: &'a ContextRequest) -> Result<Self, MemoryError> {
        let counter = token_counter(request.encoding.as_deref(), "/encoding")?;
        let max_tokens = request.max_tokens.unwrap_or(MAX_TOKENS);
        let used = conversation_overhead(0);
        Ok(Self { session, request, counter, max_tokens, used, chosen: Vec::new(), taken: HashSet::new() })
    }

    pub fn message(&self, stored: StoredRecord) -> Candidate {
        let record = stored.record;
        let is_other = record.session.as_deref() != Some(self.session);
        let counts_alike = record.message.is_some() && self.counter.encoding() == DEFAULT_ENCODING;
        let message = record.message.unwrap_or_else(|| Message {
            // What is remembered and was never said.
            role: "system".to_owned(),
            name: Some("memory".to_owned()),
            ..Message::default()
        });
        let tokens = match counts_alike {
            true => message_tokens(&message) as usize,
            false => self.counter.count(&record.text) + tokens_beside(&message, self.counter),
        };
        let (position, time) = (message.position, record.created_at);
        let message = ContextMessage {
            id: Some(message.id).filter(|id| !id.is_empty()),
            role: message.role,
            content: record.text,
            name: message.name,
            tool_call_id: message.tool_call_id,
            tool_calls: message.tool_calls,
            session: record.session.filter(|_| is_other),
            created_at: Some(time_text(record.created_at)),
            tokens,
            truncated: false,
        };
        Candidate { message, position, time, record: record.id }
    }

    /// What a message costs; in the text beside the messages, who says it too.
    fn cost(&self, message: &ContextMessage) -> usize {
        let speaker = match self.request.text {
            true => self.counter.count(&format!("\n{}: ", prefix(&message.role, self.request))),
            false => 0,
        };
        cost(message.tokens).max(message.tokens + speaker)
    }

    /// Whether a word more would fit.
    pub fn has_room(&self) -> bool {
        self.used + cost(0) < self.max_tokens
    }

    /// Takes messages that belong together if all of them fit. Those that are taken already cost nothing.
    pub fn take(&mut self, unit: &[Candidate]) -> bool {
        let new: Vec<&Candidate> = unit.iter().filter(|m| !self.taken.contains(&m.record)).collect();
        let cost: usize = new.iter().map(|m| self.cost(m)).sum();
        let fits = self.used + cost <= self.max_tokens;
        if fits {
            self.used += cost;
            self.taken.extend(new.iter().map(|m| m.record.clone()));
            // They stay together, whatever was said elsewhere meanwhile.
            let time = unit.first().map_or(0, |first| first.time);
            self.chosen.extend(new.into_iter().map(|m| Candidate { time, ..m.clone() }));
        }
        fits
    }

    /// Takes messages that belong together and do not fit as a whole with the beginning of what the last one says: without its calls, where these alone
    /// are too much.
    pub fn take_part(&mut self, unit: &[Candidate]) -> bool {
        let Some((last, before)) = unit.split_last() else { return false };
        let whole = &last.message;
        let without_calls = whole.tool_calls.is_some().then(|| ContextMessage { tool_calls: None, ..whole.clone() });
        [whole].into_iter().chain(&without_calls).any(|said| {
            let empty = ContextMessage { content: String::new(), ..said.clone() };
            let beside = self.beside(&empty);
            let empty = ContextMessage { tokens: beside, ..empty };
            let others: usize = before.iter().map(|m| self.cost(m)).sum();
            let room = self.max_tokens.saturating_sub(self.used + others + self.cost(&empty));
            let content = self.head(&said.content, room);
            if content.trim().is_empty() {
                return false;
            }
            let tokens = self.counter.count(&content) + beside;
            let message = ContextMessage { content, tokens, truncated: true, ..empty };
            let part = Candidate { message, ..last.clone() };
            self.take(&[before, &[part]].concat())
        })
    }

    /// Tokens of a message beside its content.
    fn beside(&self, message: &ContextMessage) -> usize {
        let ContextMessage { name, tool_call_id, tool_calls, .. } = message.clone();
        tokens_beside(&Message { name, tool_call_id, tool_calls, ..Message::default() }, self.counter)
    }

    /// The beginning of a text, of at most so many tokens, that ends between [wholes].
    fn head(&self, text: &str, tokens: usize) -> String {
        let most = text.floor_char_boundary(tokens.saturating_mul(MOST_TOKEN_BYTES));
        let mut ends: Vec<usize> = wholes(&text[..most]).into_iter().map(|whole| whole.end).collect();
        if most < text.len() {
            // The last may go on.
            ends.pop();
        }
        let fits = |end: usize| self.counter.count(&text[..end]) <= tokens;
        let count = ends.partition_point(|&end| fits(end));
        // A longer text may have a token less, so that what was found is tried once more.
        let end = ends[..count].iter().rev().copied().find(|&end| fits(end)).unwrap_or(0);
        text[..end].to_owned()
    }

    pub fn take_summary(&mut self, summary: &Summary) {
        let content = format!("{SUMMARY_HEADING}{}", summary.text);
        let tokens = self.counter.count(&content);
        let message = ContextMessage {
            id: None,
            role: "system".to_owned(),
            content,
            name: None,
            tool_call_id: None,
            tool_calls: None,
            session: None,
            created_at: None,
            tokens,
            truncated: false,
        };
        let position = summary.until - 1;
        self.take(&[Candidate { message, position, time: i64::MIN, record: String::new() }]);
    }
}

/// What a message of so many tokens costs.
pub(crate) fn cost(tokens: usize) -> usize {
    tokens + conversation_overhead(1) - conversation_overhead(0)
}

/// Who says a message, in the text beside the messages.
pub(crate) fn prefix<'a>(role: &str, request: &'a ContextRequest) -> &'a str {
    match role {
        "user" => request.human_prefix.as_deref().unwrap_or("Human"),
        "assistant" => request.ai_prefix.as_deref().unwrap_or("AI"),
        "system" => "System",
        "developer" => "Developer",
        "function" => "Function",
        _ => "Tool",
    }
}
