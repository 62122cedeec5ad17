//! Against a stand-in that speaks HTTP and does what a test says.

#![expect(clippy::disallowed_methods, reason = "tests have threads on their own")]

use super::*;
use serde_json::json;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A status, further headers, a body.
type Reply = (u16, String, String);

struct StandIn {
    url: String,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// The bodies of what it was asked; null for what has none.
    asked: Arc<Mutex<Vec<Value>>>,
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (replies, asked) = (Arc::default(), Arc::default());
        let stand_in = Self { url, replies, asked };
        let (replies, asked) = (stand_in.replies.clone(), stand_in.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (replies, asked) = (replies.clone(), asked.clone());
                std::thread::spawn(move || serve(stream, &replies, &asked));
            }
        });
        stand_in
    }

    /// What it answers next; it gives `{"yes": true}` to the others.
    fn then(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().expect("no panic").extend(replies);
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("no panic").clone()
    }

    fn llm(&self, change: impl FnOnce(&mut LlmConfig)) -> Llm {
        llm_of(&[self], change)
    }
}

fn llm_of(stand_ins: &[&StandIn], change: impl FnOnce(&mut LlmConfig)) -> Llm {
    let endpoint = |(i, stand_in): (usize, &&StandIn)| Endpoint {
        url: stand_in.url.clone(),
        key: Some("secret".into()),
        model: format!("m{i}"),
    };
    let endpoints = stand_ins.iter().enumerate().map(endpoint).collect();
    let mut config = LlmConfig { endpoints, tries: 2, timeout_s: 5, rest_s: 60, ..LlmConfig::default() };
    change(&mut config);
    Llm::new(config)
}

fn serve(stream: TcpStream, replies: &Mutex<VecDeque<Reply>>, asked: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        if reader.fill_buf().ok()?.is_empty() {
            return None;
        }
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        asked.lock().ok()?.push(serde_json::from_slice(&body).unwrap_or_default());
        let reply = replies.lock().ok()?.pop_front().unwrap_or_else(|| wrote("{\"yes\": true}"));
        let (status, headers, body) = reply;
        let head = format!("HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\n\r\n", body.len());
        reader.get_mut().write_all((head + &body).as_bytes()).ok()?;
    }
}

fn status(status: u16) -> Reply {
    (status, String::new(), "{}".into())
}

fn wrote(content: &str) -> Reply {
    let usage = json!({"prompt_tokens": 50, "completion_tokens": 10});
    let body = json!({"choices": [{"message": {"content": content}}], "usage": usage});
    (200, String::new(), body.to_string())
}

fn ask_with(llm: &Llm, tenant: &str, usage: &mut Usage) -> Result<bool, LlmError> {
    let schema = json!({"type": "object", "properties": {"yes": {"type": "boolean"}}});
    let question = Question { tenant, system: "Is it so?", text: "2 > 1", name: "answer", schema: &schema };
    llm.ask(&question, usage, &|value| value["yes"].as_bool().ok_or_else(|| "it does not say".to_owned()))
}

fn ask(llm: &Llm, tenant: &str) -> Result<bool, LlmError> {
    ask_with(llm, tenant, &mut Usage::default())
}

#[test]
fn an_answer_that_is_of_no_use_ends_one_question_and_none_of_another_tenant() {
    let model = StandIn::start();
    let llm = model.llm(|_| {});
    for reply in [wrote("Certainly!"), wrote("{\"no\": 1}"), (200, String::new(), "<html>".into()), wrote("")] {
        model.then([reply.clone(), reply]);
        let mut usage = Usage::default();
        assert!(matches!(ask_with(&llm, "a", &mut usage), Err(LlmError::Useless { .. })));
        assert_eq!((usage.failed, usage.calls), (2, 0), "two tries");
        assert!(ask(&llm, "b").is_ok_and(|yes| yes));
        assert!(ask(&llm, "a").is_ok_and(|yes| yes), "nor of the same one");
    }
    model.then(vec![status(400); 4]);
    let before = model.asked().len();
    assert!(matches!(ask(&llm, "a"), Err(LlmError::Useless { .. })), "a question that is too long");
    assert_eq!(model.asked().len(), before + 4, "each way once");
    assert!(ask(&llm, "b").is_ok());
}

