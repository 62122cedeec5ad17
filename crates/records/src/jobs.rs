//! Long work that somebody was promised: what it is, how far it has come, and what it came to. A job is here from
//! before its promise until some time after its end, so a stop of the box does not end it.
//!
//! An erasure that has not ended also stands for a rule: what it erases is not written to ([`Erasure`]).

use crate::RecordsError;
use crate::reader::Reader;
use crate::rows::{checksum, read_body};
use crate::sealing::{Found, Resealing, Sealing, StoredText};
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const SCHEMA: &str = "
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    user TEXT,
    collection TEXT,
    erases TEXT,
    quotes INTEGER NOT NULL,
    ended_at INTEGER,
    body TEXT NOT NULL,
    crc INTEGER NOT NULL,
    seal_key INTEGER,
    sealed BLOB
) STRICT;
CREATE INDEX jobs_by_tenant ON jobs (tenant, number);
CREATE INDEX jobs_under_way ON jobs (number) WHERE ended_at IS NULL;
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_that_erase ON jobs (tenant) WHERE erases IS NOT NULL;
";

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its turn.
    #[default]
    Queued,
    /// It is under way.
    Running,
    /// It has done what was asked.
    Done,
    /// It has ended without that.
    Failed,
    /// Somebody has ended it.
    Cancelled,
}

impl JobState {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Its name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more becomes of it.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What of a job's work is erased: it is not written to until the job says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erases {
    /// All of the job's tenant.
    Tenant,
    /// The job's user, whose own collection is the job's.
    User,
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredJob {
    /// Its place in the order of all jobs; 0 before it is inserted.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What kind of work.
    pub kind: String,
    /// How far it is.
    pub state: JobState,
    /// The user that it works on, if it is one.
    pub user: Option<String>,
    /// The collection that it works on, if it is one.
    pub collection: Option<String>,
    /// What may not be written meanwhile.
    pub erases: Option<Erases>,
    /// Whether what it came to may quote records.
    pub quotes: bool,
    /// When it ended, in milliseconds since 1970.
    pub ended_at: Option<i64>,
    /// Whether its body is to be readable without its tenant's keys: those may go with it.
    pub is_open: bool,
    /// The rest.
    pub body: JobBody,
}

/// What a job says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobBody {
    /// The work, as its owner has written it.
    pub work: Value,
    /// Whether somebody has asked it to end.
    pub is_cancelled: bool,
    /// Records done.
    pub done: u64,
    /// Records in all.
    pub total: u64,
    /// What it has come to, or has so far.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// When it last began, in milliseconds since 1970.
    pub started_at: Option<i64>,
}

/// What is being erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// A whole tenant.
    Tenant,
    /// A user, with a collection of their own.
    User {
        /// Who.
        user: String,
        /// The collection.
        collection: Option<String>,
    },
}

/// A job as its columns hold it.
struct Columns {
    body: StoredText,
    crc: u32,
    erases: Option<&'static str>,
}

fn columns(sealing: &Sealing, job: &StoredJob) -> Result<Columns, RecordsError> {
    let text = serde_json::to_string(&job.body).unwrap_or_default();
    let body = match job.is_open {
        true => StoredText { clear: text, ..StoredText::default() },
        false => sealing.store(&job.tenant, &place(&job.tenant, &job.id), text)?,
    };
    let erases = job.erases.map(|erases| match erases {
        Erases::Tenant => "tenant",
        Erases::User => "user",
    });
    Ok(Columns { crc: crc(job, erases, &body), body, erases })
}

fn place<'a>(tenant: &'a str, id: &'a str) -> [&'a str; 3] {
    ["job", tenant, id]
}

/// The checksum of a job: of all that it says, and of whether it has ended.
fn crc(job: &StoredJob, erases: Option<&str>, body: &StoredText) -> u32 {
    // What is missing is not what is empty.
    let told = |text: &Option<String>| text.as_ref().map_or_else(|| "-".to_owned(), |text| format!("={text}"));
    let ended = job.ended_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let (user, collection) = (told(&job.user), told(&job.collection));
    let names = [job.id.as_str(), &job.tenant, &job.kind, job.state.name(), &user, &collection];
    checksum(&[names.as_slice(), &[erases.unwrap_or("-"), &ended]].concat(), body)
}

