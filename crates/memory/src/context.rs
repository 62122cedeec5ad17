//! What of a session goes into the next prompt: the messages that a strategy chooses within a budget of tokens.

use crate::messages::SummaryView;
use crate::pipeline::is_retold;
use crate::types::RecallRequest;
use crate::{MemoryBox, MemoryError, now, time_text, token_counter};
use membox_compressor::{DEFAULT_ENCODING, TokenCounter, conversation_overhead};
use membox_encoder::Lane;
use membox_records::{Message, Range, StoredRecord, StoredSession, Summary};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use utoipa::{IntoParams, ToSchema};

/// Tokens of a context unless said otherwise.
const MAX_TOKENS: usize = 4000;
/// Last turns that `smart` and `recall` always keep.
const TURNS: usize = 2;
/// Last turns that `window` keeps.
const WINDOW_TURNS: usize = 5;
/// Tokens of messages over which `compress` makes a summary.
const THRESHOLD: usize = 3000;
/// Messages that stay as they are beside it.
const KEEP_LAST: usize = 4;
/// Tokens of a summary.
const SUMMARY_TOKENS: usize = 500;
/// Tokens that a recalled message is thought to take at least, and how many are looked for at least and at most.
const RECALLED_TOKENS: usize = 16;
const RECALLED: std::ops::RangeInclusive<usize> = 20..=200;
/// Bytes that a token stands for at most, in texts worth cutting.
const MOST_TOKEN_BYTES: usize = 16;
/// How a summary is brought into a prompt.
const SUMMARY_HEADING: &str = "Earlier in this conversation: ";

/// How messages are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The newest that fit.
    Recent,
    /// Those of the system, the last turns, then older ones from new to old while they fit.
    #[default]
    Smart,
    /// The last turns.
    Window,
    /// A summary of all but the last messages once they are too many, and those.
    Compress,
    /// Those of the system, the last turns, and what recall finds for the newest user message, in the order of time.
    Recall,
}

/// Where `recall` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// In this session, its archived messages too.
    Session,
    /// In all that is remembered of this session's user in its collection.
    User,
    /// In the whole collection.
    Collection,
}

/// What context is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContextRequest {
    /// How messages are chosen (smart).
    pub strategy: Strategy,
    /// Tokens of the whole, 4 a message and 2 for the conversation among them (4000).
    pub max_tokens: Option<usize>,
    /// Turns that are always kept: 2 with smart and recall, 5 with window. A turn is a user message and what follows it.
    pub turns: Option<usize>,
    /// tiktoken's encoding, or a model's name (o200k_base).
    pub encoding: Option<String>,
    /// With compress: tokens over which a summary is made (3000).
    pub threshold: Option<usize>,
    /// With compress: messages that stay as they are (4).
    pub keep_last: Option<usize>,
    /// With compress: tokens of the summary (500).
    pub summary_tokens: Option<usize>,
    /// With recall: the question, instead of the newest user message.
    pub query: Option<String>,
    /// With recall: where to look; `user` where the session has one, and `session` otherwise.
    pub scope: Option<Scope>,
    /// `true` for a text beside the messages: a line each, with who says it.
    pub text: bool,
    /// Who a user is in that text (Human).
    pub human_prefix: Option<String>,
    /// Who the model is in that text (AI).
    pub ai_prefix: Option<String>,
}

/// A message of a context.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContextMessage {
    /// Its id; missing for a summary and for what is no message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who says it.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The name of who says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The calls that it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Value>,
    /// The session that it is of, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Tokens of the content.
    pub tokens: usize,
    /// Whether it was too long, and its end is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(skip)]
    position: i64,
    #[serde(skip)]
    time: i64,
    /// The record that it is.
    #[serde(skip)]
    record: String,
}

/// What goes into the prompt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContextAnswer {
    /// In order.
    pub messages: Vec<ContextMessage>,
    /// The same as text, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Tokens of the messages, with 4 a message and 2 for the whole; never over what was asked for.
    pub tokens: usize,
    /// By which encoding.
    pub encoding: String,
    /// How they were chosen.
    pub strategy: Strategy,
    /// Messages of the session's list that are not in it.
    pub omitted: u64,
    /// The summary, with `compress` once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<SummaryView>,
    /// The version of the session that this is of.
    pub version: u64,
}

/// Messages that fit a budget, as they come.
struct Fitting<'a> {
    session: &'a str,
    counter: TokenCounter,
    max_tokens: usize,
    used: usize,
    chosen: Vec<ContextMessage>,
    taken: HashSet<String>,
}

