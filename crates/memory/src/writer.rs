//! The one thread that writes. Requests that wait together share one fsync of each vector file and one commit of the record store.
//!
//! ```text
//! requests ─▶ append their vectors ─▶ fsync the vector files ─▶ one transaction, a savepoint each ─▶ commit ─▶ publish ─▶ answer
//! ```
//!
//! A row is on disk before the record that names it commits, and rows past the last committed one are cut off at the next start. An
//! answer is given only after the commit and after what was written can be recalled. A failed fsync is never retried: from
//! then on the box is read-only.

use crate::append::{self, AppendDone};
use crate::collection::{Collection, Live};
use crate::shared::Shared;
use crate::work::{Doomed, Transaction, Work, Write};
use crate::{MemoryError, now};
use crossbeam_channel::Receiver;
use membox_records::{AuditEvent, Deleted, LiveRow, Record, Slots, Store, WriteTransaction, Written};
use membox_threads::guard;
use membox_vectors::RowReceipt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Requests that share a commit at most.
const GROUP_REQUESTS: usize = 256;
/// Rows of them at most, unless one request alone has more.
const GROUP_ROWS: usize = 8192;

/// A request whose vectors are in their file.
type Accepted = (Write, Vec<RowReceipt>);

/// How each write and each transaction of a group ended.
type Outcomes = (Vec<Result<Done, MemoryError>>, Vec<Result<(), MemoryError>>);

/// What a request changed, to be published and answered after the commit.
enum Done {
    Upserted(Vec<Written>, Option<LiveRow>),
    Appended(AppendDone),
    Revectored(Vec<(u32, usize)>),
    Deleted(Vec<Deleted>),
}

pub(crate) struct Writer {
    pub store: Store,
    pub shared: Arc<Shared>,
}

impl Writer {
    /// Runs until it is told to stop; what was sent before that is done first.
    pub fn run(mut self, work: &Receiver<Work>) {
        let mut next = None;
        loop {
            let Some(item) = next.take().or_else(|| work.recv().ok()) else {
                // Nobody can ask it any more, and nobody has told it to stop.
                self.shared.set_read_only("the writer has ended".to_owned());
                break;
            };
            match item {
                Work::Stop => break,
                Work::Write(_) | Work::Transact(_) => next = self.run_group(item, work),
                Work::Checkpoint { reply } => self.guarded(|w| reply(w.store.checkpoint().map_err(MemoryError::from))),
                Work::Create { stored, settings, reply } => self.guarded(|w| reply(w.create(stored, settings))),
                Work::Drop { collection, only_empty, audit, reply } => {
                    self.guarded(|w| reply(w.drop_collection(&collection, only_empty, audit.as_ref())));
                }
                Work::SetSettings { collection, from, settings, reply } => {
                    self.guarded(|w| reply(w.set_settings(&collection, &from, *settings)));
                }
                Work::Switch { collection, generation, reply } => {
                    self.guarded(|w| reply(w.switch(&collection, *generation)));
                }
            }
        }
        self.shared.opened().iter().for_each(|collection| self.shared.erase_unseen(collection));
        if let Err(error) = self.store.checkpoint() {
            tracing::warn!(%error, "the write-ahead log could not be emptied at the end");
        }
    }

