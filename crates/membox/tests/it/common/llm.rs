//! A language model that is none: it speaks OpenAI's protocol, finds a fact in every message, and misbehaves on
//! request.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// A fact of each message; `keep` where it is to decide on a memory.
    Answer,
    /// What it writes.
    Write(String),
    /// An HTTP status.
    Status(u16),
    /// Nothing for so long.
    Stall(Duration),
    /// Something that is no answer at all.
    Garbage,
}

/// A running one.
pub struct StandIn {
    pub url: String,
    script: Arc<Mutex<VecDeque<Behaviour>>>,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl StandIn {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (script, asked) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(Mutex::new(Vec::new())));
        let (own, own_asked) = (script.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, asked) = (own.clone(), own_asked.clone());
                std::thread::spawn(move || serve(stream, &script, &asked));
            }
        });
        Self { url, script, asked }
    }

    /// What it does with the next requests; it answers the others.
    pub fn then(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.script.lock().expect("no panic").extend(behaviours);
    }

    /// What it was asked so far: the requests' bodies, and each one's `authorization`.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(stream: TcpStream, script: &Mutex<VecDeque<Behaviour>>, asked: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut key, mut line) = (0, String::new(), String::new());
        while reader.read_line(&mut line).ok()? > 2 {
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "authorization" => value.trim().clone_into(&mut key),
                _ => {}
            }
            line.clear();
        }
        if length == 0 {
            return None;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut body: Value = serde_json::from_slice(&body).ok()?;
        body["authorization"] = json!(key);
        let behaviour = script.lock().ok()?.pop_front().unwrap_or(Behaviour::Answer);
        asked.lock().ok()?.push(body.clone());
        let (status, text) = match behaviour {
            Behaviour::Answer => (200, answer(&answer_to(&body))),
            Behaviour::Write(text) => (200, answer(&text)),
            Behaviour::Status(status) => (status, "{}".to_owned()),
            Behaviour::Stall(time) => {
                std::thread::sleep(time);
                (200, answer(&answer_to(&body)))
            }
            Behaviour::Garbage => (200, "<html>".to_owned()),
        };
        let head =
            format!("HTTP/1.1 {status} So\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        reader.get_mut().write_all((head + &text).as_bytes()).ok()?;
    }
}

fn answer(content: &str) -> String {
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 10});
    json!({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}).to_string()
}

/// A fact of each numbered message: of `{"number": 3, "speaker": "Ann", "text": "Hi"}` it is `Ann said: Hi`.
fn answer_to(request: &Value) -> String {
    let question = request["messages"][1]["content"].as_str().unwrap_or_default();
    if question.starts_with("Older memory") {
        return json!({"action": "keep", "new_memory": ""}).to_string();
    }
    let fact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let (name, text) = (message["speaker"].as_str()?, message["text"].as_str()?);
        Some(json!({"source_id": message["number"], "fact": format!("{name} said: {text}")}))
    };
    let facts: Vec<Value> = question.lines().filter_map(fact).collect();
    format!("```json\n{}\n```", json!({ "data": facts }))
}
