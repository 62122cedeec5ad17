//! Mode `default` answers rightly where the package fails, loses text or makes some up: a test for each of its faults.

use crate::common::compressor;
use membox_compressor::{CompressOptions, CompressedText, Compressor, Mode, TokenCounter};
use membox_encoder::{Lane, Precision};
use serde_json::{Value, json};

const MODELS: [&str; 2] = ["bert-base-multilingual-cased-tiny", "xlm-roberta-large-tiny"];

fn both() -> Vec<Compressor> {
    MODELS.iter().map(|model| compressor(model, Precision::F32)).collect()
}

fn rate(rate: f64) -> CompressOptions {
    CompressOptions { rate, ..CompressOptions::default() }
}

fn one(compressor: &Compressor, text: &str, options: &CompressOptions) -> CompressedText {
    compressor.compress(&[text.to_owned()], options, Lane::Bulk).expect("an answer")
}

/// Whether `part` can be had from `whole` by leaving characters out.
fn is_subsequence(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    part.chars().all(|c| whole.any(|w| w == c))
}

#[test]
fn a_text_with_words_is_never_answered_by_nothing() {
    // The package: "" for one word, for words that tie, and for small rates.
    for compressor in both() {
        for text in
            ["Hello", "same same same same", "Ship it on Friday, please.", "🙂", "…", "##ing", "[NEW3] x", "会议"]
        {
            for share in [0.5, 0.1, 0.01] {
                let answer = one(&compressor, text, &rate(share));
                assert!(!answer.compressed_prompt.is_empty(), "{text:?} at {share} by {}", compressor.name());
                assert!(answer.compressed_tokens >= 1);
            }
        }
    }
}

#[test]
fn an_empty_text_is_answered_by_an_empty_one() {
    // The package: ZeroDivisionError with a target, and with the context filter.
    for compressor in both() {
        for options in [
            rate(0.5),
            CompressOptions { target_token: 10.0, ..rate(0.5) },
            CompressOptions { use_context_level_filter: Some(true), ..rate(0.5) },
            CompressOptions { mode: Mode::Strict, target_token: 5.0, ..rate(0.5) },
        ] {
            let answer = one(&compressor, "", &options);
            assert_eq!((answer.compressed_prompt.as_str(), answer.compressed_tokens), ("", 0));
            assert_eq!(
                one(&compressor, " \n\t ", &options).compressed_tokens,
                one(&compressor, " \n\t ", &options).origin_tokens
            );
        }
    }
}

#[test]
fn what_is_kept_stands_as_it_stood() {
    // The package: [UNK] for what the vocabulary lacks, white space as one blank, blanks between Chinese characters
    // and around signs.
    let text =
        "Ünïcödé 🙂🙃 and\tTABS,  two blanks\r\n\r\n“quotes” don't; e-mail: a.b@c.example (50%) — 世界，你好。 fi ﬁ ½";
    for compressor in both() {
        assert_eq!(one(&compressor, text, &rate(1.0)).compressed_prompt, text);
        let answer = one(&compressor, text, &rate(0.6));
        assert!(
            is_subsequence(&answer.compressed_prompt.replace([' ', '\t', '\r', '\n'], ""), text),
            "{}",
            answer.compressed_prompt
        );
        assert!(!answer.compressed_prompt.contains("[UNK]") && !answer.compressed_prompt.contains("<unk>"));
    }
}

#[test]
fn chinese_is_not_spaced_out() {
    let text = "我们昨天在公园里见面了，天气很好，孩子们玩得非常开心，大家都不想回家。";
    for compressor in both() {
        let answer = one(&compressor, text, &rate(0.5));
        assert!(!answer.compressed_prompt.contains(' '), "{}", answer.compressed_prompt);
        assert!(is_subsequence(&answer.compressed_prompt, text));
        assert!(answer.compressed_tokens < answer.origin_tokens, "the words of Chinese are its characters");
    }
}

#[test]
fn special_tokens_in_a_text_are_text() {
    // The package: tiktoken raises on <|endoftext|>; [SEP] and [NEW0] become the model's own tokens.
    let text = "The log said <|endoftext|> and then [SEP] and [CLS] and </s> and [NEW0] before it stopped.";
    for compressor in both() {
        let answer = one(&compressor, text, &rate(1.0));
        assert_eq!(answer.compressed_prompt, text);
        assert_eq!(answer.origin_tokens, TokenCounter::by_name("cl100k_base").expect("an encoding").count(text));
        let forced = CompressOptions { force_tokens: vec!["<|endoftext|>".into(), "[SEP]".into()], ..rate(0.2) };
        let answer = one(&compressor, text, &forced);
        assert!(answer.compressed_prompt.contains("<|endoftext|>") && answer.compressed_prompt.contains("[SEP]"));
    }
}

