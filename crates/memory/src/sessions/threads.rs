//! Threads as wholes: which there are, and what takes many of their checkpoints at once.

use super::Sessions;
use super::checkpoints::checkpoint_key;
use super::names::check_names;
use crate::audit::event;
use crate::{MemoryError, fields, now};
use membox_api::{NamespaceList, NamespaceView, ThreadList, ThreadView};
use membox_store::{CheckpointPlace, Footprint, Namespace, RecordReads, Thread};

/// For what cursors are sealed.
const THREADS_PURPOSE: &str = "threads";
const NAMESPACES_PURPOSE: &str = "namespaces";
/// Checkpoints of a thread that can be kept when it is pruned.
pub const MAX_KEPT: usize = 1_000_000;
/// Checkpoints that are copied in one commit: other writes wait for that long.
const COPIED_AT_ONCE: usize = 16;

/// What the audit log says of a deletion.
const DELETE: &str = "delete checkpoints";

impl Sessions<'_> {
    /// Threads that have checkpoints, by their ids.
    pub fn threads(&self, tenant: &str, cursor: Option<&str>, limit: usize) -> Result<ThreadList, MemoryError> {
        let after = cursor.map(|cursor| self.cursors.unseal_name(tenant, THREADS_PURPOSE, cursor, "/cursor"));
        let after = after.transpose()?.unwrap_or_default();
        let mut found = self.store.read()?.threads(tenant, &after, limit + 1, now())?;
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|last| self.cursors.seal_name(tenant, THREADS_PURPOSE, &last.id)).transpose()?;
        let view = |Thread { id, checkpoints, namespaces }| ThreadView { thread: id, checkpoints, namespaces };
        Ok(ThreadList { threads: found.into_iter().map(view).collect(), next })
    }

    /// Namespaces of a thread that have checkpoints, by their names.
    pub fn namespaces(
        &self,
        tenant: &str,
        thread: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<NamespaceList, MemoryError> {
        let after = cursor.map(|cursor| self.cursors.unseal_name(tenant, NAMESPACES_PURPOSE, cursor, "/cursor"));
        let after = after.transpose()?;
        let mut found = self.store.read()?.namespaces(tenant, thread, after.as_deref(), limit + 1, now())?;
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|last| self.cursors.seal_name(tenant, NAMESPACES_PURPOSE, &last.name)).transpose()?;
        let view = |Namespace { name, checkpoints }| NamespaceView { namespace: name, checkpoints };
        Ok(NamespaceList { namespaces: found.into_iter().map(view).collect(), next })
    }

    /// Deletes a checkpoint.
    pub fn delete_checkpoint(
        &self,
        (tenant, actor): (&str, &str),
        thread: &str,
        namespace: &str,
        id: &str,
    ) -> Result<(), MemoryError> {
        let audit = Some(event(tenant, actor, DELETE, ""));
        match self.store.drop_checkpoint(checkpoint_key(tenant, thread, namespace, id), audit)? {
            true => Ok(()),
            false => Err(MemoryError::Missing { what: "checkpoint", id: id.to_owned() }),
        }
    }

    /// Deletes a thread's checkpoints, of one namespace or of all, and gives how many there were.
    pub fn delete_checkpoints(
        &self,
        (tenant, actor): (&str, &str),
        thread: &str,
        namespace: Option<&str>,
    ) -> Result<usize, MemoryError> {
        let audit = Some(event(tenant, actor, DELETE, ""));
        Ok(self.store.drop_checkpoints(tenant, thread, namespace, audit)?)
    }

    /// Deletes all but the latest `keep` checkpoints of each namespace of a thread, or of one, and gives how many
    /// went.
    pub fn prune_checkpoints(
        &self,
        (tenant, actor): (&str, &str),
        thread: &str,
        namespace: Option<&str>,
        keep: usize,
    ) -> Result<usize, MemoryError> {
        if !(1..=MAX_KEPT).contains(&keep) {
            return Err(MemoryError::invalid("/keep", format!("{keep} is given; 1 to {MAX_KEPT} is possible")));
        }
        let audit = Some(event(tenant, actor, DELETE, ""));
        Ok(self.store.prune_checkpoints(tenant, thread, namespace, keep, audit)?)
    }

    /// Copies a thread: its checkpoints in all namespaces, and what tasks have written. What the other one has by the
    /// same ids is replaced, so that a copy that was cut short can be made again. Gives how many checkpoints there
    /// were.
    pub fn copy_thread(&self, tenant: &str, thread: &str, to: &str) -> Result<usize, MemoryError> {
        check_names(&[("to", to)])?;
        if thread == to {
            return Err(MemoryError::invalid("/to", "it is the thread itself"));
        }
        // What is copied is not looked through again.
        if self.redaction_beside(tenant, thread)? != self.redaction_beside(tenant, to)? {
            let reason = "what is written to that thread is redacted in another way than what is written to this one";
            return Err(MemoryError::impossible("/to", reason));
        }
        let names = self.store.read()?.checkpoint_namespaces(tenant, thread)?;
        if names.is_empty() {
            return Err(MemoryError::Missing { what: "thread", id: thread.to_owned() });
        }
        let mut copied = 0;
        for namespace in &names {
            let place = CheckpointPlace { tenant, thread, namespace };
            let reads = self.store.read()?;
            // The latest comes last: written in this order, it is the latest again.
            let blobs = reads.blobs(place)?;
            let mut ids = reads.checkpoint_ids(place, now())?;
            ids.reverse();
            ids.extend(reads.awaited_checkpoints(place)?.into_iter().map(|awaited| awaited.id));
            drop(reads);
            for (channel, version) in blobs {
                let found = self.store.read()?.blob(place, &channel, &version)?;
                found.map_or(Ok(()), |blob| self.admit_blob(tenant, &blob))?;
                self.store.copy_blob(place, to, (channel, version))?;
            }
            for some in ids.chunks(COPIED_AT_ONCE) {
                let bytes = || self.bytes_of(place, some).unwrap_or_default();
                self.collections.limits.admit(tenant, || Footprint { bytes: bytes(), ..Footprint::default() })?;
                copied += self.store.copy_checkpoints(place, to, some.to_vec())?;
            }
        }
        Ok(copied)
    }

    /// About how many bytes checkpoints have as they are stored.
    fn bytes_of(&self, place: CheckpointPlace, ids: &[String]) -> Result<u64, MemoryError> {
        let reads = self.store.read()?;
        let found = ids.iter().map(|id| reads.checkpoint(place, id, now()));
        found.map(|found| Ok(found?.map_or(0, |found| fields::json_bytes(&found.body) as u64))).sum()
    }
}
