//! Personal data that a collection's policy takes out is nowhere: not in answers, not in any file of the data folder.

use crate::common::{Server, data_with_model, files_with};
use serde_json::{Value, json};

const PHONE: &str = "13800138000";
const MAIL: &str = "lena.fischer@example.com";
const CARD: &str = "4111 1111 1111 1111";

/// Files below a folder that hold a marker, links not followed.
#[test]
fn what_a_policy_takes_out_is_in_no_answer_and_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let full = json!({"redaction": {"mode": "full"}});
    assert_eq!(server.call("PUT", "/v1/collections/c", &full).0, 201);
    let text = format!("我的手机号{PHONE},邮箱{MAIL}吧");
    let record = json!({"id": "a", "text": text,
        "metadata": {"card": CARD, "deep": {"notes": [format!("call {PHONE}")]}, "n": 3}});
    let (status, answer) = server.call("POST", "/v1/collections/c/records", &json!({"records": [record]}));
    assert_eq!(status, 200, "{answer}");
    let (_, stored) = server.call("GET", "/v1/collections/c/records/a", &Value::Null);
    assert_eq!(stored["text"], "我的手机号[PHONE_REDACTED],邮箱[EMAIL_REDACTED]吧");
    let metadata = &stored["metadata"];
    assert_eq!((&metadata["card"], &metadata["n"]), (&json!("[PAYMENT_CARD_REDACTED]"), &json!(3)));
    assert_eq!(metadata["deep"]["notes"][0], "call [PHONE_REDACTED]");
    assert_eq!(metadata["redaction"]["found"], json!({"email": 1, "payment_card": 1, "phone": 2}));
    let digest = metadata["redaction"]["original_hmac_sha256"].as_str().expect("a digest").to_owned();
    assert_eq!(digest.len(), 64);
    // What was found can be filtered on, and a word beside it is still recalled.
    let filter = json!({"field": "metadata.redaction.found.phone", "gte": 2});
    let (_, found) = server.call("POST", "/v1/collections/c/recall", &json!({"query": "手机号", "filter": filter}));
    assert_eq!(found["hits"][0]["id"], "a", "{found}");

    // A patch is redacted as well.
    let patch = json!({"text": format!("write to {MAIL}")});
    let (status, patched) = server.call("PATCH", "/v1/collections/c/records/a", &patch);
    assert_eq!((status, &patched["text"]), (200, &json!("write to [EMAIL_REDACTED]")), "{patched}");
    // What is known of a text stays as long as the text does, and what a patch brings is added.
    let known = patched["metadata"]["redaction"].clone();
    let (_, patched) = server.call("PATCH", "/v1/collections/c/records/a", &json!({"metadata": {"seen": true}}));
    assert_eq!(patched["metadata"]["redaction"], known, "{patched}");
    let (_, patched) = server.call("PATCH", "/v1/collections/c/records/a", &json!({"metadata": {"phone": PHONE}}));
    assert_eq!(patched["metadata"]["redaction"]["found"], json!({"email": 1, "phone": 1}), "{patched}");
    assert_eq!(patched["metadata"]["redaction"]["original_hmac_sha256"], known["original_hmac_sha256"], "{patched}");
    // The same text written again has another digest: who can write can try nothing.
    server.call("POST", "/v1/collections/c/records", &json!({"records": [{"id": "b", "text": text}]}));
    let (_, again) = server.call("GET", "/v1/collections/c/records/b", &Value::Null);
    let other = again["metadata"]["redaction"]["original_hmac_sha256"].as_str().expect("a digest");
    assert_ne!(other, digest);
    server.stop();
    for marker in [PHONE, MAIL, CARD] {
        assert_eq!(files_with(&data, marker), Vec::<String>::new(), "{marker}");
    }
}

#[test]
fn a_policy_can_be_changed_and_holds_for_what_is_written_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let text_of = |server: &Server, id: &str, policy: Option<Value>| {
        if let Some(policy) = policy {
            let (status, view) = server.call("PUT", "/v1/collections/c", &json!({"redaction": policy}));
            assert!(status == 200 || status == 201, "{view}");
            assert_eq!(view["settings"]["redaction"]["mode"], policy["mode"]);
        }
        let record = json!({"id": id, "text": format!("mail {MAIL}, call {PHONE}")});
        assert_eq!(server.call("POST", "/v1/collections/c/records", &json!({"records": [record]})).0, 200);
        let (_, stored) = server.call("GET", &format!("/v1/collections/c/records/{id}"), &Value::Null);
        stored["text"].as_str().expect("a text").to_owned()
    };
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    assert_eq!(text_of(&server, "off", None), format!("mail {MAIL}, call {PHONE}"));
    let partial = json!({"mode": "partial", "kinds": ["phone"]});
    assert_eq!(text_of(&server, "partial", Some(partial)), format!("mail {MAIL}, call 13***00"));
    // Left out, it stays as it was; it stays over a restart too.
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 200);
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(text_of(&server, "restarted", None), format!("mail {MAIL}, call 13***00"));
    assert_eq!(text_of(&server, "marked", Some(json!({"mode": "mark"}))), format!("mail {MAIL}, call {PHONE}"));
    let (status, problem) = server.call("PUT", "/v1/collections/c", &json!({"redaction": {"mode": "most"}}));
    assert_eq!(status, 400, "{problem}");
    server.stop();
}