impl<'a> Fitting<'a> {
    fn new(session: &'a str, request: &ContextRequest) -> Result<Self, MemoryError> {
        let counter = token_counter(request.encoding.as_deref(), "/encoding")?;
        let max_tokens = request.max_tokens.unwrap_or(MAX_TOKENS);
        let used = conversation_overhead(0);
        Ok(Self { session, counter, max_tokens, used, chosen: Vec::new(), taken: HashSet::new() })
    }

    fn message(&self, stored: StoredRecord) -> ContextMessage {
        let record = stored.record;
        let counted =
            record.message.as_ref().filter(|_| self.counter.encoding() == DEFAULT_ENCODING).map(|m| m.tokens as usize);
        let tokens = counted.unwrap_or_else(|| self.counter.count(&record.text));
        let is_other = record.session.as_deref() != Some(self.session);
        let message = record.message.unwrap_or_else(|| Message {
            // What is remembered and was never said.
            role: "system".to_owned(),
            name: Some("memory".to_owned()),
            ..Message::default()
        });
        ContextMessage {
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
            position: message.position,
            time: record.created_at,
            record: record.id,
        }
    }

    /// Takes messages that belong together if all of them fit. Those that are taken already cost nothing.
    fn take(&mut self, unit: &[ContextMessage]) -> bool {
        let new: Vec<&ContextMessage> = unit.iter().filter(|m| !self.taken.contains(&m.record)).collect();
        let cost: usize = new.iter().map(|m| cost(m.tokens)).sum();
        let fits = self.used + cost <= self.max_tokens;
        if fits {
            self.used += cost;
            self.taken.extend(new.iter().map(|m| m.record.clone()));
            self.chosen.extend(new.into_iter().cloned());
        }
        fits
    }

    /// Takes the beginning of a message that does not fit as a whole.
    fn take_part(&mut self, message: &ContextMessage) {
        let room = self.max_tokens.saturating_sub(self.used + cost(0));
        let content = self.head(&message.content, room);
        if !content.trim().is_empty() {
            let tokens = self.counter.count(&content);
            self.take(&[ContextMessage { content, tokens, truncated: true, ..message.clone() }]);
        }
    }

    /// The beginning of a text, of at most so many tokens.
    fn head(&self, text: &str, tokens: usize) -> String {
        let end = text.floor_char_boundary(tokens.saturating_mul(MOST_TOKEN_BYTES));
        let ends: Vec<usize> = text[..end].char_indices().map(|(i, _)| i).chain([end]).collect();
        let fits = |end: usize| self.counter.count(&text[..end]) <= tokens;
        let count = ends.partition_point(|&end| fits(end));
        // A longer text may have a token less, so that what was found is tried once more.
        let end = ends[..count].iter().rev().copied().find(|&end| fits(end)).unwrap_or(0);
        text[..end].to_owned()
    }

    fn take_summary(&mut self, summary: &Summary) {
        let content = format!("{SUMMARY_HEADING}{}", summary.text);
        let tokens = self.counter.count(&content);
        self.take(&[ContextMessage {
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
            position: summary.until - 1,
            time: i64::MIN,
            record: String::new(),
        }]);
    }
}

/// What a message of so many tokens costs.
fn cost(tokens: usize) -> usize {
    tokens + conversation_overhead(1) - conversation_overhead(0)
}

/// Which of the newest messages are taken.
struct Newest {
    /// Turns of which everything that fits is taken.
    turns: usize,
    /// Whether older ones follow, up to the first that does not fit.
    older: bool,
    /// Messages up to this position stay out.
    after: i64,
    /// Whether those of the system are taken as they come, and not before.
    with_system: bool,
}

