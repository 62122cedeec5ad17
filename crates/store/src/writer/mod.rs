//! The one thread that writes. Requests that wait together share one fsync of each vector file and one commit of
//! the record store.
//!
//! ```text
//! requests ─▶ append their vectors ─▶ fsync the vector files ─▶ one transaction, a savepoint each
//!          ─▶ commit ─▶ publish ─▶ answer
//! ```
//!
//! A row is on disk before the record that names it commits, and rows past the last committed one are cut off at
//! the next start. An answer is given only after the commit and after what was written can be recalled. A failed
//! fsync is never retried: from then on the box is read-only.

mod append;
mod apply;
mod effects;
mod erasing;
mod full_disk;
mod lifecycle;
mod moving;
mod queue;
mod written_rows;

pub(crate) use queue::{Reply, Request, Work, WriterQueue};
pub(crate) use written_rows::WrittenRows;

use crate::StoreError;
use crate::collection::Collection;
use crate::command::{Command, Outcome};
use crate::registry::Registry;
use apply::apply;
use crossbeam_channel::Receiver;
use effects::Effects;
use membox_records::Store as Records;
use membox_threads::guard;
use std::sync::Arc;
use std::time::Instant;

/// Requests that share a commit at most.
const GROUP_REQUESTS: usize = 256;
/// Rows of them at most, unless one request alone has more.
const GROUP_ROWS: usize = 8192;

/// A request whose vectors are in their file.
struct Accepted {
    command: Command,
    rows: Vec<WrittenRows>,
}

/// What a request has come to, to be published and answered after the commit.
type Applied = Result<(Outcome, Effects), StoreError>;

/// A request that waits for the commit.
struct Pending {
    collection: Option<Arc<Collection>>,
    rows: Vec<u32>,
    reply: Reply<Outcome>,
    /// What it asks for, if that is done again when the disk is full: it frees room.
    again: Option<Command>,
}

/// A collection that a group writes to, and its rows before.
type Touched = (Arc<Collection>, u32);

pub(crate) struct Writer {
    records: Records,
    registry: Arc<Registry>,
    /// Collections that are dropped, and of which some records are left.
    dropping: Vec<i64>,
    /// When the log was last emptied to find room on the disk.
    sought_room: Option<Instant>,
}

impl Writer {
    pub fn new(records: Records, registry: Arc<Registry>) -> Self {
        Self { records, registry, dropping: Vec::new(), sought_room: None }
    }

    /// Runs until it is told to stop; what was sent before that is done first.
    pub fn run(mut self, work: &Receiver<Work>) {
        let mut next = None;
        loop {
            let Some(item) = next.take().or_else(|| work.recv().ok()) else {
                // Nobody can ask it any more, and nobody has told it to stop.
                self.registry.set_read_only("the writer has ended".to_owned());
                break;
            };
            match item {
                Work::Stop => break,
                Work::Commit(request) => next = self.run_group(request, work),
                Work::EmptyLog { reply } => {
                    self.guarded(|w| {
                        let emptied = w.freeing(|w| Ok(w.records.checkpoint()?));
                        w.seek_room();
                        reply(emptied);
                    });
                }
                Work::Create { stored, settings, reply } => self.guarded(|w| reply(w.create(stored, settings))),
                Work::Drop { collection, only_empty, audit, reply } => {
                    self.guarded(|w| reply(w.drop_collection(&collection, only_empty, audit.as_ref())));
                }
                Work::SetSettings { collection, from, settings, reply } => {
                    self.guarded(|w| reply(w.set_settings(&collection, &from, *settings)));
                }
                Work::Switch { collection, files, reply } => {
                    self.guarded(|w| reply(w.switch(&collection, *files)));
                }
                Work::Move { collection, files, reply } => {
                    self.guarded(|w| reply(w.move_to_model(&collection, files)));
                }
            }
        }
        self.registry.opened().iter().for_each(|collection| self.registry.erase_unseen(collection));
        if let Err(error) = self.records.checkpoint() {
            tracing::warn!(%error, "the write-ahead log could not be emptied at the end");
        }
    }

