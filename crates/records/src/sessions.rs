//! Sessions: ordered messages of one conversation, each a record like any other.
//!
//! A message is a record with a position in its session. Positions rise by one; a message that a session's cap has
//! pushed out is archived: it has a negative position, so it is in the session's list no more, and is still
//! recalled. What a session itself says is one JSON text with a checksum.

use crate::RecordsError;
use crate::messages::Name;
use crate::opaque::OpaqueJson;
use crate::reader::Reader;
use crate::record::{Message, StoredRecord};
use crate::rows::{COLUMNS, Place, checksum as checksum_of, read_body, read_fields, read_record};
use crate::sealing::{Sealing, StoredText};
use crate::slots::Slots;
use crate::transaction::WriteTransaction;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) const SCHEMA: &str = "
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    user TEXT,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    crc INTEGER NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX sessions_by_user ON sessions (tenant, user, number);
CREATE INDEX messages_by_position ON records (collection, session, position) WHERE position IS NOT NULL;
";

/// Messages of the roles that say what a conversation is to be like. A version before knew `system` alone.
pub(crate) const INSTRUCTIONS: &str = "
DROP INDEX IF EXISTS system_messages;
CREATE INDEX IF NOT EXISTS instruction_messages ON records (collection, session, position)
    WHERE role IN ('system', 'developer');
";

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Order of creation within the store; 0 until it is stored.
    pub number: i64,
    /// Whose it is.
    pub tenant: String,
    /// Unique within the tenant.
    pub id: String,
    /// Number of the collection that its messages are in.
    pub collection: i64,
    /// Whom it is with.
    pub user: Option<String>,
    /// 1 at first, one more with each write to it or to one of its messages.
    pub version: u64,
    /// Everything else.
    pub state: SessionState,
}

/// What a session says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Position of the next message.
    pub next_position: i64,
    /// Messages that are kept in its list; 0 for all.
    pub max_messages: u64,
    /// Whether messages over the cap are deleted, and not only archived.
    #[serde(default)]
    pub deletes_evicted: bool,
    /// Seconds that a message lives, if not for good.
    #[serde(default)]
    pub ttl_s: Option<u64>,
    /// Any JSON object.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// What its older messages said, in short.
    #[serde(default)]
    pub summary: Option<Summary>,
    /// How far its messages are on their way to memories: the pipeline's own, which is not looked into here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<OpaqueJson>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

/// A summary of the first messages of a session; extended, never made anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What they said, in short.
    pub text: String,
    /// Position of the first message that it does not cover.
    pub until: i64,
    /// 1 at first, one more with each extension.
    pub version: u64,
    /// Messages that it covers.
    pub messages: u64,
    /// What made it.
    pub model: String,
}

/// A range of a session's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// After a position, oldest first.
    After(i64),
    /// Before a position, newest first.
    Before(i64),
    /// Those of the system, oldest first.
    System,
}

