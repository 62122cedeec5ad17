//! OpenAI's Conversations: a conversation is a session, and an item a message of it.
//!
//! What an item is stands in its payload, as it was given; its text is the message's content, so that recalls and
//! contexts know it. Any session can be read as a conversation.

use crate::auth::Caller;
use crate::extract::{Json, KeptJson, Query};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::routes::mem0::{bad, impossible};
use crate::state::AppState;
use axum::extract::{Path, State};
use membox_api::{
    AppendRequest, Conversation, ConversationItems, ConversationItemsQuery, ConversationPatch, DeletedConversation,
    MessageType, MessageView, NewConversation, NewConversationItems, NewMessage, Role, SessionSettings, SessionView,
};
use membox_memory::{MAX_MESSAGES, MemoryBox, MemoryError, MessageQuery, time_millis};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

/// Items of a list unless said otherwise, and at most.
const DEFAULT_ITEMS: usize = 20;
const MAX_ITEMS: usize = 100;
/// What ids of conversations that the box makes begin with.
const PREFIX: &str = "conv_";

type Item = Map<String, Value>;

/// `POST /v1/conversations`: makes a conversation.
#[utoipa::path(
    post,
    path = "/v1/conversations",
    tag = "conversations",
    request_body(
        content = NewConversation,
        example = json!(
            {"metadata": {"topic": "demo"}, "items": [{"type": "message", "role": "user", "content": "Hi."}]}
        )
    ),
    responses(
        (status = 200, description = "done", body = Conversation),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn create(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Json(request): KeptJson<NewConversation>,
) -> Result<axum::Json<Conversation>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let NewConversation { items, metadata } = request;
        let messages = items.map(|items| messages_of(items, 0)).transpose()?.unwrap_or_default();
        let id = format!("{PREFIX}{}", uuid::Uuid::now_v7().simple());
        let settings = SessionSettings { metadata, max_messages: Some(0), ..SessionSettings::default() };
        let (made, _) = memory.sessions().put_session(&tenant, &id, settings, None)?;
        if !messages.is_empty()
            && let Err(problem) = append(&memory, &tenant, &id, messages)
        {
            // Of one that cannot be made nothing stays.
            memory.sessions().delete_session(&tenant, &actor, &id)?;
            return Err(problem);
        }
        Ok(conversation(made))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /v1/conversations/{session}`: a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{session}",
    tag = "conversations",
    params(("session" = String, Path, description = "the conversation's id")),
    responses(
        (status = 200, description = "done", body = Conversation),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    Caller { tenant, .. }: Caller,
    Path(session): Path<String>,
) -> Result<axum::Json<Conversation>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(conversation(memory.sessions().session(&tenant, &session)?));
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /v1/conversations/{session}`: gives a conversation other metadata.
#[utoipa::path(
    post,
    path = "/v1/conversations/{session}",
    tag = "conversations",
    params(("session" = String, Path, description = "the conversation's id")),
    request_body(content = ConversationPatch, example = json!({"metadata": {"topic": "demo"}})),
    responses(
        (status = 200, description = "done", body = Conversation),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    Caller { tenant, .. }: Caller,
    Path(session): Path<String>,
    Json(request): KeptJson<ConversationPatch>,
) -> Result<axum::Json<Conversation>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let mut metadata = request.metadata;
        for name in memory.sessions().session(&tenant, &session)?.metadata.into_iter().map(|(name, _)| name) {
            metadata.entry(name).or_insert(Value::Null);
        }
        let settings = SessionSettings { metadata: Some(metadata), ..SessionSettings::default() };
        Ok(conversation(memory.sessions().put_session(&tenant, &session, settings, None)?.0))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/conversations/{session}`: deletes a conversation with its items.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{session}",
    tag = "conversations",
    params(("session" = String, Path, description = "the conversation's id")),
    responses(
        (status = 200, description = "done", body = DeletedConversation),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path(session): Path<String>,
) -> Result<axum::Json<DeletedConversation>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        memory.sessions().delete_session(&tenant, &actor, &session)?;
        Ok(DeletedConversation { id: session, object: "conversation.deleted", deleted: true })
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/conversations/{session}/items`: adds items to a conversation.
#[utoipa::path(
    post,
    path = "/v1/conversations/{session}/items",
    tag = "conversations",
    params(("session" = String, Path, description = "the conversation's id")),
    request_body(
        content = NewConversationItems,
        example = json!({"items": [{"type": "message", "role": "user", "content": "Where did we park?"}]})
    ),
    responses(
        (status = 200, description = "done", body = ConversationItems),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn add_items(
    State(state): State<AppState>,
    Caller { tenant, .. }: Caller,
    Path(session): Path<String>,
    Json(request): KeptJson<NewConversationItems>,
) -> Result<Rendered<ConversationItems>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        memory.sessions().session(&tenant, &session)?;
        let messages = messages_of(request.items, 1)?;
        let mut data = Vec::with_capacity(messages.len());
        for id in append(&memory, &tenant, &session, messages)? {
            data.push(item_of(memory.sessions().message(&tenant, &session, &id)?));
        }
        Rendered::of(&list(data, false))
    };
    state.writes.run(work).await
}

