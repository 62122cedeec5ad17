//! Databases that somebody else has made, or changed.
//!
//! A database can hold code: triggers, views, expressions in indexes and columns. A backup from elsewhere must not run
//! any here. So each connection is opened with SQLite's own defences, and the schema is compared with ours, object by
//! object, before anything is read by it.

use crate::RecordsError;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::collections::BTreeMap;
use std::path::Path;

/// The index of a database of version 2, which is `records_by_slot` since.
const OLD_NAMES: [(&str, &str); 1] = [("records_by_row", "records_by_slot")];

/// What makes an object of a schema, by its kind and name.
type Schema = BTreeMap<(String, String), String>;

/// Turns on SQLite's defences against a database that is not ours: its schema can call no function that does more than
/// compute, and nothing writes to the schema's own table.
pub(crate) fn defend(connection: &Connection) -> Result<(), RecordsError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(())
}

/// Lets triggers and views of the database run, or not.
pub(crate) fn set_code_enabled(connection: &Connection, enabled: bool) -> Result<(), RecordsError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, enabled)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, enabled)?;
    Ok(())
}

/// Refuses a database without a version that is not empty.
pub(crate) fn check_empty(connection: &Connection, path: &Path) -> Result<(), RecordsError> {
    match schema(connection)?.keys().next() {
        Some(key) => Err(foreign(path, format!("{}, and no version of a schema", shown(key)))),
        None => Ok(()),
    }
}

/// Refuses a database whose schema is not the one that `tables` make.
pub(crate) fn check(connection: &Connection, path: &Path, tables: &str) -> Result<(), RecordsError> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(tables)?;
    let (ours, found) = (schema(&ours)?, schema(connection)?);
    for (key, sql) in &found {
        match ours.get(key) {
            Some(own) if own == sql => {}
            Some(_) => return Err(foreign(path, format!("{} that is not membox's", shown(key)))),
            None => return Err(foreign(path, format!("{}, which membox does not have", shown(key)))),
        }
    }
    match ours.keys().find(|key| !found.contains_key(*key)) {
        Some(key) => Err(foreign(path, format!("no {}", shown(key)))),
        None => Ok(()),
    }
}

fn foreign(path: &Path, what: String) -> RecordsError {
    RecordsError::Foreign { path: path.to_owned(), what }
}

fn shown((kind, name): &(String, String)) -> String {
    let name: String = name.chars().take(80).collect();
    format!("{kind} {name:?}")
}

/// The objects of a schema. What SQLite makes by itself is left out: it follows from the rest.
fn schema(connection: &Connection) -> Result<Schema, RecordsError> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let mut rows = statement.query([])?;
    let mut found = Schema::new();
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let is_own = kind == "table" && (name == "sqlite_sequence" || name.starts_with("sqlite_stat"));
        if is_own || kind == "index" && sql.is_none() {
            continue;
        }
        let (mut name, mut sql) = (name, settled(&kind, &sql.unwrap_or_default()));
        if let Some((old, new)) = OLD_NAMES.into_iter().find(|(old, _)| kind == "index" && *old == name) {
            (name, sql) = (new.to_owned(), sql.replacen(old, new, 1));
        }
        found.insert((kind, name), sql);
    }
    Ok(found)
}

