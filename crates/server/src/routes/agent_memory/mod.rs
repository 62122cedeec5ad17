//! The routes of Redis' agent-memory-server, as its clients say them.
//!
//! A long-term memory is a record of the collection `agent-memory`; a working memory is one of `working-memory`, as its
//! payload. Their user is `user_id`; all else is in their metadata. The box makes no memories of messages here: what a
//! working memory has in `memories` becomes long-term, and no more.

mod filters;
mod long_term;
mod prompt;
pub mod routes;
mod working;

use crate::auth::Caller;
use crate::problem::Problem;
use crate::routes::mem0::bad;
use membox_memory::{MemoryBox, time_millis, time_text};

/// The collection of a tenant's long-term memories.
const LONG_TERM: &str = "agent-memory";
/// The collection of its working memories.
const WORKING: &str = "working-memory";
/// Memories of one request.
const MAX_MEMORIES: usize = 1000;
/// What a memory may be.
const TYPES: [&str; 3] = ["semantic", "episodic", "message"];

/// A tenant's memories.
struct Memories<'a> {
    memory: &'a MemoryBox,
    caller: &'a Caller,
}

impl Memories<'_> {
    fn tenant(&self) -> &str {
        &self.caller.tenant
    }
}

/// A time as the box says it. Without a zone it is in UTC.
fn moment(given: &str, at: &str) -> Result<String, Problem> {
    let time = time_millis(given).or_else(|| time_millis(&format!("{given}Z"))).map(time_text);
    time.ok_or_else(|| bad(at, format!("{given:?} is no time: 2026-05-20T15:00:00Z is one")))
}

/// A number that a list has between 1 and the most, or its default.
fn limited(given: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    match given.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => Err(bad("/limit", format!("limit is {limit}; 1 to {most} is possible"))),
    }
}