    /// Does some work. A request's own writes are guarded by their savepoint; whatever else breaks off may be half done, on the disk or in memory.
    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if let Err(panicked) = guard(|| work(self)) {
            self.shared.set_read_only(format!("the writer broke off: {panicked}"));
        }
    }

    /// Gathers the writes that wait behind `first`, does them in one commit, and gives back the first thing that was not a write.
    fn run_group(&mut self, first: Work, work: &Receiver<Work>) -> Option<Work> {
        let (mut rows, mut group, mut transactions) = (0, Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(item) = next.take() {
            match item {
                Work::Write(write) => {
                    rows += write.vectors().len();
                    group.push(write);
                }
                Work::Transact(transaction) => transactions.push(transaction),
                other => {
                    next = Some(other);
                    break;
                }
            }
            if group.len() + transactions.len() >= GROUP_REQUESTS || rows >= GROUP_ROWS {
                break;
            }
            next = work.try_recv().ok();
        }
        self.guarded(|writer| writer.write_group(group, transactions));
        next
    }

    fn write_group(&mut self, group: Vec<Write>, mut transactions: Vec<Box<dyn Transaction>>) {
        let begun = Instant::now();
        if let Some(reason) = self.shared.read_only() {
            let refusal = || MemoryError::ReadOnly(reason.clone());
            group.into_iter().for_each(|write| write.refuse(refusal()));
            transactions.into_iter().for_each(|transaction| transaction.reply(Err(refusal())));
            return;
        }
        // 1. Vectors to their files. What does not fit a file refuses its own request only.
        let mut accepted: Vec<Accepted> = Vec::new();
        let mut touched: Vec<(Arc<Collection>, u32)> = Vec::new();
        for write in group {
            let collection = write.collection().clone();
            // Its rows would go into a file that is gone, and its records would belong to nothing.
            if let Err(error) = collection.check_writable() {
                write.refuse(error);
                continue;
            }
            let mut file = collection.file();
            let before = file.rows();
            match file.append(write.vectors()) {
                Ok(receipts) => {
                    if !touched.iter().any(|(c, _)| Arc::ptr_eq(c, &collection)) {
                        touched.push((collection.clone(), before));
                    }
                    drop(file);
                    accepted.push((write, receipts));
                }
                Err(error) => {
                    drop(file);
                    write.refuse(error.into());
                }
            }
        }
        // 2. and 3. Durable vectors, then the transaction.
        match self.commit(&accepted, &touched, &mut transactions) {
            Ok((outcomes, ends)) => {
                metrics::histogram!("membox_commit_seconds").record(begun.elapsed().as_secs_f64());
                let mut done: Vec<_> = accepted.into_iter().zip(outcomes).collect();
                for (collection, _) in touched {
                    let (own, others) =
                        done.into_iter().partition(|((w, _), _)| Arc::ptr_eq(w.collection(), &collection));
                    done = others;
                    publish(&self.shared, &collection, own);
                }
                transactions.into_iter().zip(ends).for_each(|(transaction, end)| transaction.reply(end));
            }
            Err(error) => {
                let requests = accepted.len() + transactions.len();
                tracing::error!(%error, "a commit failed; none of its {requests} requests was kept");
                for (collection, rows) in touched {
                    collection.file().forget_rows_from(rows);
                }
                if !matches!(error, MemoryError::DiskFull) {
                    self.shared.set_read_only(error.to_string());
                }
                accepted.into_iter().for_each(|(write, _)| write.refuse(error.shared()));
                transactions.into_iter().for_each(|transaction| transaction.reply(Err(error.shared())));
            }
        }
    }

    fn commit(
        &mut self,
        accepted: &[Accepted],
        touched: &[(Arc<Collection>, u32)],
        transactions: &mut [Box<dyn Transaction>],
    ) -> Result<Outcomes, MemoryError> {
        for (collection, before) in touched {
            let mut file = collection.file();
            if file.rows() > *before {
                // Not even a full disk makes a failed fsync harmless: what reached the disk is unknown.
                file.sync().map_err(MemoryError::Vectors)?;
            }
        }
        let mut group = self.store.begin()?;
        let mut outcomes = Vec::with_capacity(accepted.len());
        for (write, receipts) in accepted {
            let outcome = group.request(|group| guarded(|| apply(group, write, receipts)));
            if let Err(MemoryError::DiskFull) = outcome {
                return Err(MemoryError::DiskFull);
            }
            outcomes.push(outcome);
        }
        let mut ends = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            let end = group.request(|group| guarded(|| transaction.apply(group)));
            if let Err(MemoryError::DiskFull) = end {
                return Err(MemoryError::DiskFull);
            }
            ends.push(end);
        }
        for (collection, _) in touched {
            let file = collection.file();
            group.set_rows(collection.id, file.header().uuid, file.rows())?;
        }
        group.commit()?;
        Ok((outcomes, ends))
    }

    pub(crate) fn check_writable(&self) -> Result<(), MemoryError> {
        self.shared.read_only().map_or(Ok(()), |reason| Err(MemoryError::ReadOnly(reason)))
    }
}

