//! How much a tenant has stored.

use crate::RecordsError;
use crate::reader::Reader;
use rusqlite::Row;
use std::ops::AddAssign;

/// How much is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Records, messages among them.
    pub records: u64,
    /// Sessions.
    pub sessions: u64,
    /// Bytes of what was said and of the states that are kept, as they are stored: texts, metadata, payloads,
    /// sessions, checkpoints, blobs and inputs of queues. Vectors and files are beside it.
    pub bytes: u64,
}

impl AddAssign for Footprint {
    fn add_assign(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Reader {
    /// How much a tenant has stored. It reads all of it, but not the pages that long values go on in.
    pub fn footprint(&self, tenant: &str) -> Result<Footprint, RecordsError> {
        let mut all = Footprint::default();
        let mut add = |counted: &str, sql: &str| -> Result<(), RecordsError> {
            let counts = |r: &Row| Ok((r.get::<_, i64>(0)? as u64, r.get::<_, i64>(1)? as u64));
            let (count, bytes) = self.connection.prepare_cached(sql)?.query_row([tenant], counts)?;
            all.records += if counted == "records" { count } else { 0 };
            all.sessions += if counted == "sessions" { count } else { 0 };
            all.bytes += bytes;
            Ok(())
        };
        add(
            "records",
            "SELECT count(*), coalesce(sum(octet_length(text) + octet_length(metadata) + octet_length(id)
                                           + coalesce(octet_length(message), 0) + coalesce(octet_length(payload), 0)
                                           + coalesce(octet_length(sealed), 0)), 0)
             FROM records WHERE collection IN (SELECT id FROM collections WHERE tenant = ?)",
        )?;
        for (table, column) in [("sessions", "state"), ("checkpoints", "body"), ("queue", "body")] {
            let bytes = format!("octet_length({column}) + coalesce(octet_length(sealed), 0)");
            add(table, &format!("SELECT count(*), coalesce(sum({bytes}), 0) FROM {table} WHERE tenant = ?"))?;
        }
        let blobs = "SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM blobs WHERE tenant = ?";
        add("blobs", blobs)?;
        Ok(all)
    }
}
