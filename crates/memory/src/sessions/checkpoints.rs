//! Checkpoints of a thread's state, as an agent keeps them beside its messages.

use super::Sessions;
use crate::audit::event;
use crate::fields::{self, MAX_ID_BYTES, MAX_WRITES_BYTES, TaskWrites};
use crate::names::{check_new, check_some};
use crate::redaction::redact;
use crate::{MemoryError, in_seconds, now, time_text};
use membox_api::{CheckpointView, NewCheckpoint, Redaction};
use membox_store::{
    Checkpoint, CheckpointBody, CheckpointKey, CheckpointOrder, CheckpointPlace, RecordReads, StoreError,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// For what cursors of checkpoints are sealed.
const CHECKPOINTS_PURPOSE: &str = "checkpoints";

fn checkpoint_key(tenant: &str, thread: &str, namespace: &str, id: &str) -> CheckpointKey {
    let [tenant, thread, namespace, id] = [tenant, thread, namespace, id].map(str::to_owned);
    CheckpointKey { tenant, thread, namespace, id }
}

fn view(thread: &str, namespace: &str, checkpoint: Checkpoint) -> CheckpointView {
    let Checkpoint { id, expires_at, body, .. } = checkpoint;
    CheckpointView {
        thread: thread.to_owned(),
        namespace: namespace.to_owned(),
        id,
        parent: body.parent,
        state: body.state,
        metadata: body.metadata,
        writes: body.writes,
        created_at: time_text(body.created_at),
        expires_at: expires_at.map(time_text),
    }
}

fn check_names(names: &[(&'static str, &str)]) -> Result<(), MemoryError> {
    for (what, name) in names {
        let may_be_empty = *what == "namespace";
        if name.is_empty() && !may_be_empty || name.len() > MAX_ID_BYTES {
            return Err(MemoryError::invalid(format!("/{what}"), format!("1 to {MAX_ID_BYTES} bytes are wanted")));
        }
        check_new(name, format!("/{what}"))?;
    }
    Ok(())
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
        let NewCheckpoint { state, parent, metadata, ttl_s } = new;
        check_some(parent.as_ref(), "/parent")?;
        let expires_at = ttl_s.map(in_seconds);
        let mut body = CheckpointBody { parent, state, metadata, writes: BTreeMap::new(), created_at: now() };
        fields::check(&mut body, "")?;
        redact(&self.redaction_beside(tenant, thread)?, &mut body);
        self.admit_state(tenant, 0, &body)?;
        let body = self.store.put_checkpoint(checkpoint_key(tenant, thread, namespace, id), expires_at, body)?;
        Ok(view(thread, namespace, Checkpoint { number: 0, id: id.to_owned(), expires_at, body }))
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
    ) -> Result<CheckpointView, MemoryError> {
        let place = CheckpointPlace { tenant, thread, namespace };
        let found = match id {
            Some(id) => self.store.read()?.checkpoint(place, id, now())?,
            None => self.store.read()?.checkpoints(place, None, 1, now())?.pop(),
        };
        let missing = || MemoryError::Missing { what: "checkpoint", id: id.unwrap_or(thread).to_owned() };
        found.map(|checkpoint| view(thread, namespace, checkpoint)).ok_or_else(missing)
    }

    /// A thread's checkpoints, the latest first as [`CheckpointOrder`] says, and where the next page begins.
    pub fn checkpoints(
        &self,
        tenant: &str,
        thread: &str,
        namespace: &str,
        after: Option<CheckpointOrder>,
        limit: usize,
    ) -> Result<(Vec<CheckpointView>, Option<CheckpointOrder>), MemoryError> {
        let place = CheckpointPlace { tenant, thread, namespace };
        let mut found = self.store.read()?.checkpoints(place, after, limit + 1, now())?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(Checkpoint::order);
        Ok((found.into_iter().map(|checkpoint| view(thread, namespace, checkpoint)).collect(), next))
    }

    /// The cursor of a place among checkpoints.
    pub fn seal_checkpoint(&self, tenant: &str, place: CheckpointOrder) -> Result<String, MemoryError> {
        let numbers = match place {
            CheckpointOrder::Id(id) => {
                let (high, low) = id.as_u64_pair();
                [high as i64, low as i64]
            }
            // The second half of a UUID begins with a bit that makes it negative here.
            CheckpointOrder::Number(number) => [number, 0],
        };
        self.cursors.seal(tenant, CHECKPOINTS_PURPOSE, &numbers)
    }

    /// The place of a cursor that was given out.
    pub fn unseal_checkpoint(&self, tenant: &str, cursor: &str) -> Result<CheckpointOrder, MemoryError> {
        Ok(match self.cursors.unseal(tenant, CHECKPOINTS_PURPOSE, cursor, "/cursor")? {
            [number, 0] => CheckpointOrder::Number(number),
            [high, low] => CheckpointOrder::Id(uuid::Uuid::from_u64_pair(high as u64, low as u64)),
        })
    }

    /// Deletes a thread's checkpoints, of all namespaces, and gives how many there were.
    pub fn delete_checkpoints(&self, tenant: &str, actor: &str, thread: &str) -> Result<usize, MemoryError> {
        let audit = event(tenant, actor, "delete checkpoints", "");
        Ok(self.store.drop_checkpoints(tenant, thread, Some(audit))?)
    }
}
