//! The most expensive bodies that a box takes, by route.

mod engines;
mod records;
mod sessions;
mod whole;

use super::ATTACKER;
use super::client::Request;
use serde_json::Value;

/// What the attacker does with answers.
pub enum Pace {
    Read,
    /// It keeps the connection and reads nothing.
    Leave,
    /// It goes away while the box works.
    HangUp,
}

pub struct Attack {
    pub name: &'static str,
    pub routes: &'static [&'static str],
    pub pace: Pace,
    /// The request of a number.
    pub request: Box<dyn Fn(usize) -> Request + Sync>,
}

/// Routes that answer with what lies in memory, whoever asks and whatever is stored.
pub const ROUTES_OF_NO_COST: [&str; 9] = [
    "GET /",
    "GET /health",
    "GET /ping",
    "GET /ready",
    "GET /info",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /v1/models/{organisation}/{model}",
    // It wants a key of its own on a box with keys, or shows the asker's own.
    "GET /metrics",
];

const SENTENCE: &str = "The committee met in the blue room by the harbour and spoke for hours about the costs of it. ";

/// The same body each time, sent to one place.
fn always(
    name: &'static str,
    routes: &'static [&'static str],
    pace: Pace,
    (method, path): (&'static str, &'static str),
    body: &Value,
) -> Attack {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Attack { name, routes, pace, request: Box::new(move |_| Request::new(method, path, ATTACKER, body.as_bytes())) }
}

/// One of several requests in turn.
fn in_turn(name: &'static str, routes: &'static [&'static str], all: Vec<(&'static str, String, Value)>) -> Attack {
    let request = move |n: usize| {
        let (method, path, body) = &all[n % all.len()];
        Request::json(method, path, ATTACKER, body)
    };
    Attack { name, routes, pace: Pace::Read, request: Box::new(request) }
}

pub fn attacks() -> Vec<Attack> {
    [
        engines::of_the_engines(),
        engines::of_recall(),
        records::of_records(),
        sessions::of_sessions(),
        whole::of_the_whole(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
