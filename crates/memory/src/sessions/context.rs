//! What of a session goes into the next prompt: the messages that a strategy chooses within a budget of tokens.

use super::Sessions;
use crate::memories::repeats_messages;
use crate::redaction::{redact, redacted};
use crate::sessions::fitting::{Candidate, Fitting, cost, prefix};
use crate::sessions::is_instruction;
use crate::views::summary_view;
use crate::{MemoryError, now};
use membox_api::{ContextAnswer, ContextMessage, ContextRequest, Hit, Include, RecallRequest, Scope, Strategy};
use membox_encoder::Lane;
use membox_store::{Range, Reads, RecordReads, StoredRecord, StoredSession, Summary};
use membox_threads::budget;
use serde_json::json;
use std::collections::HashMap;

/// Last turns that `smart` and `recall` always keep.
const TURNS: usize = 2;
/// The share of its room that `recall` gives to all last turns but the newest message, as 1 / this, unless turns are
/// asked for: what was said long ago is what it is asked for. At 350 tokens 0.63 of LoCoMo's evidence is in a context
/// where all of two turns are kept, 0.66 with this.
const RECENT_SHARE: usize = 5;
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
/// What a recalled message gets of the score of the best one of its session. Where few fit it changes little; where
/// many do, what was said beside a good one is more often wanted than what stands alone. docs/decisions/052.
const SESSION_PRIOR: f32 = 0.2;
/// Messages before and after a recalled one among which the call that it answers and the other answers are looked for.
const MAX_ANSWERS: i64 = 64;

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
    /// Tokens of the context over which none is taken but the newest.
    most: usize,
}

