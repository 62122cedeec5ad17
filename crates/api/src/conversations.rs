//! OpenAI's Conversations. Fields that are not known are passed over, as there.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// A conversation to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NewConversation {
    /// What is said in it already, up to 1 000 items.
    #[schema(value_type = Option<Vec<Object>>, max_items = 1000)]
    pub items: Option<Vec<Map<String, Value>>>,
    /// Any JSON object up to 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// A change of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ConversationPatch {
    /// In the place of what is there: any JSON object up to 16 KiB.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// Items to be added to a conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewConversationItems {
    /// Messages, calls, and what else OpenAI's Responses have; up to 1 000. Each is kept as it is.
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 1000)]
    pub items: Vec<Map<String, Value>>,
}

/// A conversation: a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversation {
    /// The session's id.
    pub id: String,
    /// `conversation`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: i64,
    /// The session's metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// That a conversation is deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedConversation {
    pub id: String,
    /// `conversation.deleted`.
    pub object: &'static str,
    pub deleted: bool,
}

/// Which part of a conversation.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct ConversationItemsQuery {
    /// What follows the item of this id.
    pub after: Option<String>,
    /// Items, 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<usize>,
    /// `desc`, the newest first, as when left out; or `asc`.
    pub order: Option<String>,
}

/// Items of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationItems {
    /// `list`.
    pub object: &'static str,
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Map<String, Value>>,
    #[schema(required)]
    pub first_id: Option<String>,
    #[schema(required)]
    pub last_id: Option<String>,
    /// Whether others follow.
    pub has_more: bool,
}
