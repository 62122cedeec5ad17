//! How the writer is asked, and how it answers.

use crate::StoreError;
use crate::collection::{Collection, CompactedFiles, MovedFiles};
use crate::command::{Command, Outcome};
use crossbeam_channel::{Sender, TrySendError, bounded};
use membox_api::CollectionSettings;
use membox_records::{AuditEvent, StoredCollection};
use membox_threads::Panicked;
use std::sync::Arc;

/// Called once with what a request has come to.
pub(crate) type Reply<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// A command, and who waits for its outcome.
pub(crate) struct Request {
    pub command: Command,
    pub reply: Reply<Outcome>,
}

/// What the writer is asked to do.
pub(crate) enum Work {
    /// Can share a commit with others.
    Commit(Request),
    /// Answers with the collection, and whether it is a new one.
    Create { stored: StoredCollection, settings: CollectionSettings, reply: Reply<(Arc<Collection>, bool)> },
    /// Answers whether it was dropped: one that is not empty may be to stay.
    Drop { collection: Arc<Collection>, only_empty: bool, audit: Option<AuditEvent>, reply: Reply<bool> },
    /// Answers whether the settings were still those that the new ones are made from.
    SetSettings {
        collection: Arc<Collection>,
        from: Box<CollectionSettings>,
        settings: Box<CollectionSettings>,
        reply: Reply<bool>,
    },
    /// Switches a collection to the files of a compaction.
    Switch { collection: Arc<Collection>, files: Box<CompactedFiles>, reply: Reply<()> },
    /// Moves a collection to another model, or gives the files back if some of its records are not in them.
    Move { collection: Arc<Collection>, files: Box<MovedFiles>, reply: Reply<Option<Box<MovedFiles>>> },
    /// Answers whether the write-ahead log was emptied.
    EmptyLog { reply: Reply<bool> },
    /// Ends the writer.
    Stop,
}

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct WriterQueue(pub Sender<Work>);

impl WriterQueue {
    /// Commits a command. When it returns, what was written is durable and visible.
    pub fn commit(&self, command: Command) -> Result<Outcome, StoreError> {
        self.ask(|reply| Work::Commit(Request { command, reply }))
    }

    /// Sends work to the writer and waits for its answer.
    pub fn ask<T: Send + 'static>(&self, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, StoreError> {
        let _span = tracing::trace_span!(target: "otel", "store.write").entered();
        let (sender, receiver) = bounded(1);
        let answer = Answer(Some(sender));
        let work = work(Box::new(move |outcome| answer.give(outcome)));
        match self.0.try_send(work) {
            Ok(()) => receiver.recv().unwrap_or(Err(StoreError::Stopped)),
            Err(TrySendError::Full(_)) => Err(StoreError::Overloaded { retry_after_s: 1 }),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Stopped),
        }
    }
}

/// What is owed to whoever asks. Work that a panic takes with it is answered with that.
struct Answer<T>(Option<Sender<Result<T, StoreError>>>);

impl<T> Answer<T> {
    fn give(mut self, outcome: Result<T, StoreError>) {
        if let Some(sender) = self.0.take() {
            // Who asked may have gone away.
            let _ = sender.send(outcome);
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take().filter(|_| std::thread::panicking()) {
            let message = "the writer broke off".to_owned();
            let _ = sender.send(Err(StoreError::Panicked(Panicked { message })));
        }
    }
}
