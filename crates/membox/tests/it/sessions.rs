//! Sessions over HTTP: messages are whole, in order and bounded; contexts fit their budgets; queues and checkpoints
//! survive.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};
use std::collections::HashSet;

fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn append(server: &Server, session: &str, messages: Value) -> Value {
    let (status, answer) =
        server.call("POST", &format!("/v1/sessions/{session}/messages"), &json!({"messages": messages}));
    assert_eq!(status, 200, "{answer}");
    answer
}

fn get(server: &Server, path: &str) -> Value {
    let (status, answer) = server.call("GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn contents(answer: &Value) -> Vec<&str> {
    answer["messages"].as_array().expect("messages").iter().map(|m| m["content"].as_str().expect("a content")).collect()
}

/// With a version that must be the current one.
fn at_version(server: &Server, session: &str, version: u64, body: &Value) -> (u16, Value) {
    let version = version.to_string();
    let headers = [("content-type", "application/json"), ("if-match", version.as_str())];
    let (status, _, text) =
        server.raw("POST", &format!("/v1/sessions/{session}/messages"), &headers, body.to_string().into_bytes());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[test]
fn messages_are_kept_in_order_paged_found_by_a_word_and_recalled_like_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let first = json!({"user": "lena", "messages": [
        {"id": "m0", "role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "Where did I leave the spare key of the garden shed?",
            "metadata": {"channel": "web"}},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": {"name": "look"}}]},
        {"role": "tool", "content": "shed: under the blue pot", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Under the blue pot.", "created_at": "2026-05-20T10:00:00Z"},
    ]});
    let (status, answer) = server.call("POST", "/v1/sessions/s1/messages", &first);
    assert_eq!((status, &answer["version"]), (200, &json!(1)), "{answer}");
    let places: Vec<i64> =
        answer["messages"].as_array().expect("messages").iter().filter_map(|m| m["seq"].as_i64()).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
    append(&server, "s1", (0..40).map(|i| said("user", &format!("note number {i}"))).collect());

    // Pages of 20, which go on where they ended while more is written.
    let page = get(&server, "/v1/sessions/s1/messages");
    assert_eq!(contents(&page).len(), 20);
    append(&server, "s1", json!([said("user", "written between two pages")]));
    let (mut all, mut cursor): (Vec<String>, _) =
        (contents(&page).into_iter().map(str::to_owned).collect(), page["next"].as_i64());
    while let Some(after) = cursor {
        let page = get(&server, &format!("/v1/sessions/s1/messages?cursor={after}"));
        all.extend(contents(&page).into_iter().map(str::to_owned));
        cursor = page["next"].as_i64();
    }
    assert_eq!((all.len(), all[5].as_str(), all[44].as_str()), (46, "note number 0", "note number 39"));
    let newest = get(&server, "/v1/sessions/s1/messages?order=newest&limit=2");
    assert_eq!(contents(&newest), ["written between two pages", "note number 39"]);
    let found = get(&server, "/v1/sessions/s1/messages?q=pots");
    assert_eq!(contents(&found), ["shed: under the blue pot", "Under the blue pot."], "a word in any of its forms");

    // A user's own collection, found by meaning, filtered by role.
    let view = get(&server, "/v1/sessions/s1");
    assert_eq!(
        (&view["collection"], &view["user"], &view["messages"]),
        (&json!("user-lena"), &json!("lena"), &json!(46))
    );
    let question = json!({"query": "the key to the shed", "k": 1, "filter": {"field": "role", "eq": "user"}});
    let (_, found) = server.call("POST", "/v1/collections/user-lena/recall", &question);
    assert_eq!(found["hits"][0]["session"], "s1");
    assert!(found["hits"][0]["text"].as_str().expect("a text").contains("spare key"), "{found}");

    // A message by its id; its metadata changes, and both versions rise.
    let (status, patched) = server.call("PATCH", "/v1/sessions/s1/messages/m0", &json!({"metadata": {"seen": true}}));
    assert_eq!(
        (status, &patched["metadata"]["seen"], &patched["version"]),
        (200, &json!(true), &json!(2)),
        "{patched}"
    );
    assert!(patched["updated_at"].is_string() && patched["seq"] == 0, "{patched}");
    assert_eq!(get(&server, "/v1/sessions/s1")["version"], 4);
    assert_eq!(server.call("DELETE", "/v1/sessions/s1/messages/m0", &Value::Null).0, 204);
    assert_eq!(server.call("GET", "/v1/sessions/s1/messages/m0", &Value::Null).0, 404);

    // All of it survives a restart, and a session goes with everything.
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(get(&server, "/v1/sessions/s1")["messages"], 45);
    assert_eq!(get(&server, "/v1/sessions?user=lena")["sessions"][0]["id"], "s1");
    let (_, deleted) = server.call("DELETE", "/v1/sessions/s1", &Value::Null);
    assert_eq!(deleted["deleted"], 45);
    assert_eq!(server.call("GET", "/v1/sessions/s1", &Value::Null).0, 404);
    let (_, found) = server.call("POST", "/v1/collections/user-lena/recall", &question);
    assert_eq!(found["hits"], json!([]));
    server.stop();
}

#[test]
fn every_word_of_a_question_counts_and_a_blank_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let texts = [
        "We fly to Lisbon in May",
        "We fly to Lisbon in June",
        "I write C++ code",
        "I write C# code",
        "Le café est fermé 🎉",
        "ฉันรักกรุงเทพมหานคร",
    ];
    append(&server, "s", texts.iter().map(|text| said("user", text)).collect());
    let q = |words: &str| {
        let coded: String = words.bytes().map(|byte| format!("%{byte:02x}")).collect();
        server.call("GET", &format!("/v1/sessions/s/messages?q={coded}"), &Value::Null)
    };
    for (words, found) in [
        ("May Lisbon", 0..1),
        ("lisbon", 0..2),
        ("C++", 2..3),
        ("c#", 3..4),
        ("cafe", 4..5),
        ("🎉", 4..5),
        ("กรุงเทพ", 5..6),
        ("Porto", 0..0),
        ("???", 0..0),
    ] {
        assert_eq!(contents(&q(words).1), texts[found], "{words}");
    }
    for words in [" ", ""] {
        let (status, problem) = q(words);
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/q")), "{words:?}: {problem}");
    }
    server.stop();
}

#[test]
fn what_is_wrong_is_named_and_keeps_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let cases = [
        (json!({"messages": []}), 422),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), 400),
        (json!({"messages": [{"role": "user", "content": "x", "contents": "y"}]}), 400),
        (
            json!({"messages": [{"id": "a", "role": "user", "content": "x"},
                {"id": "a", "role": "user", "content": "y"}]}),
            400,
        ),
        (json!({"messages": [{"role": "user", "content": "x", "created_at": "yesterday"}]}), 400),
        (json!({"messages": [said("user", "x")], "collection": "nowhere"}), 404),
    ];
    for (body, status) in cases {
        let answer = server.call("POST", "/v1/sessions/s/messages", &body);
        assert_eq!(answer.0, status, "{body} {}", answer.1);
        assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).0, 404, "nothing is kept of {body}");
    }
    append(&server, "s", json!([said("user", "x")]));
    let other = json!({"messages": [said("user", "x")], "user": "somebody else"});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &other).0, 409);
    assert_eq!(server.call("GET", "/v1/sessions/s/context?strategy=best", &Value::Null).0, 400);
    assert_eq!(server.call("GET", "/v1/sessions/s/messages?limit=0", &Value::Null).0, 400);
    assert_eq!(server.call("GET", "/v1/sessions/a%2Fb", &Value::Null).0, 400, "an id with a slash");
    server.stop();
}