#[test]
fn a_tenant_whose_questions_come_to_nothing_again_and_again_rests_alone() {
    let model = StandIn::start();
    let llm = model.llm(|config| config.tries = 1);
    model.then(vec![wrote("Certainly!"); 3]);
    for _ in 0..3 {
        assert!(matches!(ask(&llm, "a"), Err(LlmError::Useless { .. })));
    }
    assert!(matches!(ask(&llm, "a"), Err(LlmError::TenantResting { .. })));
    assert_eq!(model.asked().len(), 3);
    assert!(ask(&llm, "b").is_ok());
}

#[test]
fn an_endpoint_that_cannot_be_reached_rests_for_everybody_and_the_next_one_answers() {
    for failure in [status(500), status(429), status(503), status(401)] {
        let (model, other) = (StandIn::start(), StandIn::start());
        let alone = model.llm(|config| config.tries = 1);
        model.then([failure.clone()]);
        assert!(matches!(ask(&alone, "a"), Err(LlmError::Failed { .. })), "{failure:?}");
        assert!(matches!(ask(&alone, "b"), Err(LlmError::Resting { .. })), "{failure:?}");
        assert_eq!(model.asked().len(), 1);
        let both = llm_of(&[&model, &other], |config| config.tries = 1);
        model.then([failure]);
        assert!(ask(&both, "a").is_ok() && ask(&both, "b").is_ok());
        assert_eq!((model.asked().len(), other.asked().len()), (2, 2), "the first one rests");
    }
    let nobody = StandIn { url: "http://127.0.0.1:1/v1".into(), replies: Arc::default(), asked: Arc::default() };
    let llm = nobody.llm(|config| config.tries = 1);
    assert!(matches!(ask(&llm, "a"), Err(LlmError::Failed { .. })));
    assert!(matches!(ask(&llm, "b"), Err(LlmError::Resting { .. })));
    // A rest has an end.
    let llm = nobody.llm(|config| (config.tries, config.rest_s) = (1, 0));
    assert!(matches!(ask(&llm, "a"), Err(LlmError::Failed { .. })));
    assert!(matches!(ask(&llm, "b"), Err(LlmError::Failed { .. })));
}

#[test]
fn a_passing_failure_is_tried_again() {
    let model = StandIn::start();
    let llm = model.llm(|_| {});
    model.then([status(500)]);
    let mut usage = Usage::default();
    assert!(ask_with(&llm, "a", &mut usage).is_ok());
    assert_eq!(usage, Usage { calls: 1, failed: 1, prompt_tokens: 50, completion_tokens: 10 });
    model.then([wrote("Certainly!")]);
    assert!(ask(&llm, "a").is_ok());
}

#[test]
fn redirects_are_not_followed() {
    let (model, other) = (StandIn::start(), StandIn::start());
    for code in [301, 302, 307, 308] {
        model.then([(code, format!("location: {}/chat/completions\r\n", other.url), String::new())]);
        let error = ask(&model.llm(|_| {}), "a").expect_err("a redirect").to_string();
        assert!(error.contains("redirects are not followed"), "{error}");
    }
    assert_eq!((model.asked().len(), other.asked().len()), (4, 0));
}

#[test]
fn the_size_of_an_answer_is_bounded() {
    let model = StandIn::start();
    let llm = model.llm(|config| config.tries = 1);
    model.then([(200, String::new(), " ".repeat(client::MAX_ANSWER_BYTES as usize + 1))]);
    let mut usage = Usage::default();
    let error = ask_with(&llm, "a", &mut usage).expect_err("too much").to_string();
    assert!(error.contains("bytes"), "{error}");
    assert_eq!(usage.completion_tokens, 2000, "as many as it was asked for");
    assert!(ask(&llm, "b").is_ok());
}

