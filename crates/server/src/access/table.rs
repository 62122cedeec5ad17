//! What each operation asks of a key: one table, by method and route.
//!
//! An operation that is not in it is for keys alone that may do everything in their tenant. A test holds the table to
//! the OpenAPI document, so that no route is added without a line here.

use membox_api::Access::{self, Admin, Append, Read, Write};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Which lists of a key an operation is held to. A key with a list that is not among them is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTo {
    pub collections: bool,
    pub sessions: bool,
    pub users: bool,
}

/// Nothing that is stored is touched: every key may.
const NOTHING: HeldTo = HeldTo { collections: true, sessions: true, users: true };
/// The tenant as a whole.
const TENANT: HeldTo = HeldTo { collections: false, sessions: false, users: false };
/// A collection as a whole, or the list of them: there is no part of it that is a user's or a session's.
const COLLECTION: HeldTo = HeldTo { collections: true, ..TENANT };
/// Records of a collection: the collection by the path, users and sessions by a condition, or by what a record says.
const RECORDS: HeldTo = HeldTo { collections: true, sessions: true, users: true };
/// A session or a thread: by the path, and by whose it is and where.
const SESSION: HeldTo = HeldTo { collections: true, sessions: true, users: true };
/// What is kept of a user over all collections and sessions.
const USER: HeldTo = HeldTo { users: true, ..TENANT };
/// What is made of what was said: by the fields of the request.
const MEMORIES: HeldTo = HeldTo { collections: true, sessions: true, users: true };
/// As that, and no session is named.
const MADE: HeldTo = HeldTo { collections: true, users: true, ..TENANT };

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The lowest level that may; `None` for who has no key as well.
    pub access: Option<Access>,
    /// Which lists of a key it is held to.
    pub held_to: HeldTo,
    /// Whether it makes the session that it names, where that is not there.
    pub makes_session: bool,
}

/// What is asked for where nothing is said.
const UNKNOWN: Rule = Rule { access: Some(Admin), held_to: TENANT, makes_session: false };

type Line = (&'static str, &'static str, Option<Access>, HeldTo);