/// A request's own writes: a panic in them is its error, and its savepoint takes back what they have done.
fn guarded<T>(writes: impl FnOnce() -> Result<T, MemoryError>) -> Result<T, MemoryError> {
    guard(writes)?
}

/// The writes of one request within the group's transaction.
fn apply(group: &mut WriteTransaction, write: &Write, receipts: &[RowReceipt]) -> Result<Done, MemoryError> {
    // Only this thread changes them.
    let slots = write.collection().live().slots.clone();
    match write {
        Write::Upsert { records, along, .. } => {
            let mut done = Vec::with_capacity(records.len());
            for (upsert, receipt) in records.iter().zip(receipts) {
                done.push(group.upsert(&slots, &upsert.record, receipt.row, receipt.crc, upsert.expected)?);
            }
            let tenant = &write.collection().tenant;
            along.touch.iter().try_for_each(|session| touch_session(group, tenant, session))?;
            along.advance.as_ref().map_or(Ok(()), |advance| advance.apply(group))?;
            let absorbed = along.absorbed.as_ref();
            let absorbed = absorbed.map(|(id, version)| group.delete(&slots, id, Some(*version))).transpose()?;
            Ok(Done::Upserted(done, absorbed.flatten().and_then(|deleted| deleted.live)))
        }
        Write::Revector { vectors, .. } => {
            let mut done = Vec::new();
            for (i, (v, receipt)) in vectors.iter().zip(receipts).enumerate() {
                if group.move_row(&slots, &v.stored, receipt.row, receipt.crc)? {
                    done.push((receipt.row, i));
                }
            }
            Ok(Done::Revectored(done))
        }
        Write::Append { append, .. } => Ok(Done::Appended(append::apply(group, &slots, append, receipts)?)),
        Write::Delete { collection, doomed, touches, audit, .. } => {
            let done = delete(group, &slots, doomed)?;
            if *touches {
                let sessions: BTreeSet<&String> =
                    done.iter().filter_map(|deleted| deleted.message_of.as_ref()).collect();
                sessions.into_iter().try_for_each(|session| touch_session(group, &collection.tenant, session))?;
            }
            // With what it says, or not at all.
            if let Some(event) = audit {
                group.audit(&AuditEvent { count: done.len() as u64, ..event.clone() })?;
            }
            Ok(Done::Deleted(done))
        }
    }
}

fn delete(group: &mut WriteTransaction, slots: &Slots, doomed: &Doomed) -> Result<Vec<Deleted>, MemoryError> {
    let mut done = Vec::new();
    match doomed {
        Doomed::Ids(ids) => {
            for (id, expected) in ids {
                done.extend(group.delete(slots, id, *expected)?);
            }
        }
        Doomed::Slots(doomed) => {
            for slot in doomed {
                done.extend(group.delete_slot(slots, *slot)?);
            }
        }
        Doomed::Message(session, id, expected) => done.extend(group.delete_message(slots, session, id, *expected)?),
        Doomed::Session(tenant, session) => {
            // It may be gone since it was looked at, and another one made whose messages are in another collection.
            if group.session(tenant, session)?.is_none_or(|found| found.collection != slots.collection) {
                return Err(MemoryError::NoSession(session.clone()));
            }
            for id in group.message_ids(slots, session)? {
                done.extend(group.delete_message(slots, session, &id, None)?);
            }
            group.clear_queue(tenant, session)?;
            group.drop_session(tenant, session)?;
        }
    }
    Ok(done)
}

/// Raises the version of a session one of whose messages has changed.
fn touch_session(group: &mut WriteTransaction, tenant: &str, session: &str) -> Result<(), MemoryError> {
    if let Some(mut session) = group.session(tenant, session)? {
        session.version += 1;
        session.state.updated_at = now();
        group.put_session(&session)?;
    }
    Ok(())
}

