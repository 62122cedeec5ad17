//! Cutting a session into topics, buffer by buffer.

use super::Memories;
use super::state::{PipelineState, TopicSpan};
use super::topics::{BEGINNINGS, Cues, ENDINGS, by_attention, by_both, by_cosine, by_depth};
use super::{Call, MAX_READ, TRIES, advance};
use crate::fields::message_tokens;
use crate::{MemoryError, now};
use membox_api::{Cut, CutRule, CutTopic, MemoriesPolicy, Role, TopicsAnswer, TopicsRequest};
use membox_encoder::{Encoder, Inputs, Lane, Request, Wanted};
use membox_store::{Message, RecordReads, StoredRecord, StoredSession};
use serde_json::json;
use std::ops::Range;

/// Texts of a request.
const MAX_TEXTS: usize = 4096;

/// What a user says, and what is said to it until the user speaks again.
struct Turn {
    /// Places of its messages.
    places: Range<i64>,
    /// When it begins and ends, in milliseconds since 1970.
    times: (i64, i64),
    /// The user's text.
    said: String,
    /// Its whole text.
    text: String,
    /// Tokens that are left of the user's text, and of all.
    user_tokens: u64,
    tokens: u64,
}

/// A topic by its turns, why it ends and how clearly.
type Piece = (Range<usize>, &'static str, Option<f32>);

impl Memories<'_> {
    /// Cuts texts into topics.
    pub fn topics(&self, request: TopicsRequest) -> Result<TopicsAnswer, MemoryError> {
        if request.texts.len() > MAX_TEXTS {
            let reason = format!("{} texts; {MAX_TEXTS} can be cut at once", request.texts.len());
            return Err(MemoryError::impossible("/texts", reason));
        }
        if request.cut == CutRule::Time {
            return Err(MemoryError::impossible("/cut", "texts have no times"));
        }
        let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
        Ok(TopicsAnswer { cuts: self.cuts(None, &texts, &texts, request.cut)? })
    }

    /// The cuts between turns, of which `said` is what the user said and `texts` all of it. What is embedded is
    /// remembered for a tenant, if one is given.
    fn cuts(
        &self,
        tenant: Option<&str>,
        said: &[&str],
        texts: &[&str],
        rule: CutRule,
    ) -> Result<Vec<Cut>, MemoryError> {
        if texts.len() < 2 || rule == CutRule::Time {
            return Ok(Vec::new());
        }
        let encoder = self.models.encoder()?;
        let coarse = match rule {
            CutRule::Lightmem => self.coarse_cuts(said)?,
            _ => Vec::new(),
        };
        if rule == CutRule::Lightmem && coarse.is_empty() {
            return Ok(Vec::new());
        }
        let embed = |texts: Vec<String>| Ok(encoder.embed(texts, Lane::Bulk)?);
        let vectors: Vec<Vec<f32>> = match tenant {
            Some(tenant) => {
                self.pipeline.turns.of(tenant, texts, embed)?.iter().map(|vector| vector.to_vec()).collect()
            }
            None => embed(texts.iter().map(|&text| text.to_owned()).collect())?.rows().map(<[f32]>::to_vec).collect(),
        };
        let lengths = texts.iter().map(|text| text.chars().count());
        let turns: Vec<(Vec<f32>, usize)> = vectors.into_iter().zip(lengths).collect();
        Ok(match rule {
            CutRule::Depth => by_depth(&turns, Some(self.cues(encoder)?)),
            CutRule::Cosine => by_cosine(&turns),
            CutRule::Lightmem => by_both(&coarse, by_cosine(&turns)),
            CutRule::Time => Vec::new(),
        })
    }

    /// Vectors of how conversations begin and end, embedded once.
    fn cues(&self, encoder: &Encoder) -> Result<&Cues, MemoryError> {
        let cues = &self.pipeline.cues;
        if let Some(cues) = cues.get() {
            return Ok(cues);
        }
        let texts = BEGINNINGS.iter().chain(&ENDINGS).map(|&text| text.to_owned()).collect();
        let vectors = encoder.embed(texts, Lane::Interactive)?;
        let mut beginnings: Vec<Vec<f32>> = vectors.rows().map(<[f32]>::to_vec).collect();
        let endings = beginnings.split_off(BEGINNINGS.len());
        Ok(cues.get_or_init(|| Cues { beginnings, endings }))
    }

    /// LightMem's coarse cuts, by the attention that the compressor's model pays, or the embedding model's where
    /// there is none. What its longest sequence does not hold is left out.
    fn coarse_cuts(&self, said: &[&str]) -> Result<Vec<usize>, MemoryError> {
        let encoder = match self.models.compressor(None) {
            Ok(compressor) => compressor.encoder(),
            Err(_) => self.models.encoder()?,
        };
        let (open, close) = encoder.tokenizer().special_tokens()?;
        let most = encoder.engine().max_sequence() - 1;
        let (mut ids, mut sentences) = (vec![open], Vec::new());
        for text in said {
            let tokens = encoder.tokens(text, false)?;
            if ids.len() + tokens.len() > most {
                break;
            }
            let first = ids.len();
            ids.extend(tokens.iter().map(|token| token.id));
            sentences.push(first..ids.len());
        }
        ids.push(close);
        let (tokens, wanted) = (ids.len(), Wanted { attention: true, ..Wanted::default() });
        let request = Request { inputs: Inputs::Tokens(vec![ids]), max_tokens: tokens, wanted, lane: Lane::Bulk };
        let attention = encoder.encode(request)?.attention.pop().unwrap_or_default();
        Ok(by_attention(&attention, tokens, &sentences))
    }

    /// Cuts what a session has gathered into topics, as far as there is enough of it.
    pub(super) fn cut_topics(&self, policy: &MemoriesPolicy, call: &mut Call) -> Result<(), MemoryError> {
        for _ in 0..TRIES {
            let session = self.sessions.stored_session(call.tenant, call.session)?;
            let from = PipelineState::of(&session)?;
            let end = session.state.next_position.min(from.buffered_from + MAX_READ);
            let is_last = end == session.state.next_position;
            let (pieces, turns) = self.pieces(&session, from.buffered_from..end, policy, call.force || !is_last)?;
            if pieces.is_empty() {
                return Ok(());
            }
            let mut to = from.clone();
            let mut cut = Vec::new();
            for (piece, reason, score) in pieces {
                to.topics += 1;
                let until = turns.get(piece.end).map_or(end, |next| next.places.start);
                let tokens = turns[piece].iter().map(|turn| turn.tokens).sum();
                let span = TopicSpan { number: to.topics, from: to.buffered_from, until, tokens };
                cut.push(CutTopic { topic: to.topics, from: span.from, until, tokens, reason, score });
                to.buffered_from = until;
                to.waiting.push(span);
            }
            match self.store.advance_pipeline(advance(&session, &to)?) {
                Err(error) if error.is_conflict() => continue,
                done => done?,
            }
            for topic in cut {
                call.trace.note(|| json!({"step": "cut", "rule": policy.cut, "topic": topic}));
                call.answer.topics.push(topic);
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The topics that a session's buffer is cut into, and its turns. What comes after the last of them stays in
    /// the buffer.
    fn pieces(
        &self,
        session: &StoredSession,
        places: Range<i64>,
        policy: &MemoriesPolicy,
        force: bool,
    ) -> Result<(Vec<Piece>, Vec<Turn>), MemoryError> {
        let messages = self.messages_of(session, places)?;
        let turns = turns(&messages, policy);
        let gap = i64::try_from(policy.gap_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let is_gap = |i: usize| gap > 0 && turns[i].times.0 - turns[i - 1].times.1 >= gap;
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in (1..=turns.len()).filter(|&i| i == turns.len() || is_gap(i)) {
            let is_over = end < turns.len();
            let last = if is_over { "time" } else { "forced" };
            self.cut_one(&session.tenant, &turns, start..end, policy, (is_over || force).then_some(last), &mut pieces)?;
            start = end;
        }
        Ok((pieces, turns))
    }

    /// The messages between two places of a session that have not expired.
    pub(super) fn messages_of(
        &self,
        session: &StoredSession,
        places: Range<i64>,
    ) -> Result<Vec<StoredRecord>, MemoryError> {
        let mut messages =
            self.store.read()?.messages_between(session.collection, &session.id, places.start, places.end)?;
        messages.retain(|stored| stored.record.is_alive(now()));
        Ok(messages)
    }

    /// Cuts turns between which no time has passed. `last` says why what is left of them ends a topic, if it does.
    fn cut_one(
        &self,
        tenant: &str,
        turns: &[Turn],
        range: Range<usize>,
        policy: &MemoriesPolicy,
        last: Option<&'static str>,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), MemoryError> {
        // LightMem looks at one sensory buffer at a time; the others see as much as a topic may have.
        let by_buffer = matches!(policy.cut, CutRule::Lightmem | CutRule::Cosine);
        let tokens = |range: Range<usize>| -> u64 { turns[range].iter().map(|turn| turn.tokens).sum() };
        let of_user = |range: Range<usize>| -> u64 { turns[range].iter().map(|turn| turn.user_tokens).sum() };
        let fits = |range: Range<usize>| {
            tokens(range.clone()) <= policy.topic_tokens && (!by_buffer || of_user(range) <= policy.buffer_tokens)
        };
        let mut from = range.start;
        while from < range.end {
            let end = (from + 1..=range.end).take_while(|&end| end == from + 1 || fits(from..end)).last();
            let end = end.unwrap_or(from + 1);
            let is_all = end == range.end;
            let is_full = !is_all || of_user(from..end) >= policy.buffer_tokens;
            if !is_full && last.is_none() {
                break;
            }
            let window = &turns[from..end];
            let said: Vec<&str> = window.iter().map(|turn| turn.said.as_str()).collect();
            let texts: Vec<&str> = window.iter().map(|turn| turn.text.as_str()).collect();
            let mut begin = from;
            for cut in self.cuts(Some(tenant), &said, &texts, policy.cut)? {
                let at = from + cut.at;
                pieces.push((begin..at, "topic", Some(cut.score)));
                begin = at;
            }
            match (is_all, last) {
                (true, Some(reason)) => {
                    pieces.push((begin..end, reason, None));
                    break;
                }
                // What follows the last cut may go on. Where there was none, LightMem's buffer is one topic.
                (true, None) if begin > from || !by_buffer => break,
                _ if begin == from => {
                    pieces.push((begin..end, "full", None));
                    begin = end;
                }
                _ => {}
            }
            from = begin;
        }
        Ok(())
    }
}

/// Messages as turns. One that begins without its user's words, or with a system message, is a turn as well.
fn turns(messages: &[StoredRecord], policy: &MemoriesPolicy) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for (stored, message) in messages.iter().filter_map(|s| Some((s, s.record.message.as_ref()?))) {
        let record = &stored.record;
        let is_user = message.role == Role::User.name();
        let counts = is_remembered(message, policy) && !record.text.trim().is_empty();
        if turns.is_empty() || (is_user && turns.last().is_some_and(|turn| !turn.said.is_empty())) {
            turns.push(Turn {
                places: message.place()..message.place(),
                times: (record.created_at, record.created_at),
                said: String::new(),
                text: String::new(),
                user_tokens: 0,
                tokens: 0,
            });
        }
        let Some(turn) = turns.last_mut() else { continue };
        (turn.places.end, turn.times.1) = (message.place() + 1, record.created_at);
        if counts {
            let left = (message_tokens(message) as f64 * policy.rate).ceil() as u64;
            turn.tokens += left;
            let add = |text: &mut String| {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(&record.text);
            };
            add(&mut turn.text);
            if is_user {
                turn.user_tokens += left;
                add(&mut turn.said);
            }
        }
    }
    turns
}

/// Whether a message becomes part of memories.
pub(super) fn is_remembered(message: &Message, policy: &MemoriesPolicy) -> bool {
    policy.roles.iter().any(|role| role.name() == message.role)
}