#[test]
fn two_hundred_writers_lose_double_and_reorder_nothing_and_the_cap_holds() {
    const WRITERS: usize = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (status, _) = server.call("PUT", "/v1/sessions/s", &json!({"max_messages": 300, "user": "u"}));
    assert_eq!(status, 201);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let server = &server;
            scope.spawn(move || {
                let messages: Vec<Value> = (0..3)
                    .map(|i| {
                        json!({"id": format!("w{writer}-{i}"), "role": "user",
                            "content": format!("writer {writer} part {i}")})
                    })
                    .collect();
                let body = json!({"messages": messages});
                // Said twice, as a client does that has not seen the answer.
                for _ in 0..2 {
                    loop {
                        let (status, answer) = server.call("POST", "/v1/sessions/s/messages", &body);
                        if status == 200 {
                            break;
                        }
                        assert_eq!(status, 429, "{answer}");
                        std::thread::sleep(std::time::Duration::from_millis(50));
                    }
                }
            });
        }
    });
    let view = get(&server, "/v1/sessions/s");
    assert_eq!(
        (&view["messages"], &view["version"]),
        (&json!(300), &json!(1 + WRITERS)),
        "a repeated append is no write"
    );
    let page = get(&server, "/v1/sessions/s/messages?limit=1000");
    let listed: Vec<(i64, String)> = page["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| (m["seq"].as_i64().expect("a place"), m["id"].as_str().expect("an id").to_owned()))
        .collect();
    assert!(listed.iter().map(|m| m.0).eq(300..600), "the newest, with no gap");
    for three in listed.chunks(3) {
        let writer = three[0].1.trim_end_matches("-0");
        let whole: Vec<String> = (0..3).map(|i| format!("{writer}-{i}")).collect();
        assert_eq!(three.iter().map(|m| m.1.clone()).collect::<Vec<_>>(), whole, "each append stays together");
    }
    // Those over the cap have left the list and are still remembered; none is there twice.
    let everything = json!({"query": "writer part", "k": 1000, "mode": "text"});
    let (_, found) = server.call("POST", "/v1/collections/user-u/recall", &everything);
    let ids: HashSet<&str> = found["hits"].as_array().expect("hits").iter().filter_map(|h| h["id"].as_str()).collect();
    assert_eq!((ids.len(), found["hits"].as_array().expect("hits").len()), (3 * WRITERS, 3 * WRITERS));
    server.stop();
}

