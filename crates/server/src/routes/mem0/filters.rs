//! mem0's filters as ours.

use super::views::moment;
use crate::problem::Problem;
use axum::http::StatusCode;
use membox_api::Mem0Owner;
use serde_json::{Map, Value, json};

/// Filters in each other, at most.
const MAX_DEPTH: usize = 16;

/// What mem0 filters memories by and the box does not: metadata of these names would be meant by nobody.
const LACKING: [&str; 4] = ["updated_at", "timestamp", "feedback", "keywords"];

/// What is a memory: messages are records of the collection, too.
fn memories() -> Value {
    json!({"not": {"field": "role", "exists": true}})
}

/// Our name of a field, and in whose metadata it is.
pub(super) fn field(name: &str) -> String {
    match name {
        "user_id" => "user".to_owned(),
        "id" | "memory_id" | "memory_ids" => "id".to_owned(),
        "created_at" => name.to_owned(),
        other => format!("metadata.{other}"),
    }
}

/// The memories that some conditions leave.
pub(super) fn all_of(conditions: Vec<Value>) -> Value {
    let mut all = vec![memories()];
    all.extend(conditions);
    json!({ "and": all })
}

/// The conditions of an owner.
pub(super) fn owned_by(owner: &Mem0Owner) -> Vec<Value> {
    let Mem0Owner { user_id, agent_id, app_id, run_id } = owner;
    let named = [("user_id", user_id), ("agent_id", agent_id), ("app_id", app_id), ("run_id", run_id)];
    named.into_iter().filter_map(|(name, id)| Some(json!({"field": field(name), "eq": id.as_ref()?}))).collect()
}

/// One of these categories.
pub(super) fn of_categories(categories: Option<&Vec<String>>) -> Option<Value> {
    categories.map(|names| json!({"field": field("categories"), "in": names}))
}

/// The conditions of a filter.
pub(super) fn conditions(filters: &Map<String, Value>, at: &str) -> Result<Vec<Value>, Problem> {
    of_object(filters, at, 0)
}

fn bad(at: &str, detail: impl Into<String>) -> Problem {
    Problem::field(StatusCode::BAD_REQUEST, at, detail)
}

fn of_object(filters: &Map<String, Value>, at: &str, depth: usize) -> Result<Vec<Value>, Problem> {
    if depth > MAX_DEPTH {
        return Err(bad(at, format!("filters may be {MAX_DEPTH} deep")));
    }
    let mut all = Vec::with_capacity(filters.len());
    for (name, value) in filters {
        let at = format!("{at}/{name}");
        match name.to_ascii_uppercase().as_str() {
            "AND" | "OR" => {
                let parts = list(value, &at, depth)?;
                all.push(if name.eq_ignore_ascii_case("or") {
                    json!({ "or": parts })
                } else {
                    json!({ "and": parts })
                });
            }
            "NOT" => {
                let parts = if value.is_object() { vec![whole(value, &at, depth)?] } else { list(value, &at, depth)? };
                all.push(json!({"not": {"and": parts}}));
            }
            _ if name == "metadata" => {
                let fields = value.as_object().ok_or_else(|| bad(&at, "an object is wanted"))?;
                for (name, value) in fields {
                    all.extend(of_field(&format!("metadata.{name}"), value, &format!("{at}/{name}"))?);
                }
            }
            _ if LACKING.contains(&name.as_str()) => {
                return Err(bad(&at, format!("memories are not filtered by {name} here")));
            }
            _ if name == "memory_ids" && value.is_array() => all.push(json!({"field": field(name), "in": value})),
            _ => all.extend(of_field(&field(name), value, &at)?),
        }
    }
    Ok(all)
}

fn list(value: &Value, at: &str, depth: usize) -> Result<Vec<Value>, Problem> {
    let parts = value.as_array().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| bad(at, "a list of filters is wanted"))?;
    parts.iter().enumerate().map(|(i, part)| whole(part, &format!("{at}/{i}"), depth)).collect()
}

