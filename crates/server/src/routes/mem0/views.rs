//! Records as mem0 says them.

use super::{bad, impossible};
use crate::problem::Problem;
use membox_api::{Hit, Mem0Change, Mem0Memory, RecordView};
use membox_memory::{now, time_millis, time_text};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Texts of a memory that are kept, at most: the oldest go first.
const MAX_HISTORY: usize = 100;

/// The parts of a memory.
struct Parts {
    id: String,
    text: String,
    user: Option<String>,
    metadata: Map<String, Value>,
    created_at: String,
    updated_at: Option<String>,
    expires_at: Option<String>,
    score: Option<f32>,
}

fn memory(parts: Parts) -> Mem0Memory {
    let Parts { id, text, user, mut metadata, created_at, updated_at, expires_at, score } = parts;
    let (agent_id, app_id, run_id) =
        (metadata.remove("agent_id"), metadata.remove("app_id"), metadata.remove("run_id"));
    let categories = metadata.get("categories").and_then(Value::as_array).cloned().unwrap_or_default();
    Mem0Memory {
        id,
        memory: text,
        user_id: user,
        agent_id,
        app_id,
        run_id,
        metadata,
        categories,
        updated_at: updated_at.unwrap_or_else(|| created_at.clone()),
        created_at,
        expiration_date: expires_at,
        score,
    }
}

pub(super) fn memory_of_record(record: RecordView) -> Mem0Memory {
    let RecordView { id, text, user, metadata, created_at, updated_at, expires_at, .. } = record;
    memory(Parts { id, text, user, metadata, created_at, updated_at, expires_at, score: None })
}

pub(super) fn memory_of_hit(hit: Hit) -> Mem0Memory {
    let Hit { id, text, user, metadata, created_at, updated_at, relevance, score, .. } = hit;
    memory(Parts {
        id,
        text: text.unwrap_or_default(),
        user,
        metadata: metadata.unwrap_or_default(),
        created_at: created_at.unwrap_or_default(),
        updated_at,
        expires_at: None,
        score: Some(relevance.unwrap_or(score)),
    })
}

/// What a memory said, as its payload keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    texts: Vec<Said>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Said {
    text: String,
    /// Since when, RFC 3339.
    at: String,
}

impl History {
    /// That of a record; one that was never changed has one text.
    pub fn of(record: &RecordView) -> Self {
        let kept = record.payload.as_ref().and_then(|payload| serde_json::from_str::<Self>(payload.get()).ok());
        kept.filter(|kept| kept.texts.last().is_some_and(|last| last.text == record.text))
            .unwrap_or_else(|| Self { texts: vec![Said { text: record.text.clone(), at: record.created_at.clone() }] })
    }

    /// With another text, from now on.
    pub fn with(mut self, text: &str) -> Self {
        self.texts.push(Said { text: text.to_owned(), at: time_text(now()) });
        self.texts.drain(..self.texts.len().saturating_sub(MAX_HISTORY));
        self
    }

    /// As mem0 lists it.
    pub fn changes(&self, id: &str) -> Vec<Mem0Change> {
        let created_at = self.texts.first().map(|first| first.at.clone()).unwrap_or_default();
        let before = std::iter::once(None).chain(self.texts.iter().map(|said| Some(said.text.clone())));
        let change = |(said, old_memory): (&Said, Option<String>)| Mem0Change {
            memory_id: id.to_owned(),
            event: if old_memory.is_some() { "UPDATE" } else { "ADD" }.to_owned(),
            old_memory,
            new_memory: said.text.clone(),
            created_at: created_at.clone(),
            updated_at: said.at.clone(),
        };
        self.texts.iter().zip(before).map(change).collect()
    }
}

/// The last moment of a day, RFC 3339.
pub(super) fn day_end(day: &str, at: &str) -> Result<String, Problem> {
    let end = if day.len() == "2026-12-31".len() { format!("{day}T23:59:59.999Z") } else { day.to_owned() };
    let end = time_millis(&end).ok_or_else(|| bad(at, format!("{day:?} is no day: 2026-12-31 is one")))?;
    if end < now() {
        return Err(impossible(at, "the day is over: delete the memory"));
    }
    Ok(time_text(end))
}

/// A moment of seconds since 1970.
pub(super) fn second(seconds: i64, at: &str) -> Result<String, Problem> {
    let milliseconds = seconds.checked_mul(1000).map(time_text);
    milliseconds.filter(|text| time_millis(text).is_some()).ok_or_else(|| bad(at, "seconds since 1970 are wanted"))
}

/// A day, a time or seconds since 1970, RFC 3339.
pub(super) fn moment(given: &Value, at: &str) -> Result<String, Problem> {
    match given {
        Value::Number(seconds) => second(seconds.as_i64().unwrap_or(i64::MAX), at),
        Value::String(text) => {
            let whole = if text.len() == "2026-12-31".len() { format!("{text}T00:00:00Z") } else { text.clone() };
            time_millis(&whole).map(time_text).ok_or_else(|| bad(at, format!("{text:?} is no time")))
        }
        _ => Err(bad(at, "a day, a time or seconds since 1970 are wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_before_the_next() {
        assert_eq!(day_end("2996-12-31", "/d").ok().as_deref(), Some("2996-12-31T23:59:59.999Z"));
        assert!(day_end("2020-12-31", "/d").is_err(), "it would be gone at once");
        assert!(day_end("tomorrow!!", "/d").is_err() && day_end("2026-13-01", "/d").is_err());
        assert_eq!(second(0, "/t").ok(), moment(&"1970-01-01".into(), "/t").ok());
        assert!(second(i64::MAX, "/t").is_err() && moment(&Value::Null, "/t").is_err());
    }

    #[test]
    fn a_history_is_what_was_said_in_turn() {
        let history = History { texts: vec![Said { text: "a".into(), at: "t".into() }] }.with("b");
        let changes = history.changes("1");
        let told: Vec<_> =
            changes.iter().map(|c| (c.old_memory.as_deref(), c.new_memory.as_str(), &*c.event)).collect();
        assert_eq!(told, [(None, "a", "ADD"), (Some("a"), "b", "UPDATE")]);
        let long = (0..300).fold(history, |history, i| history.with(&i.to_string()));
        assert_eq!(long.changes("1").len(), MAX_HISTORY);
    }
}