#[test]
fn messages_over_the_cap_can_be_deleted_and_old_ones_can_expire() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/sessions/s", &json!({"max_messages": 2, "evict": "delete", "user": "u"}));
    let answer = append(
        &server,
        "s",
        json!([{"id": "a", "role": "user", "content": "apples"}, said("user", "pears"), said("user", "plums")]),
    );
    assert_eq!(answer["evicted"], json!(["a"]));
    let (_, found) = server.call("POST", "/v1/collections/user-u/recall", &json!({"query": "apples", "mode": "text"}));
    assert_eq!(found["hits"], json!([]));
    server.call("PUT", "/v1/sessions/short", &json!({"ttl_s": 1, "user": "u"}));
    append(&server, "short", json!([said("user", "gone soon")]));
    assert_eq!(contents(&get(&server, "/v1/sessions/short/messages")), ["gone soon"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(contents(&get(&server, "/v1/sessions/short/messages")).is_empty());
    assert!(contents(&get(&server, "/v1/sessions/short/context")).is_empty());
    server.stop();
}

#[test]
fn conflicts_are_refused_or_resolved_as_the_caller_wants() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let at = |minute: u32, content: &str| {
        json!({"role": "user", "content": content,
            "created_at": format!("2026-05-20T10:{minute:02}:00Z")})
    };
    append(&server, "s", json!([at(0, "first")]));
    append(&server, "s", json!([at(5, "said on the phone"), at(9, "also on the phone")]));
    let mine = |how: Option<&str>| {
        let mut body = json!({"messages": [at(5, "said on the phone"), at(7, "said at the desk"), at(11, "last")]});
        if let Some(how) = how {
            body["on_conflict"] = json!(how);
        }
        body
    };
    let (status, refused) = at_version(&server, "s", 1, &mine(None));
    assert_eq!(status, 412);
    assert!(refused["detail"].as_str().expect("a reason").contains('2'), "the current version is named: {refused}");
    for (how, local) in [("latest", 0), ("manual", 3)] {
        let (status, answer) = at_version(&server, "s", 1, &mine(Some(how)));
        assert_eq!((status, &answer["version"], &answer["messages"]), (200, &json!(2), &json!([])), "{answer}");
        let conflict = &answer["conflict"];
        assert_eq!(conflict["server"].as_array().map(Vec::len), Some(2), "{answer}");
        assert_eq!(conflict["local"].as_array().map_or(0, Vec::len), local, "{answer}");
    }
    let (status, answer) = at_version(&server, "s", 1, &mine(Some("merge")));
    assert_eq!((status, &answer["version"]), (200, &json!(3)), "{answer}");
    let all = get(&server, "/v1/sessions/s/messages");
    assert_eq!(contents(&all), ["first", "said on the phone", "said at the desk", "also on the phone", "last"]);
    let places: Vec<i64> =
        all["messages"].as_array().expect("messages").iter().filter_map(|m| m["seq"].as_i64()).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
    // Who has not heard of that merge, in the middle of which stands what was said before it.
    let late = json!({"messages": [at(8, "said at the door")], "on_conflict": "merge"});
    assert_eq!(at_version(&server, "s", 2, &late).0, 200);
    let all = get(&server, "/v1/sessions/s/messages");
    let wanted = ["first", "said on the phone", "said at the desk", "said at the door", "also on the phone", "last"];
    assert_eq!(contents(&all), wanted);
    let messages = all["messages"].as_array().expect("messages");
    assert!(messages.iter().filter_map(|m| m["seq"].as_i64()).eq(0..6), "one to a place: {all}");
    // At the version that is expected nothing stands in the way; 0 is for a session that must not be there.
    assert_eq!(at_version(&server, "s", 4, &json!({"messages": [said("user", "x")]})).0, 200);
    assert_eq!(at_version(&server, "s", 0, &json!({"messages": [said("user", "x")]})).0, 412);
    assert_eq!(at_version(&server, "new", 0, &json!({"messages": [said("user", "x")]})).0, 200);
    server.stop();
}

