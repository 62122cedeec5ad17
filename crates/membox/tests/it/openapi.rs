//! The API's document: what it says holds, validators take it, and clients that are generated of it work.

use crate::common::{Server, data_with_model};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    membox_server::openapi().expect("the document")
}

/// Every operation, with `METHOD path`.
fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let of =
            move |method: &&str| Some((format!("{} {path}", method.to_uppercase()), path.as_str(), item.get(*method)?));
        METHODS.iter().filter_map(of)
    })
}

/// Calls `look` with every object of the document and the pointer to it; examples are none of it.
fn every_object(value: &Value, at: &str, look: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            look(at, object);
            for (name, value) in object.iter().filter(|(name, _)| *name != "example") {
                every_object(value, &format!("{at}/{name}"), look);
            }
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(i, value)| every_object(value, &format!("{at}/{i}"), look));
        }
        _ => {}
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => schema,
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_one_that_tools_take() {
    let document = document();
    let (mut wrong, mut references) = (Vec::new(), BTreeSet::new());
    every_object(&document, "", &mut |at, object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            references.insert(reference.clone());
        }
        if object.get("default").is_some_and(Value::is_null) {
            wrong.push(format!("{at}: a default of null says nothing"));
        }
        let names = |name: &str| match object.get("type") {
            Some(Value::String(own)) => own == name,
            Some(Value::Array(own)) => own.iter().any(|own| own == name),
            _ => false,
        };
        if names("array") && !object.get("items").is_some_and(Value::is_object) {
            wrong.push(format!("{at}: a list says what its items are"));
        }
        let says_fields =
            ["properties", "additionalProperties", "allOf", "oneOf"].iter().any(|key| object.contains_key(*key));
        if names("object") && !says_fields {
            wrong.push(format!("{at}: an object says what its values are"));
        }
        if at.starts_with("/paths/") && at.contains("/parameters/") && names("null") {
            wrong.push(format!("{at}: a parameter cannot be null"));
        }
    });
    wrong.extend(
        references.iter().filter(|r| document.pointer(&r[1..]).is_none()).map(|r| format!("{r} leads nowhere")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(references.len() > 80 && references.contains("#/components/schemas/Scope"), "{references:?}");
}

#[test]
fn every_operation_has_an_id_of_its_own_described_parameters_and_its_errors() {
    let document = document();
    let (mut ids, mut wrong) = (BTreeSet::new(), Vec::new());
    for (route, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let is_name = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if id.is_empty() || !is_name || !ids.insert(id.to_owned()) {
            wrong.push(format!("{route}: its id is {id:?}"));
        }
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described = |parameter: &Value| parameter["description"].as_str().is_some_and(|text| !text.is_empty());
        let undescribed = parameters.iter().filter(|parameter| !described(parameter));
        wrong.extend(undescribed.map(|parameter| format!("{route}: what is {}?", parameter["name"])));
        let in_path = path.split('{').skip(1).filter_map(|part| part.split('}').next());
        for name in in_path {
            let is_it = |p: &Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
            if !parameters.iter().any(is_it) {
                wrong.push(format!("{route}: {name} is no parameter"));
            }
        }
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let content = response["content"].as_object().cloned().unwrap_or_default();
            let kinds: Vec<&str> = content.keys().map(String::as_str).collect();
            let is_error = status == "default" || status.starts_with(['4', '5']);
            // Some clients read no other type.
            let is_json = ["mem0", "mem0_server", "agent_memory"].iter().any(|tag| operation["tags"][0] == *tag);
            let of_errors = if is_json { "application/json" } else { "application/problem+json" };
            if is_error && kinds != [of_errors] || !is_error && kinds.contains(&"application/problem+json") {
                wrong.push(format!("{route}: {status} answers {kinds:?}"));
            }
        }
        if operation["responses"]["default"].is_null() {
            wrong.push(format!("{route}: no errors"));
        }
        let answers = operation["responses"].as_object().expect("responses");
        if !answers.keys().any(|status| status.starts_with('2')) && !is_refused_for_good(path) {
            wrong.push(format!("{route}: no answer"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ids.len() > 60 && ids.contains("sessions_list") && ids.contains("collections_list"), "{ids:?}");
    let scheme = &document["components"]["securitySchemes"]["key"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    assert_eq!(document["security"], json!([{"key": []}, {}]), "with a key, and on a box without keys without one");
    let open = operations(&document).filter(|(.., operation)| operation["security"] == json!([]));
    let open: Vec<String> = open.map(|(route, ..)| route).collect();
    assert_eq!(open, ["GET /", "GET /health", "GET /info", "GET /ping", "GET /ready", "GET /v1/health"]);
}

/// Routes of text-embeddings-inference's for models of other kinds.
fn is_refused_for_good(path: &str) -> bool {
    ["/rerank", "/predict", "/embed_sparse"].contains(&path)
}

/// Names of the schemas that a part of the document is made of.
fn schemas_of(document: &Value, part: &Value, found: &mut BTreeSet<String>) {
    every_object(part, "", &mut |_, object| {
        if let Some(name) = object.get("$ref").and_then(|at| at.as_str()?.strip_prefix("#/components/schemas/"))
            && found.insert(name.to_owned())
        {
            schemas_of(document, &document["components"]["schemas"][name], found);
        }
    });
}

/// openapi-typescript takes a field with a default for one that is always there, and with it a request that leaves it
/// out for an error.
#[test]
fn no_field_of_a_request_has_a_default_and_no_schema_is_left_over() {
    let document = document();
    let (mut asked, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (.., operation) in operations(&document) {
        schemas_of(&document, &operation["requestBody"], &mut asked);
        schemas_of(&document, operation, &mut used);
    }
    let mut wrong = Vec::new();
    for name in &asked {
        every_object(&document["components"]["schemas"][name], name, &mut |at, object| {
            if object.contains_key("default") {
                wrong.push(at.to_owned());
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked.contains("RecallRequest") && asked.contains("CompressRequest"), "{asked:?}");
    let all = document["components"]["schemas"].as_object().expect("schemas").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(all, used);
}

#[test]
fn what_takes_any_json_says_so_and_a_vector_has_both_its_forms() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let field = |schema: &str, field: &str| {
        let mut found = schemas[schema]["properties"][field].clone();
        found.as_object_mut().unwrap_or_else(|| panic!("{schema}/{field}")).remove("description");
        found
    };
    for (schema, name) in [
        ("NewCheckpoint", "state"),
        ("CheckpointView", "state"),
        ("QueueItemView", "payload"),
        ("TaskWrites", "writes"),
        ("NewRecord", "payload"),
        ("RecordView", "payload"),
        ("NewMessage", "payload"),
        ("Hit", "payload"),
    ] {
        assert_eq!(field(schema, name), json!({}), "{schema}/{name}");
    }
    assert_eq!(field("PushRequest", "items")["items"], json!({}));
    assert_eq!(field("CheckpointView", "writes")["additionalProperties"], json!({}));
    assert_eq!(field("NewRecord", "metadata")["additionalProperties"], json!({}));
    for schema in ["NewRecord", "RecallRequest"] {
        let forms = field(schema, "vector")["oneOf"].clone();
        let kinds: Vec<&str> =
            forms.as_array().expect("forms").iter().filter_map(|form| form["type"].as_str()).collect();
        assert_eq!(kinds, ["array", "string", "null"], "{schema}");
    }
    assert_eq!(field("RecallRequest", "k"), json!({"type": "integer", "minimum": 1, "maximum": 10000}));
    let k = &schemas["RecallRequest"]["properties"]["k"]["description"];
    assert!(k.as_str().is_some_and(|text| text.ends_with("Default: `10`.")), "{k}");
    let results = schemas["JobResult"]["oneOf"].as_array().expect("results");
    let reports = ["ErasureReceipt", "TenantReceipt", "ConsolidateReport", "UpdateReport", "TokenVectorsReport"];
    let is_of = |(result, name): (&Value, &str)| result["$ref"] == format!("#/components/schemas/{name}");
    assert!(results.len() == reports.len() && results.iter().zip(reports).all(is_of), "{results:?}");
    // Two crates have a mode.
    assert_eq!(field("Redaction", "mode")["$ref"], "#/components/schemas/RedactionMode");
    assert_eq!(field("CompressOptions", "mode")["$ref"], "#/components/schemas/CompressMode");
}

#[test]
fn errors_are_described_as_the_clients_of_their_route_know_them() {
    let document = document();
    let problem_of = |path: &str, method: &str| {
        let content = &document["paths"][path][method]["responses"]["default"]["content"];
        let schema = resolve(&document, &content["application/problem+json"]["schema"]);
        let mut found = BTreeSet::new();
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        for part in &parts {
            let properties = resolve(&document, part)["properties"].as_object().cloned().unwrap_or_default();
            found.extend(properties.keys().cloned());
        }
        found.into_iter().collect::<Vec<_>>().join(" ")
    };
    let own = "detail errors status title type";
    assert_eq!(problem_of("/v1/collections/{collection}/recall", "post"), own);
    assert_eq!(problem_of("/v1/embeddings", "post"), own.replace("errors", "error errors"));
    assert_eq!(problem_of("/embed", "post"), own.replace("errors", "error error_type errors"));
    let error = document["components"]["schemas"]["OpenAiError"]["properties"].as_object().expect("fields").clone();
    assert_eq!(error.keys().map(String::as_str).collect::<BTreeSet<_>>(), ["code", "message", "param", "type"].into());
}

/// Takes fields away from the examples: what is required is missed, and what is not is not.
#[test]
fn required_fields_are_those_without_which_a_request_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let document = document();
    let mut tried = 0;
    for (route, path, operation) in operations(&document) {
        let Some(body) = operation["requestBody"]["content"].get("application/json") else { continue };
        let schema = resolve(&document, &body["schema"]);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let (method, mut path) = (route.split(' ').next().expect("a method"), path.to_owned());
        while let (Some(from), Some(until)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=until, "nothing");
        }
        for name in required.iter().filter_map(Value::as_str) {
            let mut example = body["example"].clone();
            let removed = example.as_object_mut().expect("an object").remove(name);
            assert!(removed.is_some(), "{route}: the example lacks {name}, which is required");
            let (status, answer) = server.call(method, &path, &example);
            assert!(matches!(status, 400 | 422), "{route} without {name}: {status} {answer}");
            assert!(answer.to_string().contains(name), "{route} without {name}: {answer}");
            tried += 1;
        }
        // What the example does not have can be left out, which another test sends as it is.
        for name in body["example"].as_object().expect("an object").keys() {
            let is_open = schema["properties"].is_null();
            assert!(is_open || !schema["properties"][name].is_null(), "{route}: the document does not know {name}");
        }
    }
    assert!(tried > 8, "{tried}");
    server.stop();
}

/// Stands for the number in a request that has one.
const NUMBER: &str = "<number>";

/// Every number of a schema: where it is, what is said of it, and the least that has it.
fn numbers<'a>(document: &'a Value, schema: &'a Value) -> Vec<(String, &'a Value, Value)> {
    let schema = resolve(document, schema);
    let is = |name: &str| schema["type"] == name || schema["type"].as_array().is_some_and(|t| t.contains(&json!(name)));
    let mut found = Vec::new();
    if is("integer") || is("number") {
        found.push((String::new(), schema, json!(NUMBER)));
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        found.extend(schema[key].as_array().into_iter().flatten().flat_map(|of| numbers(document, of)));
    }
    let of_items = if is("array") { numbers(document, &schema["items"]) } else { Vec::new() };
    found.extend(of_items.into_iter().map(|(at, number, least)| (format!("/0{at}"), number, json!([least]))));
    let fields = schema["properties"].as_object();
    // What tells it from others of its kind.
    let tags = fields.into_iter().flatten().filter_map(|(name, field)| match field["enum"].as_array()?.as_slice() {
        [only] => Some((name.clone(), only.clone())),
        _ => None,
    });
    let tags: Map<String, Value> = tags.collect();
    for (name, field) in fields.into_iter().flatten() {
        found.extend(numbers(document, field).into_iter().map(|(at, number, least)| {
            let mut object = tags.clone();
            object.insert(name.clone(), least);
            (format!("/{name}{at}"), number, Value::Object(object))
        }));
    }
    found
}

/// Puts what is given into a value.
fn merge(value: &mut Value, given: Value) {
    match (value, given) {
        (Value::Object(value), Value::Object(given)) => {
            given.into_iter().for_each(|(name, given)| merge(value.entry(name).or_insert(Value::Null), given));
        }
        (Value::Array(value), Value::Array(given)) if !value.is_empty() => {
            value.iter_mut().zip(given).for_each(|(value, given)| merge(value, given));
        }
        (value, given) => *value = given,
    }
}

fn is_within(number: &Value, value: f64) -> bool {
    let limit = |name: &str| number[name].as_f64();
    limit("minimum").is_none_or(|least| value >= least)
        && limit("maximum").is_none_or(|most| value <= most)
        && limit("exclusiveMinimum").is_none_or(|below| value > below)
        && number["enum"].as_array().is_none_or(|all| all.iter().any(|one| one.as_f64() == Some(value)))
}

/// What is possible depends on the model, or on another field; `target_token` is any number but 0.
const DEPENDING: [&str; 17] = [
    "/vector/0",
    "/recalls/0/vector/0",
    "/group_by/size",
    "/recalls/0/group_by/size",
    "/ids/0",
    "/keep_last",
    "/messages/0/media",
    "/target_token",
    "/compress/target_token",
    "/dimensions",
    "/max_tokens",
    "/overlap",
    "/memories/buffer_tokens",
    "/memories/topic_tokens",
    "/inputs/0",
    "/input/0",
    "/records/0/vector/0",
];

/// Sends numbers that are small, large, and just within and outside of what the document says.
#[test]
fn limits_of_numbers_are_those_that_the_box_keeps() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/nothing", &json!({})).0, 201);
    let document = document();
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (route, path, operation) in operations(&document) {
        let Some(body) = operation["requestBody"]["content"].get("application/json") else { continue };
        let (method, mut path) = (route.split(' ').next().expect("a method"), path.to_owned());
        while let (Some(from), Some(until)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=until, "nothing");
        }
        for (at, number, least) in numbers(&document, &body["schema"]) {
            let is_whole = number["type"] == "integer" || number["type"][0] == "integer";
            let step = if is_whole { 1.0 } else { 0.01 };
            let limits = ["minimum", "maximum", "exclusiveMinimum"].map(|name| number[name].as_f64());
            let near = limits.iter().flatten().flat_map(|limit| [limit - step, *limit, limit + step]);
            // Vertex AI wraps them.
            let own = at.strip_prefix("/instances/0").unwrap_or(&at);
            for value in near.chain([-1.0, 0.0, 1e9]) {
                let text = if is_whole { (value as i64).to_string() } else { value.to_string() };
                let least = least.to_string().replace(&json!(NUMBER).to_string(), &text);
                let mut request = body["example"].clone();
                merge(&mut request, serde_json::from_str(&least).expect("JSON"));
                let (status, answer) = server.call(method, &path, &request);
                let pointer = answer["errors"][0]["pointer"].as_str().unwrap_or_default();
                let is_its = !pointer.is_empty() && at.starts_with(pointer);
                // What is not there, or cannot be now, says nothing of a number.
                if ![404, 409, 412].contains(&status) {
                    tried += 1;
                    let is_refused = status >= 400 && is_its;
                    let is_wrong = if is_within(number, value) {
                        is_refused && !DEPENDING.iter().any(|depends| own.starts_with(depends))
                    } else {
                        !is_refused
                    };
                    if is_wrong {
                        wrong.push(format!("{route} {at} = {text}, {number}: {status} {answer}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 200, "{tried}");
    server.stop();
}

#[test]
fn validators_take_the_document_and_a_generated_client_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let done = Command::new(root.join("scripts/openapi-client.sh")).arg(&server.url).output().expect("the script");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("the generated client works"), "{said}");
    assert_eq!(
        server.call("GET", "/openapi.json", &Value::Null).1,
        document(),
        "what is tested here is what is given out"
    );
    server.stop();
}