const LINES: &[Line] = &[
    // Engines: nothing is stored.
    ("POST", "/v1/embeddings", Some(Read), NOTHING),
    ("GET", "/v1/models", Some(Read), NOTHING),
    ("GET", "/v1/models/{model}", Some(Read), NOTHING),
    ("GET", "/v1/models/{organisation}/{model}", Some(Read), NOTHING),
    ("POST", "/embeddings", Some(Read), NOTHING),
    ("POST", "/embed", Some(Read), NOTHING),
    ("POST", "/", Some(Read), NOTHING),
    ("POST", "/invocations", Some(Read), NOTHING),
    ("POST", "/vertex", Some(Read), NOTHING),
    ("POST", "/embed_all", Some(Read), NOTHING),
    ("POST", "/embed_sparse", Some(Read), NOTHING),
    ("POST", "/rerank", Some(Read), NOTHING),
    ("POST", "/v1/rerank", Some(Read), NOTHING),
    ("POST", "/v2/rerank", Some(Read), NOTHING),
    ("POST", "/predict", Some(Read), NOTHING),
    ("POST", "/similarity", Some(Read), NOTHING),
    ("POST", "/tokenize", Some(Read), NOTHING),
    ("POST", "/decode", Some(Read), NOTHING),
    ("POST", "/v1/tokens", Some(Read), NOTHING),
    ("POST", "/v1/chunks", Some(Read), NOTHING),
    ("POST", "/v1/compress", Some(Read), NOTHING),
    ("POST", "/v1/topics", Some(Read), NOTHING),
    // Collections.
    ("GET", "/v1/collections", Some(Read), COLLECTION),
    ("GET", "/v1/collections/{collection}", Some(Read), COLLECTION),
    ("PUT", "/v1/collections/{collection}", Some(Write), COLLECTION),
    ("DELETE", "/v1/collections/{collection}", Some(Admin), COLLECTION),
    ("POST", "/v1/collections/{collection}/reembed", Some(Admin), COLLECTION),
    ("POST", "/v1/collections/{collection}/token-vectors", Some(Admin), COLLECTION),
    ("POST", "/v1/collections/{collection}/rebuild", Some(Admin), COLLECTION),
    ("POST", "/v1/collections/{collection}/consolidate", Some(Write), COLLECTION),
    // Records.
    ("POST", "/v1/collections/{collection}/recall", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/recall:batch", Some(Read), RECORDS),
    ("GET", "/v1/collections/{collection}/records", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/records", Some(Append), RECORDS),
    ("GET", "/v1/collections/{collection}/records/{id}", Some(Read), RECORDS),
    ("PATCH", "/v1/collections/{collection}/records/{id}", Some(Write), RECORDS),
    ("DELETE", "/v1/collections/{collection}/records/{id}", Some(Write), RECORDS),
    ("POST", "/v1/collections/{collection}/records:delete", Some(Write), RECORDS),
    ("POST", "/v1/collections/{collection}/records:get", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/records:count", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/records:facets", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/records:scroll", Some(Read), RECORDS),
    ("POST", "/v1/collections/{collection}/records:patch", Some(Write), RECORDS),
    ("POST", "/v1/collections/{collection}/forget", Some(Write), RECORDS),
    // Memories.
    ("POST", "/v1/memories", Some(Append), MEMORIES),
    ("POST", "/v1/memories:update", Some(Write), MADE),
    // mem0's: one collection of the whole tenant.
    ("GET", "/v1/ping", Some(Read), NOTHING),
    ("POST", "/v3/memories/add", Some(Append), TENANT),
    ("POST", "/v3/memories/search", Some(Read), TENANT),
    ("POST", "/v3/memories", Some(Read), TENANT),
    ("GET", "/v1/memories/{id}", Some(Read), TENANT),
    ("PUT", "/v1/memories/{id}", Some(Write), TENANT),
    ("DELETE", "/v1/memories/{id}/", Some(Write), TENANT),
    ("DELETE", "/v1/memories/", Some(Write), TENANT),
    ("GET", "/v1/memories/{id}/history", Some(Read), TENANT),
    ("GET", "/v1/entities", Some(Read), TENANT),
    ("DELETE", "/v2/entities/{kind}/{name}/", Some(Write), TENANT),
    ("GET", "/v2/entities/user/{user}/profile", Some(Read), TENANT),
    ("PUT", "/v1/batch", Some(Write), TENANT),
    ("DELETE", "/v1/batch/", Some(Write), TENANT),
    ("POST", "/v1/feedback", Some(Write), TENANT),
    ("POST", "/v1/exports", Some(Read), TENANT),
    ("POST", "/v1/exports/get", Some(Read), TENANT),
    ("POST", "/v1/summary", Some(Read), TENANT),
    // Those of its own server.
    ("POST", "/memories", Some(Append), TENANT),
    ("GET", "/memories", Some(Read), TENANT),
    ("DELETE", "/memories", Some(Write), TENANT),
    ("GET", "/memories/{id}", Some(Read), TENANT),
    ("PUT", "/memories/{id}", Some(Write), TENANT),
    ("DELETE", "/memories/{id}", Some(Write), TENANT),
    ("GET", "/memories/{id}/history", Some(Read), TENANT),
    ("POST", "/search", Some(Read), TENANT),
    ("POST", "/reset", Some(Admin), TENANT),
    // agent-memory-server's: two collections of the whole tenant.
    ("GET", "/v1/working-memory", Some(Read), TENANT),
    ("GET", "/v1/working-memory/{session_id}", Some(Read), TENANT),
    ("PUT", "/v1/working-memory/{session_id}", Some(Write), TENANT),
    ("DELETE", "/v1/working-memory/{session_id}", Some(Write), TENANT),
    // It replaces those of ids that exist.
    ("POST", "/v1/long-term-memory", Some(Write), TENANT),
    ("POST", "/v1/long-term-memory/search", Some(Read), TENANT),
    ("POST", "/v1/long-term-memory/forget", Some(Write), TENANT),
    ("DELETE", "/v1/long-term-memory", Some(Write), TENANT),
    ("GET", "/v1/long-term-memory/{memory_id}", Some(Read), TENANT),
    ("PATCH", "/v1/long-term-memory/{memory_id}", Some(Write), TENANT),
    ("POST", "/v1/memory/prompt", Some(Read), TENANT),
    // OpenAI's conversations: sessions by their ids. One that is made has an id that no key with a list can reach.
    ("POST", "/v1/conversations", Some(Append), TENANT),
    ("GET", "/v1/conversations/{session}", Some(Read), SESSION),
    ("POST", "/v1/conversations/{session}", Some(Write), SESSION),
    ("DELETE", "/v1/conversations/{session}", Some(Write), SESSION),
    ("POST", "/v1/conversations/{session}/items", Some(Append), SESSION),
    ("GET", "/v1/conversations/{session}/items", Some(Read), SESSION),
    ("GET", "/v1/conversations/{session}/items/{message}", Some(Read), SESSION),
    ("DELETE", "/v1/conversations/{session}/items/{message}", Some(Write), SESSION),
    // Sessions.
    ("GET", "/v1/sessions", Some(Read), USER),
    ("GET", "/v1/sessions/{session}", Some(Read), SESSION),
    ("PUT", "/v1/sessions/{session}", Some(Append), SESSION),
    ("DELETE", "/v1/sessions/{session}", Some(Write), SESSION),
    ("GET", "/v1/sessions/{session}/messages", Some(Read), SESSION),
    ("POST", "/v1/sessions/{session}/messages", Some(Append), SESSION),
    ("GET", "/v1/sessions/{session}/messages/{message}", Some(Read), SESSION),
    ("PATCH", "/v1/sessions/{session}/messages/{message}", Some(Write), SESSION),
    ("DELETE", "/v1/sessions/{session}/messages/{message}", Some(Write), SESSION),
    ("GET", "/v1/sessions/{session}/messages/{message}/media", Some(Read), SESSION),
    ("GET", "/v1/sessions/{session}/context", Some(Read), SESSION),
    ("POST", "/v1/sessions/{session}/queue", Some(Append), SESSION),
    ("GET", "/v1/sessions/{session}/queue", Some(Read), SESSION),
    // Who takes an input keeps it from others, and who acknowledges it deletes it.
    ("POST", "/v1/sessions/{session}/queue:take", Some(Write), SESSION),
    ("DELETE", "/v1/sessions/{session}/queue/{id}", Some(Write), SESSION),
    // Checkpoints: a thread is a session by its id.
    ("GET", "/v1/threads/{thread}/checkpoints", Some(Read), SESSION),
    ("DELETE", "/v1/threads/{thread}/checkpoints", Some(Write), SESSION),
    ("POST", "/v1/threads/{thread}/checkpoints:prune", Some(Write), SESSION),
    // It replaces what the other thread has by the same ids.
    ("POST", "/v1/threads/{thread}/checkpoints:copy", Some(Write), SESSION),
    // It replaces the one of its version.
    ("PUT", "/v1/threads/{thread}/blobs/{channel}/{version}", Some(Write), SESSION),
    ("GET", "/v1/threads/{thread}/blobs/{channel}/{version}", Some(Read), SESSION),
    ("GET", "/v1/threads", Some(Read), TENANT),
    ("GET", "/v1/threads/{thread}/namespaces", Some(Read), SESSION),
    ("DELETE", "/v1/threads/{thread}/checkpoints/{id}", Some(Write), SESSION),
    ("GET", "/v1/threads/{thread}/checkpoints/{id}", Some(Read), SESSION),
    ("PUT", "/v1/threads/{thread}/checkpoints/{id}", Some(Append), SESSION),
    // A task's writes replace its earlier ones, also those of a checkpoint that has not come yet.
    ("PUT", "/v1/threads/{thread}/checkpoints/{id}/writes/{task}", Some(Write), SESSION),
    // Users.
    ("GET", "/v1/users/{user}/profile", Some(Read), USER),
    ("PATCH", "/v1/users/{user}/profile", Some(Write), USER),
    ("POST", "/v1/users/{user}/profile", Some(Write), USER),
    ("GET", "/v1/users/{user}/export", Some(Read), USER),
    ("POST", "/v1/users/{user}/erase", Some(Admin), USER),
    ("GET", "/v1/usage", Some(Read), USER),
    ("POST", "/v1/usage", Some(Append), USER),
    ("GET", "/v1/quotas/{user}", Some(Read), USER),
    ("PUT", "/v1/quotas/{user}", Some(Admin), TENANT),
    ("DELETE", "/v1/quotas/{user}", Some(Admin), TENANT),
    // The tenant.
    ("GET", "/v1/tenant", Some(Read), TENANT),
    ("POST", "/v1/tenant:rotate", Some(Admin), TENANT),
    ("POST", "/v1/tenant:erase", Some(Admin), TENANT),
    ("GET", "/v1/keys", Some(Admin), TENANT),
    ("POST", "/v1/keys", Some(Admin), TENANT),
    ("DELETE", "/v1/keys/{id}", Some(Admin), TENANT),
    ("GET", "/v1/audit", Some(Admin), TENANT),
    ("GET", "/v1/jobs", Some(Read), TENANT),
    ("GET", "/v1/jobs/{id}", Some(Read), TENANT),
    ("DELETE", "/v1/jobs/{id}", Some(Admin), TENANT),
    // For whoever runs the box. `/metrics` asks for its keys itself.
    ("GET", "/health", None, NOTHING),
    ("GET", "/v1/health", None, NOTHING),
    ("GET", "/", None, NOTHING),
    ("GET", "/ping", None, NOTHING),
    ("GET", "/ready", None, NOTHING),
    ("GET", "/info", None, NOTHING),
    ("GET", "/metrics", None, NOTHING),
];

/// Those that make the session which they name.
const MAKE_SESSIONS: [(&str, &str); 2] =
    [("PUT", "/v1/sessions/{session}"), ("POST", "/v1/sessions/{session}/messages")];

static RULES: LazyLock<HashMap<(&str, &str), Rule>> = LazyLock::new(|| {
    let rule = |&(method, path, access, held_to): &Line| {
        let makes_session = MAKE_SESSIONS.contains(&(method, path));
        ((method, path), Rule { access, held_to, makes_session })
    };
    LINES.iter().map(rule).collect()
});

/// What an operation asks for; a HEAD is as its GET.
pub fn rule(method: &str, path: &str) -> Rule {
    find(method, path).unwrap_or(UNKNOWN)
}

fn find(method: &str, path: &str) -> Option<Rule> {
    let method = if method == "HEAD" { "GET" } else { method };
    RULES.get(&(method, path)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_of_the_document_is_in_the_table_and_no_other() {
        let document = crate::openapi().expect("the document");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            let methods = item.as_object().expect("operations").keys();
            described.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
        }
        let listed = LINES.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()));
        let listed: BTreeSet<(String, String)> = listed.collect();
        assert_eq!(listed.len(), LINES.len(), "an operation stands twice");
        let differences: Vec<_> = described.symmetric_difference(&listed).collect();
        assert!(differences.is_empty(), "in one of the document and the table alone: {differences:?}");
        assert!(MAKE_SESSIONS.iter().all(|line| RULES.contains_key(line)));
    }

    #[test]
    fn what_is_not_in_the_table_is_for_keys_alone_that_may_do_everything() {
        assert_eq!(rule("POST", "/v1/collections"), UNKNOWN);
        assert_eq!(rule("HEAD", "/v1/collections"), rule("GET", "/v1/collections"));
    }

    #[test]
    fn what_is_held_to_a_list_names_it_in_its_path_or_has_a_body_that_does() {
        for (method, path, _, held_to) in LINES.iter().filter(|line| line.3 != NOTHING) {
            let is_of_collection = path.contains("{collection}") || path.contains("{session}");
            let is_of_thread = path.contains("{thread}");
            let by_body = ["/v1/memories", "/v1/memories:update", "/v1/collections"].contains(path);
            assert_eq!(held_to.collections, is_of_collection || is_of_thread || by_body, "{method} {path}");
        }
    }
}