fn long_text() -> String {
    let sentence =
        |i: usize| format!("Speaker {i} reported that item {} was moved to room {} by the committee. ", i * 7, i % 13);
    (0..260).map(sentence).collect::<String>() + "The very last words matter"
}

#[test]
fn nothing_is_lost_where_a_long_text_is_cut() {
    // The package: the last token of a full chunk, and the tail where its second tokenization is longer.
    let text = long_text();
    for compressor in both() {
        assert_eq!(one(&compressor, &text, &rate(1.0)).compressed_prompt, text);
        let labels =
            CompressOptions { return_word_label: true, word_sep: "\n".into(), label_sep: "|".into(), ..rate(0.5) };
        let answer = one(&compressor, &text, &labels);
        let labelled = answer.fn_labeled_original_prompt.expect("labels");
        let words: String = labelled.lines().map(|line| line.rsplit_once('|').expect("a label").0).collect();
        assert_eq!(words, text.replace(' ', ""), "every word has its label, in order");
        let forced = CompressOptions { force_tokens: vec!["matter".into()], ..rate(0.1) };
        assert!(one(&compressor, &text, &forced).compressed_prompt.ends_with("matter"));
    }
}

#[test]
fn a_long_text_without_an_end_token_is_cut_between_words() {
    let text = "alpha beta gamma delta ".repeat(400);
    for compressor in both() {
        let answer = one(&compressor, &text, &rate(0.5));
        assert!(answer.compressed_prompt.split_whitespace().all(|w| ["alpha", "beta", "gamma", "delta"].contains(&w)));
    }
}

#[test]
fn words_on_both_sides_of_a_cut_stay_apart() {
    // The package: "Next time.Development", chunks without anything between them.
    let text = long_text();
    for compressor in both() {
        let forced = CompressOptions { force_tokens: vec![".".into(), "Speaker".into()], ..rate(0.3) };
        let answer = one(&compressor, &text, &forced);
        assert!(!answer.compressed_prompt.contains(".Speaker"), "{}", answer.compressed_prompt);
        assert_eq!(answer.compressed_prompt.matches("Speaker").count(), 260);
    }
}

#[test]
fn several_contexts_all_stay_unless_the_filter_is_asked_for() {
    // The package: its filter is on by default and drops contexts silently.
    let contexts: Vec<String> =
        ["We met on Monday.", "The budget is 500.", "Lena sings.", "It rained all day."].map(String::from).into();
    for compressor in both() {
        let answer = compressor.compress(&contexts, &rate(0.5), Lane::Bulk).expect("an answer");
        assert_eq!((answer.compressed_prompt_list.len(), answer.kept.len()), (4, 4));
        assert_eq!(answer.compressed_prompt, answer.compressed_prompt_list.join("\n\n"));
        let filter = CompressOptions {
            use_context_level_filter: Some(true),
            context_level_rate: 0.5,
            force_context_ids: vec![3],
            ..rate(1.0)
        };
        let answer = compressor.compress(&contexts, &filter, Lane::Bulk).expect("an answer");
        assert!((1..4).contains(&answer.compressed_prompt_list.len()));
        assert_eq!(answer.kept[3], [[0, contexts[3].len()]], "a forced context stays");
        assert_eq!(
            answer.kept.iter().filter(|spans| spans.is_empty()).count(),
            4 - answer.compressed_prompt_list.len()
        );
    }
}

#[test]
fn tags_are_honoured() {
    // The package: reads them and forgets them.
    let text = "<llmlingua, compress=False>Answer the question exactly as asked.</llmlingua><llmlingua, rate=0.3> \
                The meeting went on and on \
                about the budget, the rooms, the coffee and the parking lot behind the house.</llmlingua> Who paid?";
    for compressor in both() {
        let answer = one(&compressor, text, &CompressOptions { structured: true, ..rate(1.0) });
        assert!(
            answer.compressed_prompt.starts_with("Answer the question exactly as asked."),
            "{}",
            answer.compressed_prompt
        );
        assert!(answer.compressed_prompt.ends_with("Who paid?"), "{}", answer.compressed_prompt);
        assert!(!answer.compressed_prompt.contains("llmlingua"));
        assert!(answer.compressed_tokens < answer.origin_tokens);
        assert_eq!(one(&compressor, text, &rate(1.0)).compressed_prompt, text, "tags are text unless asked for");
    }
}

