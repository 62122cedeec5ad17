//! A real language model, end to end: facts, an update, a summary. It is asked at `MEMBOX_LLM_URL`; `make test-llm`
//! fetches a small one and runs this.

use crate::common::{Server, data_with_model, post};
use serde_json::{Value, json};

/// What is said, and what a memory of it has to name.
const SAID: [(&str, &str); 3] = [
    ("My name is Lena and I work as a nurse in Bergen.", "Bergen"),
    ("I have a cat that is called Miso.", "Miso"),
    ("On 9 June 2026 I take the night train to Vienna.", "Vienna"),
];

#[test]
#[ignore = "wants a language model at MEMBOX_LLM_URL: `make test-llm`"]
fn a_small_model_finds_facts_decides_and_sums_up() {
    let url = std::env::var("MEMBOX_LLM_URL").expect("MEMBOX_LLM_URL, such as http://127.0.0.1:8000/v1");
    let name = std::env::var("MEMBOX_LLM_MODEL").unwrap_or_else(|_| "small".to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = format!("[[llm.endpoints]]\nurl = {url:?}\nmodel = {name:?}\n");
    let settings = format!("request_timeout_s = 3600\n[llm]\ntimeout_s = 600\nmax_tokens = 500\n{endpoint}");
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let mut found = 0;
    for (i, (text, name)) in SAID.iter().enumerate() {
        let body = json!({"session": format!("s{i}"), "user": "lena", "force": true,
            "time_stamp": format!("2026-05-0{}", i + 1), "messages": [{"name": "Lena", "content": text}]});
        let answer = post(&server, "/v1/memories", &body);
        println!("said: {text}\nmade: {}\ncost: {}", answer["memories"], answer["llm"]);
        assert_eq!(answer["problem"], Value::Null, "{answer}");
        found += usize::from(answer["memories"].to_string().contains(name));
    }
    println!("memories that name what was said: {found} of {}", SAID.len());
    assert!(found > 0);
    let report = server.job("/v1/memories:update", &json!({"user": "lena", "score_threshold": 0.1}));
    println!("update: {report}");
    assert_eq!(report["problem"], Value::Null, "{report}");
    assert!(report["queued"].as_u64() > Some(0), "{report}");
    let profile = post(&server, "/v1/users/lena/profile", &json!({}));
    println!("summary: {}", profile["summary"]);
    assert!(profile["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{profile}");
    server.stop();
}
