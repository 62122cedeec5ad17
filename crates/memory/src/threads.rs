//! What an agent keeps beside its messages: checkpoints of a thread's state, and a session's inputs that wait to be taken.

use crate::fields::{self, Input, MAX_ID_BYTES, TaskWrites};
use crate::redaction::redact;
use crate::{MemoryBox, MemoryError, Redaction, in_seconds, now, time_text};
use membox_records::{Checkpoint, CheckpointBody, CheckpointOrder, CheckpointPlace, QueueItem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Seconds that a taken input is its taker's.
const LEASE_S: u64 = 60;

/// A checkpoint to be written.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCheckpoint {
    /// Any JSON, at most 1 MiB.
    pub state: Value,
    /// The checkpoint that it follows, up to 255 bytes.
    pub parent: Option<String>,
    /// Any JSON object, at most 1 MiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Seconds that it lives; for good when left out.
    pub ttl_s: Option<u64>,
}

/// A checkpoint as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckpointView {
    /// The thread whose state it is.
    pub thread: String,
    /// Empty for the thread's own.
    pub namespace: String,
    /// Its id.
    pub id: String,
    /// The checkpoint that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The state.
    pub state: Value,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// What tasks have written towards the next one, by task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub writes: BTreeMap<String, Value>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// An input that waits, as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueueItemView {
    /// Its id.
    pub id: String,
    /// What it says.
    pub payload: Value,
    /// How often it was taken.
    pub attempts: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339: until then it is its taker's; missing where nobody has taken it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<String>,
}

/// For what cursors of checkpoints are sealed.
const CHECKPOINTS_PURPOSE: &str = "checkpoints";

/// For what the ids of inputs are sealed.
fn queue_purpose(session: &str) -> String {
    format!("queue of {session}")
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
    }
    Ok(())
}

