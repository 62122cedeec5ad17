//! Images and recordings of messages: which file each message has, and which files nobody has any more.
//!
//! The files themselves are none of this crate's business. A file is named here before it is written, so that one
//! that no message comes to have is found again and removed; and it is named again by a trigger when the last message
//! that has it goes.

use crate::reader::Reader;
use crate::record::Record;
use crate::transaction::WriteTransaction;
use crate::{FileName, RecordsError};
use rusqlite::params;

pub(crate) const SCHEMA: &str = "
CREATE TABLE media (
    record INTEGER PRIMARY KEY REFERENCES records (seq) ON DELETE CASCADE,
    collection INTEGER NOT NULL,
    session TEXT,
    file TEXT NOT NULL,
    milliseconds INTEGER
) STRICT;
CREATE INDEX media_by_file ON media (collection, file);
CREATE INDEX media_by_session ON media (collection, session, milliseconds);
CREATE TABLE unused_media (
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (collection, file)
) STRICT;
CREATE TRIGGER media_gone AFTER DELETE ON media
    WHEN EXISTS (SELECT 1 FROM collections WHERE id = old.collection)
    BEGIN INSERT OR REPLACE INTO unused_media (collection, file, since) VALUES (old.collection, old.file, 0); END;
";

impl WriteTransaction<'_> {
    /// Notes the file that a record has, if it has one.
    pub(crate) fn put_media(&mut self, seq: i64, collection: i64, record: &Record) -> Result<(), RecordsError> {
        let Some(media) = record.message.as_ref().and_then(|message| message.media.as_ref()) else { return Ok(()) };
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO media (record, collection, session, file, milliseconds) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![seq, collection, record.session, media.file, media.milliseconds.map(|ms| ms as i64)])?;
        Ok(())
    }

    /// Names a file that is about to be written for a message to come: unless one has it then, it can be removed
    /// after a time.
    pub fn expect_media(&mut self, collection: i64, file: &FileName, until: i64) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO unused_media (collection, file, since) VALUES (?, ?, ?)")?
            .execute(params![collection, file, until])?;
        Ok(())
    }

    /// Forgets the names of files that are in use or that `remove` has removed: those that no message has, by a time.
    /// What is no name of a file is forgotten too.
    pub fn remove_unused_media(
        &mut self,
        now: i64,
        mut remove: impl FnMut(i64, &FileName) -> std::io::Result<()>,
    ) -> Result<usize, RecordsError> {
        let used = "EXISTS (SELECT 1 FROM media \
                    WHERE media.collection = unused_media.collection AND media.file = unused_media.file)";
        self.connection.execute(&format!("DELETE FROM unused_media WHERE {used}"), [])?;
        let unused: Vec<(i64, String)> = self
            .connection
            .prepare_cached("SELECT collection, file FROM unused_media WHERE since <= ?")?
            .query_map([now], |r| Ok((r.get(0)?, r.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut removed = 0;
        for (collection, file) in unused {
            match FileName::new(file.as_str()) {
                Ok(name) => {
                    if let Err(error) = remove(collection, &name) {
                        let what = "a file that no message has could not be removed; it is tried again";
                        tracing::warn!(file, %error, "{what}");
                        continue;
                    }
                }
                Err(error) => tracing::error!(%error, "what was to be removed is no file of a message"),
            }
            self.connection
                .prepare_cached("DELETE FROM unused_media WHERE collection = ? AND file = ?")?
                .execute(params![collection, file])?;
            removed += 1;
        }
        Ok(removed)
    }
}

impl Reader {
    /// The files that messages of a collection have, each once.
    pub fn media_files(&self, collection: i64) -> Result<Vec<FileName>, RecordsError> {
        let sql = "SELECT DISTINCT file FROM media WHERE collection = ? ORDER BY file";
        let mut statement = self.connection.prepare_cached(sql)?;
        let files = statement.query_map([collection], |r| r.get(0))?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    /// Whether there are files that no message has, by a time.
    pub fn has_unused_media(&self, now: i64) -> Result<bool, RecordsError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM unused_media WHERE since <= ? LIMIT 1")?.exists([now])?)
    }

    /// Milliseconds of a session's recordings, archived ones too.
    pub fn recorded_milliseconds(&self, collection: i64, session: &str) -> Result<u64, RecordsError> {
        let sql = "SELECT COALESCE(SUM(milliseconds), 0) FROM media WHERE collection = ? AND session = ?";
        let sum: i64 = self.connection.prepare_cached(sql)?.query_row(params![collection, session], |r| r.get(0))?;
        Ok(sum as u64)
    }
}
