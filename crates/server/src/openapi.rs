//! What the API's document says of all routes alike, so that no route has to: ids, errors, keys, parameters, and the
//! forms that other tools want.

use crate::dialect::Dialect;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Routes that ask for no key.
const WITHOUT_KEY: [(&str, &str); 6] =
    [("get", "/v1/health"), ("get", "/"), ("get", "/health"), ("get", "/info"), ("get", "/ping"), ("get", "/ready")];
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
const PROBLEM: &str = "#/components/schemas/Problem";

/// What parameters of paths are, by how a path names them.
const PARAMETERS: [(&str, &str); 17] = [
    ("collections/{collection}", "The collection's name: `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`."),
    ("records/{id}", "The record's id."),
    ("jobs/{id}", "The job's id."),
    ("sessions/{session}", "The session's id, 1 to 255 bytes."),
    ("messages/{message}", "The message's id, as the session has it."),
    ("queue/{id}", "The input's id, as it was given out."),
    ("threads/{thread}", "The thread's id, 1 to 255 bytes."),
    ("checkpoints/{id}", "The checkpoint's id, 1 to 255 bytes."),
    ("blobs/{channel}", "The channel, 1 to 255 bytes."),
    ("{channel}/{version}", "The version of its value, 1 to 255 bytes."),
    ("writes/{task}", "The task's id, 1 to 255 bytes."),
    ("keys/{id}", "The key's id, as the list of keys has it."),
    ("users/{user}", "The user."),
    ("quotas/{user}", "The user; `*` for all who have no quota of their own."),
    ("models/{model}", "The model's name."),
    ("models/{organisation}", "Whose model it is, where its name says so."),
    ("{organisation}/{model}", "The model's name, after whose it is."),
];

/// The document as it is given out.
pub fn finish(document: &utoipa::openapi::OpenApi) -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(document)?;
    document["servers"] = json!([{"url": "/", "description": "this box"}]);
    document["security"] = json!([{"key": []}, {}]);
    document["components"]["securitySchemes"] = json!({"key": {
        "type": "http", "scheme": "bearer",
        "description": "A key of the box's settings, or one that was made by POST /v1/keys or `membox keys create`. A \
            box that has no keys takes requests without one.",
    }});
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                finish_operation(method, path, operation);
            }
        }
    }
    let (asked, used) = (asked_for(&document), used(&document));
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| used.contains(name));
    }
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if asked.contains(name) {
            say_defaults(schema);
        } else {
            drop_nulls(schema);
        }
    }
    // An answer to `json_data` is one to `context` too, with more in it.
    let answers = document["components"]["schemas"]["CompressAnswer"].as_object_mut();
    if let Some((answers, alternatives)) = answers.and_then(|a| a.remove("oneOf").map(|alternatives| (a, alternatives)))
    {
        answers.insert("anyOf".to_owned(), alternatives);
    }
    finish_schemas(&mut document);
    Ok(document)
}

fn finish_operation(method: &str, path: &str, operation: &mut Value) {
    // Functions of different modules have the same names; tags tell them apart.
    let id = [&operation["tags"][0], &operation["operationId"]].map(|part| part.as_str().unwrap_or_default()).join("_");
    operation["operationId"] = id.into();
    if WITHOUT_KEY.contains(&(method, path)) {
        operation["security"] = json!([]);
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        // A query or a header has no null.
        drop_null(&mut parameter["schema"]);
        let named = format!("{{{}}}", parameter["name"].as_str().unwrap_or_default());
        let known = PARAMETERS.iter().find(|(place, _)| place.ends_with(&named) && path.contains(place));
        if let Some((_, description)) = known.filter(|_| parameter["description"].is_null()) {
            parameter["description"] = (*description).into();
        }
    }
    let schema = match Dialect::of(path) {
        Some(Dialect::OpenAi) => "#/components/schemas/OpenAiProblem",
        Some(Dialect::Tei) => "#/components/schemas/TeiProblem",
        Some(Dialect::Detail) | None => PROBLEM,
    };
    let kind = match Dialect::of(path) {
        Some(Dialect::Detail) => "application/json",
        _ => "application/problem+json",
    };
    let problem = json!({kind: {"schema": {"$ref": schema}}});
    for response in operation["responses"].as_object_mut().into_iter().flatten().map(|(_, response)| response) {
        if response["content"]["application/json"]["schema"]["$ref"] == PROBLEM {
            response["content"] = problem.clone();
        }
        if let Some(file) = response.pointer_mut("/content/application~1octet-stream") {
            file["schema"] = json!({"type": "string", "format": "binary"});
        }
    }
    let others = "any other error: a key that is missing, not known or expired (401), a key that may not do this or a \
        page of another site (403), a quota or a queue that is full (429), and so on";
    operation["responses"]["default"] = json!({"description": others, "content": problem});
}

