//! OpenAI's Conversations, as its client says them. The client itself is run by `make test-clients`.

use crate::common::{Server, post, started};
use serde_json::{Value, json};

fn get(server: &Server, path: &str) -> Value {
    let (status, answer) = server.call("GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn texts(list: &Value) -> Vec<&str> {
    let items = list["data"].as_array().expect("items").iter();
    items.filter_map(|item| item["content"][0]["text"].as_str()).collect()
}

#[test]
fn a_conversation_is_made_filled_read_in_parts_and_deleted() {
    let (_folder, server) = started("");
    let made = json!({"metadata": {"topic": "demo"}, "items": [{"type": "message", "role": "user", "content": "Hi."}]});
    let made = post(&server, "/v1/conversations", &made);
    assert_eq!((&made["object"], &made["metadata"]), (&json!("conversation"), &json!({"topic": "demo"})));
    assert!(made["created_at"].as_i64() > Some(1_700_000_000), "{made}");
    let path = format!("/v1/conversations/{}", made["id"].as_str().expect("an id"));
    assert_eq!(get(&server, &path), made);

    let items = json!({"items": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Where did you park?"}]},
        {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{\"n\":1}"},
        {"type": "function_call_output", "call_id": "c", "output": "At the harbour."},
        {"role": "user", "content": "Thanks."}]});
    let added = post(&server, &format!("{path}/items"), &items);
    assert_eq!((added["data"].as_array().map(Vec::len), &added["has_more"]), (Some(4), &json!(false)), "{added}");
    let call = &added["data"][1];
    let said = (&call["name"], &call["arguments"], &call["status"]);
    assert_eq!(said, (&json!("find"), &json!("{\"n\":1}"), &json!("completed")));
    let one = format!("{path}/items/{}", call["id"].as_str().expect("an id"));
    assert_eq!(get(&server, &one), *call);

    assert_eq!(texts(&get(&server, &format!("{path}/items"))), ["Thanks.", "Where did you park?", "Hi."]);
    let page = get(&server, &format!("{path}/items?order=asc&limit=2"));
    assert_eq!((texts(&page), &page["has_more"]), (vec!["Hi.", "Where did you park?"], &json!(true)));
    let last = page["last_id"].as_str().expect("an id");
    let rest = get(&server, &format!("{path}/items?order=asc&limit=3&after={last}&include=x"));
    assert_eq!((rest["data"].as_array().map(Vec::len), &rest["has_more"]), (Some(3), &json!(false)));
    // An item is a message.
    let context = get(&server, &format!("/v1/sessions/{}/context", made["id"].as_str().expect("an id")));
    assert!(context["messages"].to_string().contains("At the harbour."), "{context}");

    let (_, changed) = server.call("POST", &path, &json!({"metadata": {"other": 1}}));
    assert_eq!(changed["metadata"], json!({"other": 1}), "it is in the place of what was there");
    let (status, left) = server.call("DELETE", &one, &Value::Null);
    assert_eq!((status, &left["object"]), (200, &json!("conversation")));
    assert_eq!(server.call("GET", &one, &Value::Null).0, 404);
    let (_, deleted) = server.call("DELETE", &path, &Value::Null);
    assert_eq!((&deleted["object"], &deleted["deleted"]), (&json!("conversation.deleted"), &json!(true)));
    assert_eq!(server.call("GET", &path, &Value::Null).0, 404);
    server.stop();
}

#[test]
fn any_session_is_a_conversation_and_what_is_wrong_is_named() {
    let (_folder, server) = started("");
    post(&server, "/v1/sessions/s/messages", &json!({"messages": [{"role": "assistant", "content": "Hello."}]}));
    let item = &get(&server, "/v1/conversations/s/items")["data"][0];
    let part = json!([{"type": "output_text", "text": "Hello.", "annotations": []}]);
    assert_eq!((&item["role"], &item["content"]), (&json!("assistant"), &part));
    let items = "/v1/conversations/s/items";
    for (method, path, body, status, pointer) in [
        ("POST", items, json!({"items": []}), 400, "/items"),
        ("POST", items, json!({"items": [{"role": "critic", "content": "x"}]}), 400, "/items/0/role"),
        ("POST", items, json!({"items": [{"content": "x"}]}), 400, "/items/0/role"),
        ("POST", "/v1/conversations", json!({"items": [{"role": "user", "id": ""}]}), 400, "/items/0/id"),
        ("GET", "/v1/conversations/s/items?limit=0", Value::Null, 400, "/limit"),
        ("GET", "/v1/conversations/s/items?order=up", Value::Null, 400, "/order"),
        ("GET", "/v1/conversations/s/items?after=none", Value::Null, 400, "/after"),
    ] {
        let (found, problem) = server.call(method, path, &body);
        assert_eq!((found, &problem["errors"][0]["pointer"]), (status, &json!(pointer)), "{path} {body}: {problem}");
        assert!(problem["error"]["message"].is_string(), "as OpenAI says it: {problem}");
    }
    let sessions = get(&server, "/v1/sessions");
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "nothing is left of one that was not made");
    assert_eq!(server.call("POST", "/v1/conversations/none/items", &json!({"items": [{"role": "user"}]})).0, 404);
    server.stop();
}