impl MemoryBox {
    /// The messages of a session that go into the next prompt.
    pub fn context(&self, tenant: &str, id: &str, request: &ContextRequest) -> Result<ContextAnswer, MemoryError> {
        let mut session = self.stored_session(tenant, id)?;
        let mut fitting = Fitting::new(id, request)?;
        let newest = Newest { turns: request.turns.unwrap_or(TURNS), older: false, after: -1, with_system: false };
        match request.strategy {
            Strategy::Recent => {
                self.take_newest(
                    &session,
                    &mut fitting,
                    &Newest { turns: 0, older: true, with_system: true, ..newest },
                )?;
            }
            Strategy::Window => {
                let turns = request.turns.unwrap_or(WINDOW_TURNS);
                self.take_newest(&session, &mut fitting, &Newest { turns, with_system: true, ..newest })?;
            }
            Strategy::Smart => {
                self.take_system(&session, &mut fitting)?;
                self.take_newest(&session, &mut fitting, &Newest { older: true, ..newest })?;
            }
            Strategy::Compress => {
                self.take_system(&session, &mut fitting)?;
                self.summarize(&mut session, &fitting, request)?;
                let summary = session.state.summary.as_ref();
                summary.into_iter().for_each(|summary| fitting.take_summary(summary));
                let after = summary.map_or(-1, |summary| summary.until - 1);
                self.take_newest(&session, &mut fitting, &Newest { turns: 0, older: true, after, ..newest })?;
            }
            Strategy::Recall => {
                self.take_system(&session, &mut fitting)?;
                self.take_newest(&session, &mut fitting, &newest)?;
                self.take_recalled(tenant, &session, &mut fitting, request)?;
            }
        }
        let Fitting { counter, used, mut chosen, .. } = fitting;
        if request.strategy == Strategy::Recall {
            let is_own_system = |m: &ContextMessage| m.role == "system" && m.id.is_some() && m.session.is_none();
            chosen.sort_by_key(|m| (!is_own_system(m), m.time, m.position));
        } else {
            chosen.sort_by_key(|m| m.position);
        }
        let listed = self.reader()?.count_messages(session.collection, id, 0)?;
        let own = chosen.iter().filter(|m| m.id.is_some() && m.session.is_none() && m.position >= 0).count() as u64;
        let summary = session.state.summary.filter(|_| request.strategy == Strategy::Compress);
        Ok(ContextAnswer {
            text: request.text.then(|| buffer_text(&chosen, request)),
            messages: chosen,
            tokens: used,
            encoding: counter.encoding().to_owned(),
            strategy: request.strategy,
            omitted: listed.saturating_sub(own),
            summary: summary.map(SummaryView::from),
            version: session.version,
        })
    }

    /// Takes the system's messages, oldest first, while they fit.
    fn take_system(&self, session: &StoredSession, fitting: &mut Fitting) -> Result<(), MemoryError> {
        let now = now();
        self.reader()?.messages(session.collection, &session.id, Range::System, |stored| {
            !stored.record.is_alive(now) || fitting.take(&[fitting.message(stored)])
        })?;
        Ok(())
    }

    /// Takes newest messages while they fit. A tool's answer is taken with the call before it, or not at all; of the very newest message the beginning
    /// is taken where the whole does not fit, since an answer to nothing helps nobody.
    fn take_newest(&self, session: &StoredSession, fitting: &mut Fitting, newest: &Newest) -> Result<(), MemoryError> {
        let (now, mut unit, mut turn, mut is_newest) = (now(), Vec::new(), 0, true);
        let mut take = |fitting: &mut Fitting, unit: &mut Vec<ContextMessage>, turn: usize| {
            unit.reverse();
            let fits = fitting.take(unit);
            if std::mem::take(&mut is_newest) && !fits {
                unit.last().into_iter().for_each(|message| fitting.take_part(message));
            }
            unit.clear();
            fits || turn < newest.turns
        };
        self.reader()?.messages(session.collection, &session.id, Range::Before(i64::MAX), |stored| {
            let is_alive = stored.record.is_alive(now);
            let message = fitting.message(stored);
            if message.position <= newest.after || turn >= newest.turns && !newest.older {
                return false;
            }
            if message.role == "system" && !newest.with_system || !is_alive {
                return true;
            }
            let begins_turn = message.role == "user";
            let is_answer = matches!(message.role.as_str(), "tool" | "function");
            unit.push(message);
            let goes_on = is_answer || take(fitting, &mut unit, turn);
            turn += usize::from(begins_turn);
            goes_on
        })?;
        if !unit.is_empty() {
            take(fitting, &mut unit, turn);
        }
        Ok(())
    }

