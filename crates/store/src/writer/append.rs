//! Appending to a session, within the writer's transaction: no message is torn, doubled or out of order, whoever
//! writes at the same time.
//!
//! ```text
//! read ─▶ State ─▶ plan (a pure function) ─▶ Plan ─▶ execute
//! ```

use super::effects::{Effects, Published, check_made};
use super::written_rows::WrittenRows;
use crate::command::{AppendMessages, Appended, NewVersion, REDACTION_FIELD, event_of_box};
use crate::{StoreError, day, now};
use membox_api::{MessageType, OnConflict};
use membox_records::{
    AuditEvent, DayUsage, LiveRow, Message, Record, RecordsError, SessionState, Slots, StoredRecord, StoredSession,
    WriteTransaction,
};

/// What an append changed, to be published after the commit.
pub(super) struct Done {
    pub answer: Appended,
    pub effects: Effects,
}

/// What the transaction shows of the session.
struct State {
    session: StoredSession,
    /// For each message of the request, what is there by its id.
    found: Vec<Found>,
    /// The session's list, where others may have written to it since it was read.
    listed: Vec<StoredRecord>,
}

/// What is there by the id of a message.
enum Found {
    Nothing,
    /// It is there, and what it says cannot be read any more.
    Damaged,
    Message(Box<StoredRecord>),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Nothing is written: others have written, and their messages stand.
    TheirsStand(Vec<StoredRecord>),
    /// Messages are written.
    Write {
        /// Ids in the session of messages whose time has come, and which make room for those of the request.
        expired: Vec<String>,
        /// From this position on, in this order.
        first: i64,
        order: Vec<Placed>,
        /// What others have written since, where that was merged.
        since: Option<Vec<StoredRecord>>,
    },
}

/// A message on its way to a place in the session.
#[derive(Debug, PartialEq)]
enum Placed {
    /// One of the request.
    New(usize),
    /// One that is there, by its id in the session, and where.
    Old(String, i64),
}

/// Appends messages whose vectors are in their rows.
pub(super) fn execute(
    tx: &mut WriteTransaction,
    slots: &Slots,
    append: AppendMessages,
    rows: &[WrittenRows],
) -> Result<Done, StoreError> {
    let state = read(tx, slots, &append)?;
    let all_rows = || rows.iter().flat_map(WrittenRows::all);
    let planned = plan(&append, &state, now())?;
    let mut session = state.session;
    let (expired, first, order, since) = match planned {
        Plan::TheirsStand(since) => {
            let positions = Vec::new();
            let answer = Appended { version: session.version, positions, evicted: Vec::new(), since: Some(since) };
            return Ok(Done { answer, effects: Effects { unused: all_rows().collect(), ..Effects::default() } });
        }
        Plan::Write { expired, first, order, since } => (expired, first, order, since),
    };
    let mut effects = Effects::default();
    for id in &expired {
        effects.removed.extend(deleted(tx, slots, &session.id, id)?);
    }
    let mut answer = Appended { positions: vec![None; append.messages.len()], since, ..Appended::default() };
    if order.is_empty() {
        // Said before: nothing changes, the version neither.
        answer.version = session.version;
        effects.unused = all_rows().collect();
        return Ok(Done { answer, effects });
    }
    session.version += 1;
    session.state.next_position = first + order.len() as i64;
    session.state.updated_at = now();
    let mut messages: Vec<Option<NewVersion>> = append.messages.into_iter().map(Some).collect();
    let mut tokens = 0;
    for (position, placed) in (first..).zip(&order) {
        match placed {
            Placed::Old(_, old) if *old == position => {}
            Placed::Old(id, _) => tx.reposition(slots, &session.id, id, position)?,
            Placed::New(i) => {
                let Some(NewVersion { mut record, windows, .. }) = messages[*i].take() else { continue };
                if let Some(message) = &mut record.message {
                    (message.position, message.written_by) = (position, session.version);
                    tokens += message.tokens as i64;
                }
                let (row, further) = (rows[*i].first.row, rows[*i].further());
                let written = tx.upsert(slots, &record, row, rows[*i].checks(&windows), Some(0))?;
                record.id = written.id;
                effects.written.push(Published { row, further, record, replaced: None, renamed: None });
                answer.positions[*i] = Some(position);
            }
        }
    }
    let left = messages.iter().zip(rows).filter(|(message, _)| message.is_some());
    effects.unused = left.flat_map(|(_, rows)| rows.all()).collect();
    if session.state.max_messages > 0 {
        answer.evicted = tx.messages_over(slots, &session.id, session.state.max_messages)?;
    }
    for id in &answer.evicted {
        if session.state.deletes_evicted {
            effects.removed.extend(deleted(tx, slots, &session.id, id)?);
        } else {
            tx.archive(slots, &session.id, id)?;
        }
    }
    if session.state.deletes_evicted && !answer.evicted.is_empty() {
        let event = event_of_box(&session.tenant, "evict messages");
        tx.audit(&AuditEvent { count: answer.evicted.len() as u64, ..event })?;
    }
    tx.put_session(&session)?;
    if let Some(user) = session.user {
        let messages = effects.written.len() as i64;
        let more = DayUsage { user, day: day(now()), stored_tokens: tokens, messages, ..DayUsage::default() };
        tx.add_usage(&session.tenant, &more)?;
    }
    answer.version = session.version;
    Ok(Done { answer, effects })
}