impl WriteTransaction<'_> {
    /// A session, as this transaction sees it.
    pub fn session(&self, tenant: &str, id: &str) -> Result<Option<StoredSession>, RecordsError> {
        session(self.connection, self.sealing, tenant, id)
    }

    /// Stores a session, new or changed.
    pub fn put_session(&mut self, session: &StoredSession) -> Result<(), RecordsError> {
        let version = session.version.to_string();
        let state = serde_json::to_string(&session.state).unwrap_or_default();
        let state = self.sealing.store(&session.tenant, &place(session, &version), state)?;
        self.connection
            .prepare_cached(
                "INSERT INTO sessions (tenant, id, collection, user, version, state, crc, seal_key, sealed)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (tenant, id) DO UPDATE SET user = excluded.user, version = excluded.version,
                 state = excluded.state, crc = excluded.crc, seal_key = excluded.seal_key, sealed = excluded.sealed",
            )?
            .execute(params![
                session.tenant,
                session.id,
                session.collection,
                session.user,
                session.version as i64,
                state.clear,
                checksum(session, &state),
                state.key,
                state.sealed
            ])?;
        Ok(())
    }

    /// Removes a session, not its messages.
    pub fn drop_session(&mut self, tenant: &str, id: &str) -> Result<(), RecordsError> {
        self.connection.prepare_cached("DELETE FROM sessions WHERE tenant = ? AND id = ?")?.execute([tenant, id])?;
        Ok(())
    }

    /// Ids of a session's oldest messages, so that `keep` are left in its list.
    pub fn messages_over(&self, slots: &Slots, session: &str, keep: u64) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT message_id FROM records WHERE collection = ? AND session = ? AND position >= 0
             ORDER BY position DESC LIMIT -1 OFFSET ?",
        )?;
        let mut ids: Vec<String> = statement
            .query_map(params![slots.collection, session, i64::try_from(keep).unwrap_or(i64::MAX)], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        ids.reverse();
        Ok(ids)
    }

    /// Ids of all of a session's messages, archived ones too.
    pub fn message_ids(&self, slots: &Slots, session: &str) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT message_id FROM records WHERE collection = ? AND session = ? AND message_id IS NOT NULL",
        )?;
        let ids = statement.query_map(params![slots.collection, session], |r| r.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Takes a message out of its session's list.
    pub fn archive(&mut self, slots: &Slots, session: &str, id: &str) -> Result<(), RecordsError> {
        self.move_message(slots, session, id, |position| if position >= 0 { -1 - position } else { position })
    }

    /// Gives a message another position.
    pub fn reposition(&mut self, slots: &Slots, session: &str, id: &str, position: i64) -> Result<(), RecordsError> {
        self.move_message(slots, session, id, |_| position)
    }

    /// Moves a message, if it is there; its checksum covers its place. A damaged one is moved too, and stays damaged.
    fn move_message(
        &mut self,
        slots: &Slots,
        session: &str,
        id: &str,
        to: impl Fn(i64) -> i64,
    ) -> Result<(), RecordsError> {
        let name = Name::Message(Some(session), id);
        let place = name.find(self.connection, "seq, position", slots.collection, |r| Ok((r.get(0)?, r.get(1)?)))?;
        let Some((seq, Some(from))): Option<(i64, Option<i64>)> = place else { return Ok(()) };
        let position = to(from);
        let sql = format!("SELECT {COLUMNS} FROM records WHERE seq = ?");
        let read = self.connection.prepare_cached(&sql)?.query_row([seq], |r| {
            let ((stored, body), before) = (read_fields(r)?, Place::read(r)?);
            let after = Place { position: Some(position), ..before };
            Ok(body.checksum_after(r.get(14)?, (&stored.record, before), (&stored.record, after), stored.version))
        });
        let set = "UPDATE records SET position = ? WHERE seq = ?";
        self.connection.prepare_cached(set)?.execute([position, seq])?;
        match read.map_err(RecordsError::from) {
            Err(RecordsError::Damaged(_)) => {}
            crc => {
                let set = "UPDATE records SET crc = ? WHERE seq = ?";
                self.connection.prepare_cached(set)?.execute(params![crc?, seq])?;
            }
        }
        Ok(())
    }

    /// The messages in a session's list, by position.
    pub fn listed(&self, slots: &Slots, session: &str) -> Result<Vec<StoredRecord>, RecordsError> {
        let mut listed = Vec::new();
        messages(self.connection, self.sealing, slots.collection, session, Range::After(-1), |stored| {
            listed.push(stored);
            true
        })?;
        Ok(listed)
    }
}

impl Reader {
    /// A session.
    pub fn session(&self, tenant: &str, id: &str) -> Result<Option<StoredSession>, RecordsError> {
        session(&self.connection, &self.sealing, tenant, id)
    }