    /// Does some work. A request's own writes are guarded by their savepoint; whatever else breaks off may be half
    /// done, on the disk or in memory.
    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if let Err(panicked) = guard(|| work(self)) {
            self.registry.set_read_only(format!("the writer broke off: {panicked}"));
        }
    }

    /// Gathers the requests that wait behind `first`, does them in one commit, and gives back the first thing that
    /// was none.
    fn run_group(&mut self, first: Request, work: &Receiver<Work>) -> Option<Work> {
        let mut rows = first.command.rows();
        let (mut group, mut next) = (vec![first], None);
        while group.len() < GROUP_REQUESTS && rows < GROUP_ROWS {
            match work.try_recv() {
                Ok(Work::Commit(request)) => {
                    rows += request.command.rows();
                    group.push(request);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.guarded(|writer| writer.write_group(group));
        next
    }

    fn write_group(&mut self, group: Vec<Request>) {
        let begun = Instant::now();
        if let Some(reason) = self.registry.read_only() {
            group.into_iter().for_each(|request| (request.reply)(Err(StoreError::ReadOnly(reason.clone()))));
            return;
        }
        let group = self.with_room_for(group);
        if group.is_empty() {
            return;
        }
        // 1. Vectors to their files.
        let (accepted, pending, touched) = append_vectors(&self.registry, group);
        // 2. and 3. Durable vectors, then the transaction.
        match self.commit(accepted, &touched) {
            Ok(applied) => {
                metrics::histogram!("membox_commit_seconds").record(begun.elapsed().as_secs_f64());
                self.publish(pending.into_iter().zip(applied).collect(), touched);
            }
            Err(error) => {
                for (collection, rows) in touched {
                    collection.file().forget_rows_from(rows);
                }
                let is_full = matches!(error, StoreError::DiskFull);
                let (again, refused) = pending.into_iter().partition(|pending| is_full && pending.again.is_some());
                self.refuse(refused, &error);
                self.free(again);
            }
        }
    }

    /// Answers requests of which nothing was kept.
    fn refuse(&self, pending: Vec<Pending>, error: &StoreError) {
        if pending.is_empty() {
            return;
        }
        tracing::error!(%error, "a commit failed; none of its {} requests was kept", pending.len());
        if !matches!(error, StoreError::DiskFull) {
            self.registry.set_read_only(error.to_string());
        }
        pending.into_iter().for_each(|pending| (pending.reply)(Err(error.shared())));
    }

    fn commit(&mut self, accepted: Vec<Accepted>, touched: &[Touched]) -> Result<Vec<Applied>, StoreError> {
        for (collection, before) in touched {
            let mut file = collection.file();
            if file.rows() > *before {
                // Not even a full disk makes a failed fsync harmless: what reached the disk is unknown.
                file.sync().map_err(StoreError::Vectors)?;
            }
        }
        let mut tx = self.records.begin()?;
        let mut all = Vec::with_capacity(accepted.len());
        for Accepted { command, rows } in accepted {
            let registry = &self.registry;
            // A panic in a request's own writes is its error, and its savepoint takes back what they have done.
            let applied = tx.request(|tx| guard(|| apply(tx, registry, command, &rows))?);
            if let Err(StoreError::DiskFull) = applied {
                return Err(StoreError::DiskFull);
            }
            all.push(applied);
        }
        for (collection, before) in touched {
            let file = collection.file();
            if file.rows() == *before {
                continue;
            }
            tx.set_rows(collection.id, file.header().uuid, file.rows())?;
        }
        tx.commit()?;
        Ok(all)
    }

    /// Makes what a group committed visible, each collection's all at once, and answers the requests.
    fn publish(&self, requests: Vec<(Pending, Applied)>, touched: Vec<Touched>) {
        let (mut left, mut answers): (Vec<_>, Vec<Box<dyn FnOnce()>>) = (requests, Vec::new());
        for (collection, _) in touched {
            let is_own = |(pending, _): &(Pending, Applied)| {
                pending.collection.as_ref().is_some_and(|own| Arc::ptr_eq(own, &collection))
            };
            let (own, others) = left.into_iter().partition(is_own);
            left = others;
            let answers = publish(&collection, own);
            self.registry.erase_unseen(&collection);
            // Answered last: what is acknowledged is visible.
            answers.into_iter().for_each(|answer| answer());
            self.registry.maintain(&collection);
        }
        for (pending, applied) in left {
            answers.push(Box::new(move || (pending.reply)(applied.map(|(outcome, _)| outcome))));
        }
        answers.into_iter().for_each(|answer| answer());
    }

    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        self.registry.read_only().map_or(Ok(()), |reason| Err(StoreError::ReadOnly(reason)))
    }
}

/// Appends the vectors of requests to their files. What does not fit a file refuses its own request only.
fn append_vectors(registry: &Registry, group: Vec<Request>) -> (Vec<Accepted>, Vec<Pending>, Vec<Touched>) {
    let (mut accepted, mut all) = (Vec::new(), Vec::new());
    let mut touched: Vec<Touched> = Vec::new();
    for Request { mut command, reply } in group {
        let Some(collection) = command.collection().cloned() else {
            let again = command.frees().then(|| command.clone());
            accepted.push(Accepted { command, rows: Vec::new() });
            all.push(Pending { collection: None, rows: Vec::new(), reply, again });
            continue;
        };
        // Its rows would go into a file that is gone, and its records would belong to nothing.
        if let Err(error) = collection.check_writable() {
            reply(Err(error));
            continue;
        }
        let before = collection.file().rows();
        match append(registry, &collection, &mut command, before) {
            Ok(written) => {
                if !touched.iter().any(|(c, _)| Arc::ptr_eq(c, &collection)) {
                    touched.push((collection.clone(), before));
                }
                let rows = written.iter().flat_map(WrittenRows::all).collect();
                let again = command.frees().then(|| command.clone());
                accepted.push(Accepted { command, rows: written });
                all.push(Pending { collection: Some(collection), rows, reply, again });
            }
            Err(error) => reply(Err(error)),
        }
    }
    (accepted, all, touched)
}

/// Appends the vectors of one request, and those of its tokens, to files of which `before` rows are there: all or none.
fn append(
    registry: &Registry,
    collection: &Collection,
    command: &mut Command,
    before: u32,
) -> Result<Vec<WrittenRows>, StoreError> {
    let contents = command.contents();
    let vectors = contents
        .iter()
        .flat_map(|(vector, windows, _)| std::iter::once(*vector).chain(windows.vectors.iter().map(Vec::as_slice)));
    let mut receipts = collection.file().append(vectors)?.into_iter();
    let rows = contents.iter().filter_map(|(_, windows, _)| {
        Some(WrittenRows { first: receipts.next()?, behind: receipts.by_ref().take(windows.vectors.len()).collect() })
    });
    let rows: Vec<WrittenRows> = rows.collect();
    // The first tokens of a collection make their files.
    let appended = registry.with_files(|| match command {
        Command::PutTokenVectors { tokens, .. } => collection.put_tokens(before, tokens),
        _ => {
            let tokens = command.contents().into_iter().map(|(.., tokens)| tokens);
            collection.append_tokens(before, rows.iter().map(|rows| &rows.first).zip(tokens))
        }
    });
    appended.inspect_err(|_| collection.file().forget_rows_from(before))?;
    Ok(rows)
}

/// Makes what was committed to a collection visible, and gives what answers its requests.
fn publish(collection: &Collection, requests: Vec<(Pending, Applied)>) -> Vec<Box<dyn FnOnce()>> {
    let mut state = collection.state_mut();
    // Together with its rows: who sees the view takes those of its rows that are not current for dead.
    state.view = collection.file().view(u32::MAX);
    state.tokens = collection.token_view();
    let mut answers: Vec<Box<dyn FnOnce()>> = Vec::with_capacity(requests.len());
    for (Pending { rows, reply, .. }, applied) in requests {
        let (dead, answer) = match applied {
            Ok((outcome, effects)) => (effects.publish(&mut state), Ok(outcome)),
            // Its vectors are in the file, and no record names them.
            Err(error) => (rows, Err(error)),
        };
        collection.retire(dead, &mut state);
        answers.push(Box::new(move || reply(answer)));
    }
    answers
}
