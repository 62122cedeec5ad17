//! What each command does within the writer's transaction, and what of it is published after the commit.

use super::append;
use super::effects::{Effects, Published, check_made};
use super::erasing;
use super::written_rows::WrittenRows;
use crate::command::{
    Advance, AppendMessages, ChangeSession, Command, DeleteRecords, NewVector, Outcome, Selection, Spend, Spent,
    WriteRecords, event_of_box,
};
use crate::registry::Registry;
use crate::{Collection, StoreError, media, now};
use membox_records::{
    AuditEvent, CheckpointBody, CheckpointPlace, DayUsage, Deleted, LiveRow, Record, RecordsError, Slots,
    StoredSession, Summary, WriteTransaction,
};
use std::collections::BTreeSet;

/// Does a command, as one request of the transaction.
pub(super) fn apply(
    tx: &mut WriteTransaction,
    registry: &Registry,
    command: Command,
    rows: &[WrittenRows],
) -> Result<(Outcome, Effects), StoreError> {
    erasing::check(tx, &command)?;
    let outcome = match command {
        Command::WriteRecords(write) => return write_records(tx, write, rows),
        Command::AppendMessages(append) => return append_messages(tx, *append, rows),
        Command::DeleteRecords(delete) => return delete_records(tx, &delete),
        Command::ReplaceVectors { collection, vectors } => {
            return replace_vectors(tx, &collection, vectors, rows);
        }
        // They are in their file, those that are left of them: nothing of it is in the database.
        Command::PutTokenVectors { tokens, .. } => {
            return Ok((Outcome::Count(tokens.len()), Effects { has_tokens: true, ..Effects::default() }));
        }
        Command::ChangeSession(change) => Outcome::Flag(change_session(tx, *change)?),
        Command::PutSummary { session: read, summary } => Outcome::Summary(put_summary(tx, &read, summary)?),
        Command::AdvancePipeline(step) => {
            advance(tx, &step)?;
            Outcome::Done
        }
        Command::PushInputs { tenant, session, payloads, now } => {
            let push = |payload| Ok::<_, StoreError>(tx.push(&tenant, &session, payload, now)?);
            Outcome::Numbers(payloads.into_iter().map(push).collect::<Result<_, _>>()?)
        }
        Command::TakeInputs { tenant, session, limit, now, until } => {
            Outcome::Inputs(tx.take(&tenant, &session, limit, now, until)?)
        }
        Command::RemoveInput { tenant, session, number, audit } => {
            let was_there = tx.remove_from_queue(&tenant, &session, number)?;
            note(tx, audit.filter(|_| was_there), 1)?;
            Outcome::Flag(was_there)
        }
        Command::PutCheckpoint { key, expires_at, body, blobs, channels } => {
            let place = CheckpointPlace { tenant: &key.tenant, thread: &key.thread, namespace: &key.namespace };
            blobs.iter().try_for_each(|blob| tx.put_blob(place, blob))?;
            let body = tx.put_checkpoint(place, &key.id, expires_at, body)?;
            match tx.set_channels(place, &key.id, &channels)? {
                None => Outcome::Checkpoint(body),
                Some(channel) => return Err(StoreError::NoBlob(channel)),
            }
        }
        Command::PutBlob { tenant, thread, namespace, blob } => {
            let place = CheckpointPlace { tenant: &tenant, thread: &thread, namespace: &namespace };
            tx.put_blob(place, &blob)?;
            Outcome::Done
        }
        Command::CopyBlob { tenant, thread, namespace, channel, version, to } => {
            let from = CheckpointPlace { tenant: &tenant, thread: &thread, namespace: &namespace };
            tx.copy_blob(from, &to, &channel, &version)?;
            Outcome::Done
        }
        Command::PutCheckpointWrites { key, task, writes, max_bytes, now } => {
            let place = CheckpointPlace { tenant: &key.tenant, thread: &key.thread, namespace: &key.namespace };
            let body = tx.put_checkpoint_writes(place, &key.id, &task, writes, now)?;
            check_together(&body, max_bytes)?;
            Outcome::Done
        }
        Command::DropCheckpoint { key, audit, now } => {
            let place = CheckpointPlace { tenant: &key.tenant, thread: &key.thread, namespace: &key.namespace };
            let was_there = tx.drop_checkpoint(place, &key.id, now)?;
            note(tx, audit.filter(|_| was_there), 1)?;
            Outcome::Flag(was_there)
        }
        Command::DropCheckpoints { tenant, thread, namespace, audit } => {
            let count = tx.drop_checkpoints(&tenant, &thread, namespace.as_deref())?;
            note(tx, audit.filter(|_| count > 0), count as u64)?;
            Outcome::Count(count)
        }
        Command::PruneCheckpoints { tenant, thread, namespace, keep, now, audit } => {
            let count = tx.prune_checkpoints(&tenant, &thread, namespace.as_deref(), keep, now)?;
            note(tx, audit.filter(|_| count > 0), count as u64)?;
            Outcome::Count(count)
        }
        Command::CopyCheckpoints { tenant, thread, namespace, ids, to, now } => {
            let from = CheckpointPlace { tenant: &tenant, thread: &thread, namespace: &namespace };
            Outcome::Count(tx.copy_checkpoints(from, &to, &ids, now)?)
        }
        Command::AddUsage(all) => {
            for (tenant, more) in all {
                // What an erased user has used goes too.
                if !erasing::is_erased(tx, &tenant, &more.user)? {
                    tx.add_usage(&tenant, &more)?;
                }
            }
            Outcome::Done
        }
        Command::Spend(tokens) => Outcome::Spent(spend(tx, tokens)?),
        Command::SetQuota { tenant, user, quota, audit } => {
            tx.set_quota(&tenant, &user, quota)?;
            tx.audit(&audit)?;
            Outcome::Done
        }
        Command::DropUsage { tenant, user } => {
            tx.drop_usage(&tenant, &user)?;
            Outcome::Done
        }
        Command::Audit(event) => Outcome::Audited(tx.audit(&event)?),
        Command::Reseal { tenant, from, limit } => {
            let (count, next) = tx.reseal(&tenant, from, limit)?;
            Outcome::Resealed(count, next)
        }
        Command::DropTenant { tenant, job } => {
            tx.drop_tenant(&tenant, &job)?;
            Outcome::Done
        }
        Command::InsertJobs { jobs, audit } => {
            jobs.iter().try_for_each(|job| tx.insert_job(job))?;
            audit.map_or(Ok(()), |event| tx.audit(&event).map(drop))?;
            Outcome::Done
        }
        Command::PutJob(job) => Outcome::Flag(tx.put_job(&job)?),
        Command::ForgetJobs { tenant, user, collection } => {
            Outcome::Count(tx.forget_jobs(&tenant, &user, &collection)?)
        }
        Command::DropJobsEndedBefore(time) => Outcome::Count(tx.drop_jobs_ended_before(time)?),
        Command::ExpectMedia { collection, file, until } => {
            tx.expect_media(collection, &file, until)?;
            Outcome::Done
        }
        Command::RemoveUnusedMedia => Outcome::Count(media::remove_unused(tx, registry)?),
        Command::CountRecalls(counts) => {
            let at = now();
            counts.iter().try_for_each(|(collection, id, count)| tx.add_recalls(*collection, id, *count, at))?;
            Outcome::Done
        }
        Command::DropExpiredCheckpoints { now } => {
            let of_tenants = tx.drop_expired_checkpoints(now)?;
            for (tenant, &count) in &of_tenants {
                note(tx, Some(event_of_box(tenant, "expire checkpoints")), count)?;
            }
            Outcome::Count(of_tenants.values().sum::<u64>() as usize)
        }
        Command::DropUsageBefore(day) => Outcome::Count(tx.drop_usage_before(&day)?),
        #[cfg(test)]
        Command::Panic(event) => {
            tx.audit(&event)?;
            panic!("as it should")
        }
    };
    Ok((outcome, Effects::default()))
}