/// `GET /v1/conversations/{session}/items`: a part of a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{session}/items",
    tag = "conversations",
    params(("session" = String, Path, description = "the conversation's id"), ConversationItemsQuery),
    responses(
        (status = 200, description = "done", body = ConversationItems),
        (status = 400, description = "a parameter is wrong", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn items(
    State(state): State<AppState>,
    Caller { tenant, .. }: Caller,
    Path(session): Path<String>,
    Query(query): Query<ConversationItemsQuery>,
) -> Result<Rendered<ConversationItems>, Problem> {
    let ConversationItemsQuery { after, limit, order } = query;
    let limit = limit.unwrap_or(DEFAULT_ITEMS);
    if !(1..=MAX_ITEMS).contains(&limit) {
        return Err(bad("/limit", format!("limit is {limit}; 1 to {MAX_ITEMS} is possible")));
    }
    let newest_first = match order.as_deref() {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(other) => return Err(bad("/order", format!("order is asc or desc, not {other:?}"))),
    };
    let memory = state.memory.clone();
    let work = move || {
        let place = |id: &String| match memory.sessions().message(&tenant, &session, id) {
            Err(MemoryError::NoRecord(_)) => Err(bad("/after", format!("there is no item {id:?}"))),
            found => Ok(found?.seq),
        };
        let after = after.as_ref().map(place).transpose()?;
        let query = MessageQuery { limit, after, newest_first, ..MessageQuery::default() };
        let (messages, next) = memory.sessions().messages(&tenant, &session, &query)?;
        Rendered::of(&list(messages.into_iter().map(item_of).collect(), next.is_some()))
    };
    state.reads.run(work).await
}

/// `GET /v1/conversations/{session}/items/{message}`: an item.
#[utoipa::path(
    get,
    path = "/v1/conversations/{session}/items/{message}",
    tag = "conversations",
    params(
        ("session" = String, Path, description = "the conversation's id"),
        ("message" = String, Path, description = "the item's id")
    ),
    responses(
        (status = 200, description = "done", body = Object),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn item(
    State(state): State<AppState>,
    Caller { tenant, .. }: Caller,
    Path((session, message)): Path<(String, String)>,
) -> Result<Rendered<Item>, Problem> {
    let memory = state.memory.clone();
    let work = move || Rendered::of(&item_of(memory.sessions().message(&tenant, &session, &message)?));
    state.reads.run(work).await
}

/// `DELETE /v1/conversations/{session}/items/{message}`: deletes an item, and gives its conversation.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{session}/items/{message}",
    tag = "conversations",
    params(
        ("session" = String, Path, description = "the conversation's id"),
        ("message" = String, Path, description = "the item's id")
    ),
    responses(
        (status = 200, description = "done", body = Conversation),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn delete_item(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path((session, message)): Path<(String, String)>,
) -> Result<axum::Json<Conversation>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        memory.sessions().delete_message(&tenant, &actor, &session, &message, None)?;
        Ok(conversation(memory.sessions().session(&tenant, &session)?))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

fn conversation(session: SessionView) -> Conversation {
    let created_at = time_millis(&session.created_at).unwrap_or_default().div_euclid(1000);
    Conversation { id: session.id, object: "conversation", created_at, metadata: session.metadata }
}

fn list(data: Vec<Item>, has_more: bool) -> ConversationItems {
    let id = |item: Option<&Item>| item?.get("id")?.as_str().map(str::to_owned);
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    ConversationItems { object: "list", data, first_id, last_id, has_more }
}

/// Adds messages to a conversation, and gives their ids.
fn append(memory: &MemoryBox, tenant: &str, session: &str, messages: Vec<NewMessage>) -> Result<Vec<String>, Problem> {
    let request = AppendRequest { messages, user: None, collection: None, max_messages: None, on_conflict: None };
    let done = memory.sessions().append(tenant, session, request, None).map_err(|error| {
        let mut problem = Problem::from(error);
        for field in &mut problem.errors {
            if let Some(rest) = field.pointer.strip_prefix("/messages") {
                field.pointer = format!("/items{rest}");
            }
        }
        problem
    })?;
    Ok(done.messages.into_iter().map(|message| message.id).collect())
}

/// Items as messages, `least` of them at least.
fn messages_of(items: Vec<Item>, least: usize) -> Result<Vec<NewMessage>, Problem> {
    if !(least..=MAX_MESSAGES).contains(&items.len()) {
        return Err(bad("/items", format!("there are {}; {least} to {MAX_MESSAGES} are possible", items.len())));
    }
    items.into_iter().enumerate().map(|(i, item)| message_of(item, &format!("/items/{i}"))).collect()
}

fn message_of(item: Item, at: &str) -> Result<NewMessage, Problem> {
    let word = |name: &str| item.get(name).and_then(Value::as_str);
    let kind = word("type").unwrap_or("message");
    let role = match (kind, item.get("role")) {
        ("message", Some(role)) => serde_json::from_value(role.clone())
            .map_err(|_| bad(format!("{at}/role"), format!("{role} is no role of a message")))?,
        ("message", None) => return Err(bad(format!("{at}/role"), "a message has a role")),
        (other, _) if other.ends_with("_output") => Role::Tool,
        _ => Role::Assistant,
    };
    let text = text_of(item.get("content").or_else(|| item.get("output")));
    let payload = to_raw_value(&item).map_err(|error| impossible(at, error.to_string()))?;
    Ok(NewMessage {
        id: word("id").map(str::to_owned),
        role,
        kind: MessageType::default(),
        content: Some(text),
        media: None,
        name: None,
        tool_call_id: word("call_id").filter(|_| matches!(role, Role::Tool)).map(str::to_owned),
        tool_calls: None,
        metadata: Map::new(),
        payload: Some(payload),
        created_at: None,
    })
}

/// What is said in a content: a text, or the texts of its parts, line by line.
fn text_of(content: Option<&Value>) -> String {
    let part = |part: &Value| part.get("text").or_else(|| part.get("refusal"))?.as_str().map(str::to_owned);
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(part).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// A message as an item. What is no item is a message of a text.
fn item_of(message: MessageView) -> Item {
    let MessageView { id, role, content, payload, .. } = message;
    let kept = payload.and_then(|payload| serde_json::from_str::<Item>(payload.get()).ok());
    let mut item = kept.unwrap_or_else(|| Map::from_iter([("content".to_owned(), content.into())]));
    item.insert("id".to_owned(), id.into());
    let kind = item.entry("type").or_insert_with(|| "message".into()).clone();
    item.entry("status").or_insert_with(|| "completed".into());
    if kind == "message" {
        item.entry("role").or_insert_with(|| role.into());
        let is_said = item.get("role").is_some_and(|role| role == "assistant");
        if let Some(Value::String(text)) = item.get("content") {
            let part = if is_said {
                json!({"type": "output_text", "text": text, "annotations": []})
            } else {
                json!({"type": "input_text", "text": text})
            };
            item.insert("content".to_owned(), json!([part]));
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_message_with_its_text() {
        let of = |item: Value| {
            let message = message_of(item.as_object().expect("an object").clone(), "/items/0");
            message
                .map(|m| (m.role.name(), m.content.unwrap_or_default(), m.tool_call_id))
                .map_err(|p| p.detail.clone())
        };
        let parts =
            json!([{"type": "input_text", "text": "a"}, {"type": "input_image"}, {"type": "input_text", "text": "b"}]);
        assert_eq!(of(json!({"role": "user", "content": parts})), Ok(("user", "a\nb".to_owned(), None)));
        let call = json!({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"});
        assert_eq!(of(call), Ok(("assistant", String::new(), None)));
        let answer = json!({"type": "function_call_output", "output": "42", "call_id": "c"});
        assert_eq!(of(answer), Ok(("tool", "42".to_owned(), Some("c".to_owned()))));
        assert!(of(json!({"type": "message", "content": "x"})).is_err() && of(json!({"role": "critic"})).is_err());
    }
}
