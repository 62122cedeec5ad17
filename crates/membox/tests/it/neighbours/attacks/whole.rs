//! The box as a whole.

use super::{Attack, Pace, SENTENCE, always, in_turn};
use serde_json::{Value, json};

pub(super) fn of_the_whole() -> Vec<Attack> {
    vec![
        always(
            "exports, unread",
            &["GET /v1/users/{user}/export"],
            Pace::Leave,
            ("GET", "/v1/users/u/export"),
            &Value::Null,
        ),
        in_turn(
            "users, usage and the audit log",
            &[
                "POST /v1/usage",
                "GET /v1/usage",
                "PUT /v1/quotas/{user}",
                "GET /v1/quotas/{user}",
                "DELETE /v1/quotas/{user}",
                "GET /v1/users/{user}/profile",
                "PATCH /v1/users/{user}/profile",
                "POST /v1/users/{user}/profile",
                "GET /v1/audit",
                "GET /v1/tenant",
                "POST /v1/tenant:rotate",
            ],
            vec![
                ("POST", "/v1/usage".into(), json!({"user": "u", "tokens": 1})),
                ("GET", "/v1/usage?from=2000-01-01&to=2100-01-01".into(), Value::Null),
                ("PUT", "/v1/quotas/u".into(), json!({"tokens_per_day": 1_000_000_000})),
                ("GET", "/v1/quotas/u".into(), Value::Null),
                ("DELETE", "/v1/quotas/u".into(), Value::Null),
                ("GET", "/v1/users/u/profile".into(), Value::Null),
                ("PATCH", "/v1/users/p/profile".into(), json!({"likes": SENTENCE.repeat(100)})),
                ("POST", "/v1/users/u/profile".into(), Value::Null),
                ("GET", "/v1/audit?limit=1000".into(), Value::Null),
                ("GET", "/v1/tenant".into(), Value::Null),
                ("POST", "/v1/tenant:rotate".into(), Value::Null),
            ],
        ),
        in_turn(
            "keys",
            &["GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{id}"],
            vec![
                ("POST", "/v1/keys".into(), json!({"name": "one more", "access": "read"})),
                ("GET", "/v1/keys".into(), Value::Null),
                ("DELETE", "/v1/keys/none".into(), Value::Null),
            ],
        ),
        in_turn(
            "erasures",
            &["POST /v1/users/{user}/erase", "POST /v1/tenant:erase"],
            (0..20)
                .map(|n| ("POST", format!("/v1/users/e{n}/erase"), Value::Null))
                .chain([("POST", "/v1/tenant:erase".to_owned(), Value::Null)])
                .collect(),
        ),
    ]
}