#[test]
fn an_endpoint_is_asked_in_the_strictest_way_that_it_takes_and_this_is_remembered() {
    let model = StandIn::start();
    let llm = model.llm(|_| {});
    let formats = || -> Vec<Value> { model.asked().iter().map(|asked| asked["response_format"].clone()).collect() };
    assert!(ask(&llm, "a").is_ok());
    let schema = json!({"type": "object", "properties": {"yes": {"type": "boolean"}}});
    let strict = json!({"name": "answer", "strict": true, "schema": schema});
    assert_eq!(formats(), [json!({"type": "json_schema", "json_schema": strict})]);
    model.then([status(400)]);
    assert!(ask(&llm, "a").is_ok() && ask(&llm, "b").is_ok());
    let with_schema = json!({"type": "json_object", "schema": schema});
    assert_eq!(formats()[2..], [with_schema.clone(), with_schema]);
    model.then([status(422), status(404)]);
    assert!(ask(&llm, "a").is_ok() && ask(&llm, "b").is_ok());
    assert_eq!(formats()[5..], [json!({"type": "json_object"}), Value::Null, Value::Null]);
    let asked = model.asked();
    let system = |i: usize| asked[i]["messages"][0]["content"].as_str().expect("a text");
    assert!(!system(0).contains("JSON schema") && system(7).contains(&schema.to_string()), "{}", system(7));
}

#[test]
fn a_refusal_of_a_format_may_look_like_a_failure_of_the_endpoint() {
    let model = StandIn::start();
    let llm = model.llm(|config| config.tries = 1);
    let refusal = "{\"error\": {\"loc\": [\"body\", \"response_format\", \"type\"]}}";
    model.then([(500, String::new(), refusal.into())]);
    assert!(ask(&llm, "a").is_ok());
    assert_eq!(model.asked()[1]["response_format"]["type"], "json_object");
    model.then([status(500)]);
    assert!(ask(&llm, "a").is_err());
    assert_eq!(model.asked().len(), 3);
}

#[test]
fn what_refuses_a_question_in_every_way_is_asked_in_the_strictest_way_again() {
    let model = StandIn::start();
    let llm = model.llm(|_| {});
    model.then(vec![status(400); 4]);
    assert!(ask(&llm, "a").is_err() && ask(&llm, "a").is_ok());
    assert_eq!(model.asked()[4]["response_format"]["type"], "json_schema");
}

#[test]
fn tokens_are_counted_where_the_endpoint_does_not_say() {
    let model = StandIn::start();
    let llm = model.llm(|config| config.tokens_per_day = 20);
    let body = json!({"choices": [{"message": {"content": "{\"yes\": true}"}}], "usage": {"prompt_tokens": 0}});
    model.then([(200, String::new(), body.to_string())]);
    let mut usage = Usage::default();
    assert!(ask_with(&llm, "a", &mut usage).is_ok());
    assert_eq!(usage.prompt_tokens, ("Is it so?".len() + "2 > 1".len()).div_ceil(4) as u64);
    assert_eq!(usage.completion_tokens, 4, "13 bytes");
    assert!(ask(&llm, "a").is_ok());
    assert!(matches!(ask(&llm, "a"), Err(LlmError::Budget { budget: 20 })));
}

#[test]
fn a_tenant_that_has_used_up_its_tokens_takes_none_from_others() {
    let model = StandIn::start();
    let llm = model.llm(|config| *config = LlmConfig { tokens_per_day: 200, ..config.clone() }.for_tenants(2));
    assert!(ask(&llm, "a").is_ok() && ask(&llm, "a").is_ok());
    assert!(matches!(ask(&llm, "a"), Err(LlmError::TenantBudget { budget: 100 })));
    assert!(ask(&llm, "b").is_ok());
    llm.count_as_used(Some("c"), 100);
    assert!(matches!(ask(&llm, "c"), Err(LlmError::TenantBudget { .. })));
    llm.count_as_used(None, 200);
    assert!(matches!(ask(&llm, "b"), Err(LlmError::Budget { .. })));
    let config = LlmConfig { tokens_per_day: 200, ..LlmConfig::default() };
    assert_eq!(config.clone().for_tenants(1).tokens_per_day_of_tenant, None);
    let own = LlmConfig { tokens_per_day_of_tenant: Some(7), ..config };
    assert_eq!(own.for_tenants(9).tokens_per_day_of_tenant, Some(7));
}

#[test]
fn what_stops_is_not_tried_again() {
    let model = StandIn::start();
    let llm = model.llm(|_| {});
    llm.stop();
    assert!(matches!(ask(&llm, "a"), Err(LlmError::Failed { .. })));
    assert_eq!(model.asked().len(), 0);
}
