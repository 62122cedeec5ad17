//! What a key may do, and what it reaches.
//!
//! A key has a level ([`Access`]) and, if it is to reach only a part of its tenant, lists of collections, sessions or
//! users ([`Reach`]). What each operation asks for stands in one table ([`table`]). It is held in three places, and
//! each of them refuses what it does not know:
//!
//! - [`hold`], before any handler: the level, the lists that an operation cannot be held to, and what the path names.
//! - [`Named`], as a body or a query is read: what its fields name. Users are set, and filters get conditions.
//!   [`crate::extract`] takes no type without it.
//! - [`lookups`], in the work itself: whose a record or a session is that is named by its id alone.
//!
//! What is refused is refused with 403, with the name of the list, whether there is such a thing or not. Kubernetes'
//! verbs over resource names and Qdrant's filters within tokens are alike: a scope narrows what a request says, and is
//! no filter of its answer.

mod lookups;
mod named;
mod table;
#[cfg(test)]
mod tests;

pub use named::Named;
pub use table::{Rule, rule};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use membox_api::Access;
use membox_memory::user_collection;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Names of a list at most.
const MAX_NAMES: usize = 100;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 512;

/// The part of a tenant that a key reaches: what is in all lists that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    collections: Option<BTreeSet<String>>,
    sessions: Option<BTreeSet<String>>,
    users: Option<BTreeSet<String>>,
}

impl Reach {
    /// The reach that these lists give; what is left out is all. An error begins with the name of the list.
    pub fn new(
        collections: Option<Vec<String>>,
        sessions: Option<Vec<String>>,
        users: Option<Vec<String>>,
    ) -> Result<Self, String> {
        let list = |name: &str, names: Option<Vec<String>>| {
            let Some(names) = names else { return Ok(None) };
            if names.is_empty() || names.len() > MAX_NAMES {
                let count = names.len();
                return Err(format!("{name} has {count} names; give 1 to {MAX_NAMES}, or leave it out for all"));
            }
            if names.iter().any(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
                return Err(format!("{name} has a name that is empty or longer than {MAX_NAME_BYTES} bytes"));
            }
            Ok(Some(names.into_iter().collect()))
        };
        Ok(Self {
            collections: list("collections", collections)?,
            sessions: list("sessions", sessions)?,
            users: list("users", users)?,
        })
    }

    /// Whether it is all of the tenant.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Its lists: collections, sessions, users.
    pub fn lists(&self) -> [Option<Vec<String>>; 3] {
        [&self.collections, &self.sessions, &self.users].map(|list| list.as_ref().map(|l| l.iter().cloned().collect()))
    }

    /// Whether records are in it or not by whose they are, or of which session.
    fn is_of_records(&self) -> bool {
        self.sessions.is_some() || self.users.is_some()
    }

    fn has(list: &Option<BTreeSet<String>>, name: Option<&str>) -> bool {
        list.as_ref().is_none_or(|list| name.is_some_and(|name| list.contains(name)))
    }

    /// Refuses a collection that is not in it. Users have collections of their own, where others have nothing to
    /// write: whoever looks there takes what is found for the user's.
    pub fn collection(&self, name: &str) -> Result<(), Problem> {
        let is_of_others = |users: &BTreeSet<String>| {
            (name.starts_with("user-") || name.starts_with("user."))
                && !users.iter().any(|u| user_collection(u) == name)
        };
        if self.users.as_ref().is_some_and(is_of_others) {
            return Err(beyond("users", "collection", name));
        }
        if Self::has(&self.collections, Some(name)) { Ok(()) } else { Err(beyond("collections", "collection", name)) }
    }

    /// Refuses a session that is not in its list.
    pub fn session(&self, id: &str) -> Result<(), Problem> {
        if Self::has(&self.sessions, Some(id)) { Ok(()) } else { Err(beyond("sessions", "session", id)) }
    }

    /// Refuses a user who is not in it.
    pub fn user(&self, user: &str) -> Result<(), Problem> {
        if Self::has(&self.users, Some(user)) { Ok(()) } else { Err(beyond("users", "user", user)) }
    }

    /// Sets the user that a request leaves out, where there can be only one, and refuses others.
    pub fn set_user(&self, user: &mut Option<String>, pointer: &str) -> Result<(), Problem> {
        set(&self.users, user, "users", "user", pointer)
    }

    /// As [`Self::set_user`], of a collection.
    pub fn set_collection(&self, collection: &mut Option<String>, pointer: &str) -> Result<(), Problem> {
        set(&self.collections, collection, "collections", "collection", pointer)?;
        let Some(name) = collection else { return Ok(()) };
        let at =
            |problem: Problem| Problem::field(StatusCode::FORBIDDEN, format!("{pointer}/collection"), &problem.detail);
        self.collection(name).map_err(at)
    }