fn whole(value: &Value, at: &str, depth: usize) -> Result<Value, Problem> {
    let filters = value.as_object().ok_or_else(|| bad(at, "a filter is an object"))?;
    Ok(json!({"and": of_object(filters, at, depth + 1)?}))
}

fn of_field(field: &str, value: &Value, at: &str) -> Result<Vec<Value>, Problem> {
    match value {
        // Any value.
        Value::String(any) if any == "*" => Ok(vec![json!({"field": field, "exists": true})]),
        Value::Object(operators) => operators.iter().map(|(name, value)| operator(field, name, value, at)).collect(),
        Value::Array(_) => Err(bad(at, "a list is said by an operator: {\"in\": [...]}")),
        value => Ok(vec![json!({"field": field, "eq": value})]),
    }
}

fn operator(field: &str, name: &str, value: &Value, at: &str) -> Result<Value, Problem> {
    // A day is its beginning.
    let time =
        (field == "created_at" && value.is_string()).then(|| moment(value, &format!("{at}/{name}"))).transpose()?;
    let value = &time.map_or_else(|| value.clone(), Value::from);
    match name {
        // Any text has it.
        "contains" | "icontains" if value.as_str() == Some("") => Ok(json!({"field": field, "exists": true})),
        "eq" | "ne" | "in" | "nin" | "gt" | "gte" | "lt" | "lte" | "contains" | "icontains" => {
            Ok(json!({"field": field, name: value}))
        }
        other => {
            let known = "eq, ne, in, nin, gt, gte, lt, lte, contains and icontains are known";
            Err(bad(&format!("{at}/{other}"), format!("there is no operator {other:?}: {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filters: Value) -> Result<Vec<Value>, String> {
        let filters = filters.as_object().cloned().unwrap_or_default();
        conditions(&filters, "/filters").map_err(|problem| problem.errors[0].pointer.clone())
    }

    #[test]
    fn mem0s_filters_say_the_same_in_ours() {
        assert_eq!(of(json!({"user_id": "alex"})), Ok(vec![json!({"field": "user", "eq": "alex"})]));
        assert_eq!(of(json!({"run_id": "*"})), Ok(vec![json!({"field": "metadata.run_id", "exists": true})]));
        let nested =
            json!({"AND": [{"user_id": "a"}, {"OR": [{"metadata": {"n": {"gt": 1}}}, {"topic": {"ne": "x"}}]}]});
        let ours = json!({"and": [
            {"and": [{"field": "user", "eq": "a"}]},
            {"and": [{"or": [
                {"and": [{"field": "metadata.n", "gt": 1}]},
                {"and": [{"field": "metadata.topic", "ne": "x"}]},
            ]}]},
        ]});
        assert_eq!(of(nested), Ok(vec![ours]));
        let not = json!({"not": {"and": [{"and": [{"field": "user", "eq": "a"}]}]}});
        assert_eq!(of(json!({"NOT": [{"user_id": "a"}]})), Ok(vec![not.clone()]));
        assert_eq!(of(json!({"NOT": {"user_id": "a"}})), Ok(vec![not]));
    }

    #[test]
    fn what_has_no_meaning_here_is_refused_by_its_place() {
        for (filters, at) in [
            (json!({"user_id": {"like": "a"}}), "/filters/user_id/like"),
            (json!({"OR": []}), "/filters/OR"),
            (json!({"AND": [1]}), "/filters/AND/0"),
            (json!({"metadata": 1}), "/filters/metadata"),
            (json!({"user_id": ["a"]}), "/filters/user_id"),
            (json!({"keywords": {"contains": "a"}}), "/filters/keywords"),
            (json!({"created_at": {"gte": "soon"}}), "/filters/created_at/gte"),
        ] {
            assert_eq!(of(filters), Err(at.to_owned()));
        }
        let deep = (0..30).fold(json!({"user_id": "a"}), |inner, _| json!({"AND": [inner]}));
        assert!(of(deep).is_err());
    }
}