fn write_records(
    tx: &mut WriteTransaction,
    write: WriteRecords,
    rows: &[WrittenRows],
) -> Result<(Outcome, Effects), StoreError> {
    let WriteRecords { collection, records, bump_sessions: bumped, delete, advance: step } = write;
    // Only this thread changes them.
    let slots = collection.state().slots.clone();
    let (mut effects, mut versions) = (Effects::default(), Vec::with_capacity(records.len()));
    for (mut new, rows) in records.into_iter().zip(rows) {
        let (row, further) = (rows.first.row, rows.further());
        if new.keeps_created_at
            && let Some(created_at) = tx.created_at(&slots, &new.record.id, now())?
        {
            new.record.created_at = created_at;
        }
        let written = tx.upsert(&slots, &new.record, row, rows.checks(&new.windows), new.expected)?;
        let renamed = written.renamed.map(|renamed| (renamed, new.record.id.clone()));
        let record = Record { id: written.id, ..new.record };
        versions.push(written.version);
        effects.written.push(Published { row, further, record, replaced: written.replaced, renamed });
    }
    bumped.iter().try_for_each(|session| bump_session(tx, &collection.tenant, session))?;
    step.map_or(Ok(()), |step| advance(tx, &step))?;
    if let Some((id, version)) = delete {
        let deleted = tx.delete(&slots, &id, Some(version))?;
        effects.removed.extend(deleted.and_then(|deleted| deleted.live));
    }
    Ok((Outcome::Versions(versions), effects))
}