/// Makes what a group committed to a collection visible, all at once, and answers the requests.
fn publish(shared: &Shared, collection: &Arc<Collection>, done: Vec<(Accepted, Result<Done, MemoryError>)>) {
    let mut live = collection.live_mut();
    // Together with its rows: who sees the view takes those of its rows that are not current for dead.
    live.view = collection.file().view(u32::MAX);
    let answers: Vec<Box<dyn FnOnce()>> = done
        .into_iter()
        .map(|((write, receipts), outcome)| match outcome {
            Ok(done) => publish_request(collection, &mut live, write, &receipts, done),
            Err(error) => {
                // Its vectors are in the file, and no record names them.
                collection.retire(receipts.iter().map(|receipt| receipt.row).collect(), &mut live);
                Box::new(move || write.refuse(error))
            }
        })
        .collect();
    drop(live);
    shared.erase_unseen(collection);
    // Answered last: what is acknowledged is visible.
    answers.into_iter().for_each(|answer| answer());
    shared.maintain(collection);
}

/// Makes a committed request visible, and gives what answers it.
fn publish_request(
    collection: &Collection,
    live: &mut Live,
    write: Write,
    receipts: &[RowReceipt],
    done: Done,
) -> Box<dyn FnOnce()> {
    match (write, done) {
        (Write::Upsert { records, reply, .. }, Done::Upserted(written, absorbed)) => {
            for ((upsert, receipt), written) in records.into_iter().zip(receipts).zip(&written) {
                if let Some(renamed) = &written.renamed {
                    live.rename(renamed, &upsert.record.id);
                }
                let record = Record { id: written.id.clone(), ..upsert.record };
                live.insert(receipt.row, &record, written.replaced.as_ref());
            }
            absorbed.iter().for_each(|old| live.remove(old));
            let dead = written.iter().filter_map(|w| w.replaced.as_ref()).chain(&absorbed);
            collection.retire(dead.map(|old| old.row).collect(), live);
            Box::new(move || reply(Ok(written.iter().map(|w| w.version).collect())))
        }
        (Write::Append { append, reply, .. }, Done::Appended(AppendDone { answer, mut ids, removed })) => {
            let mut dead = Vec::new();
            let messages = append.messages.into_iter().enumerate();
            for (((i, upsert), receipt), position) in messages.zip(receipts).zip(&answer.positions) {
                let mut record = upsert.record;
                if let Some(id) = ids.remove(&i) {
                    record.id = id;
                }
                match position {
                    Some(_) => live.insert(receipt.row, &record, None),
                    None => dead.push(receipt.row),
                }
            }
            removed.iter().for_each(|old| live.remove(old));
            dead.extend(removed.iter().map(|old| old.row));
            collection.retire(dead, live);
            Box::new(move || reply(Ok(answer)))
        }
        (Write::Revector { vectors, reply, .. }, Done::Revectored(moved)) => {
            let mut dead = Vec::with_capacity(moved.len());
            for (row, i) in &moved {
                let stored = &vectors[*i].stored;
                let (session, expires_at) = (stored.record.session.clone(), stored.record.expires_at);
                let old = live.slots.row(stored.slot).map(|row| LiveRow { row, session, expires_at });
                live.insert(*row, &stored.record, old.as_ref());
                dead.extend(old.map(|old| old.row));
            }
            collection.retire(dead, live);
            Box::new(move || reply(Ok(moved.len())))
        }
        (Write::Delete { reply, .. }, Done::Deleted(removed)) => {
            let rows: Vec<&LiveRow> = removed.iter().filter_map(|deleted| deleted.live.as_ref()).collect();
            rows.iter().for_each(|old| live.remove(old));
            collection.retire(rows.iter().map(|old| old.row).collect(), live);
            Box::new(move || reply(Ok(removed.len())))
        }
        _ => unreachable!("an outcome is that of its write"),
    }
}