    /// As [`Self::set_user`], of a session.
    pub fn set_session(&self, session: &mut Option<String>, pointer: &str) -> Result<(), Problem> {
        set(&self.sessions, session, "sessions", "session", pointer)
    }

    /// Whether a record is in it.
    fn has_record(&self, user: Option<&str>, session: Option<&str>) -> bool {
        Self::has(&self.users, user) && Self::has(&self.sessions, session)
    }

    /// Narrows a filter to the records that are in it. The filter itself is checked first, so that an error names the
    /// caller's own fields.
    pub fn narrow(&self, filter: &mut Option<Value>) -> Result<(), Problem> {
        if !self.is_of_records() {
            return Ok(());
        }
        if let Some(own) = &filter {
            membox_memory::check_filter(own)?;
        }
        let condition = |field: &str, list: &Option<BTreeSet<String>>| {
            list.as_ref().map(|names| json!({"field": field, "in": names}))
        };
        let conditions = [condition("user", &self.users), condition("session", &self.sessions)];
        let all: Vec<Value> = filter.take().into_iter().chain(conditions.into_iter().flatten()).collect();
        *filter = Some(json!({ "and": all }));
        Ok(())
    }
}

fn set(
    list: &Option<BTreeSet<String>>,
    named: &mut Option<String>,
    scope: &str,
    what: &str,
    pointer: &str,
) -> Result<(), Problem> {
    let Some(list) = list else { return Ok(()) };
    let pointer = format!("{pointer}/{what}");
    match named {
        Some(name) if list.contains(name.as_str()) => Ok(()),
        Some(name) => {
            let problem = beyond(scope, what, name);
            Err(Problem::field(StatusCode::FORBIDDEN, pointer, &problem.detail))
        }
        None if list.len() == 1 => {
            *named = list.first().cloned();
            Ok(())
        }
        None => {
            let detail = format!("this key reaches several {scope}: name one of them as `{what}`");
            Err(Problem::field(StatusCode::FORBIDDEN, pointer, detail))
        }
    }
}

/// What is beyond a key's reach, by the list that it is not in.
fn beyond(scope: &str, what: &str, name: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    let detail = format!("this key does not reach the {what} {shown:?}: its {scope} are others");
    Problem::new(StatusCode::FORBIDDEN, detail)
}

impl Caller {
    /// Refuses an operation for which the key's level is too low, or that one of its lists cannot be held to.
    pub fn may(&self, rule: &Rule) -> Result<(), Problem> {
        let refuse = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, detail));
        if let Some(access) = rule.access.filter(|access| self.access < *access) {
            return refuse(format!(
                "this key has the access {:?}, and this wants {:?}",
                self.access.name(),
                access.name()
            ));
        }
        let lists = [
            ("collections", &self.reach.collections, rule.held_to.collections),
            ("sessions", &self.reach.sessions, rule.held_to.sessions),
            ("users", &self.reach.users, rule.held_to.users),
        ];
        match lists.into_iter().find(|(_, list, is_held)| list.is_some() && !is_held) {
            Some((scope, ..)) => refuse(format!(
                "this key reaches some {scope} only, and this is about more than those: use a key without `{scope}`"
            )),
            None => Ok(()),
        }
    }

    /// Whether the key only adds.
    pub fn only_adds(&self) -> bool {
        self.access < Access::Write
    }
}

/// Lets a request in whose key may do it, and says to its handler whose it is.
pub async fn hold(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let rule = rule(parts.method.as_str(), &path);
    if rule.access.is_some() {
        let held = async {
            let caller = Caller::from_request_parts(&mut parts, &state).await?;
            caller.may(&rule)?;
            if !caller.reach.is_whole() {
                let params = RawPathParams::from_request_parts(&mut parts, &state).await;
                let params = params.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.to_string()))?;
                let named = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                hold_path(&state, &caller, &rule, named).await?;
            }
            parts.extensions.insert(caller);
            Ok::<(), Problem>(())
        };
        if let Err(problem) = held.await {
            return problem.into_response();
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Refuses what a path names beyond a key's reach.
async fn hold_path(
    state: &AppState,
    caller: &Caller,
    rule: &Rule,
    named: Vec<(String, String)>,
) -> Result<(), Problem> {
    for (name, value) in named {
        match name.as_str() {
            "collection" => caller.reach.collection(&value)?,
            "user" => caller.reach.user(&value)?,
            "session" | "thread" => {
                let (memory, caller, may_be_new) = (state.memory.clone(), caller.clone(), rule.makes_session);
                state.reads.run(move || caller.hold_session(&memory, &value, may_be_new)).await?;
            }
            _ => {}
        }
    }
    Ok(())
}