impl Sessions<'_> {
    /// The messages of a session that go into the next prompt.
    pub fn context(&self, tenant: &str, id: &str, request: &ContextRequest) -> Result<ContextAnswer, MemoryError> {
        let mut session = self.stored_session(tenant, id)?;
        let mut fitting = Fitting::new(id, request)?;
        let newest = Newest {
            turns: request.turns.unwrap_or(TURNS),
            older: false,
            after: -1,
            with_system: false,
            most: usize::MAX,
        };
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
                let share = fitting.used + fitting.max_tokens.saturating_sub(fitting.used) / RECENT_SHARE;
                let most = if request.turns.is_some() { usize::MAX } else { share };
                self.take_newest(&session, &mut fitting, &Newest { most, ..newest })?;
                self.take_recalled(tenant, &session, &mut fitting, request)?;
                // Where less was recalled than there is room for.
                self.take_newest(&session, &mut fitting, &newest)?;
            }
        }
        let Fitting { counter, used, mut chosen, .. } = fitting;
        if request.strategy == Strategy::Recall {
            let is_own_system = |m: &Candidate| is_instruction(&m.role) && m.id.is_some() && m.session.is_none();
            chosen.sort_by_key(|m| (!is_own_system(m), m.time, m.position));
        } else {
            chosen.sort_by_key(|m| m.position);
        }
        let listed = self.store.read()?.count_messages(session.collection, id, 0)?;
        let own = chosen.iter().filter(|m| m.id.is_some() && m.session.is_none() && m.position >= 0).count() as u64;
        let summary = session.state.summary.filter(|_| request.strategy == Strategy::Compress);
        let messages: Vec<ContextMessage> = chosen.into_iter().map(|candidate| candidate.message).collect();
        Ok(ContextAnswer {
            text: request.text.then(|| buffer_text(&messages, request)),
            messages,
            tokens: used,
            encoding: counter.encoding().to_owned(),
            strategy: request.strategy,
            omitted: listed.saturating_sub(own),
            summary: summary.map(summary_view),
            version: session.version,
        })
    }

    /// Takes the system's messages, oldest first, while they fit.
    fn take_system(&self, session: &StoredSession, fitting: &mut Fitting) -> Result<(), MemoryError> {
        let now = now();
        self.store.read()?.messages(session.collection, &session.id, Range::System, &mut |stored| {
            !stored.record.is_alive(now) || fitting.take(&[fitting.message(stored)])
        })?;
        Ok(())
    }

    /// Takes newest messages while they fit. A tool's answer is taken with the call before it, or not at all; of
    /// the newest message for which there is room the beginning is taken where the whole does not fit, since an
    /// answer to nothing helps nobody.
    fn take_newest(&self, session: &StoredSession, fitting: &mut Fitting, newest: &Newest) -> Result<(), MemoryError> {
        let (now, mut answers, mut turn, mut is_newest) = (now(), Vec::new(), 0, true);
        self.store.read()?.messages(session.collection, &session.id, Range::Before(i64::MAX), &mut |stored| {
            let is_alive = stored.record.is_alive(now);
            let message = fitting.message(stored);
            if message.position <= newest.after || turn >= newest.turns && !newest.older {
                return false;
            }
            if is_instruction(&message.role) && !newest.with_system || !is_alive {
                return true;
            }
            if is_answer(&message.role) {
                answers.push(message);
                return true;
            }
            if is_instruction(&message.role) && !answers.is_empty() {
                // It stands between a call and its answer, and does not part them.
                fitting.take(&[message]);
                return true;
            }
            let begins_turn = message.role == "user";
            let mut unit = vec![message];
            // Answers to nobody's call are left out: no model takes them.
            let answers = std::mem::take(&mut answers);
            if unit[0].role == "assistant" {
                unit.extend(answers.into_iter().rev());
            }
            if !is_newest && fitting.used + unit.iter().map(|m| cost(m.tokens)).sum::<usize>() > newest.most {
                return false;
            }
            let fits = fitting.take(&unit);
            let is_begun = !fits && is_newest && fitting.take_part(&unit);
            let is_passed_over = !fits && !is_begun && is_newest && fitting.has_room();
            is_newest &= is_passed_over;
            let goes_on = fits || is_passed_over || turn < newest.turns;
            turn += usize::from(begins_turn);
            goes_on
        })?;
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
        let (mut since, mut within_budget) = (Vec::new(), Ok(()));
        self.store.read()?.messages(session.collection, &session.id, Range::After(until - 1), &mut |stored| {
            within_budget = budget::take(stored.memory_bytes());
            since.push(fitting.message(stored));
            within_budget.is_ok()
        })?;
        within_budget?;
        let known = session.state.summary.as_ref().map_or(0, |summary| fitting.counter.count(&summary.text));
        let tokens = known + since.iter().map(|m| cost(m.tokens)).sum::<usize>();
        let keep_last = request.keep_last.unwrap_or(KEEP_LAST);
        let mut folded = since.len().saturating_sub(keep_last);
        // A call stays with the answers to it.
        while folded > 0 && since.get(folded).is_some_and(|message: &Candidate| is_answer(&message.role)) {
            folded -= 1;
        }
        if tokens <= request.threshold.unwrap_or(THRESHOLD) || folded == 0 {
            return Ok(());
        }
        let until = since[folded - 1].position + 1;
        // Those of the system are in every context as they are.
        let said: Vec<&Candidate> = since[..folded].iter().filter(|m| !is_instruction(&m.role)).collect();
        let lines = said.iter().map(|m| format!("{}: {}", m.name.as_deref().unwrap_or(&m.role), m.content));
        let before = session.state.summary.clone();
        // They may be older than the policy, which holds for what is made of them now.
        let redaction = self.collection_of(session)?.settings().redaction.unwrap_or_default();
        let texts = before.iter().map(|summary| summary.text.clone()).chain(lines);
        let texts: Vec<String> = texts.map(|text| redacted(&redaction, text)).collect();
        let budget = request.summary_tokens.unwrap_or(SUMMARY_TOKENS);
        let answer = self.models.compressor(None)?.fit(&texts, "\n", budget, fitting.counter, Lane::Interactive)?;
        let mut summary = Summary {
            text: answer.compressed_prompt,
            until,
            version: before.as_ref().map_or(0, |summary| summary.version) + 1,
            messages: before.as_ref().map_or(0, |summary| summary.messages) + said.len() as u64,
            model: answer.model,
        };
        // Digits that stood apart may stand together now.
        redact(&redaction, &mut summary);
        // All of what was said is for this context alone: a later one has the last messages as they are.
        if keep_last == 0 {
            session.state.summary = Some(summary);
            return Ok(());
        }
        // Of two that extend it at a time, the first stands.
        session.state.summary = self.store.put_summary(session, summary)?;
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
        let include = vec![Include::Metadata];
        let request = RecallRequest { query: Some(query), k, filter, include, ..RecallRequest::default() };
        let hits = self.recall.recall(tenant, &collection.name, &request)?.hits;
        let scores: Vec<(f32, Option<&str>)> = hits.iter().map(|hit| (hit.score, hit.session.as_deref())).collect();
        let mut hits: Vec<(f32, &Hit)> = with_session_prior(&scores).into_iter().zip(&hits).collect();
        hits.sort_by(|a, b| b.0.total_cmp(&a.0));
        let reads = self.store.read()?;
        for (_, hit) in hits {
            // What was made of messages that are recalled themselves would say them twice.
            let said = reads.record(session.collection, &hit.id)?.filter(|stored| !repeats_messages(&stored.record));
            if let Some(stored) = said {
                let unit: Vec<Candidate> =
                    exchange(&reads, session.collection, stored)?.into_iter().map(|s| fitting.message(s)).collect();
                // One that is too long leaves room for a shorter one.
                fitting.take(&unit);
            }
        }
        Ok(())
    }
}

