//! What each user has used, day by day, and what they may use.

use crate::RecordsError;
use crate::reader::Reader;
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, Row, params};

pub(crate) const SCHEMA: &str = "
CREATE TABLE usage (
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,
    day TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    stored_tokens INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (tenant, user, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_day ON usage (day, tenant, tokens);
CREATE TABLE quotas (
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,
    tokens_per_day INTEGER NOT NULL,
    micros_per_1000 INTEGER NOT NULL,
    PRIMARY KEY (tenant, user)
) STRICT, WITHOUT ROWID;
";

/// What a user has used on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayUsage {
    /// Who.
    pub user: String,
    /// The day in UTC, as 2026-05-20.
    pub day: String,
    /// Tokens that were reported.
    pub tokens: i64,
    /// Reports.
    pub requests: i64,
    /// Tokens of messages that were appended.
    pub stored_tokens: i64,
    /// Messages that were appended.
    pub messages: i64,
}

/// What a user may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens a day; 0 for any number.
    pub tokens_per_day: i64,
    /// The price of 1 000 tokens in millionths.
    pub micros_per_1000: i64,
}

impl WriteTransaction<'_> {
    /// Adds to what a user has used on a day.
    pub fn add_usage(&mut self, tenant: &str, more: &DayUsage) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached(
                "INSERT INTO usage (tenant, user, day, tokens, requests, stored_tokens, messages) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET tokens = max(0, tokens + excluded.tokens),
                 requests = requests + excluded.requests,
                 stored_tokens = stored_tokens + excluded.stored_tokens, messages = messages + excluded.messages",
            )?
            .execute(params![
                tenant,
                more.user,
                more.day,
                more.tokens,
                more.requests,
                more.stored_tokens,
                more.messages
            ])?;
        Ok(())
    }

    /// What a user has used on a day.
    pub fn used(&self, tenant: &str, user: &str, day: &str) -> Result<DayUsage, RecordsError> {
        let sql = format!("{USAGE} WHERE tenant = ? AND user = ? AND day = ?");
        let used = self.connection.prepare_cached(&sql)?.query_row([tenant, user, day], read_usage).optional()?;
        Ok(used.unwrap_or_else(|| DayUsage { user: user.to_owned(), day: day.to_owned(), ..DayUsage::default() }))
    }

    /// A user's own quota, or that of all who have none.
    pub fn quota(&self, tenant: &str, user: &str) -> Result<Option<Quota>, RecordsError> {
        quota(self.connection, tenant, user)
    }

    /// Sets a quota; that of all users who have none of their own for an empty user. `None` takes it away.
    pub fn set_quota(&mut self, tenant: &str, user: &str, quota: Option<Quota>) -> Result<(), RecordsError> {
        match quota {
            Some(Quota { tokens_per_day, micros_per_1000 }) => self
                .connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO quotas (tenant, user, tokens_per_day, micros_per_1000) VALUES (?, ?, ?, ?)",
                )?
                .execute(params![tenant, user, tokens_per_day, micros_per_1000])?,
            None => self
                .connection
                .prepare_cached("DELETE FROM quotas WHERE tenant = ? AND user = ?")?
                .execute([tenant, user])?,
        };
        Ok(())
    }

    /// Forgets what a user has used and may use.
    pub fn drop_usage(&mut self, tenant: &str, user: &str) -> Result<(), RecordsError> {
        self.connection.prepare_cached("DELETE FROM usage WHERE tenant = ? AND user = ?")?.execute([tenant, user])?;
        self.set_quota(tenant, user, None)
    }

    /// Forgets what was used before a day.
    pub fn drop_usage_before(&mut self, day: &str) -> Result<usize, RecordsError> {
        Ok(self.connection.prepare_cached("DELETE FROM usage WHERE day < ?")?.execute([day])?)
    }
}

impl Reader {
    /// What users have used, by day and then by tokens, most first: of one user or of all, from a day to a day.
    pub fn usage(
        &self,
        tenant: &str,
        user: Option<&str>,
        (from, to): (&str, &str),
        limit: usize,
    ) -> Result<Vec<DayUsage>, RecordsError> {
        let sql = format!(
            "{USAGE} WHERE tenant = ?1 AND (?2 IS NULL OR user = ?2) AND day BETWEEN ?3 AND ?4
             ORDER BY day DESC, tokens DESC, stored_tokens DESC, user LIMIT ?5"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![tenant, user, from, to, limit as i64], read_usage)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A user's own quota, or that of all who have none.
    pub fn quota(&self, tenant: &str, user: &str) -> Result<Option<Quota>, RecordsError> {
        quota(&self.connection, tenant, user)
    }

    /// Whether anything was used before a day.
    pub fn has_usage_before(&self, day: &str) -> Result<bool, RecordsError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM usage WHERE day < ? LIMIT 1")?.exists([day])?)
    }
}

const USAGE: &str = "SELECT user, day, tokens, requests, stored_tokens, messages FROM usage";

fn read_usage(r: &Row) -> rusqlite::Result<DayUsage> {
    Ok(DayUsage {
        user: r.get(0)?,
        day: r.get(1)?,
        tokens: r.get(2)?,
        requests: r.get(3)?,
        stored_tokens: r.get(4)?,
        messages: r.get(5)?,
    })
}

fn quota(connection: &rusqlite::Connection, tenant: &str, user: &str) -> Result<Option<Quota>, RecordsError> {
    connection
        .prepare_cached(
            "SELECT tokens_per_day, micros_per_1000 FROM quotas WHERE tenant = ?1 AND user IN (?2, '') \
             ORDER BY user DESC LIMIT 1",
        )?
        .query_row([tenant, user], |r| Ok(Quota { tokens_per_day: r.get(0)?, micros_per_1000: r.get(1)? }))
        .optional()
        .map_err(RecordsError::from)
}