/// 4 a message and 2 for the conversation, and what each says, by its own count.
fn cost(server: &Server, answer: &Value) -> u64 {
    let messages = answer["messages"].as_array().expect("messages").iter();
    let part = |m: &Value| {
        json!({"role": m["role"], "content": m["content"], "name": m["name"],
            "tool_call_id": m["tool_call_id"], "tool_calls": m["tool_calls"]})
    };
    let messages: Vec<Value> = messages.map(part).collect();
    let body = json!({"encoding": answer["encoding"], "messages": messages});
    let (_, counted) = server.call("POST", "/v1/tokens", &body);
    counted["total"].as_u64().unwrap_or_else(|| panic!("{counted}"))
}

#[test]
fn every_strategy_keeps_to_its_budget_and_to_its_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/sessions/s", &json!({"user": "lena", "max_messages": 0}));
    let mut messages = vec![said("system", "You are a gardener.")];
    for i in 0..60 {
        let topic = ["tomatoes and their supports", "the leaking greenhouse roof", "a trip to Lisbon in May"][i % 3];
        messages.push(said("user", &format!("Turn {i}: I want to talk about {topic}, please tell me more about it.")));
        messages.push(said("assistant", &format!("Answer {i}: here is what I know about {topic}.")));
    }
    append(&server, "s", json!(messages));
    for strategy in ["recent", "smart", "window", "compress", "recall"] {
        for budget in [0, 3, 40, 200, 1000, 4000] {
            for encoding in ["o200k_base", "gpt-4"] {
                let path =
                    format!("/v1/sessions/s/context?strategy={strategy}&max_tokens={budget}&encoding={encoding}");
                let answer = get(&server, &path);
                let tokens = answer["tokens"].as_u64().expect("tokens");
                assert!(tokens <= budget.max(2), "{path}: {tokens}");
                assert_eq!(tokens, cost(&server, &answer), "{path}: what is said is what it costs");
            }
        }
    }
    let of = |query: &str| get(&server, &format!("/v1/sessions/s/context?{query}"));
    let recent = of("strategy=recent&max_tokens=120");
    assert_eq!(contents(&recent).last(), Some(&"Answer 59: here is what I know about a trip to Lisbon in May."));
    assert!(!contents(&recent).contains(&"You are a gardener."));
    assert_eq!(recent["omitted"].as_u64().expect("a count") as usize, 121 - contents(&recent).len());
    let smart = of("max_tokens=120");
    assert_eq!((smart["strategy"].as_str(), contents(&smart)[0]), (Some("smart"), "You are a gardener."));
    assert!(
        contents(&smart)
            .contains(&"Turn 59: I want to talk about a trip to Lisbon in May, please tell me more about it.")
    );
    let window = of("strategy=window");
    assert_eq!(contents(&window).len(), 10, "five turns of two");
    assert!(contents(&window)[0].starts_with("Turn 55"));

    // A question about the roof brings turns about the roof, before the last turns, in the order of time.
    append(&server, "s", json!([said("user", "What about the greenhouse roof that leaks?")]));
    let recall = of("strategy=recall&max_tokens=600&turns=1");
    let found = contents(&recall);
    assert_eq!(found.last(), Some(&"What about the greenhouse roof that leaks?"));
    let about = found[1..found.len() - 1].iter().filter(|c| c.contains("greenhouse roof")).count();
    assert!(about >= 5 && about * 10 >= (found.len() - 2) * 8, "{found:?}");
    let numbers: Vec<i64> =
        found[1..found.len() - 1].iter().filter_map(|c| c.split([' ', ':']).nth(1)?.parse().ok()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");

    // The text that older frameworks want.
    let text = of("strategy=window&turns=1&text=true&ai_prefix=Gardener");
    assert_eq!(text["text"], "Human: What about the greenhouse roof that leaks?");
    let text = of("strategy=window&turns=2&text=true&ai_prefix=Gardener");
    assert!(text["text"].as_str().expect("a text").contains("\nGardener: Answer 59"), "{text}");
    server.stop();
}

