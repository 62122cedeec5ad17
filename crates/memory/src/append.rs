//! Appending to a session, within the writer's transaction: no message is torn, doubled or out of order, whoever writes at the same time.

use crate::MemoryError;
use crate::now;
use crate::redaction::REDACTION_FIELD;
use crate::sessions::check_made;
use crate::usage::day;
use crate::work::Upsert;
use membox_api::{MessageType, OnConflict};
use membox_records::{
    DayUsage, Group, LiveRow, Message, Record, RecordsError, SessionState, Slots, StoredRecord, StoredSession,
};
use membox_vectors::RowReceipt;
use std::collections::HashMap;

/// Messages for the writer, each with its vector.
pub(crate) struct Append {
    /// The session as it is made if it is not there.
    pub session: StoredSession,
    pub messages: Vec<Upsert>,
    /// What those of them said, by their places, of which something was taken out.
    pub originals: HashMap<usize, String>,
    /// The version that the session must be at; 0 where it must not be there.
    pub expected: Option<u64>,
    pub on_conflict: Option<OnConflict>,
}

/// What the writer has done with an [`Append`].
#[derive(Default)]
pub(crate) struct Appended {
    pub version: u64,
    /// The position of each message; `None` where it was there already.
    pub positions: Vec<Option<i64>>,
    pub evicted: Vec<String>,
    pub since: Option<Vec<StoredRecord>>,
}

/// What an append changed, to be published after the commit.
pub(crate) struct AppendDone {
    pub answer: Appended,
    /// Ids among records of the messages, by their places, that could not have those that they asked for.
    pub ids: HashMap<usize, String>,
    pub removed: Vec<LiveRow>,
}

impl AppendDone {
    /// Nothing was written.
    fn nothing(answer: Appended) -> Self {
        Self { answer, ids: HashMap::new(), removed: Vec::new() }
    }
}

/// A message on its way to a place in the session.
enum Placed {
    /// One of the request.
    New(usize),
    /// One that is there, by its id in the session, and where.
    Old(String, i64),
}

pub(crate) fn apply(
    group: &mut Group,
    slots: &Slots,
    append: &Append,
    receipts: &[RowReceipt],
) -> Result<AppendDone, MemoryError> {
    let new = &append.session;
    let mut session = group.session(&new.tenant, &new.id)?.unwrap_or_else(|| {
        // Also where it was deleted since it was looked at.
        let state = SessionState { next_position: 0, summary: None, ..new.state.clone() };
        StoredSession { version: 0, state, ..new.clone() }
    });
    check_made(&session, Some(&new.user), Some(slots.collection))?;
    let (mut since, mut tail) = (None, Vec::new());
    if let Some(expected) = append.expected
        && expected != session.version
    {
        // What was said before may stand between what others have said since: a merge has put it there.
        let mut listed = group.listed(slots, &session.id)?;
        let is_newer = |stored: &StoredRecord| message(stored).is_some_and(|m| m.written_by > expected);
        let newer: Vec<StoredRecord> = listed.iter().filter(|stored| is_newer(stored)).cloned().collect();
        match append.on_conflict {
            None => {
                let (id, current) = (session.id, session.version);
                return Err(RecordsError::VersionConflict { id, current, expected }.into());
            }
            Some(OnConflict::Latest | OnConflict::Manual) => {
                let answer = Appended { version: session.version, since: Some(newer), ..Appended::default() };
                return Ok(AppendDone::nothing(answer));
            }
            Some(OnConflict::Merge) => {
                since = Some(newer);
                tail = listed.split_off(listed.iter().position(is_newer).unwrap_or(listed.len()));
            }
        }
    }
    let mut answer = Appended { positions: vec![None; append.messages.len()], ..Appended::default() };
    let others = since.as_deref().unwrap_or_default();
    let (mut fresh, mut removed) = (Vec::new(), Vec::new());
    for (i, upsert) in append.messages.iter().enumerate() {
        if !is_there(group, slots, append, i, &mut removed)? && !others.iter().any(|other| is_double(other, upsert)) {
            fresh.push(i);
        }
    }
    tail.retain(|stored| stored.record.is_alive(now()));
    if fresh.is_empty() {
        // Said before: nothing changes, the version neither.
        (answer.version, answer.since) = (session.version, since);
        return Ok(AppendDone { removed, ..AppendDone::nothing(answer) });
    }
    session.version += 1;
    let first = tail.first().map_or(session.state.next_position, position);
    let order = in_order(append, &tail, fresh);
    let mut ids = HashMap::new();
    for (position, placed) in (first..).zip(&order) {
        match placed {
            Placed::Old(_, old) if *old == position => {}
            Placed::Old(id, _) => group.reposition(slots, &session.id, id, position)?,
            Placed::New(i) => {
                let mut record = append.messages[*i].record.clone();
                if let Some(message) = &mut record.message {
                    (message.position, message.written_by) = (position, session.version);
                }
                let written = group.upsert(slots, &record, receipts[*i].row, receipts[*i].crc, Some(0))?;
                if written.id != record.id {
                    ids.insert(*i, written.id);
                }
                answer.positions[*i] = Some(position);
            }
        }
    }
    session.state.next_position = first + order.len() as i64;
    session.state.updated_at = now();
    if session.state.max_messages > 0 {
        answer.evicted = group.messages_over(slots, &session.id, session.state.max_messages)?;
    }
    for id in &answer.evicted {
        if session.state.deletes_evicted {
            removed.extend(group.delete_message(slots, &session.id, id, None)?.and_then(|deleted| deleted.live));
        } else {
            group.archive(slots, &session.id, id)?;
        }
    }
    group.put_session(&session)?;
    if let Some(user) = &session.user {
        let written = append.messages.iter().zip(&answer.positions).filter(|(_, position)| position.is_some());
        let tokens = written.clone().filter_map(|(upsert, _)| Some(upsert.record.message.as_ref()?.tokens as i64));
        let (stored_tokens, messages) = (tokens.sum(), written.count() as i64);
        let more = DayUsage { user: user.clone(), day: day(now()), stored_tokens, messages, ..DayUsage::default() };
        group.add_usage(&session.tenant, &more)?;
    }
    (answer.version, answer.since) = (session.version, since);
    Ok(AppendDone { answer, ids, removed })
}