fn replace_vectors(
    tx: &mut WriteTransaction,
    collection: &Collection,
    vectors: Vec<NewVector>,
    rows: &[WrittenRows],
) -> Result<(Outcome, Effects), StoreError> {
    let slots = collection.state().slots.clone();
    let mut effects = Effects::default();
    for (NewVector { stored, windows, .. }, rows) in vectors.into_iter().zip(rows) {
        let (row, further) = (rows.first.row, rows.further());
        if !tx.move_row(&slots, &stored, row, rows.checks(&windows))? {
            effects.unused.extend(rows.all());
            continue;
        }
        let (session, expires_at) = (stored.record.session.clone(), stored.record.expires_at);
        let replaced = slots.row(stored.slot).map(|row| LiveRow { row, session, expires_at });
        effects.written.push(Published { row, further, record: stored.record, replaced, renamed: None });
    }
    Ok((Outcome::Count(effects.written.len()), effects))
}

/// Sets a summary, and gives the one that stands. Of two that extend one at a time, the first does. Another session may
/// have the id by now, of which the summary says nothing.
fn put_summary(
    tx: &mut WriteTransaction,
    read: &StoredSession,
    summary: Summary,
) -> Result<Option<Summary>, StoreError> {
    let found = tx.session(&read.tenant, &read.id)?.filter(|found| found.number == read.number);
    let Some(mut session) = found else { return Ok(None) };
    let version = |session: &StoredSession| session.state.summary.as_ref().map(|summary| summary.version);
    if version(&session) == version(read) {
        session.state.summary = Some(summary);
        tx.put_session(&session)?;
    }
    Ok(session.state.summary)
}

/// Refuses writes that are too large together; the request's savepoint takes the last one back.
fn check_together(body: &CheckpointBody, max_bytes: usize) -> Result<(), StoreError> {
    let bytes = body.writes.values().map(|writes| writes.to_string().len()).sum();
    if bytes > max_bytes { Err(StoreError::TooLarge { bytes, max_bytes }) } else { Ok(()) }
}

fn append_messages(
    tx: &mut WriteTransaction,
    append: AppendMessages,
    rows: &[WrittenRows],
) -> Result<(Outcome, Effects), StoreError> {
    let slots = append.collection.state().slots.clone();
    let done = append::execute(tx, &slots, append, rows)?;
    Ok((Outcome::Appended(done.answer), done.effects))
}

fn delete_records(tx: &mut WriteTransaction, delete: &DeleteRecords) -> Result<(Outcome, Effects), StoreError> {
    let DeleteRecords { collection, which, bump_sessions, audit } = delete;
    let slots = collection.state().slots.clone();
    let done = delete_selected(tx, &slots, which)?;
    if *bump_sessions {
        let sessions: BTreeSet<&String> = done.iter().filter_map(|deleted| deleted.message_of.as_ref()).collect();
        sessions.into_iter().try_for_each(|session| bump_session(tx, &collection.tenant, session))?;
    }
    // With what it says, or not at all.
    note(tx, audit.clone(), done.len() as u64)?;
    let count = done.len();
    let removed = done.into_iter().filter_map(|deleted| deleted.live).collect();
    Ok((Outcome::Count(count), Effects { removed, ..Effects::default() }))
}

/// Notes in the audit log what was done to so many.
pub(super) fn note(tx: &mut WriteTransaction, audit: Option<AuditEvent>, count: u64) -> Result<(), StoreError> {
    audit.map_or(Ok(()), |event| Ok(tx.audit(&AuditEvent { count, ..event }).map(drop)?))
}

