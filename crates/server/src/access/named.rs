//! What the fields of a request name, held to the reach of a key.

use super::Reach;
use crate::problem::Problem;
use axum::http::StatusCode;
use membox_api::{
    AddMemories, AddQuery, AgentMemories, AgentMemoryForget, AgentMemoryForgetQuery, AgentMemoryIds, AgentMemoryPatch,
    AgentMemoryPrompt, AgentMemorySearch, AppendRequest, AuditQuery, BlobQuery, CheckpointQuery, CheckpointsQuery,
    ChunkRequest, CohereRerank, CollectionSettings, ConsolidateRequest, ContextRequest, ConversationItemsQuery,
    ConversationPatch, CopyThread, CountRequest, DecodeRequest, DeleteRequest, EmbedRequest, EmbedTokensRequest,
    EmbeddingsRequest, EraseTenant, FacetsRequest, ForgetRequest, GetRequest, JobsQuery, MediaQuery, Mem0Add,
    Mem0AllQuery, Mem0BatchUpdates, Mem0Feedback, Mem0GetExport, Mem0List, Mem0NewExport, Mem0Owner, Mem0PageQuery,
    Mem0References, Mem0Search, Mem0SummaryRequest, Mem0Update, MessagePatch, MessagesQuery, NamespaceQuery, NewApiKey,
    NewCheckpoint, NewConversation, NewConversationItems, NewRecord, OneNamespaceQuery, PageQuery, PatchManyRequest,
    PredictRequest, PruneRequest, PushRequest, QueueQuery, QuotaSettings, RecallBatch, RecallRequest, RecordPatch,
    ReembedQuery, RerankRequest, Scope, ScrollRequest, SessionSettings, SessionsQuery, SimilarityRequest, TakeRequest,
    TaskWrites, ThreadsQuery, TokenizeRequest, TokensRequest, TopicsRequest, UpdateRequest, UsageQuery, UsageReport,
    VertexRequest, WorkingMemoriesQuery, WorkingMemory, WorkingMemoryQuery,
};
use membox_memory::named_or_users;
use serde_json::{Map, Value, json};

/// A body or a query.
pub trait Named {
    /// Sets what is left out and can be only one thing, narrows filters, and refuses what is not in a reach. It is
    /// called where the reach is not the whole tenant.
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem>;
}

/// What names nothing that a key could not reach: its route's path does, or its route is not for such keys.
macro_rules! names_nothing {
    ($($kind:ty)*) => {
        $(impl Named for $kind {
            fn hold(&mut self, _: &Reach) -> Result<(), Problem> {
                Ok(())
            }
        })*
    };
}

names_nothing! {
    AddQuery AgentMemories AgentMemoryForget AgentMemoryForgetQuery AgentMemoryIds AgentMemoryPatch AgentMemoryPrompt
    AgentMemorySearch AuditQuery BlobQuery CheckpointQuery CheckpointsQuery ChunkRequest CohereRerank
    CollectionSettings ConsolidateRequest ConversationItemsQuery ConversationPatch DecodeRequest EmbedRequest
    EmbedTokensRequest EmbeddingsRequest EraseTenant JobsQuery Map<String, Value> MediaQuery Mem0Add Mem0AllQuery
    Mem0BatchUpdates Mem0Feedback Mem0GetExport Mem0List Mem0NewExport Mem0Owner Mem0PageQuery Mem0References
    Mem0Search Mem0SummaryRequest Mem0Update MessagePatch MessagesQuery NamespaceQuery NewApiKey NewCheckpoint
    NewConversation NewConversationItems OneNamespaceQuery PredictRequest PruneRequest PushRequest QueueQuery
    QuotaSettings ReembedQuery RerankRequest SimilarityRequest TakeRequest TaskWrites ThreadsQuery TokenizeRequest
    TokensRequest TopicsRequest VertexRequest WorkingMemoriesQuery WorkingMemory WorkingMemoryQuery
}

/// Its filter is a text: the route narrows it once it is read.
impl Named for PageQuery {
    fn hold(&mut self, _: &Reach) -> Result<(), Problem> {
        Ok(())
    }
}

impl Named for RecallRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.narrow(&mut self.filter)
    }
}

impl Named for RecallBatch {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        for (i, recall) in self.recalls.iter_mut().enumerate() {
            recall.hold(reach).map_err(|mut problem| {
                problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, &format!("/recalls/{i}")));
                problem
            })?;
        }
        Ok(())
    }
}