fn message(stored: &StoredRecord) -> Option<&Message> {
    stored.record.message.as_ref()
}

fn position(stored: &StoredRecord) -> i64 {
    message(stored).map_or(0, |m| m.position)
}

/// Whether a message of the request was appended before, which makes it no new one. One that says something else by the same id is refused: it would be
/// acknowledged, and nowhere. One whose time has come is there no more.
fn is_there(
    group: &mut Group,
    slots: &Slots,
    append: &Append,
    place: usize,
    removed: &mut Vec<LiveRow>,
) -> Result<bool, MemoryError> {
    let record = &append.messages[place].record;
    let Some(new) = &record.message else { return Ok(false) };
    let stored = match group.message(slots, &append.session.id, &new.id) {
        // What it says is not known any more.
        Err(RecordsError::Damaged(_)) => return Ok(true),
        found => found?,
    };
    match stored {
        None => Ok(false),
        Some(stored) if !stored.record.is_alive(now()) => {
            let expired = group.delete_message(slots, &append.session.id, &new.id, None)?;
            removed.extend(expired.and_then(|expired| expired.live));
            Ok(false)
        }
        Some(stored) if is_repeat(&stored.record, record, append.originals.get(&place)) => Ok(true),
        Some(_) => Err(MemoryError::Taken {
            pointer: format!("/messages/{place}/id"),
            reason: format!("message {:?} is there already, and says something else", new.id),
        }),
    }
}

/// Whether a message that is there is the one that is given again, as far as that can be told; metadata and time do not count. `original` is what it said
/// where redaction took something out of it.
fn is_repeat(old: &Record, new: &Record, original: Option<&String>) -> bool {
    let (Some(was), Some(is)) = (&old.message, &new.message) else { return false };
    let sha256 = |message: &Message| message.media.as_ref().map(|media| media.sha256.clone());
    if (&was.role, &was.kind, sha256(was)) != (&is.role, &is.kind, sha256(is)) {
        return false;
    }
    // An image or a recording may have been given other words.
    let has_new_words = was.updated_at.is_some() && was.kind != MessageType::Text.name();
    // The policy of redaction may have become another one since: then what was taken out is not known, or was not taken out yet.
    let mode = |record: &Record| record.metadata.get(REDACTION_FIELD).and_then(|said| said.get("mode")).cloned();
    let was_redacted_otherwise = mode(old).is_some() && mode(old) != mode(new);
    has_new_words || says_the_same(old, new) || original == Some(&old.text) || was_redacted_otherwise
}

/// The same message, written by both sides.
fn is_double(other: &StoredRecord, upsert: &Upsert) -> bool {
    says_the_same(&other.record, &upsert.record)
}

/// Whether two messages have the same text, and make or answer the same calls.
fn says_the_same(a: &Record, b: &Record) -> bool {
    let said = |m: &Message| (m.role.clone(), m.name.clone(), m.tool_call_id.clone(), m.tool_calls.clone());
    a.text == b.text && a.message.as_ref().map(said) == b.message.as_ref().map(said)
}

/// Both sides by their time. Messages of one side stay in their order, and at the same time the server's come first.
fn in_order(append: &Append, tail: &[StoredRecord], fresh: Vec<usize>) -> Vec<Placed> {
    let time = |i: usize| append.messages[i].record.created_at;
    let mut order = Vec::with_capacity(tail.len() + fresh.len());
    let mut fresh = fresh.into_iter().peekable();
    for stored in tail {
        while let Some(i) = fresh.next_if(|&i| time(i) < stored.record.created_at) {
            order.push(Placed::New(i));
        }
        let id = message(stored).map(|m| m.id.clone()).unwrap_or_default();
        order.push(Placed::Old(id, position(stored)));
    }
    order.extend(fresh.map(Placed::New));
    order
}