/// The text that made an object, in a form that does not depend on how it came to be: a table whose columns were added
/// later has them in another order.
fn settled(kind: &str, sql: &str) -> String {
    let sql = spaced(sql);
    let inner = sql.find('(').zip(sql.rfind(')')).filter(|(first, last)| kind == "table" && first < last);
    let Some((first, last)) = inner else { return sql };
    let (mut depth, mut start, mut parts) = (0i64, first + 1, Vec::new());
    for (at, c) in sql[..last].char_indices().skip_while(|(at, _)| *at <= first) {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(sql[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(sql[start..last].trim());
    parts.sort_unstable();
    format!("{} ({}) {}", sql[..first].trim(), parts.join(", "), sql[last + 1..].trim())
}

/// With one blank wherever there is any.
fn spaced(sql: &str) -> String {
    sql.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "databases as somebody else changes them")]
mod tests {
    use crate::{Reader, RecordsError, Sealing, Store};
    use rusqlite::Connection;
    use std::path::PathBuf;

    /// A database with a change by somebody else.
    fn changed(sql: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("membox.db");
        drop(Store::open(&path, Sealing::default()).expect("a store"));
        Connection::open(&path).and_then(|db| db.execute_batch(sql)).expect("a change");
        (folder, path)
    }

    fn refusal<T>(opened: Result<T, RecordsError>) -> String {
        match opened.err() {
            Some(RecordsError::Foreign { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_by_its_name() {
        for (sql, what) in [
            ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM audit; END", "trigger \"t\""),
            ("CREATE VIEW v AS SELECT 1", "view \"v\""),
            ("CREATE TABLE x (a)", "table \"x\""),
            ("CREATE INDEX i ON records (lower(id))", "index \"i\""),
            ("DROP TRIGGER media_gone", "no trigger \"media_gone\""),
            (
                "DROP TRIGGER media_gone; \
                 CREATE TRIGGER media_gone AFTER DELETE ON media BEGIN DELETE FROM records; END",
                "trigger \"media_gone\" that is not membox's",
            ),
            ("ALTER TABLE records ADD COLUMN more TEXT AS (upper(text))", "table \"records\" that is not membox's"),
            (
                "DROP INDEX records_by_id; \
                 CREATE UNIQUE INDEX records_by_id ON records (collection, id COLLATE NOCASE)",
                "index \"records_by_id\" that is not membox's",
            ),
            ("DROP TABLE quotas; CREATE VIEW quotas AS SELECT * FROM usage", "view \"quotas\""),
        ] {
            let (_folder, path) = changed(sql);
            for found in [
                refusal(Reader::open(&path, Sealing::default())),
                refusal(Reader::open_unchanged(&path, Sealing::default())),
                refusal(Store::open(&path, Sealing::default())),
            ] {
                assert!(found.contains(what), "{sql}: {found}");
            }
        }
    }

    #[test]
    fn a_database_without_a_version_is_ours_if_it_is_empty() {
        let (_folder, path) = changed("PRAGMA user_version = 0");
        assert!(refusal(Store::open(&path, Sealing::default())).contains("no version"));
    }

    #[test]
    fn statistics_of_sqlite_are_nothing_foreign() {
        let (_folder, path) = changed("ANALYZE");
        assert!(Store::open(&path, Sealing::default()).is_ok());
    }

    /// The code of an older database does not run while that is brought up to date.
    #[test]
    fn an_older_database_runs_no_code_and_stays_as_it_is_when_it_is_refused() {
        let older = "DROP TABLE channels; DROP TABLE blobs; ALTER TABLE records DROP COLUMN payload; \
                 ALTER TABLE records DROP COLUMN updated_at; ALTER TABLE records DROP COLUMN windows; \
                 ALTER TABLE audit DROP COLUMN key; DROP TABLE jobs;
             DROP INDEX messages_by_id; ALTER TABLE records DROP COLUMN message_id; PRAGMA user_version = 4;
             INSERT INTO collections (tenant, name, settings, vector_file, rows, created_at)
             VALUES ('t', 'c', '{}', x'', 0, 0);
             INSERT INTO records
             (collection, slot, row_crc, version, created_at, given_vector, id, metadata, text, role) VALUES
             (1, 0, 0, 1, 0, 0, 's/1', '{}', '', 'user');
             CREATE TRIGGER t AFTER UPDATE ON records BEGIN DELETE FROM collections; END;";
        let (_folder, path) = changed(older);
        assert!(refusal(Store::open(&path, Sealing::default())).contains("trigger \"t\""));
        let db = Connection::open(&path).expect("a database");
        let version: u32 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).expect("a version");
        let collections: u32 = db.query_row("SELECT count(*) FROM collections", [], |r| r.get(0)).expect("a count");
        assert_eq!((version, collections), (4, 1));
        db.execute_batch("DROP TRIGGER t").expect("a change");
        Store::open(&path, Sealing::default()).expect("without it, it is brought up to date");
    }

    /// As a box of version 2 has left it: its index had the name of the column of then.
    #[test]
    fn an_index_that_has_its_older_name_is_ours() {
        let (_folder, path) =
            changed("DROP INDEX records_by_slot; CREATE UNIQUE INDEX records_by_row ON records (collection, slot)");
        assert!(Store::open(&path, Sealing::default()).is_ok());
    }
}