fn delete_selected(tx: &mut WriteTransaction, slots: &Slots, which: &Selection) -> Result<Vec<Deleted>, StoreError> {
    let mut done = Vec::new();
    match which {
        Selection::Ids(ids) => {
            for (id, expected) in ids {
                done.extend(tx.delete(slots, id, *expected)?);
            }
        }
        Selection::Versions(versions) => {
            for version in versions {
                done.extend(tx.delete_slot(slots, version.0)?);
            }
        }
        Selection::Message { session, id, expected } => {
            done.extend(tx.delete_message(slots, session, id, *expected)?);
        }
        Selection::Session { tenant, id } => {
            // It may be gone since it was looked at, and another one made whose messages are in another collection.
            if tx.session(tenant, id)?.is_none_or(|found| found.collection != slots.collection) {
                return Err(StoreError::NoSession(id.clone()));
            }
            for message in tx.message_ids(slots, id)? {
                done.extend(tx.delete_message(slots, id, &message, None)?);
            }
            tx.clear_queue(tenant, id)?;
            tx.drop_session(tenant, id)?;
        }
    }
    Ok(done)
}

/// Raises the version of a session one of whose messages has changed.
fn bump_session(tx: &mut WriteTransaction, tenant: &str, session: &str) -> Result<(), StoreError> {
    if let Some(mut session) = tx.session(tenant, session)? {
        session.version += 1;
        session.state.updated_at = now();
        tx.put_session(&session)?;
    }
    Ok(())
}

/// Makes a session or changes one, and says whether it was made.
fn change_session(tx: &mut WriteTransaction, change: ChangeSession) -> Result<bool, StoreError> {
    let ChangeSession { session: read, must_match, set } = change;
    let found = tx.session(&read.tenant, &read.id)?;
    // It may have been made since it was looked for.
    if let Some(found) = found.as_ref().filter(|found| found.number != read.number) {
        let (user, collection) = must_match;
        check_made(found, user.then_some(&read.user), collection.then_some(read.collection))?;
    }
    let current = found.as_ref().map_or(0, |found| found.version);
    if current != read.version {
        let (id, expected) = (read.id, read.version);
        return Err(RecordsError::VersionConflict { id, current, expected }.into());
    }
    let created = found.is_none();
    let mut session = found.unwrap_or(read);
    let state = &mut session.state;
    state.max_messages = set.max_messages.unwrap_or(state.max_messages);
    state.deletes_evicted = set.deletes_evicted.unwrap_or(state.deletes_evicted);
    state.ttl_s = set.ttl_s.unwrap_or(state.ttl_s);
    if let Some(metadata) = set.metadata {
        state.metadata = metadata;
    }
    if let (Some(summary), Some(own)) = (set.summary, &mut state.summary)
        && summary.version == own.version
    {
        *own = summary;
    }
    state.updated_at = now();
    session.version += 1;
    tx.put_session(&session)?;
    Ok(created)
}

/// Moves a session's pipeline on, if it is where it was thought to be.
fn advance(tx: &mut WriteTransaction, step: &Advance) -> Result<(), StoreError> {
    let found = tx.session(&step.tenant, &step.session)?;
    let mut session = found.ok_or_else(|| StoreError::NoSession(step.session.clone()))?;
    if session.state.pipeline != step.from {
        let (id, current) = (session.id, session.version);
        return Err(RecordsError::VersionConflict { id, current, expected: current }.into());
    }
    session.state.pipeline = Some(step.to.clone());
    Ok(tx.put_session(&session)?)
}

/// Notes tokens, unless they are over the quota: of two who ask at the same time for the last of it, one gets it.
fn spend(tx: &mut WriteTransaction, spend: Spend) -> Result<Spent, StoreError> {
    let Spend { tenant, user, day, tokens, default_quota } = spend;
    let quota = tx.quota(&tenant, &user)?.or(default_quota);
    let used = tx.used(&tenant, &user, &day)?;
    let most = quota.map_or(0, |quota| quota.tokens_per_day);
    if most > 0 && tokens > 0 && used.tokens.saturating_add(tokens) > most {
        return Ok(Spent { used, quota, is_refused: true });
    }
    let more = DayUsage { user: user.clone(), day: day.clone(), tokens, requests: 1, ..DayUsage::default() };
    tx.add_usage(&tenant, &more)?;
    Ok(Spent { used: tx.used(&tenant, &user, &day)?, quota, is_refused: false })
}