#[test]
fn a_tools_answer_never_stands_without_its_call_and_one_long_message_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let call = json!({"role": "assistant",
        "content": "I look it up in the almanac and in the garden diary of last year.", "tool_calls": [{"id": "c"}]});
    let result = json!({"role": "tool", "content": "frost until the fifteenth", "tool_call_id": "c"});
    append(
        &server,
        "s",
        json!([said("user", "When can I plant?"), call, result, said("assistant", "After the fifteenth.")]),
    );
    for budget in 0..80 {
        let answer = get(&server, &format!("/v1/sessions/s/context?strategy=recent&max_tokens={budget}"));
        let roles: Vec<&str> =
            answer["messages"].as_array().expect("messages").iter().filter_map(|m| m["role"].as_str()).collect();
        assert!(roles.first() != Some(&"tool"), "{budget}: {roles:?}");
    }
    append(&server, "s", json!([said("user", &"very long question about pruning roses ".repeat(400))]));
    let answer = get(&server, "/v1/sessions/s/context?max_tokens=100");
    let last = answer["messages"].as_array().expect("messages").last().cloned().expect("a message");
    assert_eq!((&last["truncated"], &last["role"]), (&json!(true), &json!("user")), "{answer}");
    assert!((80..=100).contains(&answer["tokens"].as_u64().expect("tokens")), "{answer}");
    server.stop();
}

