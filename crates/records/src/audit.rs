//! The audit log: who did what, when, and to how many. Each entry carries a code of itself and of its tenant's one
//! before it, so that none can be changed or taken out of the middle unnoticed; whoever notes the last code elsewhere
//! notices it at the end too.
//!
//! The code is HMAC-SHA-256 under a key that is not in the database: who can only write that cannot make a chain that
//! holds. Entries of older versions have SHA-256 alone. They stay as they are, and the first keyed entry after them
//! holds them.

use crate::RecordsError;
use crate::reader::Reader;
use crate::transaction::WriteTransaction;
use hmac::{Hmac, KeyInit, Mac};
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

/// In which tenant's log stands what belongs to no tenant.
pub const BOX_LOG: &str = "";

pub(crate) const KEY: &str = "ALTER TABLE audit ADD COLUMN key INTEGER NOT NULL DEFAULT 0;";

/// What entries of the log are keyed with.
#[derive(Clone)]
pub struct AuditKey {
    /// By which an entry names it; never 0, which names none.
    id: u32,
    key: [u8; 32],
}

impl AuditKey {
    /// A key. Its name tells nothing of it.
    pub fn new(key: [u8; 32]) -> Self {
        let name = Sha256::new().chain_update(b"membox audit key").chain_update(key).finalize();
        let id = u32::from_le_bytes([name[0], name[1], name[2], name[3]]).max(1);
        Self { id, key }
    }
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("AuditKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A tenant's log, as far as it could be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditChain {
    /// Whose it is.
    pub tenant: String,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them are keyed with something that is not here.
    pub unchecked: u64,
    /// How many at its end have no key: an older version wrote them, or newer ones were taken off.
    pub without_key: u64,
    /// The code of the last one.
    pub last: [u8; 32],
}

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
    /// Its code, which holds the one before it too.
    pub hash: [u8; 32],
    /// What it is keyed with; 0 for nothing.
    key: u32,
}

impl AuditEvent {
    fn hash(&self, number: i64, before: &[u8; 32], key: Option<&AuditKey>) -> [u8; 32] {
        let mut said = before.to_vec();
        said.extend(number.to_le_bytes());
        said.extend(self.at.to_le_bytes());
        said.extend(self.count.to_le_bytes());
        for text in [&self.tenant, &self.actor, &self.action, &self.subject] {
            said.extend((text.len() as u64).to_le_bytes());
            said.extend(text.as_bytes());
        }
        match key {
            None => Sha256::digest(said).into(),
            Some(AuditKey { id, key }) => {
                // HMAC fills a shorter key up with zeros.
                let mut block = [0; 64];
                block[..32].copy_from_slice(key);
                let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
                mac.update(&said);
                mac.update(&id.to_le_bytes());
                mac.finalize().into_bytes().into()
            }
        }
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
        let hash = event.hash(number, &hash_before, self.audit_key);
        let key = self.audit_key.map_or(0, |key| key.id);
        self.connection
            .prepare_cached(
                "INSERT INTO audit (number, at, tenant, actor, action, subject, count, hash, key) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                number,
                event.at,
                event.tenant,
                event.actor,
                event.action,
                event.subject,
                event.count as i64,
                hash,
                key
            ])?;
        Ok(AuditEntry { number, event: event.clone(), hash, key })
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

    /// Tenants whose log ends with entries that have no key.
    pub fn audit_logs_without_key(&self) -> Result<Vec<String>, RecordsError> {
        // From tenant to tenant: the log is long, and this is asked at each start.
        let mut statement = self.connection.prepare_cached(
            "WITH RECURSIVE logs (tenant) AS (
                 SELECT min(tenant) FROM audit
                 UNION ALL
                 SELECT (SELECT min(tenant) FROM audit WHERE tenant > logs.tenant) FROM logs WHERE tenant IS NOT NULL)
             SELECT tenant FROM logs WHERE tenant IS NOT NULL
             AND (SELECT key FROM audit WHERE audit.tenant = logs.tenant ORDER BY number DESC LIMIT 1) = 0",
        )?;
        Ok(statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Goes along every tenant's chain. What is keyed with none of `keys` is counted and not checked.
    pub fn verify_audit(&self, keys: &[AuditKey]) -> Result<Vec<AuditChain>, RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!("{AUDIT} ORDER BY tenant, number"))?;
        let mut chains: Vec<AuditChain> = Vec::new();
        for entry in statement.query_map([], read_entry)? {
            let entry = entry?;
            if chains.last().is_none_or(|last| last.tenant != entry.event.tenant) {
                let tenant = entry.event.tenant.clone();
                chains.push(AuditChain { tenant, entries: 0, unchecked: 0, without_key: 0, last: [0; 32] });
            }
            let Some(chain) = chains.last_mut() else { continue };
            let has_keyed = chain.without_key < chain.entries;
            chain.entries += 1;
            let (tenant, count) = (&chain.tenant, chain.entries);
            if entry.number != count as i64 {
                return Err(RecordsError::Damaged(format!("the audit log of {tenant:?} lacks entry {count}")));
            }
            let key = keys.iter().find(|key| key.id == entry.key);
            let is_whole = match (entry.key, key) {
                // Once there is a key, nothing goes on without one.
                (0, _) => !has_keyed && entry.hash == entry.event.hash(entry.number, &chain.last, None),
                (_, Some(key)) => entry.hash == entry.event.hash(entry.number, &chain.last, Some(key)),
                (_, None) => true,
            };
            if !is_whole {
                let reason = format!("entry {count} of the audit log of {tenant:?} is not what was written");
                return Err(RecordsError::Damaged(reason));
            }
            chain.unchecked += u64::from(entry.key != 0 && key.is_none());
            chain.without_key = if entry.key == 0 { chain.without_key + 1 } else { 0 };
            chain.last = entry.hash;
        }
        Ok(chains)
    }
}

const AUDIT: &str = "SELECT number, at, tenant, actor, action, subject, count, hash, key FROM audit";

fn read_entry(r: &Row) -> rusqlite::Result<AuditEntry> {
    let event = AuditEvent {
        at: r.get(1)?,
        tenant: r.get(2)?,
        actor: r.get(3)?,
        action: r.get(4)?,
        subject: r.get(5)?,
        count: r.get::<_, i64>(6)? as u64,
    };
    Ok(AuditEntry { number: r.get(0)?, event, hash: r.get(7)?, key: r.get(8)? })
}
