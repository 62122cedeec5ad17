//! The audit log: who did what, when, and to how many. Each entry carries the hash of its tenant's one before it, so
//! that none can be changed or taken out of the middle unnoticed; whoever notes the last hash elsewhere notices it at
//! the end too.

use crate::RecordsError;
use crate::reader::Reader;
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

pub(crate) const SCHEMA: &str = "
CREATE TABLE audit (
    tenant TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    count INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant, number)
) STRICT;
";

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Whose data it was.
    pub tenant: String,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// To how many.
    pub count: u64,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in its tenant's log, from 1 on.
    pub number: i64,
    /// What was recorded.
    pub event: AuditEvent,
    /// SHA-256 of it and of the hash before.
    pub hash: [u8; 32],
}

impl AuditEvent {
    fn hash(&self, number: i64, before: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(before);
        hash.update(number.to_le_bytes());
        hash.update(self.at.to_le_bytes());
        hash.update(self.count.to_le_bytes());
        for text in [&self.tenant, &self.actor, &self.action, &self.subject] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

impl WriteTransaction<'_> {
    /// Appends to the audit log.
    pub fn audit(&mut self, event: &AuditEvent) -> Result<AuditEntry, RecordsError> {
        let last = self
            .connection
            .prepare_cached("SELECT number, hash FROM audit WHERE tenant = ? ORDER BY number DESC LIMIT 1")?
            .query_row([&event.tenant], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, [u8; 32]>(1)?)))
            .optional()?;
        let (before, hash_before) = last.unwrap_or((0, [0; 32]));
        let damaged =
            || RecordsError::Damaged(format!("the audit log of {:?} has no number after {before}", event.tenant));
        let number = before.checked_add(1).ok_or_else(damaged)?;
        let hash = event.hash(number, &hash_before);
        self.connection
            .prepare_cached(
                "INSERT INTO audit (number, at, tenant, actor, action, subject, count, hash) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                number,
                event.at,
                event.tenant,
                event.actor,
                event.action,
                event.subject,
                event.count as i64,
                hash
            ])?;
        Ok(AuditEntry { number, event: event.clone(), hash })
    }
}

impl Reader {
    /// A tenant's entries after a number, oldest first.
    pub fn audit(&self, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditEntry>, RecordsError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("{AUDIT} WHERE tenant = ? AND number > ? ORDER BY number LIMIT ?"))?;
        let entries = statement.query_map(params![tenant, after, limit as i64], read_entry)?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Goes along every tenant's chain. Gives, by tenant, how many entries there are, and the last hash.
    pub fn verify_audit(&self) -> Result<Vec<(String, u64, [u8; 32])>, RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!("{AUDIT} ORDER BY tenant, number"))?;
        let mut chains: Vec<(String, u64, [u8; 32])> = Vec::new();
        for entry in statement.query_map([], read_entry)? {
            let entry = entry?;
            if chains.last().is_none_or(|last| last.0 != entry.event.tenant) {
                chains.push((entry.event.tenant.clone(), 0, [0; 32]));
            }
            let Some((tenant, count, before)) = chains.last_mut() else { continue };
            *count += 1;
            if entry.number != *count as i64 {
                return Err(RecordsError::Damaged(format!("the audit log of {tenant:?} lacks entry {count}")));
            }
            if entry.hash != entry.event.hash(entry.number, before) {
                let reason = format!("entry {count} of the audit log of {tenant:?} is not what was written");
                return Err(RecordsError::Damaged(reason));
            }
            *before = entry.hash;
        }
        Ok(chains)
    }
}

const AUDIT: &str = "SELECT number, at, tenant, actor, action, subject, count, hash FROM audit";

fn read_entry(r: &Row) -> rusqlite::Result<AuditEntry> {
    let event = AuditEvent {
        at: r.get(1)?,
        tenant: r.get(2)?,
        actor: r.get(3)?,
        action: r.get(4)?,
        subject: r.get(5)?,
        count: r.get::<_, i64>(6)? as u64,
    };
    Ok(AuditEntry { number: r.get(0)?, event, hash: r.get(7)? })
}