#[test]
fn json_stays_json() {
    let data = json!({
        "id": 17, "open": true, "title": "Keep this title exactly",
        "notes": "They talked for a long time about many things and then decided to buy the red house.",
        "tags": ["a very long list of words that says little", "short"],
        "author": {"name": "Lena", "bio": "She sings and paints and writes."},
    });
    let rules = json!({
        "id": {"value_type": "number"}, "open": {"value_type": "bool"}, "title": {"compress": false},
        "notes": {"rate": 0.4},
        "tags": {"value_type": "list", "rate": 0.5}, "author": {"value_type": "dict", "pair_remove": true},
    });
    let rules = serde_json::from_value(rules).expect("rules");
    for compressor in both() {
        let (object, answer) = compressor
            .compress_json(data.as_object().expect("an object"), &rules, &rate(0.5), Lane::Bulk)
            .expect("an answer");
        let parsed: Value = serde_json::from_str(&answer.compressed_prompt).expect("JSON");
        assert_eq!(parsed, Value::Object(object.clone()));
        assert_eq!((&object["id"], &object["open"], &object["title"]), (&data["id"], &data["open"], &data["title"]));
        assert!(object["notes"].as_str().expect("a text").len() < data["notes"].as_str().expect("a text").len());
        assert_eq!(object["tags"].as_array().map(Vec::len), Some(2));
        assert!(answer.compressed_tokens < answer.origin_tokens);
        let lonely = serde_json::from_value(json!({"id": {"value_type": "number"}})).expect("rules");
        assert!(
            compressor.compress_json(data.as_object().expect("an object"), &lonely, &rate(0.5), Lane::Bulk).is_err()
        );
    }
}

#[test]
fn a_forced_token_is_a_whole_word_wherever_it_stands() {
    // The package: replaces it within words too ("or" in "for"), and knows at most 100 of several pieces.
    let text = "For the record or the minutes: Kowalczyk-Brzezinski wore red or orange.\nKowalczyk-Brzezinski left.";
    for compressor in both() {
        let forced = CompressOptions {
            force_tokens: vec!["or".into(), "Kowalczyk-Brzezinski".into(), "\n".into()],
            ..rate(0.05)
        };
        let answer = one(&compressor, text, &forced).compressed_prompt;
        assert_eq!(answer.matches("Kowalczyk-Brzezinski").count(), 2, "{answer}");
        assert_eq!(answer.split_whitespace().filter(|w| *w == "or").count(), 2, "{answer}");
        assert!(!answer.contains("For") && !answer.contains("orange") && answer.contains('\n'), "{answer}");
        let many = (0..300).map(|i| format!("word{i}-of-many")).collect();
        assert!(
            !one(&compressor, text, &CompressOptions { force_tokens: many, ..rate(0.5) }).compressed_prompt.is_empty()
        );
    }
}

#[test]
fn digits_are_kept_when_asked_for() {
    let text = "Call 555-0142 before 18:30 on May 7th, 2023, and bring the 3 red folders with you, please, if you can.";
    for compressor in both() {
        let answer =
            one(&compressor, text, &CompressOptions { force_reserve_digit: true, ..rate(0.1) }).compressed_prompt;
        for number in ["555", "0142", "18", "30", "7", "2023", "3"] {
            assert!(answer.contains(number), "{number} of {answer}");
        }
    }
}

#[test]
fn a_forced_token_twice_in_a_row_can_be_dropped_once() {
    let text = "one\ntwo\nthree\nfour\nfive\nsix";
    for compressor in both() {
        let options = CompressOptions { force_tokens: vec!["\n".into()], ..rate(0.4) };
        let kept = one(&compressor, text, &options).compressed_prompt;
        let dropped = one(&compressor, text, &CompressOptions { drop_consecutive: true, ..options }).compressed_prompt;
        assert_eq!(kept.matches('\n').count(), 5, "{kept:?}");
        assert!(!dropped.contains("\n\n"), "{dropped:?}");
    }
}

