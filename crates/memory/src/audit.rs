//! The audit log: who did what to how much, and how it names whom.

use crate::names::{Owner, owner_of};
use crate::{MemoryError, now, time_text};
use membox_api::AuditView;
use membox_store::keys::hex;
use membox_store::{AuditChain, AuditEntry, AuditEvent, RecordReads, Store};
use std::path::{Path, PathBuf};

/// The audit logs of a box's tenants.
#[derive(Clone, Copy)]
pub struct Audit<'a> {
    pub(crate) store: &'a Store,
}

/// An entry of the audit log as it is given out.
fn audit_view(entry: AuditEntry) -> AuditView {
    let AuditEvent { at, actor, action, subject, count, .. } = entry.event;
    AuditView { number: entry.number, at: time_text(at), actor, action, subject, count, hash: hex(&entry.hash) }
}

/// What somebody does now, to be noted with it.
pub(crate) fn event(tenant: &str, actor: &str, action: &str, subject: &str) -> AuditEvent {
    let [tenant, actor, action, subject] = [tenant, actor, action, subject].map(str::to_owned);
    AuditEvent { at: now(), tenant, actor, action, subject, count: 0 }
}

impl Audit<'_> {
    /// Notes in the audit log what was done.
    pub fn audit(
        &self,
        tenant: &str,
        actor: &str,
        action: &str,
        subject: &str,
        count: u64,
    ) -> Result<AuditEntry, MemoryError> {
        let event = AuditEvent { count, ..event(tenant, actor, action, subject) };
        Ok(self.store.audit(event)?)
    }

    /// A tenant's entries of the audit log after a number, oldest first.
    pub fn audit_log(&self, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditView>, MemoryError> {
        Ok(self.store.read()?.audit(tenant, after, limit)?.into_iter().map(audit_view).collect())
    }

    /// How the audit log names a collection: a user's own as the user, whom an erasure leaves no trace of.
    pub fn collection_subject(&self, name: &str) -> Result<String, MemoryError> {
        match owner_of(name) {
            Owner::User(user) => self.user_subject(user),
            // The hash of one user's name may be the name of another one.
            Owner::Hashed => Ok(format!("collection:{}", &self.digest(&format!("collection/{name}"))?[..32])),
            Owner::None => Ok(name.to_owned()),
        }
    }

    /// How the audit log names a user.
    pub fn user_subject(&self, user: &str) -> Result<String, MemoryError> {
        Ok(format!("user:{}", &self.digest(&format!("user/{user}"))?[..32]))
    }

    /// The key may be made by this, also for an erasure on a full disk.
    fn digest(&self, text: &str) -> Result<String, MemoryError> {
        Ok(self.store.with_reserve(|| self.store.box_key().digest(text))?)
    }
}

/// Goes along the audit logs of a data folder, also of one that a running box has open. `keys` are files of keys that
/// it had before (`redaction.key`).
pub fn verify_audit(root: &Path, keys: &[PathBuf]) -> Result<Vec<AuditChain>, MemoryError> {
    Ok(membox_store::verify_audit(root, keys)?)
}

/// The entries of an audit log after a number, of a data folder that a box may have open.
pub fn list_audit(root: &Path, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditView>, MemoryError> {
    Ok(membox_store::list_audit(root, tenant, after, limit)?.into_iter().map(audit_view).collect())
}
