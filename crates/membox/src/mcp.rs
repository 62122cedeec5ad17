//! `membox mcp`: the Model Context Protocol over stdin and stdout, handed on to a running box.
//!
//! One box serves many clients, so this holds nothing itself: each line of JSON is a request to the box's `/mcp`, and
//! its answer is a line.

use crate::client::{Client, ClientArgs};
use crate::config::Config;
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Mutex;

/// Where a request says which version of the protocol it speaks, since 2026-07-28.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// Speak the Model Context Protocol over stdin and stdout, for clients that start their servers themselves.
///
/// Such as: {"mcpServers": {"memory": {"command": "membox", "args": ["mcp"]}}}. A box must be running
/// (`membox serve`); clients that speak streamable HTTP reach it without this, at http://127.0.0.1:8420/mcp.
#[derive(Args)]
pub struct McpArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs `membox mcp` until stdin ends and what was asked is answered.
pub fn run(_: &Config, args: &McpArgs) -> Result<()> {
    let client = Client::new(&args.client)?;
    let (output, negotiated) = (Mutex::new(stdout()), Mutex::new(None::<String>));
    std::thread::scope(|scope| {
        for line in stdin().lock().lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let (client, output, negotiated) = (&client, &output, &negotiated);
            // Each in a thread of its own: a long recall does not hold up a ping.
            let ask = move || answer(client, &line, negotiated, output);
            // All but the first request wait for what it negotiates.
            let is_first = negotiated.lock().is_ok_and(|version| version.is_none());
            if is_first {
                ask();
            } else {
                scope.spawn(ask);
            }
        }
        Ok(())
    })
}

fn answer(client: &Client, line: &str, negotiated: &Mutex<Option<String>>, output: &Mutex<std::io::Stdout>) {
    let message: Value = match serde_json::from_str(line) {
        Ok(message) => message,
        Err(error) => return write(output, &failure(&Value::Null, -32700, &error.to_string())),
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let version = text(&message["params"]["_meta"][VERSION_KEY]).or_else(|| negotiated.lock().ok()?.clone());
    let name = text(&message["params"]["name"]).or_else(|| text(&message["params"]["uri"]));
    let headers: Vec<(&str, String)> = [
        ("accept", Some("application/json, text/event-stream".to_owned())),
        ("mcp-protocol-version", version),
        ("mcp-method", text(&message["method"])),
        ("mcp-name", name),
    ]
    .into_iter()
    .filter_map(|(header, value)| Some((header, value?)))
    .collect();
    match client.send("/mcp", &headers, line) {
        Ok(answer) => {
            let version =
                text(&answer["result"]["protocolVersion"]).or_else(|| text(&message["params"]["_meta"][VERSION_KEY]));
            if let (Ok(mut known), Some(version)) = (negotiated.lock(), version) {
                *known = Some(version);
            }
            if !answer.is_null() {
                write(output, &answer);
            }
        }
        Err(error) if message["id"].is_null() => eprintln!("{error:#}"),
        Err(error) => write(output, &failure(&message["id"], -32603, &format!("{error:#}"))),
    }
}

fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn write(output: &Mutex<std::io::Stdout>, message: &Value) {
    if let Ok(mut output) = output.lock() {
        // A client that is gone wants no answer.
        let _ = writeln!(output, "{message}").and_then(|()| output.flush());
    }
}
