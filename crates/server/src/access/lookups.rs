//! Whose a record or a session is that is named by its id.

use crate::auth::Caller;
use crate::etag::IfMatch;
use crate::problem::Problem;
use axum::http::StatusCode;
use membox_api::{NewRecord, RecordPatch, RecordView};
use membox_memory::{MemoryBox, MemoryError};

impl Caller {
    /// Refuses a session that the key does not reach, and one that is not there unless it may be made.
    pub fn hold_session(&self, memory: &MemoryBox, id: &str, may_be_new: bool) -> Result<(), Problem> {
        self.reach.session(id)?;
        if self.reach.collections.is_none() && self.reach.users.is_none() {
            return Ok(());
        }
        match memory.sessions().session(&self.tenant, id) {
            Ok(found) => {
                let is_of_user = super::Reach::has(&self.reach.users, found.user.as_deref());
                let is_of_collection = super::Reach::has(&self.reach.collections, Some(&found.collection));
                if is_of_user && is_of_collection { Ok(()) } else { Err(self.no_session(id)) }
            }
            Err(MemoryError::NoSession(_)) if may_be_new => Ok(()),
            // A name that no session can have is said by who makes one.
            Err(MemoryError::NoSession(_)) => Err(self.no_session(id)),
            Err(error) => Err(error.into()),
        }
    }

    fn no_session(&self, id: &str) -> Problem {
        let lists = [("users", self.reach.users.is_some()), ("collections", self.reach.collections.is_some())];
        let lists: Vec<&str> = lists.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
        let shown: String = id.chars().take(100).collect();
        let detail = format!("this key reaches no session {shown:?}: there is none of its {}", lists.join(" and "));
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    fn no_record(&self, id: &str) -> Problem {
        let lists = [("users", self.reach.users.is_some()), ("sessions", self.reach.sessions.is_some())];
        let lists: Vec<&str> = lists.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
        let shown: String = id.chars().take(100).collect();
        let detail = format!("this key reaches no record {shown:?}: there is none of its {}", lists.join(" and "));
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// A record that the key reaches. Where it reaches some only, one that is not there is as any other.
    pub fn record(&self, memory: &MemoryBox, collection: &str, id: &str) -> Result<RecordView, Problem> {
        self.reach.collection(collection)?;
        match memory.records().record_with_payload(&self.tenant, collection, id) {
            Ok(found) if self.reach.has_record(found.user.as_deref(), found.session.as_deref()) => Ok(found),
            Err(error) if !self.reach.is_of_records() => Err(error.into()),
            Ok(_) | Err(MemoryError::NoRecord(_)) => Err(self.no_record(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the key reaches a record of a collection that it reaches.
    pub fn reaches(&self, record: &RecordView) -> bool {
        self.reach.has_record(record.user.as_deref(), record.session.as_deref())
    }

    /// Refuses a record that the key does not reach. Gives the version that was looked at, where one had to be: what is
    /// done next is to be done to that one.
    pub fn looked_at(&self, memory: &MemoryBox, collection: &str, id: &str) -> Result<Option<u64>, Problem> {
        self.reach.collection(collection)?;
        if !self.reach.is_of_records() {
            return Ok(None);
        }
        Ok(Some(self.record(memory, collection, id)?.version))
    }

    /// Refuses a record that the key does not reach. Gives the version that it must have for what is done next: where
    /// the request names none, the one that was looked at.
    pub fn hold_version(
        &self,
        memory: &MemoryBox,
        collection: &str,
        id: &str,
        expected: IfMatch,
    ) -> Result<IfMatch, Problem> {
        Ok(match (self.looked_at(memory, collection, id)?, expected) {
            (Some(version), IfMatch::Unsaid | IfMatch::Any) => IfMatch::OneOf(vec![version]),
            (_, named) => named,
        })
    }

    /// Holds records that are about to be written: one that would be replaced must be in the key's reach, and for a
    /// key that only adds there must be none. Their sessions are no others'.
    pub fn hold_records(&self, memory: &MemoryBox, collection: &str, records: &mut [NewRecord]) -> Result<(), Problem> {
        self.reach.collection(collection)?;
        for (i, record) in records.iter_mut().enumerate() {
            if let Some(session) = &record.session {
                self.hold_session(memory, session, true).map_err(|problem| {
                    Problem::field(StatusCode::FORBIDDEN, format!("/records/{i}/session"), &problem.detail)
                })?;
            }
            let Some(id) = &record.id else { continue };
            if self.only_adds() {
                if record.version.is_some_and(|version| version > 0) {
                    let detail = "this key has the access \"append\": it replaces no version";
                    return Err(Problem::field(StatusCode::FORBIDDEN, format!("/records/{i}/version"), detail));
                }
                record.version = Some(0);
            } else if self.reach.is_of_records() {
                let found = match memory.records().record(&self.tenant, collection, id) {
                    Err(MemoryError::NoRecord(_)) => 0,
                    Ok(found) if self.reach.has_record(found.user.as_deref(), found.session.as_deref()) => {
                        found.version
                    }
                    Ok(_) => {
                        let problem = self.no_record(id);
                        return Err(Problem::field(StatusCode::FORBIDDEN, format!("/records/{i}/id"), &problem.detail));
                    }
                    Err(error) => return Err(error.into()),
                };
                record.version.get_or_insert(found);
            }
        }
        Ok(())
    }

    /// Holds a change of a record: it does not go to another's session.
    pub fn hold_patch(&self, memory: &MemoryBox, patch: &RecordPatch) -> Result<(), Problem> {
        match &patch.session {
            Some(Some(session)) => self
                .hold_session(memory, session, true)
                .map_err(|problem| Problem::field(StatusCode::FORBIDDEN, "/session", &problem.detail)),
            _ => Ok(()),
        }
    }

    /// What is said of what is there already to a key that only adds.
    pub fn is_there(&self, what: &str, id: &str) -> Problem {
        let shown: String = id.chars().take(100).collect();
        let detail = format!(
            "the {what} {shown:?} is there, and this key has the access {:?}: it replaces nothing",
            self.access.name()
        );
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// A conflict that only comes of the key's own access, in those words.
    pub fn own_conflict(&self, what: &str, error: MemoryError) -> Problem {
        match error {
            MemoryError::Records(membox_memory::RecordsError::VersionConflict { id, expected: 0, .. })
                if self.only_adds() =>
            {
                self.is_there(what, &id)
            }
            other => other.into(),
        }
    }
}
