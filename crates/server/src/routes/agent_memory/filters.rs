//! agent-memory-server's filters as ours.

use super::{LONG_TERM, moment};
use crate::problem::Problem;
use crate::routes::mem0::{bad, impossible};
use membox_api::{AgentMemorySearch, AgentMemoryTags, AgentMemoryTimes};
use serde_json::{Value, json};

/// The conditions of a search.
pub(super) fn of_search(search: &AgentMemorySearch, at: &str) -> Result<Vec<Value>, Problem> {
    let says = |tags: &Option<AgentMemoryTags>| tags.as_ref().is_some_and(|tags| !of_tags("id", tags).is_empty());
    if search.last_accessed.as_ref().is_some_and(|times| of_times("created_at", times, at).is_ok_and(|c| !c.is_empty()))
    {
        return Err(impossible(format!("{at}/last_accessed"), format!("{LONG_TERM} does not know when it was asked")));
    }
    if says(&search.extraction_strategy) {
        return Err(impossible(format!("{at}/extraction_strategy"), "how a memory was made is not kept"));
    }
    let tags = [
        ("metadata.session_id", &search.session_id),
        ("metadata.namespace", &search.namespace),
        ("user", &search.user_id),
        ("metadata.topics", &search.topics),
        ("metadata.entities", &search.entities),
        ("kind", &search.memory_type),
    ];
    let mut all: Vec<Value> =
        tags.into_iter().filter_map(|(field, tags)| Some(of_tags(field, tags.as_ref()?))).flatten().collect();
    let times =
        [("created_at", "created_at", &search.created_at), ("metadata.event_date", "event_date", &search.event_date)];
    for (field, name, times) in times {
        if let Some(times) = times {
            all.extend(of_times(field, times, &format!("{at}/{name}"))?);
        }
    }
    Ok(all)
}

/// The conditions of a namespace, a user and a conversation, where they are given.
pub(super) fn of_owner(namespace: Option<&String>, user: Option<&String>, session: Option<&String>) -> Vec<Value> {
    let given = [("metadata.namespace", namespace), ("user", user), ("metadata.session_id", session)];
    given.into_iter().filter_map(|(field, value)| Some(json!({"field": field, "eq": value?}))).collect()
}

fn of_tags(field: &str, tags: &AgentMemoryTags) -> Vec<Value> {
    let AgentMemoryTags { eq, ne, any, none, all, startswith } = tags;
    let given = [
        ("eq", eq.as_ref().map(|value| json!(value))),
        ("ne", ne.as_ref().map(|value| json!(value))),
        ("in", any.as_ref().map(|values| json!(values))),
        ("nin", none.as_ref().map(|values| json!(values))),
        ("all", all.as_ref().map(|values| json!(values))),
        ("prefix", startswith.as_ref().map(|value| json!(value))),
    ];
    given.into_iter().filter_map(|(name, value)| Some(json!({"field": field, name: value?}))).collect()
}

fn of_times(field: &str, times: &AgentMemoryTimes, at: &str) -> Result<Vec<Value>, Problem> {
    let AgentMemoryTimes { eq, ne, gt, gte, lt, lte, between } = times;
    let mut given = vec![("eq", eq), ("ne", ne), ("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)];
    let bounds = match between.as_deref() {
        None => None,
        Some([first, last]) => Some((Some(first.clone()), Some(last.clone()))),
        Some(_) => return Err(bad(format!("{at}/between"), "two times are wanted")),
    };
    if let Some((first, last)) = &bounds {
        given.extend([("gte", first), ("lte", last)]);
    }
    let mut conditions = Vec::new();
    for (name, time) in given {
        if let Some(time) = time {
            conditions.push(json!({"field": field, name: moment(time, &format!("{at}/{name}"))?}));
        }
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(search: Value) -> Result<Vec<Value>, String> {
        let search: AgentMemorySearch = serde_json::from_value(search).expect("a search");
        of_search(&search, "").map_err(|problem| problem.errors[0].pointer.clone())
    }

    #[test]
    fn its_filters_say_the_same_in_ours() {
        let search = json!({"namespace": {"eq": "n"}, "user_id": {"in_": ["a"]}, "topics": {"all": ["x", "y"]},
            "memory_type": {"not_eq": "message"}, "session_id": {}, "created_at": {"gte": "2026-05-20T15:00:00+00:00"},
            "event_date": {"between": ["2026-05-20T15:00:00", "2026-05-21T15:00:00Z"]}});
        let ours = vec![
            json!({"field": "metadata.namespace", "eq": "n"}),
            json!({"field": "user", "in": ["a"]}),
            json!({"field": "metadata.topics", "all": ["x", "y"]}),
            json!({"field": "kind", "ne": "message"}),
            json!({"field": "created_at", "gte": "2026-05-20T15:00:00Z"}),
            json!({"field": "metadata.event_date", "gte": "2026-05-20T15:00:00Z"}),
            json!({"field": "metadata.event_date", "lte": "2026-05-21T15:00:00Z"}),
        ];
        assert_eq!(of(search), Ok(ours));
    }

    #[test]
    fn what_the_box_does_not_know_is_refused_by_its_place() {
        for (search, at) in [
            (json!({"last_accessed": {"gte": "2026-05-20T15:00:00Z"}}), "/last_accessed"),
            (json!({"extraction_strategy": {"eq": "summary"}}), "/extraction_strategy"),
            (json!({"created_at": {"lt": "soon"}}), "/created_at/lt"),
            (json!({"event_date": {"between": ["2026-05-20T15:00:00Z"]}}), "/event_date/between"),
        ] {
            assert_eq!(of(search), Err(at.to_owned()));
        }
        assert_eq!(of(json!({"last_accessed": {}, "extraction_strategy": {}})), Ok(Vec::new()));
    }
}
