//! The tables of the database, and what brings those of an older version up to date.

use crate::RecordsError;
use crate::foreign;
use crate::{audit, blobs, checkpoints, jobs, media, messages, queue, recall_counts, sealing, sessions, slots, usage};
use rusqlite::Connection;
use std::path::Path;

/// Version of the schema, kept in `user_version`. 2 added the checksums of records; those written before have none
/// until they are written again. 3 made of rows slots, and brought sessions, checkpoints and queues. 4 lets texts be
/// sealed, counts uses, and keeps images and recordings. 5 finds messages by ids of their own, and those of the role
/// `developer` among the instructions. 6 keeps jobs. 7 keys entries of the audit log. 8 keeps where the windows of long
/// texts stand. 9 keeps payloads of records, when they were
/// last written, and blobs of threads. 10 has collections that compare by distance, and such without vectors, which an
/// older membox would take for damaged.
pub const SCHEMA_VERSION: u32 = 10;
/// From which version on messages are found by ids of their own.
const MESSAGES_HAVE_IDS: u32 = 5;

const SCHEMA: &str = "
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    vector_file BLOB NOT NULL,
    rows INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    slot INTEGER NOT NULL,
    row_crc INTEGER NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    importance REAL,
    given_vector INTEGER NOT NULL,
    user TEXT,
    session TEXT,
    kind TEXT,
    id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL,
    crc INTEGER,
    position INTEGER,
    role TEXT,
    message TEXT,
    windows BLOB,
    payload TEXT,
    updated_at INTEGER
) STRICT;
CREATE UNIQUE INDEX records_by_id ON records (collection, id);
CREATE UNIQUE INDEX records_by_slot ON records (collection, slot);
CREATE INDEX records_by_time ON records (collection, created_at, seq);
CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
";

/// Each concept's own tables.
const TABLES: [&str; 16] = [
    SCHEMA,
    slots::SCHEMA,
    sessions::SCHEMA,
    sessions::INSTRUCTIONS,
    checkpoints::SCHEMA,
    queue::SCHEMA,
    audit::SCHEMA,
    audit::KEY,
    usage::SCHEMA,
    sealing::SCHEMA,
    recall_counts::SCHEMA,
    media::SCHEMA,
    messages::SCHEMA,
    messages::INDEX,
    jobs::SCHEMA,
    blobs::SCHEMA,
];

/// What leads from each older version of the schema to the one after it.
const MIGRATIONS: [&[&str]; 9] = [
    &["ALTER TABLE records ADD COLUMN crc INTEGER;"],
    // Until now compactions numbered the records anew, so that each one's slot is its row.
    &[
        "ALTER TABLE records RENAME COLUMN row TO slot;
         ALTER TABLE records ADD COLUMN position INTEGER;
         ALTER TABLE records ADD COLUMN role TEXT;
         ALTER TABLE records ADD COLUMN message TEXT;",
        slots::SCHEMA,
        sessions::SCHEMA,
        checkpoints::SCHEMA,
        queue::SCHEMA,
        audit::SCHEMA,
        usage::SCHEMA,
    ],
    &[sealing::SCHEMA, recall_counts::SCHEMA, media::SCHEMA],
    &[messages::SCHEMA, messages::NAME_OLD, sessions::INSTRUCTIONS],
    &[jobs::SCHEMA],
    &[audit::KEY],
    &["ALTER TABLE records ADD COLUMN windows BLOB;"],
    &[
        "ALTER TABLE records ADD COLUMN payload TEXT;
         ALTER TABLE records ADD COLUMN updated_at INTEGER;",
        blobs::SCHEMA,
    ],
    // Settings that say nothing of it mean what they meant.
    &[],
];

/// Makes the tables, or brings those of an older version up to date, in one commit. No key is needed. A database whose
/// schema is not ours is refused, and stays as it is.
pub(crate) fn bring_up_to_date(connection: &Connection, path: &Path) -> Result<(), RecordsError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    match found {
        SCHEMA_VERSION => return check(connection, path),
        0 => {
            foreign::check_empty(connection, path)?;
            connection.execute_batch(&format!("BEGIN; {}", TABLES.concat()))?;
        }
        1..SCHEMA_VERSION => {
            // What the schema is shows at the end. Until then none of its code runs.
            foreign::set_code_enabled(connection, false)?;
            let steps = MIGRATIONS[found as usize - 1..].concat().concat();
            connection.execute_batch(&format!("BEGIN; {steps}"))?;
            if found < MESSAGES_HAVE_IDS {
                messages::put_back(connection)?;
                connection.execute_batch(messages::INDEX)?;
            }
            check(connection, path)?;
            foreign::set_code_enabled(connection, true)?;
        }
        found => return Err(RecordsError::TooNew { path: path.to_owned(), found, known: SCHEMA_VERSION }),
    }
    Ok(connection.execute_batch(&format!("PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?)
}

/// Refuses a database of this version whose schema is not ours.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), RecordsError> {
    foreign::check(connection, path, &TABLES.concat())
}