impl WriteTransaction<'_> {
    /// Inserts a job.
    pub fn insert_job(&mut self, job: &StoredJob) -> Result<(), RecordsError> {
        let Columns { body, crc, erases } = columns(self.sealing, job)?;
        self.connection
            .prepare_cached(
                "INSERT INTO jobs (id, tenant, kind, state, user, collection, erases, quotes, ended_at, body, crc, \
                 seal_key, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                job.id,
                job.tenant,
                job.kind,
                job.state.name(),
                job.user,
                job.collection,
                erases,
                job.quotes,
                job.ended_at,
                body.clear,
                crc,
                body.key,
                body.sealed
            ])?;
        Ok(())
    }

    /// Writes a job anew, by its id; `false` where it is gone.
    pub fn put_job(&mut self, job: &StoredJob) -> Result<bool, RecordsError> {
        let Columns { body, crc, erases } = columns(self.sealing, job)?;
        let written = self
            .connection
            .prepare_cached(
                "UPDATE jobs SET state = ?, user = ?, collection = ?, erases = ?, quotes = ?, ended_at = ?, body = ?, \
                 crc = ?, seal_key = ?, sealed = ? WHERE tenant = ? AND id = ?",
            )?
            .execute(params![
                job.state.name(),
                job.user,
                job.collection,
                erases,
                job.quotes,
                job.ended_at,
                body.clear,
                crc,
                body.key,
                body.sealed,
                job.tenant,
                job.id
            ])?;
        Ok(written == 1)
    }

    /// Removes ended jobs of a tenant that worked on a user or on a collection, and those that may quote records.
    /// Gives how many there were.
    pub fn forget_jobs(&mut self, tenant: &str, user: &str, collection: &str) -> Result<usize, RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "DELETE FROM jobs WHERE tenant = ? AND ended_at IS NOT NULL AND (user = ? OR collection = ? OR quotes)",
        )?;
        Ok(statement.execute([tenant, user, collection])?)
    }

    /// Removes all jobs of a tenant but one.
    pub(crate) fn drop_jobs(&mut self, tenant: &str, but: &str) -> Result<(), RecordsError> {
        self.connection.prepare_cached("DELETE FROM jobs WHERE tenant = ? AND id <> ?")?.execute([tenant, but])?;
        Ok(())
    }

    /// Removes jobs that ended before a time.
    pub fn drop_jobs_ended_before(&mut self, time: i64) -> Result<usize, RecordsError> {
        Ok(self.connection.prepare_cached("DELETE FROM jobs WHERE ended_at < ?")?.execute([time])?)
    }

    /// What of a tenant is being erased.
    pub fn erasures(&self, tenant: &str) -> Result<Vec<Erasure>, RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT erases = 'tenant', user, collection FROM jobs WHERE tenant = ? AND erases IS NOT NULL",
        )?;
        let erasures = statement.query_map([tenant], |r| match r.get(0)? {
            true => Ok(Erasure::Tenant),
            false => Ok(Erasure::User { user: r.get(1)?, collection: r.get(2)? }),
        })?;
        Ok(erasures.collect::<Result<_, _>>()?)
    }
}

impl Reader {
    /// A tenant's job by its id.
    pub fn job(&self, tenant: &str, id: &str) -> Result<Option<StoredJob>, RecordsError> {
        let sql = format!("{JOBS} WHERE tenant = ? AND id = ?");
        let read = |r: &Row| read_job(r, &self.sealing);
        Ok(self.connection.prepare_cached(&sql)?.query_row([tenant, id], read).optional()?)
    }

    /// Jobs of a tenant that were made before one, newest first: of all states and kinds, or of one.
    pub fn jobs(
        &self,
        tenant: &str,
        state: Option<JobState>,
        kind: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredJob>, RecordsError> {
        let sql = format!(
            "{JOBS} WHERE tenant = ?1 AND number < ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
             ORDER BY number DESC LIMIT ?5"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let jobs = statement
            .query_map(params![tenant, before, state.map(JobState::name), kind, limit as i64], |r| {
                read_job(r, &self.sealing)
            })?;
        Ok(jobs.collect::<Result<_, _>>()?)
    }

    /// Jobs of all tenants that have not ended, oldest first. What is damaged, or whose keys are not here, is left out.
    pub fn jobs_under_way(&self) -> Result<Vec<StoredJob>, RecordsError> {
        let mut statement =
            self.connection.prepare_cached(&format!("{JOBS} WHERE ended_at IS NULL ORDER BY number"))?;
        let mut jobs = Vec::new();
        for read in statement.query_map([], |r| read_job(r, &self.sealing))? {
            match read.map_err(RecordsError::from) {
                Err(error @ (RecordsError::Damaged(_) | RecordsError::Sealing(_))) => {
                    tracing::error!(%error, "a job that cannot be read is not gone on with");
                }
                read => jobs.push(read?),
            }
        }
        Ok(jobs)
    }

    /// Whether any job ended before a time.
    pub fn has_jobs_ended_before(&self, time: i64) -> Result<bool, RecordsError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM jobs WHERE ended_at < ? LIMIT 1")?.exists([time])?)
    }

    /// Which jobs do not have their checksum.
    pub(crate) fn damaged_jobs(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(JOBS)?;
        let jobs = statement.query_map([], |r| read_job(r, &self.sealing))?;
        Ok(jobs.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())).collect())
    }
}

const JOBS: &str = "SELECT number, id, tenant, kind, state, user, collection, erases, ended_at, body, crc, seal_key, \
                    sealed, quotes FROM jobs";

fn read_job(r: &Row, sealing: &Sealing) -> rusqlite::Result<StoredJob> {
    let (erases, state): (Option<String>, String) = (r.get(7)?, r.get(4)?);
    let body = StoredText::read(r, 9, 11)?;
    let mut job = StoredJob {
        number: r.get(0)?,
        id: r.get(1)?,
        tenant: r.get(2)?,
        kind: r.get(3)?,
        state: JobState::named(&state).unwrap_or_default(),
        user: r.get(5)?,
        collection: r.get(6)?,
        erases: erases.as_deref().map(|erases| if erases == "tenant" { Erases::Tenant } else { Erases::User }),
        quotes: r.get(13)?,
        ended_at: r.get(8)?,
        is_open: erases.as_deref() == Some("tenant"),
        body: JobBody::default(),
    };
    let found = crc(&job, erases.as_deref(), &body);
    job.body = read_body(sealing, &place(&job.tenant, &job.id), body, r.get(10)?, found)?;
    Ok(job)
}

/// Seals jobs of a tenant anew that are not under a key.
pub(crate) fn reseal_jobs(
    transaction: &mut WriteTransaction,
    tenant: &str,
    key: u32,
    after: i64,
    limit: usize,
) -> Resealing {
    let sql = format!("{JOBS} WHERE number > ? AND seal_key IS NOT ? AND tenant = ? ORDER BY number LIMIT ?");
    let found = Found::read(transaction, &sql, params![after, key, tenant, limit as i64], |row| {
        read_job(row, transaction.sealing)
    })?;
    for job in &found.whole {
        transaction.put_job(job)?;
    }
    found.end(limit)
}
