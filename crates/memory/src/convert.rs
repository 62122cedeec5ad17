//! What callers say, as the engines have it, and back. Neither side knows the other: `membox-api` and the engines are
//! leaves, and where both need a type each has its own of the same form.

use membox_api as api;
use membox_compressor as compressor;
use std::collections::BTreeMap;

/// What is done with personal data.
pub(crate) fn redaction(policy: &api::Redaction) -> membox_redaction::Redaction {
    use membox_redaction::Mode;
    let mode = match policy.mode {
        api::RedactionMode::Off => Mode::Off,
        api::RedactionMode::Mark => Mode::Mark,
        api::RedactionMode::Partial => Mode::Partial,
        api::RedactionMode::Full => Mode::Full,
    };
    let kinds = policy.kinds.as_ref().map(|kinds| kinds.iter().copied().map(personal_data).collect());
    membox_redaction::Redaction { mode, kinds }
}

/// A kind of personal data.
pub(crate) fn personal_data(kind: api::PersonalDataKind) -> membox_redaction::Kind {
    use membox_redaction::Kind;
    match kind {
        api::PersonalDataKind::Email => Kind::Email,
        api::PersonalDataKind::Phone => Kind::Phone,
        api::PersonalDataKind::ResidentId => Kind::ResidentId,
        api::PersonalDataKind::PaymentCard => Kind::PaymentCard,
        api::PersonalDataKind::IpAddress => Kind::IpAddress,
        api::PersonalDataKind::Iban => Kind::Iban,
    }
}

/// What is kept of a text, and how.
pub(crate) fn compress_options(options: &api::CompressOptions) -> compressor::CompressOptions {
    use compressor::{Mode, TokenToWord};
    let options = options.clone();
    compressor::CompressOptions {
        mode: match options.mode {
            api::CompressMode::Default => Mode::Default,
            api::CompressMode::Strict => Mode::Strict,
            api::CompressMode::Parity => Mode::Parity,
        },
        rate: options.rate,
        target_token: options.target_token,
        threshold: options.threshold,
        encoding: options.encoding,
        use_context_level_filter: options.use_context_level_filter,
        use_token_level_filter: options.use_token_level_filter,
        target_context: options.target_context,
        context_level_rate: options.context_level_rate,
        context_level_target_token: options.context_level_target_token,
        force_context_ids: options.force_context_ids,
        token_to_word: match options.token_to_word {
            api::TokenToWord::Mean => TokenToWord::Mean,
            api::TokenToWord::First => TokenToWord::First,
        },
        force_tokens: options.force_tokens,
        force_reserve_digit: options.force_reserve_digit,
        force_reserve_negation: options.force_reserve_negation,
        drop_consecutive: options.drop_consecutive,
        chunk_end_tokens: options.chunk_end_tokens,
        return_word_label: options.return_word_label,
        word_sep: options.word_sep,
        label_sep: options.label_sep,
        structured: options.structured,
    }
}

/// How the keys of a JSON object are treated.
pub(crate) fn json_rules(rules: BTreeMap<String, api::JsonRule>) -> BTreeMap<String, compressor::JsonRule> {
    rules.into_iter().map(|(key, rule)| (key, json_rule(rule))).collect()
}

fn json_rule(rule: api::JsonRule) -> compressor::JsonRule {
    use compressor::ValueType;
    let value_type = match rule.value_type {
        api::ValueType::Str => ValueType::Str,
        api::ValueType::Number => ValueType::Number,
        api::ValueType::Bool => ValueType::Bool,
        api::ValueType::List => ValueType::List,
        api::ValueType::Dict => ValueType::Dict,
    };
    let api::JsonRule { rate, compress, pair_remove, .. } = rule;
    compressor::JsonRule { rate, compress, value_type, pair_remove }
}

/// A message of a conversation that is to be compressed.
pub(crate) fn message(message: api::Message) -> compressor::Message {
    let api::Message { role, content, other } = message;
    compressor::Message { role, content, other }
}

/// What a compression has left of a text, as it is given out.
pub fn compressed_text(text: compressor::CompressedText) -> api::CompressedText {
    api::CompressedText {
        compressed_prompt: text.compressed_prompt,
        compressed_prompt_list: text.compressed_prompt_list,
        fn_labeled_original_prompt: text.fn_labeled_original_prompt,
        origin_tokens: text.origin_tokens,
        compressed_tokens: text.compressed_tokens,
        ratio: text.ratio,
        rate: text.rate,
        saving: text.saving,
        kept: text.kept,
        model: text.model,
        mode: text.mode,
    }
}