#[test]
fn calls_count_in_every_budget_and_stay_with_their_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let call = |i: usize, words: usize| {
        let arguments = json!({"path": "roof.txt", "content": "the roof of the shed leaks ".repeat(words)}).to_string();
        let function = json!({"name": "write_file", "arguments": arguments});
        json!({"role": "assistant", "content": format!("I write down the roof {i}."),
            "tool_calls": [{"id": format!("c{i}"), "type": "function", "function": function}]})
    };
    let mut messages = vec![said("system", "You mend roofs.")];
    for i in 0..12 {
        messages.push(said("user", &format!("Please write file {i} about the roof of the shed.")));
        messages.push(call(i, if i % 4 == 3 { 4000 } else { 3 }));
        messages.push(json!({"role": "tool", "name": "write_file", "tool_call_id": format!("c{i}"),
            "content": format!("file {i} about the roof is written")}));
        messages.push(said("assistant", &format!("The roof is written down, file {i}.")));
    }
    let counted = append(&server, "s", json!(messages));
    let of =
        |server: &Server, id: &Value| get(server, &format!("/v1/sessions/s/messages/{}", id.as_str().expect("an id")));
    let large = of(&server, &counted["messages"][14]["id"]);
    assert!(large["tokens"].as_u64().expect("tokens") > 20_000, "{}", large["tokens"]);
    for strategy in ["recent", "smart", "window", "compress&threshold=400&summary_tokens=50", "recall&scope=session"] {
        for budget in [0, 20, 60, 100, 200, 400, 1000, 4000] {
            let path = format!("/v1/sessions/s/context?strategy={strategy}&max_tokens={budget}");
            let answer = get(&server, &path);
            let tokens = answer["tokens"].as_u64().expect("tokens");
            assert!(tokens <= budget.max(2), "{path}: {tokens}");
            assert_eq!(tokens, cost(&server, &answer), "{path}: what is said is what it costs");
            let messages = answer["messages"].as_array().expect("messages");
            for (i, message) in messages.iter().enumerate().filter(|(_, message)| message["role"] == "tool") {
                let call = i.checked_sub(1).map(|i| &messages[i]["tool_calls"][0]["id"]);
                assert_eq!(call, Some(&message["tool_call_id"]), "{path}");
            }
        }
    }
    // At the end of a session: what is said of a call that is too large, or what was said before it.
    append(&server, "end", json!([said("user", "Please write the file."), call(0, 4000)]));
    let answer = get(&server, "/v1/sessions/end/context?max_tokens=100");
    let last = answer["messages"].as_array().expect("messages").last().expect("a message");
    assert_eq!((&last["content"], &last["truncated"]), (&json!("I write down the roof 0."), &json!(true)), "{answer}");
    assert!(last["tool_calls"].is_null(), "{answer}");
    append(&server, "end", json!([{"role": "tool", "tool_call_id": "c0", "content": "written"}]));
    let answer = get(&server, "/v1/sessions/end/context?max_tokens=100&strategy=recent");
    assert_eq!(contents(&answer), ["Please write the file."]);
    // Usage by day counts them too.
    let body = json!({"user": "lena", "messages": [call(0, 4000)]});
    assert_eq!(server.call("POST", "/v1/sessions/u/messages", &body).0, 200);
    let used = get(&server, "/v1/usage?user=lena").to_string();
    let stored: u64 = get(&server, "/v1/usage?user=lena")["usage"][0]["stored_tokens"].as_u64().unwrap_or_default();
    assert!(stored > 20_000, "{used}");
    // Two calls with the same words are two messages, whoever wrote them.
    let merged = json!({"messages": [call(1, 3)], "on_conflict": "merge"});
    append(&server, "merge", json!([call(1, 4)]));
    let (status, answer) = at_version(&server, "merge", 0, &merged);
    assert_eq!((status, get(&server, "/v1/sessions/merge")["messages"].as_u64()), (200, Some(2)), "{answer}");
    server.stop();
}

