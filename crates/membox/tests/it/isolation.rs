//! Tenants are apart: whatever others do on the same box, a tenant hears what it would hear alone.

use crate::common::{Server, data_with_model};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::path::Path;

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// One request of a tenant. All of them use the same few names, so that whatever is not kept apart collides.
#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Write { collection: usize, id: usize, word: usize },
    Delete { collection: usize, id: usize },
    DeleteByFilter { collection: usize, word: usize },
    Drop(usize),
    Recall { collection: usize, word: usize, mode: usize },
    Page(usize),
    Append { session: usize, word: usize },
    Messages(usize),
    Context { session: usize, strategy: usize },
    DropSession(usize),
    Queue { session: usize, word: usize },
    Take(usize),
    Checkpoint { thread: usize, word: usize },
    Report { user: usize, tokens: u16 },
    Quota { user: usize, tokens: u16 },
    Lists,
    Export(usize),
    Remember { session: usize, word: usize, force: bool },
    Profile { user: usize, word: usize },
    Foreign,
}

fn step() -> impl Strategy<Value = Step> {
    let (two, five) = (0..2usize, 0..5usize);
    prop_oneof![
        2 => two.clone().prop_map(Step::Create),
        6 => (two.clone(), five.clone(),
            five.clone()).prop_map(|(collection, id, word)| Step::Write { collection, id, word }),
        1 => (two.clone(), five.clone()).prop_map(|(collection, id)| Step::Delete { collection, id }),
        1 => (two.clone(), five.clone()).prop_map(|(collection, word)| Step::DeleteByFilter { collection, word }),
        1 => two.clone().prop_map(Step::Drop),
        4 => (two.clone(), five.clone(),
            0..3usize).prop_map(|(collection, word, mode)| Step::Recall { collection, word, mode }),
        2 => two.clone().prop_map(Step::Page),
        5 => (two.clone(), five.clone()).prop_map(|(session, word)| Step::Append { session, word }),
        2 => two.clone().prop_map(Step::Messages),
        3 => (two.clone(), 0..5usize).prop_map(|(session, strategy)| Step::Context { session, strategy }),
        1 => two.clone().prop_map(Step::DropSession),
        1 => (two.clone(), five.clone()).prop_map(|(session, word)| Step::Queue { session, word }),
        1 => two.clone().prop_map(Step::Take),
        1 => (two.clone(), five.clone()).prop_map(|(thread, word)| Step::Checkpoint { thread, word }),
        2 => (two.clone(), any::<u16>()).prop_map(|(user, tokens)| Step::Report { user, tokens }),
        1 => (two.clone(), any::<u16>()).prop_map(|(user, tokens)| Step::Quota { user, tokens }),
        2 => Just(Step::Lists),
        3 => (two.clone(), five.clone(),
            any::<bool>()).prop_map(|(session, word, force)| Step::Remember { session, word, force }),
        1 => (two.clone(), five.clone()).prop_map(|(user, word)| Step::Profile { user, word }),
        1 => two.prop_map(Step::Export),
        1 => Just(Step::Foreign),
    ]
}

const WORDS: [&str; 5] =
    ["the harbour at night", "a red bicycle", "winter in Bergen", "the broken kettle", "two train tickets"];

impl Step {
    /// What is sent; several requests where one alone says little.
    fn requests(&self) -> Vec<(&'static str, String, Value)> {
        let records = |c: &usize| format!("/v1/collections/c{c}/records");
        let get = |path: String| ("GET", path, Value::Null);
        match self {
            Self::Create(c) => vec![("PUT", format!("/v1/collections/c{c}"), json!({}))],
            Self::Write { collection, id, word } => {
                let record = json!({"id": format!("r{id}"), "text": WORDS[*word], "user": format!("u{}", id % 2),
                    "metadata": {"word": word}, "created_at": "2026-05-20T10:00:00Z"});
                vec![("POST", records(collection), json!({"records": [record]}))]
            }
            Self::Delete { collection, id } => vec![("DELETE", format!("{}/r{id}", records(collection)), Value::Null)],
            Self::DeleteByFilter { collection, word } => {
                let filter = json!({"field": "metadata.word", "eq": word});
                vec![("POST", format!("{}:delete", records(collection)), json!({"filter": filter}))]
            }
            Self::Drop(c) => vec![("DELETE", format!("/v1/collections/c{c}"), Value::Null)],
            Self::Recall { collection, word, mode } => {
                let mode = ["hybrid", "vector", "text"][*mode];
                vec![(
                    "POST",
                    format!("/v1/collections/c{collection}/recall"),
                    json!({"query": WORDS[*word], "mode": mode, "k": 3}),
                )]
            }
            Self::Page(c) => vec![get(format!("{}?limit=2", records(c))), get(format!("/v1/collections/c{c}"))],
            Self::Append { session, word } => {
                let message = json!({"role": "user", "content": WORDS[*word], "created_at": "2026-05-20T10:00:00Z"});
                let body = json!({"user": format!("u{session}"), "messages": [message]});
                vec![("POST", format!("/v1/sessions/s{session}/messages"), body)]
            }
            Self::Messages(s) => {
                vec![get(format!("/v1/sessions/s{s}/messages?limit=2")), get(format!("/v1/sessions/s{s}"))]
            }
            Self::Context { session, strategy } => {
                let strategy = ["recent", "smart", "window", "compress", "recall"][*strategy];
                vec![get(format!("/v1/sessions/s{session}/context?strategy={strategy}&max_tokens=60&threshold=40"))]
            }
            Self::DropSession(s) => vec![("DELETE", format!("/v1/sessions/s{s}"), Value::Null)],
            Self::Queue { session, word } => {
                vec![("POST", format!("/v1/sessions/s{session}/queue"), json!({"items": [word]}))]
            }
            Self::Take(s) => {
                vec![("POST", format!("/v1/sessions/s{s}/queue:take"), json!({"count": 2, "lease_s": 3600}))]
            }
            Self::Checkpoint { thread, word } => vec![
                ("PUT", format!("/v1/threads/t{thread}/checkpoints/p{word}"), json!({"state": word})),
                get(format!("/v1/threads/t{thread}/checkpoints?limit=1")),
            ],
            Self::Report { user, tokens } => {
                vec![("POST", "/v1/usage".into(), json!({"user": format!("u{user}"), "tokens": tokens}))]
            }
            Self::Quota { user, tokens } => {
                vec![("PUT", format!("/v1/quotas/u{user}"), json!({"tokens_per_day": u32::from(*tokens) * 2}))]
            }
            Self::Lists => ["/v1/collections", "/v1/sessions?limit=1", "/v1/usage", "/v1/audit?limit=100", "/v1/jobs"]
                .map(|path| get(path.into()))
                .into(),
            Self::Export(u) => vec![get(format!("/v1/users/u{u}/export"))],
            Self::Remember { session, word, force } => {
                let message = json!({"content": WORDS[*word]});
                let body = json!({"session": format!("s{session}"), "user": format!("u{session}"),
                    "messages": [message], "time_stamp": "2026/05/20 (Wed) 10:00", "force": force});
                vec![("POST", "/v1/memories".into(), body), get(format!("/v1/collections/user-u{session}"))]
            }
            Self::Profile { user, word } => {
                let path = format!("/v1/users/u{user}/profile");
                vec![("PATCH", path.clone(), json!({"likes": WORDS[*word]})), get(path)]
            }
            // Another's name in the header, and an id that nobody has.
            Self::Foreign => {
                vec![get("/v1/jobs/00000000-0000-7000-8000-000000000000".into()), get("/v1/collections/c9".into())]
            }
        }
    }
}