/// What a compression has left of a conversation, as it is given out.
pub(crate) fn compressed_conversation(conversation: compressor::CompressedConversation) -> api::CompressedConversation {
    let given = |message: compressor::Message| {
        let compressor::Message { role, content, other } = message;
        api::Message { role, content, other }
    };
    api::CompressedConversation {
        messages: conversation.messages.into_iter().map(given).collect(),
        dropped: conversation.dropped,
        origin_tokens: conversation.origin_tokens,
        compressed_tokens: conversation.compressed_tokens,
        model: conversation.model,
        mode: conversation.mode,
    }
}

/// How much was left by a compression.
pub(crate) fn compression(text: &compressor::CompressedText) -> api::Compression {
    let (origin_tokens, compressed_tokens) = (text.origin_tokens, text.compressed_tokens);
    api::Compression { origin_tokens, compressed_tokens, model: text.model.clone() }
}

/// Adds what language models have cost to what is given out.
pub(crate) fn add_usage(to: &mut api::LlmUsage, usage: membox_llm::Usage) {
    let membox_llm::Usage { calls, failed, prompt_tokens, completion_tokens } = usage;
    to.calls += calls;
    to.failed += failed;
    to.prompt_tokens += prompt_tokens;
    to.completion_tokens += completion_tokens;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Both sides write the same JSON, for each of these texts.
    macro_rules! same_form {
        ($wire:ty, $values:expr, $convert:expr) => {
            for value in $values {
                let read: $wire = serde_json::from_value(value.clone()).expect("a value of the wire");
                let written = serde_json::to_value(&read).expect("JSON");
                assert_eq!(serde_json::to_value($convert(read)).expect("JSON"), written, "{value}");
            }
        };
    }

    #[test]
    fn redaction_says_the_same_on_both_sides() {
        for (mode, own) in [("off", "Off"), ("mark", "Mark"), ("partial", "Partial"), ("full", "Full")] {
            let policy: api::Redaction = serde_json::from_value(json!({ "mode": mode })).expect("a policy");
            assert_eq!(format!("{:?}", redaction(&policy).mode), own);
            assert_eq!(redaction(&policy).kinds, None);
        }
        let all = membox_redaction::Kind::ALL;
        let policy: api::Redaction = serde_json::from_value(json!({ "kinds": all })).expect("a policy of every kind");
        assert_eq!(redaction(&policy).kinds.as_deref(), Some(&all[..]));
        assert_eq!(serde_json::to_value(&policy).expect("JSON")["kinds"], json!(all));
    }

    #[test]
    fn compression_says_the_same_on_both_sides() {
        let modes = ["default", "strict", "parity"].map(|mode| json!({"mode": mode, "threshold": 0.25}));
        let words = ["mean", "first"].map(|word| json!({"token_to_word": word, "force_tokens": ["a"], "rate": 0.25}));
        let flags = json!({
            "target_token": 7.0, "encoding": "o200k_base", "use_context_level_filter": true,
            "use_token_level_filter": false, "target_context": 2.0, "context_level_rate": 0.5,
            "context_level_target_token": 9.0, "force_context_ids": [1], "force_reserve_digit": true,
            "force_reserve_negation": false,
            "drop_consecutive": true, "chunk_end_tokens": ["x"], "return_word_label": true, "word_sep": "y",
            "label_sep": "z", "structured": true,
        });
        let all = [json!({}), flags].into_iter().chain(modes).chain(words);
        same_form!(api::CompressOptions, all, |options: api::CompressOptions| compress_options(&options));
        assert_eq!(compress_options(&api::CompressOptions::default()), compressor::CompressOptions::default());
        let types = ["str", "number", "bool", "list", "dict"].map(|of| json!({"value_type": of, "compress": false}));
        let rules = types.into_iter().chain([json!({}), json!({"rate": 0.5, "pair_remove": true})]);
        same_form!(api::JsonRule, rules, json_rule);
        same_form!(api::Message, [json!({"role": "user", "content": null, "name": "x"})], message);
        let text = compressor::CompressedText {
            compressed_prompt_list: vec!["a".into()],
            fn_labeled_original_prompt: Some("b".into()),
            kept: vec![vec![[1, 2]]],
            origin_tokens: 2,
            compressed_tokens: 1,
            ..Default::default()
        };
        let written = serde_json::to_string(&text).expect("JSON");
        assert_eq!(serde_json::to_string(&compressed_text(text)).expect("JSON"), written, "the fields' order, too");
        let message = compressor::Message { role: "user".into(), content: Some("x".into()), ..Default::default() };
        let all =
            compressor::CompressedConversation { messages: vec![message], dropped: vec![1], ..Default::default() };
        let written = serde_json::to_string(&all).expect("JSON");
        assert_eq!(serde_json::to_string(&compressed_conversation(all)).expect("JSON"), written);
    }
}
