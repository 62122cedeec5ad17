//! What the writer is asked to do, and how it is asked.

use crate::MemoryError;
use crate::append::{Append, Appended};
use crate::collection::Collection;
use crate::compaction::Generation;
use crate::pipeline::Advance;
use crossbeam_channel::{Sender, TrySendError, bounded};
use membox_api::CollectionSettings;
use membox_records::{AuditEvent, Group, Record, StoredCollection, StoredRecord};
use membox_threads::Panicked;
use std::sync::Arc;

/// Sends work to the writer and waits for its answer.
pub(crate) fn ask<T: Send + 'static>(
    writer: &Sender<Work>,
    work: impl FnOnce(Reply<T>) -> Work,
) -> Result<T, MemoryError> {
    let (sender, receiver) = bounded(1);
    let answer = Answer(Some(sender));
    let work = work(Box::new(move |outcome| answer.give(outcome)));
    match writer.try_send(work) {
        Ok(()) => receiver.recv().unwrap_or(Err(MemoryError::Stopped)),
        Err(TrySendError::Full(_)) => Err(MemoryError::Overloaded { retry_after_s: 1 }),
        Err(TrySendError::Disconnected(_)) => Err(MemoryError::Stopped),
    }
}

/// What is owed to whoever asks. Work that a panic takes with it is answered with that.
struct Answer<T>(Option<Sender<Result<T, MemoryError>>>);

impl<T> Answer<T> {
    fn give(mut self, outcome: Result<T, MemoryError>) {
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
            let _ = sender.send(Err(MemoryError::Panicked(Panicked { message })));
        }
    }
}

/// What changes along with records that are written, in the same request.
#[derive(Clone, Default)]
pub(crate) struct Along {
    /// The session whose message it is, which has another version with it.
    pub touch: Option<String>,
    /// A record that is deleted, at this version.
    pub absorbed: Option<(String, u64)>,
    /// How far a session has come with these memories of it.
    pub advance: Option<Arc<Advance>>,
}

/// Called once with a request's outcome.
pub(crate) type Reply<T> = Box<dyn FnOnce(Result<T, MemoryError>) + Send>;

/// A record to be written, with its vector.
pub(crate) struct Upsert {
    pub record: Record,
    pub vector: Vec<f32>,
    /// The version that must be there now; 0 for none.
    pub expected: Option<u64>,
}

/// A vector that replaces that of a record's version, if that version is still current.
pub(crate) struct Revector {
    pub stored: StoredRecord,
    pub vector: Vec<f32>,
}

/// Which records to delete.
pub(crate) enum Doomed {
    /// By id, each with the version that it must have.
    Ids(Vec<(String, Option<u64>)>),
    /// By slot; those of versions that are no longer current are passed over.
    Slots(Vec<u64>),
    /// A message by its session and its id there, with the version that it must have.
    Message(String, String, Option<u64>),
    /// Tenant and id of a session: its messages, its queue and itself.
    Session(String, String),
}

/// A write of nothing but the record store.
pub(crate) trait Transaction: Send {
    /// Does it, as one request of a group.
    fn apply(&mut self, group: &mut Group) -> Result<(), MemoryError>;
    /// Answers, once what was done is durable or an error has undone it.
    fn reply(self: Box<Self>, outcome: Result<(), MemoryError>);
}

/// A closure as a [`Transaction`].
struct Transact<T, F> {
    write: Option<F>,
    output: Option<T>,
    reply: Reply<T>,
}

impl<T: Send, F: FnOnce(&mut Group) -> Result<T, MemoryError> + Send> Transaction for Transact<T, F> {
    fn apply(&mut self, group: &mut Group) -> Result<(), MemoryError> {
        let write = self.write.take().ok_or(MemoryError::Stopped)?;
        self.output = Some(write(group)?);
        Ok(())
    }

    fn reply(self: Box<Self>, outcome: Result<(), MemoryError>) {
        let output = self.output;
        (self.reply)(outcome.and_then(|()| output.ok_or(MemoryError::Stopped)));
    }
}

/// Has the writer do what concerns the record store alone. When it returns that is durable.
pub(crate) fn transact<T: Send + 'static>(
    writer: &Sender<Work>,
    write: impl FnOnce(&mut Group) -> Result<T, MemoryError> + Send + 'static,
) -> Result<T, MemoryError> {
    ask(writer, |reply| Work::Transact(Box::new(Transact { write: Some(write), output: None, reply })))
}

/// What the writer is asked to do.
pub(crate) enum Work {
    /// Answers with the collection, and whether it is a new one.
    Create {
        stored: StoredCollection,
        settings: CollectionSettings,
        reply: Reply<(Arc<Collection>, bool)>,
    },
    /// Answers whether it was dropped: one that is not empty may be to stay.
    Drop {
        collection: Arc<Collection>,
        only_empty: bool,
        audit: Option<AuditEvent>,
        reply: Reply<bool>,
    },
    /// Answers whether the settings were set: they are not if they are no longer what they were `from`.
    SetSettings {
        collection: Arc<Collection>,
        from: Box<CollectionSettings>,
        settings: Box<CollectionSettings>,
        reply: Reply<bool>,
    },
    Switch {
        collection: Arc<Collection>,
        generation: Box<Generation>,
        reply: Reply<()>,
    },
    /// Answers whether the write-ahead log was emptied.
    Checkpoint {
        reply: Reply<bool>,
    },
    Transact(Box<dyn Transaction>),
    Write(Write),
    Stop,
}

/// A request that can share a commit with others.
pub(crate) enum Write {
    Upsert {
        collection: Arc<Collection>,
        records: Vec<Upsert>,
        along: Along,
        reply: Reply<Vec<u64>>,
    },
    Append {
        collection: Arc<Collection>,
        append: Box<Append>,
        reply: Reply<Appended>,
    },
    Revector {
        collection: Arc<Collection>,
        vectors: Vec<Revector>,
        reply: Reply<usize>,
    },
    Delete {
        collection: Arc<Collection>,
        doomed: Doomed,
        /// Whether sessions of which messages are deleted have another version with it.
        touches: bool,
        audit: Option<AuditEvent>,
        reply: Reply<usize>,
    },
}

impl Write {
    pub fn collection(&self) -> &Arc<Collection> {
        match self {
            Self::Upsert { collection, .. }
            | Self::Append { collection, .. }
            | Self::Revector { collection, .. }
            | Self::Delete { collection, .. } => collection,
        }
    }

    pub fn vectors(&self) -> Vec<&[f32]> {
        match self {
            Self::Upsert { records, .. } => records.iter().map(|u| u.vector.as_slice()).collect(),
            Self::Append { append, .. } => append.messages.iter().map(|u| u.vector.as_slice()).collect(),
            Self::Revector { vectors, .. } => vectors.iter().map(|v| v.vector.as_slice()).collect(),
            Self::Delete { .. } => Vec::new(),
        }
    }

    pub fn refuse(self, error: MemoryError) {
        match self {
            Self::Upsert { reply, .. } => reply(Err(error)),
            Self::Append { reply, .. } => reply(Err(error)),
            Self::Revector { reply, .. } | Self::Delete { reply, .. } => reply(Err(error)),
        }
    }
}