fn deleted(tx: &mut WriteTransaction, slots: &Slots, session: &str, id: &str) -> Result<Option<LiveRow>, StoreError> {
    Ok(tx.delete_message(slots, session, id, None)?.and_then(|deleted| deleted.live))
}

/// What a plan needs of what is there.
fn read(tx: &mut WriteTransaction, slots: &Slots, append: &AppendMessages) -> Result<State, StoreError> {
    let new = &append.session;
    let session = tx.session(&new.tenant, &new.id)?.unwrap_or_else(|| {
        // Also where it was deleted since it was looked at.
        let pipeline = new.state.pipeline.clone().filter(|_| new.version == 0);
        let state = SessionState { next_position: 0, summary: None, pipeline, ..new.state.clone() };
        StoredSession { version: 0, state, ..new.clone() }
    });
    check_made(&session, Some(&new.user), Some(slots.collection))?;
    let is_behind = append.expected.is_some_and(|expected| expected != session.version);
    let listed = if is_behind && append.on_conflict.is_some() { tx.listed(slots, &session.id)? } else { Vec::new() };
    let mut found = Vec::with_capacity(append.messages.len());
    for message in append.messages.iter().filter_map(|new| new.record.message.as_ref()) {
        found.push(match tx.message(slots, &session.id, &message.id) {
            Ok(Some(stored)) => Found::Message(Box::new(stored)),
            Ok(None) => Found::Nothing,
            Err(RecordsError::Damaged(_)) => Found::Damaged,
            Err(error) => return Err(error.into()),
        });
    }
    Ok(State { session, found, listed })
}