/// Scores of hits, each with its session, with [what the best of their session gives](SESSION_PRIOR). What is in no
/// session has none but itself.
fn with_session_prior(hits: &[(f32, Option<&str>)]) -> Vec<f32> {
    let mut best: HashMap<&str, f32> = HashMap::new();
    for (score, session) in hits.iter().filter_map(|&(score, session)| Some((score, session?))) {
        let best = best.entry(session).or_insert(score);
        *best = best.max(score);
    }
    hits.iter()
        .map(|&(score, session)| score + SESSION_PRIOR * session.map_or(score, |session| best[session]))
        .collect()
}

/// Whether messages of a role answer a call.
fn is_answer(role: &str) -> bool {
    matches!(role, "tool" | "function")
}

/// A record; where it is a message that makes or answers a call, the call with all answers to it, or nothing where
/// the call is no longer there.
fn exchange(reads: &Reads, collection: i64, stored: StoredRecord) -> Result<Vec<StoredRecord>, MemoryError> {
    let answers = |stored: &StoredRecord| stored.record.message.as_ref().is_some_and(|m| is_answer(&m.role));
    let (Some(message), Some(session)) = (&stored.record.message, &stored.record.session) else {
        return Ok(vec![stored]);
    };
    if message.tool_calls.is_none() && !answers(&stored) {
        return Ok(vec![stored]);
    }
    let (first, end) = ((message.place() - MAX_ANSWERS).max(0), message.place() + MAX_ANSWERS);
    let mut around = reads.messages_between(collection, session, first, end)?;
    let is_system = |near: &StoredRecord| near.record.message.as_ref().is_some_and(|m| is_instruction(&m.role));
    around.retain(|near| near.record.is_alive(now()) && !is_system(near));
    let own = around.iter().position(|near| near.record.id == stored.record.id);
    let call = own.and_then(|own| around[..=own].iter().rposition(|near| !answers(near)));
    let is_call = |near: &StoredRecord| near.record.message.as_ref().is_some_and(|m| m.role == "assistant");
    let Some(call) = call.filter(|&call| is_call(&around[call])) else { return Ok(Vec::new()) };
    let others = around[call + 1..].iter().take_while(|near| answers(near)).count();
    Ok(around.drain(call..=call + others).collect())
}

