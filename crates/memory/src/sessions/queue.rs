//! A session's queue: inputs that wait to be taken, each leased until it is acknowledged.

use super::Sessions;
use crate::audit::event;
use crate::fields::{self, Input};
use crate::redaction::redact;
use crate::{MemoryError, in_seconds, time_text};
use membox_api::QueueItemView;
use membox_store::{QueueItem, RecordReads};
use serde_json::Value;

/// Seconds that a taken input is its taker's where nothing else is said.
const DEFAULT_LEASE_S: u64 = 60;

/// For what the ids of inputs are sealed.
fn queue_purpose(session: &str) -> String {
    format!("queue of {session}")
}

impl Sessions<'_> {
    /// Appends inputs to a session's queue, all or none, and gives their ids.
    pub fn push(&self, tenant: &str, session: &str, payloads: Vec<Value>) -> Result<Vec<String>, MemoryError> {
        crate::names::check_new_session_id(session)?;
        let redaction = self.redaction_beside(tenant, session)?;
        let mut inputs: Vec<Input> = payloads.into_iter().map(Input).collect();
        for (i, input) in inputs.iter_mut().enumerate() {
            fields::check_at(input, |_| format!("/items/{i}"))?;
            redact(&redaction, input);
        }
        let payloads: Vec<Value> = inputs.into_iter().map(|Input(payload)| payload).collect();
        self.admit_state(tenant, 0, &payloads)?;
        let numbers = self.store.push_inputs(tenant, session, payloads)?;
        numbers.into_iter().map(|number| self.cursors.seal(tenant, &queue_purpose(session), &[number])).collect()
    }

    fn item_view(&self, tenant: &str, session: &str, item: QueueItem) -> Result<QueueItemView, MemoryError> {
        Ok(QueueItemView {
            id: self.cursors.seal(tenant, &queue_purpose(session), &[item.number])?,
            payload: item.payload,
            attempts: item.attempts,
            created_at: time_text(item.created_at),
            leased_until: (item.leased_until > 0).then(|| time_text(item.leased_until)),
        })
    }

    /// Takes the oldest inputs of a session's queue that nobody works on. They are the taker's for `lease_s`
    /// seconds (60); those that are not [removed](Self::acknowledge) by then can be taken again, so none is lost
    /// with whoever took it.
    pub fn take(
        &self,
        tenant: &str,
        session: &str,
        most: usize,
        lease_s: Option<u64>,
    ) -> Result<Vec<QueueItemView>, MemoryError> {
        let until = in_seconds(lease_s.unwrap_or(DEFAULT_LEASE_S));
        let taken = self.store.take_inputs(tenant, session, most, until)?;
        taken.into_iter().map(|item| self.item_view(tenant, session, item)).collect()
    }

    /// Removes an input that has been dealt with.
    pub fn acknowledge(&self, tenant: &str, actor: &str, session: &str, id: &str) -> Result<(), MemoryError> {
        let [number] = self.cursors.unseal(tenant, &queue_purpose(session), id, "/id")?;
        let audit = event(tenant, actor, "acknowledge input", "");
        match self.store.remove_input(tenant, session, number, Some(audit))? {
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
        let read =
            |id: &str| self.cursors.unseal(tenant, &queue_purpose(session), id, "/cursor").map(|[number]| number);
        let after: i64 = after.map(read).transpose()?.unwrap_or(0);
        let found = self.store.read()?.queue(tenant, session, after, limit)?;
        found.into_iter().map(|item| self.item_view(tenant, session, item)).collect()
    }
}
