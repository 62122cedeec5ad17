//! How a memory that the pipeline has made is known.

use membox_store::Record;
use serde_json::{Value, json};

/// Where a memory's topic is in its metadata, and the messages that it is made of.
pub(super) const TOPIC_FIELD: &str = "topic";
pub(super) const SOURCES_FIELD: &str = "sources";
/// Where its session is.
pub(super) const SESSION_FIELD: &str = "session";

/// Whether the pipeline has made a record: it is of a topic and names the messages that it is made of. A caller's
/// own record may have a topic too.
pub(crate) fn is_made(record: &Record) -> bool {
    record.message.is_none() && [TOPIC_FIELD, SOURCES_FIELD].iter().all(|&field| record.metadata.contains_key(field))
}

/// `is_made` as conditions, for a filter's `and`.
pub fn made_conditions() -> Vec<Value> {
    let has = |field: &str| json!({"field": format!("metadata.{field}"), "exists": true});
    vec![has(TOPIC_FIELD), has(SOURCES_FIELD), json!({"field": "role", "exists": false})]
}