#[test]
fn a_summary_is_made_past_the_threshold_and_extended_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    server.call("PUT", "/v1/sessions/s", &json!({"max_messages": 0}));
    let talk = |from: usize| -> Value {
        let line = |i: usize| {
            format!(
                "On day {i} we walked to village {i} and met the baker, who sold us bread and told a story about the \
                 river."
            )
        };
        (from..from + 30).map(|i| said(if i % 2 == 0 { "user" } else { "assistant" }, &line(i))).collect()
    };
    append(&server, "s", json!([said("system", "Be brief.")]));
    append(&server, "s", talk(0));
    let path = "/v1/sessions/s/context?strategy=compress&threshold=500&summary_tokens=120&keep_last=4";
    let whole = get(&server, "/v1/sessions/s/context?strategy=compress");
    assert!(whole["summary"].is_null() && contents(&whole).len() == 31, "under the threshold nothing is compressed");
    let first = get(&server, path);
    let summary = &first["summary"];
    assert_eq!((&summary["version"], &summary["messages"]), (&json!(1), &json!(26)), "{first}");
    assert_eq!(contents(&first).len(), 6, "the system's message, the summary and the last four: {first}");
    let text = summary["text"].as_str().expect("a text").to_owned();
    assert!(text.contains("village") || text.contains("baker"), "{text}");
    assert!(contents(&first)[1].ends_with(&text));
    let again = get(&server, path);
    assert_eq!(again["summary"], first["summary"], "it is kept");
    let none_as_they_are = get(&server, "/v1/sessions/s/context?strategy=compress&threshold=1&keep_last=0");
    assert_eq!((contents(&none_as_they_are).len(), &none_as_they_are["summary"]["messages"]), (2, &json!(30)));
    assert_eq!(get(&server, path)["summary"], first["summary"], "the last four are as they were");
    append(&server, "s", talk(30));
    server.stop();
    let server = Server::start(&data, &[]);
    let second = get(&server, path);
    assert_eq!((&second["summary"]["version"], &second["summary"]["messages"]), (&json!(2), &json!(56)), "{second}");
    assert_eq!(get(&server, "/v1/sessions/s")["version"], 4, "a summary is no write to the session");
    server.stop();
}

#[test]
fn inputs_wait_over_a_kill_and_are_lost_with_no_taker() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let mut server = Server::start(&data, &[]);
    let (status, pushed) = server.call("POST", "/v1/sessions/s/queue", &json!({"items": [{"n": 1}, "two", 3]}));
    assert_eq!((status, pushed["ids"].as_array().map(Vec::len)), (200, Some(3)), "{pushed}");
    let take = |server: &Server, count: usize, lease_s: u64| -> Vec<Value> {
        let (status, taken) =
            server.call("POST", "/v1/sessions/s/queue:take", &json!({"count": count, "lease_s": lease_s}));
        assert_eq!(status, 200, "{taken}");
        taken["items"].as_array().expect("items").clone()
    };
    // Longer than a start takes beside other tests.
    let first = take(&server, 1, 4);
    assert_eq!(first[0]["payload"], json!({"n": 1}));
    server.child.kill().expect("a kill");
    server.child.wait().expect("an end");
    let server = Server::start(&data, &[]);
    let second = take(&server, 5, 600);
    assert_eq!(
        second.iter().map(|i| &i["payload"]).collect::<Vec<_>>(),
        [&json!("two"), &json!(3)],
        "the first is still its taker's"
    );
    assert_eq!(
        server
            .call("DELETE", &format!("/v1/sessions/s/queue/{}", second[0]["id"].as_str().expect("an id")), &Value::Null)
            .0,
        204
    );
    assert_eq!(
        server
            .call("DELETE", &format!("/v1/sessions/s/queue/{}", second[0]["id"].as_str().expect("an id")), &Value::Null)
            .0,
        404
    );
    std::thread::sleep(std::time::Duration::from_millis(4100));
    let again = take(&server, 5, 600);
    assert_eq!(
        (again.len(), &again[0]["payload"], &again[0]["attempts"]),
        (1, &json!({"n": 1}), &json!(2)),
        "its taker was killed"
    );
    assert_eq!(get(&server, "/v1/sessions/s/queue")["items"].as_array().map(Vec::len), Some(2));
    server.stop();
}

