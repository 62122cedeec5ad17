//! Checkpoints of a thread's state, as an agent keeps them beside its messages.

use super::names::check_names;
use super::{Sessions, blobs};
use crate::fields::{self, MAX_WRITES_BYTES, TaskWrites};
use crate::names::check_some;
use crate::redaction::redact;
use crate::{MemoryError, in_seconds, now, time_text};
use membox_api::{CheckpointList, CheckpointView, CheckpointsQuery, NewCheckpoint, Redaction};
use membox_store::{
    Checkpoint, CheckpointBody, CheckpointKey, CheckpointOrder, CheckpointPlace, CheckpointQuery, Reads, RecordReads,
    StoreError,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// For what cursors of checkpoints are sealed.
const CHECKPOINTS_PURPOSE: &str = "checkpoints";

pub(super) fn checkpoint_key(tenant: &str, thread: &str, namespace: &str, id: &str) -> CheckpointKey {
    let [tenant, thread, namespace, id] = [tenant, thread, namespace, id].map(str::to_owned);
    CheckpointKey { tenant, thread, namespace, id }
}

fn view(thread: &str, checkpoint: Checkpoint, channels: BTreeMap<String, String>) -> CheckpointView {
    let Checkpoint { namespace, id, expires_at, body, .. } = checkpoint;
    CheckpointView {
        channels,
        blobs: None,
        thread: thread.to_owned(),
        namespace,
        id,
        parent: body.parent,
        state: body.state,
        metadata: body.metadata,
        writes: body.writes,
        created_at: time_text(body.created_at),
        expires_at: expires_at.map(time_text),
    }
}

/// A checkpoint as it was read, with the values of its channels where they are wanted.
fn viewed(
    reads: &Reads,
    place: CheckpointPlace,
    found: Checkpoint,
    with_blobs: bool,
) -> Result<CheckpointView, MemoryError> {
    let channels = reads.channels(found.number)?;
    let mut view = view(place.thread, found, channels);
    if with_blobs {
        view.blobs = Some(blobs::read(reads, place, &view.channels)?);
    }
    Ok(view)
}

impl Sessions<'_> {
    /// The redaction of what is kept beside messages: that of the collection of the session that a queue or a
    /// thread is of, or else the tenant's.
    pub(crate) fn redaction_beside(&self, tenant: &str, session: &str) -> Result<Redaction, MemoryError> {
        let found = self.store.read()?.session(tenant, session)?;
        let redaction = match found {
            Some(found) => self.collection_of(&found)?.settings().redaction,
            None => self.policies.of(tenant).redaction.clone(),
        };
        Ok(redaction.unwrap_or_default())
    }

    /// Writes a checkpoint. One of the same id is replaced; its writes and its place among the others stay.
    pub fn put_checkpoint(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        id: &str,
        new: NewCheckpoint,
    ) -> Result<CheckpointView, MemoryError> {
        check_names(&[("thread", thread), ("namespace", namespace), ("id", id)])?;
        let NewCheckpoint { state, parent, metadata, ttl_s, channels, blobs } = new;
        let blobs = blobs::given(blobs)?;
        blobs::check_channels(&channels)?;
        check_some(parent.as_ref(), "/parent")?;
        let expires_at = ttl_s.map(in_seconds);
        let mut body = CheckpointBody { parent, state, metadata, writes: BTreeMap::new(), created_at: now() };
        fields::check(&mut body, "")?;
        redact(&self.redaction_beside(tenant, thread)?, &mut body);
        self.admit_state(tenant, 0, &body)?;
        blobs.iter().try_for_each(|blob| self.admit_blob(tenant, blob))?;
        let key = checkpoint_key(tenant, thread, namespace, id);
        let body = self.store.put_checkpoint(key, expires_at, body, (blobs, channels.clone()))?;
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        Ok(view(thread, Checkpoint { number: 0, namespace, id, expires_at, body }, channels))
    }

    /// Adds what a task has written towards the next checkpoint; written again by the same task, it is replaced. It
    /// is kept also where the checkpoint that it belongs to has not come yet.
    pub fn put_checkpoint_writes(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        (id, task): (&str, &str),
        writes: Value,
    ) -> Result<(), MemoryError> {
        check_names(&[("thread", thread), ("namespace", namespace), ("id", id), ("task", task)])?;
        let mut writes = TaskWrites(writes);
        fields::check(&mut writes, "")?;
        redact(&self.redaction_beside(tenant, thread)?, &mut writes);
        let TaskWrites(writes) = writes;
        self.admit_state(tenant, 0, &writes)?;
        let key = checkpoint_key(tenant, thread, namespace, id);
        self.store.put_checkpoint_writes(key, task, writes, MAX_WRITES_BYTES).map_err(|error| match error {
            StoreError::TooLarge { .. } => MemoryError::impossible("/writes", error.to_string()),
            other => other.into(),
        })
    }

    /// A checkpoint by its id; the latest for `None`.
    pub fn checkpoint(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        id: Option<&str>,
        with_blobs: bool,
    ) -> Result<CheckpointView, MemoryError> {
        let reads = self.store.read()?;
        let _moment = reads.at_one_moment()?;
        let place = CheckpointPlace { tenant, thread, namespace };
        let found = match id {
            Some(id) => reads.checkpoint(place, id, now())?,
            None => {
                let namespace = Some(namespace);
                let latest = CheckpointQuery {
                    tenant,
                    thread,
                    namespace,
                    after: None,
                    filter: None,
                    limit: 1,
                    with_blobs: false,
                };
                reads.checkpoints(latest, now())?.0.pop()
            }
        };
        let missing = || MemoryError::Missing { what: "checkpoint", id: id.unwrap_or(thread).to_owned() };
        viewed(&reads, place, found.ok_or_else(missing)?, with_blobs)
    }

    /// A thread's checkpoints, the latest first as [`CheckpointOrder`] says, and the cursor of the next page.
    pub fn checkpoints(
        &self,
        tenant: &str,
        thread: &str,
        query: &CheckpointsQuery,
        filter: Option<&Value>,
        limit: usize,
    ) -> Result<CheckpointList, MemoryError> {
        let namespace = (!query.all_namespaces).then_some(query.namespace.as_str());
        if query.all_namespaces && !query.namespace.is_empty() {
            return Err(MemoryError::invalid("/all_namespaces", "it goes with no `namespace`"));
        }
        let filter = filter.map(|filter| self.collections.limits.filter(tenant, filter)).transpose()?;
        // A cursor is behind what comes before.
        let after = match (&query.cursor, &query.before) {
            (Some(cursor), _) => Some(self.unseal_checkpoint(tenant, cursor)?),
            (None, Some(id)) => {
                let place = CheckpointPlace { tenant, thread, namespace: &query.namespace };
                Some(self.place_before(place, id)?)
            }
            (None, None) => None,
        };
        let (filter, with_blobs) = (filter.as_ref(), query.blobs);
        let wanted = CheckpointQuery { tenant, thread, namespace, after, filter, limit, with_blobs };
        let reads = self.store.read()?;
        let _moment = reads.at_one_moment()?;
        let (found, next) = reads.checkpoints(wanted, now())?;
        let next = next.map(|next| self.seal_checkpoint(tenant, next)).transpose()?;
        let of = |found: Checkpoint| {
            let namespace = found.namespace.clone();
            viewed(&reads, CheckpointPlace { tenant, thread, namespace: &namespace }, found, query.blobs)
        };
        Ok(CheckpointList { checkpoints: found.into_iter().map(of).collect::<Result<_, _>>()?, next })
    }

    /// The place after which the checkpoints are that come before one of an id. That one need not be there where its
    /// id carries its time.
    fn place_before(&self, place: CheckpointPlace, id: &str) -> Result<CheckpointOrder, MemoryError> {
        if let Some(order) = CheckpointOrder::before_id(id) {
            return Ok(order);
        }
        let found = self.store.read()?.checkpoint(place, id, now())?;
        found.map(|found| found.order()).ok_or_else(|| {
            MemoryError::invalid("/before", format!("there is no checkpoint {id:?}, and its id carries no time"))
        })
    }

    /// The cursor of a place among checkpoints.
    fn seal_checkpoint(&self, tenant: &str, place: CheckpointOrder) -> Result<String, MemoryError> {
        let numbers = match place {
            CheckpointOrder::Id(id, number) => {
                let (high, low) = id.as_u64_pair();
                [high as i64, low as i64, number]
            }
            // The second half of a UUID begins with a bit that makes it negative here.
            CheckpointOrder::Number(number) => [number, 0, 0],
        };
        self.cursors.seal(tenant, CHECKPOINTS_PURPOSE, &numbers)
    }

    /// The place of a cursor that was given out.
    fn unseal_checkpoint(&self, tenant: &str, cursor: &str) -> Result<CheckpointOrder, MemoryError> {
        Ok(match self.cursors.unseal(tenant, CHECKPOINTS_PURPOSE, cursor, "/cursor")? {
            [number, 0, _] => CheckpointOrder::Number(number),
            [high, low, number] => CheckpointOrder::Id(uuid::Uuid::from_u64_pair(high as u64, low as u64), number),
        })
    }
}