/// Names of the schemas that requests are made of. In those a field may be null, which is as if it were left out; in
/// answers what is missing is left out.
fn asked_for(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in document["paths"].as_object().into_iter().flatten().map(|(_, item)| item) {
        for operation in METHODS.iter().filter_map(|method| item.get(method)) {
            references(document, &operation["requestBody"], &mut found);
            references(document, &operation["parameters"], &mut found);
        }
    }
    found
}

/// Names of the schemas that anything is made of. The parts that a request's fields are taken from are not.
fn used(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    references(document, &document["paths"], &mut found);
    found
}

fn references(document: &Value, value: &Value, found: &mut BTreeSet<String>) {
    let name = value["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
    if let Some(name) = name
        && found.insert(name.to_owned())
    {
        references(document, &document["components"]["schemas"][name], found);
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| references(document, value, found)),
        Value::Array(values) => values.iter().for_each(|value| references(document, value, found)),
        _ => {}
    }
}

/// Says the defaults of a request's fields in words. A field with `default` is one that is always there to
/// openapi-typescript, so that no request could leave it out.
fn say_defaults(schema: &mut Value) {
    for (_, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let default = property.as_object_mut().and_then(|property| property.remove("default"));
        if let Some(default) = default.filter(|default| !default.is_null()) {
            let description = property["description"].as_str().unwrap_or_default();
            property["description"] = format!("{description}\n\nDefault: `{default}`.").trim_start().into();
        }
    }
    for key in ["allOf", "oneOf"] {
        schema.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(say_defaults);
    }
}

/// Takes null away from all fields of a schema that may be left out.
fn drop_nulls(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (_, property) in properties.iter_mut().filter(|(name, _)| !required.iter().any(|r| r == name.as_str())) {
            drop_null(property);
        }
    }
    for key in ["allOf", "oneOf"] {
        schema.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(drop_nulls);
    }
}

/// Takes null away from a schema's alternatives.
fn drop_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema["type"] = only;
        }
    }
    if let Some(Value::Array(alternatives)) = schema.get_mut("oneOf") {
        alternatives.retain(|alternative| alternative["type"] != "null");
        if let [only] = alternatives.as_slice() {
            let only = only.clone();
            if let (Some(schema), Value::Object(only)) = (schema.as_object_mut(), only) {
                schema.remove("oneOf");
                schema.extend(only);
            }
        }
    }
}

/// What generators and validators stumble over, in all schemas: a null as default says no more than that the field may
/// be left out; a list of fixed length whose further items are forbidden by `false`; objects whose values nothing is
/// said of.
fn finish_schemas(value: &mut Value) {
    match value {
        Value::Object(schema) => {
            if schema.get("default").is_some_and(Value::is_null) {
                schema.remove("default");
            }
            if let Some(length) = schema.get("prefixItems").and_then(Value::as_array).map(Vec::len) {
                schema.insert("items".to_owned(), json!({}));
                schema.insert("minItems".to_owned(), length.into());
                schema.insert("maxItems".to_owned(), length.into());
            }
            if is_free_object(schema) {
                schema.insert("additionalProperties".to_owned(), json!({}));
            }
            // Examples are what they are.
            schema.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, value)| finish_schemas(value));
        }
        Value::Array(values) => values.iter_mut().for_each(finish_schemas),
        _ => {}
    }
}

fn is_free_object(schema: &Map<String, Value>) -> bool {
    let is_object = match schema.get("type") {
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        _ => false,
    };
    is_object && !["properties", "additionalProperties", "allOf", "oneOf"].iter().any(|key| schema.contains_key(*key))
}