    /// Extends the summary by the messages that came since, if they are over the threshold.
    fn summarize(
        &self,
        session: &mut StoredSession,
        fitting: &Fitting,
        request: &ContextRequest,
    ) -> Result<(), MemoryError> {
        let until = session.state.summary.as_ref().map_or(0, |summary| summary.until);
        let mut since = Vec::new();
        self.reader()?.messages(session.collection, &session.id, Range::After(until - 1), |stored| {
            since.push(fitting.message(stored));
            true
        })?;
        let known = session.state.summary.as_ref().map_or(0, |summary| fitting.counter.count(&summary.text));
        let tokens = known + since.iter().map(|m| cost(m.tokens)).sum::<usize>();
        let keep_last = request.keep_last.unwrap_or(KEEP_LAST);
        let folded = since.len().saturating_sub(keep_last);
        if tokens <= request.threshold.unwrap_or(THRESHOLD) || folded == 0 {
            return Ok(());
        }
        let until = since[folded - 1].position + 1;
        // Those of the system are in every context as they are.
        let said: Vec<&ContextMessage> = since[..folded].iter().filter(|m| m.role != "system").collect();
        let lines = said.iter().map(|m| format!("{}: {}", m.name.as_deref().unwrap_or(&m.role), m.content));
        let before = session.state.summary.take();
        let texts: Vec<String> = before.iter().map(|summary| summary.text.clone()).chain(lines).collect();
        let budget = request.summary_tokens.unwrap_or(SUMMARY_TOKENS);
        let answer = self.compressor(None)?.fit(&texts, "\n", budget, fitting.counter, Lane::Interactive)?;
        let summary = Summary {
            text: answer.compressed_prompt,
            until,
            version: before.as_ref().map_or(0, |summary| summary.version) + 1,
            messages: before.as_ref().map_or(0, |summary| summary.messages) + said.len() as u64,
            model: answer.model,
        };
        let (tenant, id, version) = (session.tenant.clone(), session.id.clone(), before.map(|summary| summary.version));
        let number = session.number;
        // Of two that extend it at a time, the first stands. Another session may have its id by now, of which it says nothing.
        session.state.summary = self.transact(move |group| {
            let found = group.session(&tenant, &id)?.filter(|found| found.number == number);
            let Some(mut session) = found else { return Ok(None) };
            if session.state.summary.as_ref().map(|summary| summary.version) == version {
                session.state.summary = Some(summary);
                group.put_session(&session)?;
            }
            Ok(session.state.summary)
        })?;
        Ok(())
    }

    /// Takes what recall finds for the newest user message, best first, as long as there is room.
    fn take_recalled(
        &self,
        tenant: &str,
        session: &StoredSession,
        fitting: &mut Fitting,
        request: &ContextRequest,
    ) -> Result<(), MemoryError> {
        let newest =
            || fitting.chosen.iter().filter(|m| m.role == "user" && m.position >= 0).max_by_key(|m| m.position);
        let Some(query) = request.query.clone().or_else(|| newest().map(|m| m.content.clone())) else { return Ok(()) };
        if query.trim().is_empty() {
            return Ok(());
        }
        let collection = self.collection_of(session)?;
        let scope = request.scope.unwrap_or(if session.user.is_some() { Scope::User } else { Scope::Session });
        let filter = match (scope, &session.user) {
            (Scope::Collection, _) => None,
            (Scope::User, Some(user)) => Some(json!({"field": "user", "eq": user})),
            _ => Some(json!({"field": "session", "eq": session.id})),
        };
        let room = fitting.max_tokens.saturating_sub(fitting.used);
        let k = (room / RECALLED_TOKENS).clamp(*RECALLED.start(), *RECALLED.end());
        let request = RecallRequest { query: Some(query), k, filter, include: Vec::new(), ..RecallRequest::default() };
        let found = self.recall(tenant, &collection.name, &request)?;
        let reader = self.reader()?;
        for hit in found.hits {
            // What was made of messages that are recalled themselves would say them twice.
            let said = reader.record(session.collection, &hit.id)?.filter(|stored| !is_retold(&stored.record));
            if let Some(stored) = said {
                // One that is too long leaves room for a shorter one.
                fitting.take(&[fitting.message(stored)]);
            }
        }
        Ok(())
    }
}

/// A line a message, with who says it.
fn buffer_text(messages: &[ContextMessage], request: &ContextRequest) -> String {
    let prefix = |role: &str| match role {
        "user" => request.human_prefix.clone().unwrap_or_else(|| "Human".to_owned()),
        "assistant" => request.ai_prefix.clone().unwrap_or_else(|| "AI".to_owned()),
        "system" => "System".to_owned(),
        "function" => "Function".to_owned(),
        _ => "Tool".to_owned(),
    };
    let lines: Vec<String> = messages.iter().map(|m| format!("{}: {}", prefix(&m.role), m.content)).collect();
    lines.join("\n")
}
