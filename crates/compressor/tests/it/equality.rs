//! Mode `parity` answers what the Python package answers: every case that `fixtures/make.py` wrote down.

use crate::common::{compressor, fixtures};
use membox_compressor::{CompressOptions, Compressor, CompressorError, Mode};
use membox_encoder::{Lane, Precision};
use serde_json::{Value, json};

fn texts(all: &[String], context: &Value) -> Vec<String> {
    let text = |v: &Value| all[v.as_u64().expect("the number of a text") as usize].clone();
    match context {
        Value::Array(list) => list.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

fn ours(compressor: &Compressor, all: &[String], case: &Value) -> Result<Value, String> {
    let mut args = case["args"].clone();
    args["mode"] = json!("parity");
    args["structured"] = json!(case["call"] == "structured_compress_prompt");
    let options: CompressOptions = serde_json::from_value(args).map_err(|e| e.to_string())?;
    assert_eq!(options.mode, Mode::Parity);
    match compressor.compress(&texts(all, &case["context"]), &options, Lane::Bulk) {
        Ok(answer) => {
            let mut answer = serde_json::to_value(answer).expect("JSON");
            let fields = answer.as_object_mut().expect("an object");
            for ours in ["kept", "model", "mode"] {
                fields.remove(ours);
            }
            Ok(answer)
        }
        Err(CompressorError::ReferenceFails(reason)) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_case_of_the_package_is_answered_to_the_character() {
    let file: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("cases.json")).expect("cases")).expect("JSON");
    let all: Vec<String> = serde_json::from_value(file["texts"].clone()).expect("texts");
    let cases = file["cases"].as_array().expect("cases");
    let mut wrong = Vec::new();
    for model in ["bert-base-multilingual-cased-tiny", "xlm-roberta-large-tiny"] {
        let compressor = compressor(model, Precision::F32);
        for (number, case) in cases.iter().enumerate().filter(|(_, c)| c["model"] == model) {
            let same = match (ours(&compressor, &all, case), case.get("answer")) {
                (Ok(answer), Some(want)) => answer == *want,
                (Err(_), None) => true,
                _ => false,
            };
            if !same {
                wrong.push((number, ours(&compressor, &all, case)));
            }
        }
    }
    println!("{} cases, {} mismatches", cases.len(), wrong.len());
    for (number, answer) in wrong.iter().take(5) {
        println!("case {number}: {}\n   ours {answer:?}", cases[*number]);
    }
    assert!(cases.len() > 500 && wrong.is_empty(), "{} of {} cases differ", wrong.len(), cases.len());
}