#[test]
fn checkpoints_can_be_listed_resumed_and_expire() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let put = |id: &str, namespace: &str, body: &Value| {
        let path = format!("/v1/threads/t/checkpoints/{id}?namespace={namespace}");
        let (status, answer) = server.call("PUT", &path, body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    for i in 0..5 {
        let parent = (i > 0).then(|| format!("c{}", i - 1));
        put(
            &format!("c{i}"),
            "",
            &json!({"state": {"step": i, "channel_values": [i]}, "parent": parent, "metadata": {"source": "loop"}}),
        );
    }
    put("c0", "sub", &json!({"state": {"step": 99}}));
    put("brief", "", &json!({"state": 1, "ttl_s": 1}));
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/latest")["id"], "brief");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let latest = get(&server, "/v1/threads/t/checkpoints/latest");
    assert_eq!((&latest["id"], &latest["parent"], &latest["state"]["step"]), (&json!("c4"), &json!("c3"), &json!(4)));
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/c0?namespace=sub")["state"]["step"], 99);
    let page = get(&server, "/v1/threads/t/checkpoints?limit=3");
    let ids = |page: &Value| {
        page["checkpoints"]
            .as_array()
            .expect("checkpoints")
            .iter()
            .map(|c| c["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), ["c4", "c3", "c2"]);
    let next =
        get(&server, &format!("/v1/threads/t/checkpoints?limit=3&cursor={}", page["next"].as_str().expect("a cursor")));
    assert_eq!((ids(&next), next["next"].is_null()), (vec!["c1".to_owned(), "c0".to_owned()], true));
    // What tasks have written is kept with the checkpoint, each task's last word.
    for value in ["x", "y"] {
        assert_eq!(
            server.call("PUT", "/v1/threads/t/checkpoints/c4/writes/task-1", &json!({"writes": [["out", value]]})).0,
            204
        );
    }
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/c4")["writes"], json!({"task-1": [["out", "y"]]}));
    // What comes before its checkpoint is kept for it, and is none by itself. One that is written again keeps its
    // writes and its place.
    let early = "/v1/threads/t/checkpoints/early";
    assert_eq!(server.call("PUT", &format!("{early}/writes/t"), &json!({"writes": 1})).0, 204);
    assert_eq!(server.call("GET", early, &Value::Null).0, 404);
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/latest")["state"]["step"], 4);
    let put = |id: &str, step: u64| {
        let (status, answer) =
            server.call("PUT", &format!("/v1/threads/t/checkpoints/{id}"), &json!({"state": {"step": step}}));
        assert_eq!(status, 200, "{answer}");
        answer
    };
    assert_eq!(put("early", 5)["writes"], json!({"t": 1}));
    let again = put("c4", 44);
    assert_eq!((&again["writes"], &again["state"]["step"]), (&json!({"task-1": [["out", "y"]]}), &json!(44)));
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/latest")["id"], "early");
    let (_, deleted) = server.call("DELETE", "/v1/threads/t/checkpoints", &Value::Null);
    assert!(deleted["deleted"].as_u64().expect("a count") >= 6, "{deleted}");
    assert_eq!(server.call("GET", "/v1/threads/t/checkpoints/latest", &Value::Null).0, 404);
    server.stop();
}