/// A line a message, with who says it.
fn buffer_text(messages: &[ContextMessage], request: &ContextRequest) -> String {
    let lines: Vec<String> = messages.iter().map(|m| format!("{}: {}", prefix(&m.role, request), m.content)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use membox_api::{IndexPolicy, NewRecord, SessionSettings, Strategy as Chosen};
    use membox_compressor::{TokenCounter, conversation_overhead};
    use membox_store::{AppendMessages, Message};
    use proptest::prelude::*;
    use proptest::strategy::Strategy;
    use proptest::test_runner::{Config, TestRunner};
    use serde_json::Value;

    /// Appends messages, each with its text, with vectors: this box has no model.
    fn append(sample: &Sample, session: &str, messages: Vec<(Message, String)>) {
        let (memory, collection) = (&sample.memory, sample.collection.clone());
        let settings = SessionSettings { collection: Some("c".into()), max_messages: Some(0), ..Default::default() };
        memory.sessions().put_session("t", session, settings, None).expect("a session");
        let upsert = |(i, (mut message, text)): (usize, (Message, String))| {
            message.id = i.to_string();
            let (id, vector, session) =
                (Some(format!("{session}/{i}")), Some(vec![1.0, 0.0]), Some(session.to_owned()));
            let record = NewRecord { id, text, vector, session, ..NewRecord::default() };
            memory.admission().admit(&collection, &collection.settings(), record, Some(message), "").expect("a message")
        };
        let messages = messages.into_iter().enumerate().map(upsert).collect();
        let session = memory.sessions().stored_session("t", session).expect("a session");
        let (originals, expected, on_conflict) = Default::default();
        let append = AppendMessages { collection, session, messages, originals, expected, on_conflict };
        memory.store().append_messages(append).expect("an append");
    }

    fn any_message() -> impl Strategy<Value = (Message, String)> {
        let words = proptest::collection::vec("[a-z]{1,8}|[0-9]{1,4}|花园|🌱", 0..40).prop_map(|words| words.join(" "));
        let role = prop::sample::select(vec!["system", "user", "assistant", "assistant", "tool", "tool", "function"]);
        let call = words
            .clone()
            .prop_map(|text| json!({"id": "c", "function": {"arguments": json!({"text": text}).to_string()}}));
        let calls = prop::option::of(proptest::collection::vec(call, 0..4).prop_map(Value::Array));
        let name = || prop::option::of("[a-z@. ]{0,60}");
        (role, words, name(), name(), calls).prop_map(|(role, text, name, tool_call_id, tool_calls)| {
            let tool_calls = tool_calls.filter(|_| role == "assistant");
            let role = role.to_owned();
            (Message { id: "m".into(), role, name, tool_call_id, tool_calls, ..Message::default() }, text)
        })
    }

    fn any_request() -> impl Strategy<Value = ContextRequest> {
        let strategies = vec![Chosen::Recent, Chosen::Smart, Chosen::Window, Chosen::Compress];
        let strategy = prop::sample::select(strategies);
        let encoding = prop::option::of(prop::sample::select(vec!["gpt-4".to_owned(), "r50k_base".to_owned()]));
        let prefix = prop::option::of("[a-z ]{0,40}");
        (strategy, 0usize..300, prop::option::of(0usize..4), encoding, any::<bool>(), prefix).prop_map(
            |(strategy, max_tokens, turns, encoding, text, human_prefix)| ContextRequest {
                strategy,
                max_tokens: Some(max_tokens),
                turns,
                encoding,
                text,
                human_prefix,
                // What compresses is tested over HTTP.
                threshold: Some(usize::MAX),
                ..ContextRequest::default()
            },
        )
    }

    /// What is handed out, counted by nothing of what chose it.
    fn handed_out(answer: &ContextAnswer) -> usize {
        let counter = TokenCounter::by_name(&answer.encoding).expect("an encoding");
        let of = |m: &ContextMessage| {
            let texts = [Some(&m.content), m.name.as_ref(), m.tool_call_id.as_ref()];
            let calls = m.tool_calls.as_ref().map_or(0, |calls| counter.count_json(calls));
            texts.into_iter().flatten().map(|text| counter.count(text)).sum::<usize>() + calls
        };
        answer.messages.iter().map(of).sum::<usize>() + conversation_overhead(answer.messages.len())
    }

    #[test]
    fn a_hit_counts_for_more_where_a_better_one_of_its_session_is() {
        let hits = [(1.0, Some("a")), (0.5, Some("b")), (0.45, Some("a")), (0.5, None), (0.1, Some("a"))];
        let scores = with_session_prior(&hits);
        let mut order: Vec<usize> = (0..hits.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        assert_eq!(order, [0, 2, 1, 3, 4], "{scores:?}: what is much worse stays so");
        assert_eq!(scores[1], scores[3], "what is in no session is like one that is alone in its own");
    }

    #[test]
    fn no_context_hands_out_more_than_its_budget_or_an_answer_without_its_call() {
        let sample = Sample::new(IndexPolicy::Flat);
        let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
        let cases = (proptest::collection::vec(any_message(), 0..24), any_request());
        let ran = runner.run(&cases, |(messages, request)| {
            let session = uuid::Uuid::new_v4().to_string();
            append(&sample, &session, messages);
            let answer = sample.memory.sessions().context("t", &session, &request).expect("a context");
            let (handed_out, budget) = (handed_out(&answer), request.max_tokens.unwrap_or(0).max(2));
            prop_assert!(
                handed_out <= answer.tokens && answer.tokens <= budget,
                "{handed_out} of {budget}: {answer:?}"
            );
            if let Some(text) = &answer.text {
                let counter = TokenCounter::by_name(&answer.encoding).expect("an encoding");
                prop_assert!(counter.count(text) <= budget, "{text}");
            } else {
                prop_assert_eq!(handed_out, answer.tokens);
            }
            let said: Vec<&ContextMessage> = answer.messages.iter().filter(|m| m.role != "system").collect();
            for (i, message) in said.iter().enumerate().filter(|(_, m)| is_answer(&m.role)) {
                let before = i.checked_sub(1).map(|i| said[i]);
                let is_next = before.is_some_and(|b| b.role == "assistant" || is_answer(&b.role));
                prop_assert!(is_next, "{message:?} after {before:?}");
            }
            Ok(())
        });
        ran.expect("every context fits");
    }
}