/// What is to be done with messages, by what is there.
fn plan(append: &AppendMessages, state: &State, now: i64) -> Result<Plan, StoreError> {
    let session = &state.session;
    let (mut since, mut moved) = (None, &[][..]);
    if let Some(expected) = append.expected.filter(|&expected| expected != session.version) {
        // What was said before may stand between what others have said since: a merge has put it there.
        let is_newer = |stored: &StoredRecord| message(stored).is_some_and(|m| m.written_by > expected);
        let newer: Vec<StoredRecord> = state.listed.iter().filter(|stored| is_newer(stored)).cloned().collect();
        match append.on_conflict {
            None => {
                let (id, current) = (session.id.clone(), session.version);
                return Err(RecordsError::VersionConflict { id, current, expected }.into());
            }
            Some(OnConflict::Latest | OnConflict::Manual) => return Ok(Plan::TheirsStand(newer)),
            Some(OnConflict::Merge) => {
                since = Some(newer);
                moved = &state.listed[state.listed.iter().position(is_newer).unwrap_or(state.listed.len())..];
            }
        }
    }
    let others = since.as_deref().unwrap_or_default();
    let (mut fresh, mut expired) = (Vec::new(), Vec::new());
    for (place, (new, found)) in append.messages.iter().zip(&state.found).enumerate() {
        let is_there = match found {
            Found::Nothing => false,
            // What it says is not known any more.
            Found::Damaged => true,
            Found::Message(stored) if !stored.record.is_alive(now) => {
                expired.extend(message(stored).map(|m| m.id.clone()));
                false
            }
            Found::Message(stored) if is_repeat(&stored.record, &new.record, append.originals.get(&place)) => true,
            // It would be acknowledged, and nowhere.
            Found::Message(stored) => {
                let id = message(stored).map(|m| m.id.clone()).unwrap_or_default();
                return Err(StoreError::MessageExists { place, id });
            }
        };
        if !is_there && !others.iter().any(|other| says_the_same(&other.record, &new.record)) {
            fresh.push(place);
        }
    }
    if fresh.is_empty() {
        return Ok(Plan::Write { expired, first: session.state.next_position, order: Vec::new(), since });
    }
    let moved: Vec<&StoredRecord> = moved.iter().filter(|stored| stored.record.is_alive(now)).collect();
    let first = moved.first().map_or(session.state.next_position, |stored| position(stored));
    let order = in_order(append, &moved, fresh);
    Ok(Plan::Write { expired, first, order, since })
}

fn message(stored: &StoredRecord) -> Option<&Message> {
    stored.record.message.as_ref()
}

fn position(stored: &StoredRecord) -> i64 {
    message(stored).map_or(0, |m| m.position)
}

/// Whether a message that is there is the one that is given again, as far as that can be told; metadata and time do
/// not count. `original` is what it said where redaction took something out of it.
fn is_repeat(old: &Record, new: &Record, original: Option<&String>) -> bool {
    let (Some(was), Some(is)) = (&old.message, &new.message) else { return false };
    let sha256 = |message: &Message| message.media.as_ref().map(|media| media.sha256.clone());
    if (&was.role, &was.kind, sha256(was)) != (&is.role, &is.kind, sha256(is)) {
        return false;
    }
    // An image or a recording may have been given other words.
    let has_new_words = was.updated_at.is_some() && was.kind != MessageType::Text.name();
    // The policy of redaction may have become another one since: then what was taken out is not known, or was not
    // taken out yet.
    let mode = |record: &Record| record.metadata.get(REDACTION_FIELD).and_then(|said| said.get("mode")).cloned();
    let was_redacted_otherwise = mode(old).is_some() && mode(old) != mode(new);
    has_new_words || says_the_same(old, new) || original == Some(&old.text) || was_redacted_otherwise
}

/// Whether two messages have the same text and payload, and make or answer the same calls.
fn says_the_same(a: &Record, b: &Record) -> bool {
    let said = |m: &Message| (m.role.clone(), m.name.clone(), m.tool_call_id.clone(), m.tool_calls.clone());
    a.text == b.text && a.payload == b.payload && a.message.as_ref().map(said) == b.message.as_ref().map(said)
}

/// Both sides by their time. Messages of one side stay in their order, and at the same time the server's come first.
fn in_order(append: &AppendMessages, moved: &[&StoredRecord], fresh: Vec<usize>) -> Vec<Placed> {
    let time = |i: usize| append.messages[i].record.created_at;
    let mut order = Vec::with_capacity(moved.len() + fresh.len());
    let mut fresh = fresh.into_iter().peekable();
    for stored in moved {
        while let Some(i) = fresh.next_if(|&i| time(i) < stored.record.created_at) {
            order.push(Placed::New(i));
        }
        let id = message(stored).map(|m| m.id.clone()).unwrap_or_default();
        order.push(Placed::Old(id, position(stored)));
    }
    order.extend(fresh.map(Placed::New));
    order
}