/// Takes out what differs from one run to the next: times, made-up ids, and what is sealed under a box's own key.
fn without_chance(value: &mut Value) {
    const CHANCE: [&str; 12] = [
        "took_ms",
        "created_at",
        "updated_at",
        "at",
        "hash",
        "id",
        "ids",
        "next",
        "subject",
        "leased_until",
        "last_seen",
        "sources",
    ];
    match value {
        Value::Object(object) => {
            for name in CHANCE {
                if let Some(found) = object.get_mut(name) {
                    // That it is there, and a caller's own id, still counts.
                    let is_callers = found.as_str().is_some_and(|text| text.len() < 16);
                    if !is_callers {
                        *found = json!(found.as_array().map_or(1, Vec::len));
                    }
                }
            }
            if let Some(Value::String(detail)) = object.get_mut("detail")
                && let Some(before) = detail.find("the quota begins anew in")
            {
                detail.truncate(before);
            }
            object.values_mut().for_each(without_chance);
        }
        Value::Array(values) => values.iter_mut().for_each(without_chance),
        _ => {}
    }
}

fn ask(server: &Server, tenant: &str, step: &Step) -> Vec<String> {
    let key = format!("Bearer key-of-{tenant}");
    let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
    let answer = |(method, path, body): (&str, String, Value)| {
        let (status, headers, text) = server.raw(method, &path, &headers, body.to_string().into_bytes());
        let timed = headers.iter().find(|h| h.0 == "server-timing").map(|h| h.1.clone()).unwrap_or_default();
        // Which stages there were, not how long they took.
        let stages: Vec<&str> = timed.split(',').filter_map(|stage| stage.trim().split(';').next()).collect();
        let lines = text.lines().map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap_or_else(|_| json!(line));
            without_chance(&mut value);
            value.to_string()
        });
        format!("{method} {path}: {status} {stages:?} {}", lines.collect::<Vec<_>>().join("\n"))
    };
    step.requests().into_iter().map(answer).collect()
}

fn start(folder: &Path) -> Server {
    let keys: String = TENANTS.iter().map(|t| format!("[[keys]]\nkey = \"key-of-{t}\"\ntenant = \"{t}\"\n")).collect();
    std::fs::write(folder.join("membox.toml"), keys).expect("a file");
    Server::start(&data_with_model(folder), &[])
}

#[test]
fn a_tenant_hears_what_it_would_hear_alone() {
    let steps = prop::collection::vec((0..TENANTS.len(), step()), 30..90);
    let mut runner = TestRunner::new(Config { cases: 6, max_shrink_iters: 40, ..Config::default() });
    let outcome = runner.run(&steps, |steps| {
        let together = tempfile::tempdir().expect("a folder");
        let server = start(together.path());
        let heard: Vec<Vec<String>> = steps.iter().map(|(tenant, step)| ask(&server, TENANTS[*tenant], step)).collect();
        let key = [("authorization", "Bearer key-of-a")];
        let (status, _, shown) = server.raw("GET", "/metrics", &key, Vec::new());
        prop_assert!(status == 200 && !shown.contains("collection="), "metrics name no collections to tenants");
        server.stop();
        for (number, tenant) in TENANTS.iter().enumerate() {
            let alone = tempfile::tempdir().expect("a folder");
            let server = start(alone.path());
            for ((_, step), heard) in steps.iter().zip(&heard).filter(|((whose, _), _)| *whose == number) {
                prop_assert_eq!(&ask(&server, tenant, step), heard, "{} {:?}", tenant, step);
            }
            server.stop();
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
