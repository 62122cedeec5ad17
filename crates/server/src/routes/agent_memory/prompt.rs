//! A question with what is remembered for it, as messages for a language model.

use super::Memories;
use super::working::cut_to;
use crate::extract::from_value;
use crate::json::Numbers;
use crate::problem::Problem;
use crate::routes::mem0::bad;
use membox_api::{
    AgentMemoryPrompt, AgentMemoryPrompted, AgentMemorySearch, AgentMemoryTags, PromptMessage, PromptSession,
    PromptText, WorkingMemory, WorkingMemoryQuery,
};
use serde_json::Value;

/// Long-term memories that `true` stands for.
const ALL: usize = 20;
/// Above the memories.
const MEMORIES: &str = "## Long term memories related to the user's query\n";

fn message(role: &'static str, text: String) -> PromptMessage {
    PromptMessage { role, content: PromptText { kind: "text", text } }
}

impl Memories<'_> {
    pub(super) fn prompt(&self, request: AgentMemoryPrompt) -> Result<AgentMemoryPrompted, Problem> {
        let AgentMemoryPrompt { query, session, long_term_search } = request;
        let search = wanted(&query, session.as_ref(), long_term_search.as_ref())?;
        if session.is_none() && search.is_none() {
            return Err(bad("", "session or long_term_search is wanted"));
        }
        let mut messages = session.as_ref().map(|session| self.said(session)).transpose()?.unwrap_or_default();
        let found = search.map(|search| self.search(&search, "/long_term_search")).transpose()?;
        if let Some(found) = &found {
            let lines = found.memories.iter().map(|hit| format!("- {} (ID: {})", hit.memory.text, hit.memory.id));
            let lines: Vec<String> = lines.collect();
            let lines =
                if lines.is_empty() { "No relevant long-term memories found.".to_owned() } else { lines.join("\n") };
            messages.push(message("system", format!("{MEMORIES} {lines}")));
        }
        messages.push(message("user", query));
        let long_term_memories = found.map(|found| found.memories).filter(|memories| !memories.is_empty());
        Ok(AgentMemoryPrompted { messages, long_term_memories })
    }

    /// What was said in a conversation.
    fn said(&self, session: &PromptSession) -> Result<Vec<PromptMessage>, Problem> {
        let PromptSession { session_id, namespace, user_id, context_window_max } = session.clone();
        let query = WorkingMemoryQuery { namespace, user_id, ..WorkingMemoryQuery::default() };
        let WorkingMemory { context, messages: mut said, .. } = match self.working(&session_id, &query) {
            Err(problem) if problem.status == 404 => return Ok(Vec::new()),
            found => found?.memory,
        };
        if let Some(most) = context_window_max {
            cut_to(&mut said, most)?;
        }
        let context = context.filter(|context| !context.is_empty());
        let summary =
            context.map(|context| message("system", format!("## A summary of the conversation so far:\n{context}")));
        let role = |role: &str| if role == "user" { "user" } else { "assistant" };
        Ok(summary.into_iter().chain(said.into_iter().map(|m| message(role(&m.role), m.content))).collect())
    }
}

/// Which long-term memories are wanted.
fn wanted(
    query: &str,
    session: Option<&PromptSession>,
    given: Option<&Value>,
) -> Result<Option<AgentMemorySearch>, Problem> {
    let mut search = match given {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        // What was said in this conversation is there already.
        Some(Value::Bool(true)) => {
            let other = session.map(|session| session.session_id.clone());
            let session_id = other.map(|id| AgentMemoryTags { ne: Some(id), ..AgentMemoryTags::default() });
            AgentMemorySearch { session_id, limit: Some(ALL), ..AgentMemorySearch::default() }
        }
        Some(search) => from_value(search, Numbers::Plain).map_err(|mut problem| {
            problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, "/long_term_search"));
            problem
        })?,
    };
    search.text = Some(query.to_owned());
    let user = session.and_then(|session| session.user_id.clone()).filter(|_| search.user_id.is_none());
    search.user_id =
        search.user_id.or_else(|| user.map(|user| AgentMemoryTags { eq: Some(user), ..AgentMemoryTags::default() }));
    Ok(Some(search))
}
