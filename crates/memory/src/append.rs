//! Appending to a session, within the writer's transaction: no message is torn, doubled or out of order, whoever writes at the same time.

use crate::MemoryError;
use crate::messages::OnConflict;
use crate::now;
use crate::sessions::check_made;
use crate::usage::day;
use crate::work::Upsert;
use membox_records::{
    DayUsage, Group, LiveRow, Message, RecordsError, SessionState, Slots, StoredRecord, StoredSession,
};
use membox_vectors::RowReceipt;

/// Messages for the writer, each with its vector.
pub(crate) struct Append {
    /// The session as it is made if it is not there.
    pub session: StoredSession,
    pub messages: Vec<Upsert>,
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
    pub removed: Vec<LiveRow>,
}

/// A message on its way to a place in the session.
enum Placed {
    /// One of the request.
    New(usize),
    /// One that is there, and where.
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
                return Ok(AppendDone { answer, removed: Vec::new() });
            }
            Some(OnConflict::Merge) => {
                since = Some(newer);
                tail = listed.split_off(listed.iter().position(is_newer).unwrap_or(listed.len()));
            }
        }
    }
    let mut answer = Appended { positions: vec![None; append.messages.len()], ..Appended::default() };
    let others = since.as_deref().unwrap_or_default();
    let mut fresh = Vec::new();
    for (i, upsert) in append.messages.iter().enumerate() {
        if !group.has_record(slots, &upsert.record.id)? && !others.iter().any(|other| is_double(other, upsert)) {
            fresh.push(i);
        }
    }
    if fresh.is_empty() {
        // Said before: nothing changes, the version neither.
        (answer.version, answer.since) = (session.version, since);
        return Ok(AppendDone { answer, removed: Vec::new() });
    }
    session.version += 1;
    let first = tail.first().map_or(session.state.next_position, position);
    let order = in_order(append, &tail, fresh);
    for (position, placed) in (first..).zip(&order) {
        match placed {
            Placed::Old(_, old) if *old == position => {}
            Placed::Old(id, _) => group.reposition(slots, id, position)?,
            Placed::New(i) => {
                let mut record = append.messages[*i].record.clone();
                if let Some(message) = &mut record.message {
                    (message.position, message.written_by) = (position, session.version);
                }
                group.upsert(slots, &record, receipts[*i].row, receipts[*i].crc, Some(0))?;
                answer.positions[*i] = Some(position);
            }
        }
    }
    session.state.next_position = first + order.len() as i64;
    session.state.updated_at = now();
    let mut removed = Vec::new();
    if session.state.max_messages > 0 {
        answer.evicted = group.messages_over(slots, &session.id, session.state.max_messages)?;
    }
    for id in &answer.evicted {
        if session.state.deletes_evicted {
            removed.extend(group.delete(slots, id, None)?);
        } else {
            group.archive(slots, id)?;
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
    Ok(AppendDone { answer, removed })
}

fn message(stored: &StoredRecord) -> Option<&Message> {
    stored.record.message.as_ref()
}

fn position(stored: &StoredRecord) -> i64 {
    message(stored).map_or(0, |m| m.position)
}

/// The same message, written by both sides.
fn is_double(other: &StoredRecord, upsert: &Upsert) -> bool {
    let (a, b) = (&other.record, &upsert.record);
    a.text == b.text && a.message.as_ref().map(|m| &m.role) == b.message.as_ref().map(|m| &m.role)
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
        order.push(Placed::Old(stored.record.id.clone(), position(stored)));
    }
    order.extend(fresh.map(Placed::New));
    order
}
