//! The tools. What they answer is bounded: a model pays for each token of it.

use crate::access::{Named, Rule, rule};
use crate::auth::Caller;
use crate::extract::from_value;
use crate::json::Numbers;
use crate::pool::Pool;
use crate::problem::Problem;
use crate::routes::records::delete_selected as delete;
use crate::state::AppState;
use axum::http::StatusCode;
use membox_api::{
    AddedMemory, AppendAnswer, AppendRequest, AppendedIds, ContextAnswer, ContextRequest, DeleteAnswer, DeleteRequest,
    FoundMemories, FoundMemory, Include, ListedMemories, NewRecord, RecallRequest, RecordPatch, SessionContext,
    Strategy, UpdatedMemory, WrittenRecord,
};
use membox_memory::compressor::{DEFAULT_ENCODING, TokenCounter};
use membox_memory::{MemoryBox, MemoryError, Order, named_or_users};
use rmcp::handler::server::common::schema_for_input;
use rmcp::model::{Tool, ToolAnnotations};
use rmcp::schemars::{self, JsonSchema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// Where memories are that belong to no user.
const COMMON_MEMORIES: &str = "memories";
/// Memories of a search, and tokens of their texts, unless said otherwise.
const HITS: usize = 10;
const SEARCH_TOKENS: usize = 1000;
/// Tokens of a context unless said otherwise.
const CONTEXT_TOKENS: usize = 2000;
/// Memories of a list at most.
const MAX_LISTED: usize = 100;

type Run = fn(&Arc<MemoryBox>, &Caller, Value) -> Result<Value, Problem>;

/// What a model can call.
pub struct MemoryTool {
    pub described: Tool,
    /// The operation of the API that it stands for: a key that may do that may do this.
    pub operation: (&'static str, &'static str),
    /// On which threads it runs.
    pub pool: fn(&AppState) -> &Pool,
    pub run: Run,
}

impl MemoryTool {
    /// The same one, on the threads of what may wait for a language model.
    pub fn in_pipeline(self) -> Self {
        Self { pool: |state| &state.pipeline, ..self }
    }

    /// What it asks of a key.
    pub fn rule(&self) -> Rule {
        rule(self.operation.0, self.operation.1)
    }
}

/// Which memories are meant: a user's, those of a collection that is named, or those that belong to nobody.
#[derive(Debug, Default)]
pub struct Place {
    pub user: Option<String>,
    pub collection: Option<String>,
}

impl Place {
    /// The place that is meant by a key of some users or collections: what is left out and can be only one thing is
    /// that, and others are refused.
    pub fn within(mut self, caller: &Caller) -> Result<Self, Problem> {
        caller.reach.set_user(&mut self.user, "")?;
        if self.collection.is_some() || caller.reach.collection(&self.name()).is_err() {
            caller.reach.set_collection(&mut self.collection, "")?;
        }
        Ok(self)
    }

    pub fn name(&self) -> String {
        let name = named_or_users(self.collection.as_deref(), self.user.as_deref());
        name.unwrap_or_else(|| COMMON_MEMORIES.to_owned())
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Add {
    /// What to remember, in a sentence or a few that can be understood alone.
    text: String,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
    /// working, episodic, semantic, procedural, profile or knowledge.
    kind: Option<String>,
    /// 0 to 1.
    importance: Option<f64>,
    /// The conversation that it is from.
    session: Option<String>,
    /// When it is to be forgotten, as 2026-05-20T00:44:00Z.
    expires_at: Option<String>,
    /// Anything else, to be filtered by.
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// What is to be known, in words.
    query: String,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
    /// Memories at most (10).
    limit: Option<usize>,
    /// Tokens of their texts at most (1000).
    max_tokens: Option<usize>,
    /// Such as {"field": "kind", "eq": "semantic"}, {"field": "created_at", "gte": "2026-05-01T00:00:00Z"} or
    /// {"and": [...]}.
    filter: Option<Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Context {
    /// The session's id.
    session: String,
    /// recent, smart, window, compress or recall (recall).
    strategy: Option<String>,
    /// What to recall, instead of what the user said last.
    query: Option<String>,
    /// Tokens of the whole at most (2000).
    max_tokens: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SessionAppend {
    /// The session's id; it is made if it is not there.
    session: String,
    /// In order.
    #[schemars(with = "Vec<Said>")]
    messages: Vec<Map<String, Value>>,
    /// Whom the session is with.
    user: Option<String>,
}

/// A message, for the tool's description; what reads it is the session's own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
#[allow(dead_code)]
struct Said {
    /// system, developer, user, assistant, tool or function.
    role: String,
    content: Option<String>,
    id: Option<String>,
    name: Option<String>,
    r#type: Option<String>,
    tool_call_id: Option<String>,
    tool_calls: Option<Vec<Map<String, Value>>>,
    metadata: Option<Map<String, Value>>,
    created_at: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
    /// Memories at most (20, 100 at most).
    limit: Option<usize>,
    /// Which ones, as in memory_search.
    filter: Option<Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    /// The memory's id.
    id: String,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
    /// The new text.
    text: Option<String>,
    /// 0 to 1.
    importance: Option<f64>,
    /// Merged into what is there; null removes a key.
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Forget {
    /// Ids of memories.
    ids: Vec<String>,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
}

/// Every tool.
pub static ALL: LazyLock<Vec<MemoryTool>> = LazyLock::new(|| {
    let reads = || ToolAnnotations::new().read_only(true).open_world(false);
    let adds = || ToolAnnotations::new().read_only(false).destructive(false).open_world(false);
    let changes = || ToolAnnotations::new().read_only(false).destructive(true).idempotent(true).open_world(false);
    let mut all = vec![
        tool::<Search>(
            "memory_search",
            "Search what is remembered, by meaning and by words. The best come first.",
            reads(),
            ("POST", "/v1/collections/{collection}/recall"),
            search,
        ),
        tool::<Add>(
            "memory_add",
            "Remember something. It is durable, and found at once.",
            adds(),
            ("POST", "/v1/collections/{collection}/records"),
            add,
        ),
        tool::<Context>(
            "memory_context",
            "The messages of a session that matter now, within a budget of tokens: the last turns, and what is \
                recalled of earlier ones.",
            reads(),
            ("GET", "/v1/sessions/{session}/context"),
            context,
        ),
        tool::<SessionAppend>(
            "session_append",
            "Append messages to a session, all or none.",
            adds(),
            ("POST", "/v1/sessions/{session}/messages"),
            append,
        ),
        tool::<List>(
            "memory_list",
            "List memories, newest first.",
            reads(),
            ("GET", "/v1/collections/{collection}/records"),
            list,
        ),
        tool::<Update>(
            "memory_update",
            "Change a memory.",
            changes(),
            ("PATCH", "/v1/collections/{collection}/records/{id}"),
            update,
        ),
        tool::<Forget>(
            "memory_forget",
            "Delete memories, by their ids.",
            changes(),
            ("POST", "/v1/collections/{collection}/records:delete"),
            forget,
        ),
    ];
    all.extend(super::lightmem::tools());
    all
});

pub fn tool<T: JsonSchema + 'static>(
    name: &'static str,
    says: &'static str,
    annotations: ToolAnnotations,
    operation: (&'static str, &'static str),
    run: Run,
) -> MemoryTool {
    let schema = schema_for_input::<T>().unwrap_or_default();
    let pool: fn(&AppState) -> &Pool = match annotations.read_only_hint {
        Some(true) => |state| &state.reads,
        _ => |state| &state.writes,
    };
    MemoryTool { described: Tool::new(name, says, schema).with_annotations(annotations), operation, pool, run }
}

/// Reads arguments, numbers as texts among them: models write them so.
pub fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Problem> {
    from_value(&arguments, Numbers::AlsoTexts)
}

/// An answer as JSON.
pub fn answer(answer: &impl Serialize) -> Result<Value, Problem> {
    let failed = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer is not JSON: {error}"));
    serde_json::to_value(answer).map_err(failed)
}

fn search(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Search { query, user, collection, limit, max_tokens, filter } = read(arguments)?;
    let place = Place { user, collection }.within(caller)?;
    let include = vec![Include::Text, Include::Metadata];
    let mut request =
        RecallRequest { query: Some(query), k: limit.unwrap_or(HITS), filter, include, ..RecallRequest::default() };
    request.hold(&caller.reach)?;
    let found = match memory.recall(&caller.tenant, &place.name(), &request) {
        Err(MemoryError::NoCollection(_)) if place.collection.is_none() => {
            return answer(&FoundMemories::default());
        }
        found => found?,
    };
    let counter = TokenCounter::by_name(DEFAULT_ENCODING).map_err(MemoryError::from)?;
    let (mut left, mut memories, mut left_out) = (max_tokens.unwrap_or(SEARCH_TOKENS), Vec::new(), 0);
    for hit in found.hits {
        let text = hit.text.unwrap_or_default();
        let tokens = counter.count(&text);
        if tokens > left {
            left_out += 1;
            continue;
        }
        left -= tokens;
        memories.push(FoundMemory {
            id: hit.id,
            text,
            score: hit.score,
            created_at: hit.created_at,
            session: hit.session,
            kind: hit.kind,
            metadata: hit.metadata.filter(|m| !m.is_empty()),
        });
    }
    answer(&FoundMemories { memories, tokens: max_tokens.unwrap_or(SEARCH_TOKENS) - left, left_out })
}

fn add(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Add { text, user, collection, kind, importance, session, expires_at, metadata } = read(arguments)?;
    let place = Place { user, collection }.within(caller)?;
    let name = place.name();
    let user = place.user;
    let mut records =
        vec![NewRecord { text, user, kind, importance, session, expires_at, metadata, ..NewRecord::default() }];
    records.hold(&caller.reach).map_err(of_one_record)?;
    caller.hold_records(memory, &name, &mut records).map_err(of_one_record)?;
    if place.collection.is_none() {
        memory.collections().ensure_collection(&caller.tenant, &name)?;
    }
    let written = memory.records().upsert(&caller.tenant, &name, records)?;
    let WrittenRecord { id, version, .. } = written[0].clone();
    answer(&AddedMemory { id, version, collection: name })
}

fn context(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Context { session, strategy, query, max_tokens } = read(arguments)?;
    let strategy: Strategy = strategy.map_or(Ok(Strategy::Recall), |name| read(Value::String(name)))?;
    let max_tokens = Some(max_tokens.unwrap_or(CONTEXT_TOKENS));
    let mut request = ContextRequest { strategy, query, max_tokens, ..ContextRequest::default() };
    request.hold(&caller.reach)?;
    caller.hold_session(memory, &session, false)?;
    let ContextAnswer { messages, tokens, omitted, .. } =
        memory.sessions().context(&caller.tenant, &session, &request)?;
    answer(&SessionContext { messages, tokens, omitted })
}

fn append(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let SessionAppend { session, messages, user } = read(arguments)?;
    let mut request: AppendRequest = read(without_nulls(json!({"messages": messages, "user": user})))?;
    request.hold(&caller.reach)?;
    caller.hold_session(memory, &session, true)?;
    let AppendAnswer { version, messages, .. } = memory.sessions().append(&caller.tenant, &session, request, None)?;
    answer(&AppendedIds { version, ids: messages.into_iter().map(|message| message.id).collect() })
}

fn list(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let List { user, collection, limit, mut filter } = read(arguments)?;
    let place = Place { user, collection }.within(caller)?;
    caller.reach.narrow(&mut filter)?;
    let limit = limit.unwrap_or(20).clamp(1, MAX_LISTED);
    let page = memory.records().page(&caller.tenant, &place.name(), Order::Newest, None, limit, filter.as_ref());
    let (records, next) = match page {
        Err(MemoryError::NoCollection(_)) if place.collection.is_none() => (Vec::new(), None),
        page => page?,
    };
    answer(&ListedMemories { memories: records, more: next.is_some() })
}

fn update(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Update { id, user, collection, text, importance, metadata } = read(arguments)?;
    let name = Place { user, collection }.within(caller)?.name();
    let patch = RecordPatch { text, metadata, importance: importance.map(Some), ..RecordPatch::default() };
    let version = caller.looked_at(memory, &name, &id)?;
    let view = memory.records().patch(&caller.tenant, &name, &id, &patch, version)?;
    answer(&UpdatedMemory { id: view.id, version: view.version })
}

fn forget(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Forget { ids, user, collection } = read(arguments)?;
    let name = Place { user, collection }.within(caller)?.name();
    let mut request = DeleteRequest { ids: Some(ids), filter: None };
    request.hold(&caller.reach)?;
    answer(&DeleteAnswer { deleted: delete(memory, caller, &name, request)? })
}

/// A problem of the one record that a tool writes: its arguments are the record.
fn of_one_record(mut problem: Problem) -> Problem {
    for field in &mut problem.errors {
        if let Some(below) = field.pointer.strip_prefix("/records/0") {
            field.pointer = below.to_owned();
        }
    }
    problem
}

pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(object.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