#[test]
fn counts_are_those_of_the_texts_themselves() {
    // The package: counts its own markers of forced tokens, and rounds budgets by them.
    let counter = TokenCounter::by_name("o200k_base").expect("an encoding");
    for compressor in both() {
        let options = CompressOptions { encoding: "gpt-4o".into(), force_tokens: vec!["item".into()], ..rate(0.4) };
        let answer = one(&compressor, &long_text(), &options);
        assert_eq!(answer.origin_tokens, counter.count(&long_text()));
        assert_eq!(answer.compressed_tokens, counter.count(&answer.compressed_prompt));
        assert_eq!((answer.mode.as_str(), answer.model.as_str()), ("default", compressor.name()));
    }
}

#[test]
fn sequences_are_bracketed_by_the_models_own_tokens() {
    // The package: <unk> for XLM-R, since it asks for [CLS] and [SEP] by name.
    let special_tokens: Vec<(u32, u32)> =
        both().iter().map(|c| c.encoder().tokenizer().special_tokens().expect("brackets")).collect();
    let id = |model: usize, token: &str| both()[model].encoder().tokenizer().id(token).expect("a token");
    assert_eq!(special_tokens, [(id(0, "[CLS]"), id(0, "[SEP]")), (id(1, "<s>"), id(1, "</s>"))]);
}

#[test]
fn a_plain_threshold_keeps_what_is_likelier() {
    for compressor in both() {
        let keep = |threshold| {
            let options = CompressOptions { threshold: Some(threshold), ..CompressOptions::default() };
            one(&compressor, &long_text(), &options).compressed_tokens
        };
        assert!(keep(0.0) >= keep(0.4) && keep(0.4) >= keep(0.6) && keep(0.6) >= keep(1.0));
        assert_eq!(keep(0.0), one(&compressor, &long_text(), &rate(1.0)).compressed_tokens);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let compressor = compressor(MODELS[0], Precision::F32);
    let bad = [
        (rate(0.0), "rate"),
        (rate(-0.5), "rate"),
        (rate(2.0), "rate"),
        (rate(f64::NAN), "rate"),
        (CompressOptions { target_token: 0.0, ..rate(0.5) }, "target_token"),
        (CompressOptions { target_token: f64::NAN, ..rate(0.5) }, "target_token"),
        (CompressOptions { threshold: Some(1.5), ..rate(0.5) }, "threshold"),
        (CompressOptions { context_level_rate: 0.0, ..rate(0.5) }, "context_level_rate"),
        (CompressOptions { force_tokens: vec!["a".into(), String::new()], ..rate(0.5) }, "force_tokens"),
    ];
    for (options, name) in bad {
        let error = compressor.compress(&["some text".into()], &options, Lane::Bulk).expect_err("refused").to_string();
        assert!(error.starts_with(&format!("{name}: ")), "{error}");
    }
    let unknown = CompressOptions { encoding: "latin-1".into(), ..rate(0.5) };
    let error = compressor.compress(&["x".into()], &unknown, Lane::Bulk).expect_err("refused").to_string();
    assert!(error.contains("latin-1") && error.contains("cl100k_base"), "{error}");
    assert_eq!(one(&compressor, "keep it all", &rate(1.0)).compressed_prompt, "keep it all", "1 is a rate");
    let larger = CompressOptions { target_token: 1e9, ..rate(0.5) };
    assert_eq!(
        one(&compressor, "a target over the text keeps it all", &larger).compressed_prompt,
        "a target over the text keeps it all"
    );
}

#[test]
fn int8_decides_nearly_as_f32_does() {
    for model in MODELS {
        let (exact, rounded) = (compressor(model, Precision::F32), compressor(model, Precision::Int8));
        let words = |c: &Compressor| {
            let options = CompressOptions { return_word_label: true, ..rate(0.5) };
            one(c, &long_text(), &options).fn_labeled_original_prompt.expect("labels")
        };
        let (exact, rounded) = (words(&exact), words(&rounded));
        let pairs: Vec<bool> = exact.split("\t\t|\t\t").zip(rounded.split("\t\t|\t\t")).map(|(a, b)| a == b).collect();
        let same = pairs.iter().filter(|same| **same).count() as f64 / pairs.len() as f64;
        assert!(same > 0.9, "{model}: {same}");
    }
}
