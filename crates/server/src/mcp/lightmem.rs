//! LightMem's own tools, with its names and arguments, so that what was written for it finds them here.

use super::tools::{MemoryTool, Place, answer, read, tool};
use crate::access::Named;
use crate::auth::Caller;
use crate::problem::Problem;
use membox_api::{
    AddMemories, AddMemoryAnswer, Hit, Include, InstanceAnswer, MemoriesPolicy, MemoryMessage, OfflineUpdateAnswer,
    RecallMode, RecallRequest, RetrieveAnswer, RetrievedMemory, TimestampAnswer, ToolStatus, UpdateRequest,
};
use membox_memory::{MemoryBox, MemoryError, made_conditions, now, time_text};
use rmcp::model::ToolAnnotations;
use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The session of what belongs to no other.
const SESSION: &str = "lightmem";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddMemory {
    /// What the user said.
    user_input: String,
    /// What was answered.
    #[serde(default)]
    assistant_reply: String,
    /// When, as 2023/05/20 (Sat) 00:44 or ISO 8601; now if left out.
    timestamp: Option<String>,
    /// Cut topics at once.
    #[serde(default)]
    force_segment: bool,
    /// Make memories at once.
    #[serde(default)]
    force_extract: bool,
    /// Whose memory.
    user: Option<String>,
    /// The conversation.
    session: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfflineUpdate {
    /// Older memories looked at for each (20).
    top_k: Option<usize>,
    /// Those kept (10).
    keep_top_n: Option<usize>,
    /// How alike, 0 to 1 (0.8).
    score_threshold: Option<f32>,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetrieveMemory {
    /// What is to be known.
    query: String,
    /// Memories at most (10).
    limit: Option<usize>,
    /// As in memory_search.
    filters: Option<Value>,
    /// Whose memories: each user's are apart. Left out for those that belong to nobody.
    user: Option<String>,
    /// A collection by its name, instead of the user's own.
    collection: Option<String>,
}

/// Every one of them.
pub fn tools() -> Vec<MemoryTool> {
    let reads = || ToolAnnotations::new().read_only(true).open_world(false);
    let adds = || ToolAnnotations::new().read_only(false).destructive(false).open_world(false);
    let changes = || ToolAnnotations::new().read_only(false).destructive(true).open_world(false);
    vec![
        tool::<Nothing>("get_timestamp", "The time now, ISO 8601.", reads(), ("GET", "/info"), timestamp),
        tool::<AddMemory>(
            "add_memory",
            "Remember a turn of a conversation; memories are made of it once there is enough.",
            adds(),
            ("POST", "/v1/memories"),
            add_memory,
        )
        .in_pipeline(),
        tool::<OfflineUpdate>(
            "offline_update",
            "Hold older memories against newer ones, in the background.",
            changes(),
            ("POST", "/v1/memories:update"),
            offline_update,
        ),
        tool::<RetrieveMemory>(
            "retrieve_memory",
            "Memories that are made of conversations, the best first.",
            reads(),
            ("POST", "/v1/collections/{collection}/recall"),
            retrieve,
        ),
        tool::<Nothing>("show_lightmem_instance", "How this memory is set up.", reads(), ("GET", "/info"), show),
    ]
}

fn timestamp(_: &Arc<MemoryBox>, _: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Nothing {} = read(arguments)?;
    answer(&TimestampAnswer { status: ToolStatus::Success, timestamp: time_text(now()) })
}

fn add_memory(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let mut given: AddMemory = read(arguments)?;
    caller.reach.set_user(&mut given.user, "")?;
    caller.reach.set_session(&mut given.session, "")?;
    let message = |role: &str, content: String| json!({"role": role, "content": content});
    let mut messages = vec![message("user", given.user_input)];
    if !given.assistant_reply.is_empty() {
        messages.push(message("assistant", given.assistant_reply));
    }
    let messages: Vec<MemoryMessage> = read(Value::Array(messages))?;
    let session = match (given.session, &given.user) {
        (Some(session), _) => session,
        (None, Some(user)) => memory.sessions().user_session(&caller.tenant, SESSION, user)?,
        (None, None) => SESSION.to_owned(),
    };
    let mut request = AddMemories {
        session,
        collection: given.user.is_none().then(|| Place::default().name()),
        user: given.user,
        messages,
        time_stamp: given.timestamp,
        force: given.force_segment || given.force_extract,
    };
    let is_common = request.collection.is_some();
    request.hold(&caller.reach)?;
    caller.hold_session(memory, &request.session, true)?;
    if let Some(collection) = request.collection.as_ref().filter(|_| is_common) {
        memory.collections().ensure_collection(&caller.tenant, collection)?;
    }
    let added = memory.memories().add_memories(&caller.tenant, request, false)?;
    answer(&AddMemoryAnswer {
        status: if added.problem.is_some() { ToolStatus::Error } else { ToolStatus::Success },
        message: added.problem,
        memories: added.memories.into_iter().map(|made| made.text).collect(),
        waiting: added.waiting,
        llm: added.llm,
    })
}

fn offline_update(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let OfflineUpdate { top_k, keep_top_n, score_threshold, user, collection } = read(arguments)?;
    let place = Place { user, collection }.within(caller)?;
    let collection = Some(place.name());
    let request = UpdateRequest { collection, top_k, keep_top_n, score_threshold, user: place.user, dry_run: false };
    let (message, job) = match memory.update_memories(&caller.tenant, request) {
        Ok(job) => ("begun", Some(job.id)),
        Err(MemoryError::NoCollection(_)) => ("there is nothing yet", None),
        Err(error) => return Err(error.into()),
    };
    answer(&OfflineUpdateAnswer { status: ToolStatus::Success, message, job })
}

fn retrieve(memory: &Arc<MemoryBox>, caller: &Caller, arguments: Value) -> Result<Value, Problem> {
    let RetrieveMemory { query, limit, filters, user, collection } = read(arguments)?;
    let place = Place { user, collection }.within(caller)?;
    let mut conditions = made_conditions();
    conditions.extend(filters.filter(|filters| filters.as_object().is_none_or(|object| !object.is_empty())));
    let mut request = RecallRequest {
        query: Some(query),
        k: limit.unwrap_or(10),
        filter: Some(json!({ "and": conditions })),
        mode: Some(RecallMode::Hybrid),
        include: vec![Include::Text, Include::Metadata],
        ..RecallRequest::default()
    };
    request.hold(&caller.reach)?;
    let hits = match memory.recall(&caller.tenant, &place.name(), &request) {
        Err(MemoryError::NoCollection(_)) => Vec::new(),
        found => found?.hits,
    };
    let line = |hit: Hit| {
        let time = hit.created_at.as_deref().unwrap_or_default();
        let weekday = hit.metadata.as_ref().and_then(|metadata| metadata.get("weekday")?.as_str()).unwrap_or_default();
        let memory = format!("{time} {weekday} {}", hit.text.as_deref().unwrap_or_default());
        RetrievedMemory { id: hit.id, score: hit.score, memory }
    };
    answer(&RetrieveAnswer { status: ToolStatus::Success, memories: hits.into_iter().map(line).collect() })
}

fn show(memory: &Arc<MemoryBox>, _: &Caller, arguments: Value) -> Result<Value, Problem> {
    let Nothing {} = read(arguments)?;
    answer(&InstanceAnswer {
        status: ToolStatus::Success,
        embedding_model: memory.models().encoder().ok().map(|encoder| encoder.name().to_owned()),
        compression_models: memory.models().compressors.iter().map(|compressor| compressor.name().to_owned()).collect(),
        language_model: memory.models().llm().map(|llm| llm.model().to_owned()),
        defaults: MemoriesPolicy::default(),
    })
}