impl MemoryBox {
    /// The redaction of what is kept beside messages: that of the collection of the session that a queue or a thread is of, or else the tenant's.
    fn redaction_beside(&self, tenant: &str, session: &str) -> Result<Redaction, MemoryError> {
        let found = self.reader()?.session(tenant, session)?;
        let redaction = match found {
            Some(found) => self.collection_of(&found)?.settings().redaction,
            None => self.policy(tenant).redaction.clone(),
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
        let expires_at = ttl_s.map(in_seconds);
        let mut body = CheckpointBody { parent, state, metadata, writes: BTreeMap::new(), created_at: now() };
        fields::check(&mut body, "")?;
        redact(&self.redaction_beside(tenant, thread)?, &mut body);
        let key = [tenant, thread, namespace, id].map(str::to_owned);
        let body = self.transact(move |group| {
            let [tenant, thread, namespace, id] = &key;
            Ok(group.put_checkpoint(CheckpointPlace { tenant, thread, namespace }, id, expires_at, body)?)
        })?;
        Ok(view(thread, namespace, Checkpoint { number: 0, id: id.to_owned(), expires_at, body }))
    }

    /// Adds what a task has written towards the next checkpoint; written again by the same task, it is replaced. It is kept also where the checkpoint
    /// that it belongs to has not come yet.
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
        let key = [tenant, thread, namespace, id, task].map(str::to_owned);
        self.transact(move |group| {
            let [tenant, thread, namespace, id, task] = &key;
            let place = CheckpointPlace { tenant, thread, namespace };
            // What is refused here the request's savepoint takes back.
            fields::check_together(&mut group.put_checkpoint_writes(place, id, task, writes, now())?, "")
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
            Some(id) => self.reader()?.checkpoint(place, id, now())?,
            None => self.reader()?.checkpoints(place, None, 1, now())?.pop(),
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
        let mut found = self.reader()?.checkpoints(place, after, limit + 1, now())?;
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
        self.seal(tenant, CHECKPOINTS_PURPOSE, &numbers)
    }

    /// The place of a cursor that was given out.
    pub fn unseal_checkpoint(&self, tenant: &str, cursor: &str) -> Result<CheckpointOrder, MemoryError> {
        Ok(match self.unseal(tenant, CHECKPOINTS_PURPOSE, cursor, "/cursor")? {
            [number, 0] => CheckpointOrder::Number(number),
            [high, low] => CheckpointOrder::Id(uuid::Uuid::from_u64_pair(high as u64, low as u64)),
        })
    }

    /// Deletes a thread's checkpoints, of all namespaces, and gives how many there were.
    pub fn delete_checkpoints(&self, tenant: &str, thread: &str) -> Result<usize, MemoryError> {
        let (tenant, thread) = (tenant.to_owned(), thread.to_owned());
        self.transact(move |group| Ok(group.drop_checkpoints(&tenant, &thread)?))
    }

    /// Appends inputs to a session's queue, all or none, and gives their ids.
    pub fn push(&self, tenant: &str, session: &str, payloads: Vec<Value>) -> Result<Vec<String>, MemoryError> {
        crate::names::check_session_id(session)?;
        let redaction = self.redaction_beside(tenant, session)?;
        let mut inputs: Vec<Input> = payloads.into_iter().map(Input).collect();
        for (i, input) in inputs.iter_mut().enumerate() {
            fields::check_at(input, |_| format!("/items/{i}"))?;
            redact(&redaction, input);
        }
        let (its_tenant, its_session, now) = (tenant.to_owned(), session.to_owned(), now());
        let numbers: Vec<i64> = self.transact(move |group| {
            let push = |Input(payload)| Ok(group.push(&its_tenant, &its_session, payload, now)?);
            inputs.into_iter().map(push).collect()
        })?;
        numbers.into_iter().map(|number| self.seal(tenant, &queue_purpose(session), &[number])).collect()
    }

    fn item_view(&self, tenant: &str, session: &str, item: QueueItem) -> Result<QueueItemView, MemoryError> {
        Ok(QueueItemView {
            id: self.seal(tenant, &queue_purpose(session), &[item.number])?,
            payload: item.payload,
            attempts: item.attempts,
            created_at: time_text(item.created_at),
            leased_until: (item.leased_until > 0).then(|| time_text(item.leased_until)),
        })
    }

    /// Takes the oldest inputs of a session's queue that nobody works on. They are the taker's for `lease_s` seconds (60); those that are not
    /// [removed](MemoryBox::acknowledge) by then can be taken again, so none is lost with whoever took it.
    pub fn take(
        &self,
        tenant: &str,
        session: &str,
        most: usize,
        lease_s: Option<u64>,
    ) -> Result<Vec<QueueItemView>, MemoryError> {
        let (its_tenant, its_session, now) = (tenant.to_owned(), session.to_owned(), now());
        let until = in_seconds(lease_s.unwrap_or(LEASE_S));
        let taken = self.transact(move |group| Ok(group.take(&its_tenant, &its_session, most, now, until)?))?;
        taken.into_iter().map(|item| self.item_view(tenant, session, item)).collect()
    }

    /// Removes an input that has been dealt with.
    pub fn acknowledge(&self, tenant: &str, session: &str, id: &str) -> Result<(), MemoryError> {
        let [number] = self.unseal(tenant, &queue_purpose(session), id, "/id")?;
        let (tenant, session) = (tenant.to_owned(), session.to_owned());
        match self.transact(move |group| Ok(group.remove_from_queue(&tenant, &session, number)?))? {
            true => Ok(()),
            false => Err(MemoryError::Missing { what: "input", id: id.to_owned() }),
        }
    }

    /// What waits in a session's queue, oldest first, those after an id.
    pub fn queue(
        &self,
        tenant: &str,
        session: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<QueueItemView>, MemoryError> {
        let read = |id: &str| self.unseal(tenant, &queue_purpose(session), id, "/cursor").map(|[number]| number);
        let after: i64 = after.map(read).transpose()?.unwrap_or(0);
        let found = self.reader()?.queue(tenant, session, after, limit)?;
        found.into_iter().map(|item| self.item_view(tenant, session, item)).collect()
    }
}