impl Named for [NewRecord] {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        for (i, record) in self.iter_mut().enumerate() {
            let pointer = format!("/records/{i}");
            reach.set_user(&mut record.user, &pointer)?;
            reach.set_session(&mut record.session, &pointer)?;
        }
        Ok(())
    }
}

impl Named for RecordPatch {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        // Taken away, the record would be nobody's.
        let kept = |of: &Option<String>, is_held: bool, what: &str| match of {
            None if is_held => Err(Problem::field(
                StatusCode::FORBIDDEN,
                format!("/{what}"),
                format!("this key reaches some {what}s only, and cannot take the {what} of a record away"),
            )),
            _ => Ok(()),
        };
        if let Some(user) = &mut self.user {
            kept(user, reach.users.is_some(), "user")?;
            reach.set_user(user, "")?;
        }
        if let Some(session) = &mut self.session {
            kept(session, reach.sessions.is_some(), "session")?;
            reach.set_session(session, "")?;
        }
        Ok(())
    }
}

impl Named for DeleteRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        if !reach.is_of_records() || self.ids.is_some() == self.filter.is_some() {
            return Ok(());
        }
        // Of ids, those that it reaches: the others are as if they were not there.
        let named = self.ids.take().map(|ids| json!({"field": "id", "in": ids}));
        self.filter = self.filter.take().or(named);
        reach.narrow(&mut self.filter)
    }
}

/// What of it is reached, the route looks up.
impl Named for GetRequest {
    fn hold(&mut self, _: &Reach) -> Result<(), Problem> {
        Ok(())
    }
}

impl Named for CountRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.narrow(&mut self.filter)
    }
}

impl Named for FacetsRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.narrow(&mut self.filter)
    }
}

impl Named for ScrollRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.narrow(&mut self.filter)
    }
}

impl Named for PatchManyRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        self.patch.hold(reach).map_err(|mut problem| {
            problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, "/patch"));
            problem
        })
    }
}

impl Named for ForgetRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        if let Some(user) = &self.user {
            reach.user(user).map_err(|problem| at("/user", &problem))?;
        }
        reach.narrow(&mut self.filter)
    }
}

/// Whose the other thread is, the route looks up.
impl Named for CopyThread {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.session(&self.to).map_err(|problem| at("/to", &problem))
    }
}

impl Named for SessionSettings {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.set_user(&mut self.user, "")?;
        reach.set_collection(&mut self.collection, "")
    }
}

impl Named for AppendRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.set_user(&mut self.user, "")?;
        reach.set_collection(&mut self.collection, "")
    }
}

impl Named for AddMemories {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.session(&self.session).map_err(|problem| at("/session", &problem))?;
        reach.set_user(&mut self.user, "")?;
        reach.set_collection(&mut self.collection, "")
    }
}

impl Named for UpdateRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.set_user(&mut self.user, "")?;
        match named_or_users(self.collection.as_deref(), self.user.as_deref()) {
            Some(name) => reach.collection(&name).map_err(|problem| at("/collection", &problem)),
            // It is refused for that.
            None => Ok(()),
        }
    }
}

impl Named for ContextRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        // Without a scope it is the session's user, or the session.
        if reach.sessions.is_some() {
            self.scope.get_or_insert(Scope::Session);
        }
        let (scope, name) = match self.scope {
            Some(Scope::Collection) if reach.sessions.is_some() => ("sessions", "collection"),
            Some(Scope::User) if reach.sessions.is_some() => ("sessions", "user"),
            Some(Scope::Collection) if reach.users.is_some() => ("users", "collection"),
            _ => return Ok(()),
        };
        let detail = format!("this key reaches some {scope} only: it recalls nothing of a whole {name}");
        Err(Problem::field(StatusCode::FORBIDDEN, "/scope", detail))
    }
}

impl Named for SessionsQuery {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.set_user(&mut self.user, "")
    }
}

impl Named for UsageQuery {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.set_user(&mut self.user, "")
    }
}

impl Named for UsageReport {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        reach.user(&self.user).map_err(|problem| at("/user", &problem))
    }
}

fn at(pointer: &str, problem: &Problem) -> Problem {
    Problem::field(StatusCode::FORBIDDEN, pointer, &problem.detail)
}