    /// A tenant's sessions, of one user or of all, newest first; those before a number.
    pub fn sessions(
        &self,
        tenant: &str,
        user: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredSession>, RecordsError> {
        let of_user = if user.is_some() { "user = ?2" } else { "?2 IS NULL" };
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM sessions WHERE tenant = ?1 AND {of_user} AND number < ?3 \
             ORDER BY number DESC LIMIT ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows =
            statement.query_map(params![tenant, user, before, limit as i64], |r| read_session(r, &self.sealing))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many sessions a user has.
    pub fn count_sessions(&self, tenant: &str, user: &str) -> Result<u64, RecordsError> {
        let sql = "SELECT count(*) FROM sessions WHERE tenant = ? AND user = ?";
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([tenant, user], |r| r.get(0))?;
        Ok(count as u64)
    }

    /// Calls `each` with a session's messages in the order of the range, until it says `false`. A damaged one is
    /// passed over: [`Reader::check_records`] names it.
    pub fn messages(
        &self,
        collection: i64,
        session: &str,
        range: Range,
        each: impl FnMut(StoredRecord) -> bool,
    ) -> Result<(), RecordsError> {
        messages(&self.connection, &self.sealing, collection, session, range, each)
    }

    /// A session's messages from a place on up to another one, archived ones too, in their order. A damaged one is
    /// passed over.
    pub fn messages_between(
        &self,
        collection: i64,
        session: &str,
        from: i64,
        until: i64,
    ) -> Result<Vec<StoredRecord>, RecordsError> {
        let mut found = Vec::new();
        // An archived message's position is -1 less its place.
        for (first, end) in [(from, until), (-until, -from)] {
            let sql = format!(
                "SELECT {COLUMNS} FROM records \
                 WHERE collection = ? AND session = ? AND position >= ? AND position < ? ORDER BY position"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![collection, session, first, end])?;
            while let Some(row) = rows.next()? {
                match read_record(row, &self.sealing).map_err(RecordsError::from) {
                    Ok(stored) => found.push(stored),
                    Err(RecordsError::Damaged(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.sort_by_key(|stored| stored.record.message.as_ref().map(Message::place));
        Ok(found)
    }

    /// Calls `each` with a session's messages from a place on, archived ones too, in their order, until it says
    /// `false`. A damaged one is passed over.
    pub fn messages_from(
        &self,
        collection: i64,
        session: &str,
        place: i64,
        mut each: impl FnMut(StoredRecord) -> bool,
    ) -> Result<(), RecordsError> {
        let sql = |condition| {
            format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND session = ? AND position {condition}")
        };
        let mut listed = self.connection.prepare_cached(&sql(">= ? ORDER BY position"))?;
        // An archived message's position is -1 less its place.
        let mut archived = self.connection.prepare_cached(&sql("<= ? ORDER BY position DESC"))?;
        let mut listed = listed.query(params![collection, session, place.max(0)])?;
        let mut archived = archived.query(params![collection, session, -1 - place.max(0)])?;
        let (mut next_listed, mut next_archived) = (self.next_message(&mut listed)?, self.next_message(&mut archived)?);
        loop {
            let place = |next: &Option<StoredRecord>| Some(next.as_ref()?.record.message.as_ref()?.place());
            let listed_is_first = match (place(&next_listed), place(&next_archived)) {
                (Some(listed), Some(archived)) => listed < archived,
                (listed, _) => listed.is_some(),
            };
            let next = if listed_is_first {
                std::mem::replace(&mut next_listed, self.next_message(&mut listed)?)
            } else {
                std::mem::replace(&mut next_archived, self.next_message(&mut archived)?)
            };
            if !next.is_some_and(&mut each) {
                return Ok(());
            }
        }
    }

    fn next_message(&self, rows: &mut Rows) -> Result<Option<StoredRecord>, RecordsError> {
        while let Some(row) = rows.next()? {
            match read_record(row, &self.sealing).map_err(RecordsError::from) {
                Err(RecordsError::Damaged(_)) => {}
                read => return read.map(Some),
            }
        }
        Ok(None)
    }

    /// Messages in a session's list, from a position on.
    pub fn count_messages(&self, collection: i64, session: &str, from: i64) -> Result<u64, RecordsError> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM records WHERE collection = ? AND session = ? AND position >= ?")?
            .query_row(params![collection, session, from.max(0)], |r| r.get(0))?;
        Ok(count as u64)
    }
}

impl Reader {
    /// Which sessions do not have their checksum.
    pub(crate) fn damaged_sessions(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {SESSION_COLUMNS} FROM sessions"))?;
        let sessions = statement.query_map([], |r| read_session(r, &self.sealing))?;
        Ok(sessions.filter_map(|session| Some(RecordsError::from(session.err()?).to_string())).collect())
    }
}

fn messages(
    connection: &Connection,
    sealing: &Sealing,
    collection: i64,
    session: &str,
    range: Range,
    mut each: impl FnMut(StoredRecord) -> bool,
) -> Result<(), RecordsError> {
    let (condition, position) = match range {
        Range::After(position) => ("position > ? AND position >= 0 ORDER BY position", position),
        Range::Before(position) => ("position < ? AND position >= 0 ORDER BY position DESC", position),
        Range::System => ("role IN ('system', 'developer') AND position > ? ORDER BY position", -1),
    };
    let sql = format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND session = ? AND {condition}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![collection, session, position])?;
    while let Some(row) = rows.next()? {
        match read_record(row, sealing).map_err(RecordsError::from) {
            Ok(stored) => {
                if !each(stored) {
                    break;
                }
            }
            Err(RecordsError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) const SESSION_COLUMNS: &str = "number, tenant, id, collection, user, version, state, crc, seal_key, sealed";

fn session(
    connection: &Connection,
    sealing: &Sealing,
    tenant: &str,
    id: &str,
) -> Result<Option<StoredSession>, RecordsError> {
    connection
        .prepare_cached(&format!("SELECT {SESSION_COLUMNS} FROM sessions WHERE tenant = ? AND id = ?"))?
        .query_row([tenant, id], |r| read_session(r, sealing))
        .optional()
        .map_err(RecordsError::from)
}

/// Reads a session and holds it against its checksum.
pub(crate) fn read_session(r: &Row, sealing: &Sealing) -> rusqlite::Result<StoredSession> {
    let state = StoredText::read(r, 6, 8)?;
    let mut session = StoredSession {
        number: r.get(0)?,
        tenant: r.get(1)?,
        id: r.get(2)?,
        collection: r.get(3)?,
        user: r.get(4)?,
        version: r.get::<_, i64>(5)? as u64,
        state: SessionState::default(),
    };
    let crc = checksum(&session, &state);
    let version = session.version.to_string();
    session.state = read_body(sealing, &place(&session, &version), state, r.get(7)?, crc)?;
    Ok(session)
}

/// Where a session's state belongs.
fn place<'a>(session: &'a StoredSession, version: &'a str) -> [&'a str; 4] {
    ["session", &session.tenant, &session.id, version]
}

fn checksum(session: &StoredSession, state: &StoredText) -> u32 {
    let place = format!("{} {}", session.collection, session.version);
    checksum_of(&[&session.tenant, &session.id, &place, session.user.as_deref().unwrap_or_default()], state)
}
