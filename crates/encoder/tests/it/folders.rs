//! A sentence-transformers folder is read as it says, and what it says that is not computed is refused by its name.

use crate::common::{Shape, cosine, numbers, real_model, write_model};
use candle_core::{DType, Device, Tensor};
use membox_encoder::{
    Encoder, EncoderConfig, EncoderError, Inputs, Lane, ModelDescription, Pooling, Precision, Purpose, Request,
    Scheduler, SchedulerConfig, Wanted,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const SHAPE: Shape = Shape { hidden: 64, heads: 2, layers: 2, intermediate: 128, positions: 64 };
const TEXT: &str = "one two three two";

/// One that knows a few words.
pub fn tokenizer() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
        "post_processor": {
            "type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2],
        },
        "model": {
            "type": "WordLevel", "unk_token": "[UNK]",
            "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "one": 3, "two": 4, "three": 5, "query": 6,
                "passage": 7, ":": 8},
        },
    })
}

/// A model folder with files of sentence-transformers.
fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), SHAPE);
    for (name, value) in files.iter().chain([&("tokenizer.json", tokenizer())]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, value.to_string()).expect("a write");
    }
    folder
}

fn modules(kinds: &[(&str, &str)]) -> (&'static str, Value) {
    let module = |(index, (path, kind)): (usize, &(&str, &str))| json!({"idx": index, "path": path, "type": kind});
    ("modules.json", kinds.iter().enumerate().map(module).collect())
}

const PLAIN: [(&str, &str); 2] =
    [("", "sentence_transformers.models.Transformer"), ("1_Pooling", "sentence_transformers.models.Pooling")];

fn pooling(mode: &str) -> (&'static str, Value) {
    let mut config = json!({"word_embedding_dimension": 64});
    for name in ["cls_token", "mean_tokens", "max_tokens", "lasttoken", "weightedmean_tokens"] {
        config[format!("pooling_mode_{name}")] = json!(name == mode);
    }
    ("1_Pooling/config.json", config)
}

fn load(folder: &Path) -> Result<Encoder, EncoderError> {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let config = EncoderConfig { precision: Precision::F32, ..EncoderConfig::default() };
    Encoder::load("model", folder, config, &scheduler)
}

fn encode(encoder: &Encoder, text: &str, wanted: Wanted) -> membox_encoder::Embeddings {
    let (inputs, max_tokens) = (Inputs::Texts(vec![text.into()]), encoder.max_tokens());
    encoder.encode(Request { inputs, max_tokens, wanted, lane: Lane::Interactive }).expect("an answer")
}

#[test]
fn states_are_pooled_as_the_folder_says() {
    for (mode, expected) in [
        ("mean_tokens", Pooling::Mean),
        ("cls_token", Pooling::Cls),
        ("max_tokens", Pooling::Max),
        ("lasttoken", Pooling::LastToken),
    ] {
        let encoder = load(folder(&[modules(&PLAIN), pooling(mode)]).path()).expect("an encoder");
        assert_eq!(encoder.pooling(), expected);
        let found = encode(&encoder, TEXT, Wanted { states: true, ..Wanted::vectors(false) });
        let rows: Vec<&[f32]> = found.states[0].chunks_exact(64).collect();
        assert_eq!(rows.len(), 6);
        for (i, x) in found.vectors.iter().enumerate() {
            let column = || rows.iter().map(|row| row[i]);
            let wanted = match expected {
                Pooling::Mean => column().sum::<f32>() / 6.0,
                Pooling::Cls => rows[0][i],
                Pooling::LastToken => rows[5][i],
                Pooling::Max => column().fold(f32::MIN, f32::max),
            };
            assert!((x - wanted).abs() < 1e-5, "{mode}: {x}, not {wanted}");
        }
    }
    let newer = ("1_Pooling/config.json", json!({"embedding_dimension": 64, "pooling_mode": "cls"}));
    assert_eq!(load(folder(&[modules(&PLAIN), newer]).path()).expect("an encoder").pooling(), Pooling::Cls);
    assert_eq!(load(folder(&[]).path()).expect("an encoder").pooling(), Pooling::Mean, "no such files");
}

#[test]
fn a_folder_of_a_newer_version_is_read_as_one_of_an_older() {
    let newer = [
        ("", "sentence_transformers.base.modules.transformer.Transformer"),
        ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"),
        ("2_Normalize", "sentence_transformers.base.modules.normalize.Normalize"),
    ];
    let transformer = json!({
        "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    });
    let config = json!({
        "model_type": "SentenceTransformer", "default_prompt_name": null, "prompts": {"query": "", "document": ""},
    });
    let folder = folder(&[
        modules(&newer),
        ("1_Pooling/config.json", json!({"embedding_dimension": 64, "pooling_mode": "cls", "include_prompt": true})),
        ("sentence_bert_config.json", transformer),
        ("tokenizer_config.json", json!({"model_max_length": 32})),
        ("config_sentence_transformers.json", config),
    ]);
    let description = ModelDescription::read(folder.path()).expect("a description");
    assert_eq!((description.pooling, description.max_tokens), (Pooling::Cls, 32));
    assert!(description.normalizes);
    assert_eq!(description.prompts.of(Purpose::Query), "");
    load(folder.path()).expect("an encoder");
}

#[test]
fn a_dense_layer_and_the_first_numbers_of_a_matryoshka_model_are_computed() {
    let dense = ("2_Dense", "sentence_transformers.models.Dense");
    let config = json!({
        "in_features": 64, "out_features": 16, "bias": true,
        "activation_function": "torch.nn.modules.activation.Tanh",
    });
    let all = [PLAIN[0], PLAIN[1], dense, ("3_Normalize", "sentence_transformers.models.Normalize")];
    let folder = folder(&[
        modules(&all),
        pooling("mean_tokens"),
        ("2_Dense/config.json", config),
        ("config_sentence_transformers.json", json!({"truncate_dim": 8})),
    ]);
    let (weight, bias) = (numbers(1, 16 * 64), numbers(2, 16));
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).expect("a tensor");
    let tensors = HashMap::from([("linear.weight", tensor(&weight, &[16, 64])), ("linear.bias", tensor(&bias, &[16]))]);
    candle_core::safetensors::save(&tensors, folder.path().join("2_Dense/model.safetensors")).expect("a write");

    let description = ModelDescription::read(folder.path()).expect("a description");
    assert!(description.normalizes);
    assert_eq!(description.dimension, 8);
    let encoder = load(folder.path()).expect("an encoder");
    assert_eq!(encoder.dimension(), 8);
    let found = encode(&encoder, TEXT, Wanted { states: true, ..Wanted::vectors(true) });
    assert_eq!((found.dimension, found.state_dimension, found.vectors.len()), (8, 64, 8));
    let mut mean = [0f32; 64];
    found.states[0].chunks_exact(64).for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / 6.0));
    let product = |row: &[f32]| row.iter().zip(&mean).map(|(w, x)| w * x).sum::<f32>();
    let wanted: Vec<f32> =
        weight.chunks_exact(64).zip(&bias).map(|(row, b)| (product(row) + b).tanh()).take(8).collect();
    assert!(cosine(&found.vectors, &wanted) > 0.999_99);
    let length: f32 = found.vectors.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

#[test]
fn a_text_is_cut_and_made_small_as_the_folder_says() {
    let transformer = ("sentence_bert_config.json", json!({"max_seq_length": 5, "do_lower_case": true}));
    let encoder = load(folder(&[transformer]).path()).expect("an encoder");
    assert_eq!(encoder.max_tokens(), 5);
    let answer = encoder.embed(vec!["one Two three two".into()], Lane::Bulk).expect("a vector");
    assert_eq!((answer.tokens, answer.truncated), (5, 1));
    assert_eq!(encoder.tokenizer().encode("Two", 9).expect("tokens").ids, [1, 4, 2]);

    let max_tokens =
        |files: &[(&str, Value)]| ModelDescription::read(folder(files).path()).expect("a description").max_tokens;
    assert_eq!(max_tokens(&[]), 64, "256, and the model has 64 positions");
    let tokenizer = |length: f64| ("tokenizer_config.json", json!({"model_max_length": length}));
    assert_eq!(max_tokens(&[tokenizer(40.0)]), 64, "a plain transformer");
    assert_eq!(max_tokens(&[modules(&PLAIN), pooling("mean_tokens"), tokenizer(40.0)]), 40);
    assert_eq!(max_tokens(&[modules(&PLAIN), pooling("mean_tokens"), tokenizer(1e30)]), 64);
}

#[test]
fn prompts_come_before_texts_by_their_purpose() {
    let prompts = json!({"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": null});
    let encoder = load(folder(&[("config_sentence_transformers.json", prompts)]).path()).expect("an encoder");
    let plain = |text: &str| encoder.embed(vec![text.into()], Lane::Bulk).expect("a vector").vectors;
    let of = |purpose| encoder.embed_for(purpose, vec![TEXT.into()], Lane::Bulk).expect("a vector").vectors;
    assert_eq!(of(Purpose::Plain), plain(TEXT));
    assert_eq!(of(Purpose::Query), plain(&format!("query: {TEXT}")));
    assert_eq!(of(Purpose::Document), plain(&format!("passage: {TEXT}")));
    let document = encoder.embed_windows(vec![TEXT.into()], 4, Lane::Bulk).expect("documents").remove(0);
    assert_eq!(document.vector, of(Purpose::Document));
    let question = encoder.embed_queries(vec![TEXT.into(), "unseen one".into()], None).expect("queries").queries;
    assert_eq!(question[0].vector.to_vec(), of(Purpose::Query));
    assert_eq!((question[0].known_share, question[1].known_share), (1.0, 0.5), "the prompt is not counted");
}

#[test]
fn weights_of_half_the_width_are_read_and_other_files_of_weights_are_not() {
    let folder = folder(&[("sentence_bert_config.json", json!({"max_seq_length": null}))]);
    let weights = folder.path().join("model.safetensors");
    let whole = load(folder.path()).expect("an encoder");
    assert_eq!(whole.max_tokens(), 64, "null is no length");
    let vector = |encoder: &Encoder| encode(encoder, TEXT, Wanted::vectors(true)).vectors;
    let tensors = candle_core::safetensors::load(&weights, &Device::Cpu).expect("tensors");
    for kind in [DType::F16, DType::BF16] {
        let half = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.to_dtype(kind).expect("a tensor"));
        let half: HashMap<String, Tensor> = tensors.iter().map(half).collect();
        candle_core::safetensors::save(&half, &weights).expect("a write");
        let encoder = load(folder.path()).expect("an encoder");
        assert!(cosine(&vector(&encoder), &vector(&whole)) > 0.999, "{kind:?}");
    }
    for other in ["pytorch_model.bin", "onnx/model.onnx"] {
        let path = folder.path().join(other);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, "weights").expect("a write");
    }
    std::fs::remove_file(&weights).expect("a file");
    let refused = load(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("model.safetensors is missing"), "{refused}");
}

#[test]
fn every_window_of_a_long_text_has_the_prompt() {
    let prompts = json!({"prompts": {"passage": "passage: "}});
    let transformer = ("sentence_bert_config.json", json!({"max_seq_length": 10}));
    let encoder =
        load(folder(&[transformer, ("config_sentence_transformers.json", prompts)]).path()).expect("an encoder");
    let words = ["one", "two", "three"];
    let text = (0..20).map(|i| words[i % 3]).collect::<Vec<_>>().join(" ");
    let document = encoder.embed_windows(vec![text.clone()], 16, Lane::Bulk).expect("documents").remove(0);
    let places = &document.windows.places;
    assert!(places.len() > 2, "{places:?}");
    assert_eq!(places[0], 0..text[..places[0].end].len());
    let windows: Vec<String> = places.iter().map(|place| text[place.clone()].to_owned()).collect();
    assert_eq!(windows[0].split(' ').count(), 6, "two of eight tokens are the prompt's");
    let vectors = encoder.embed_for(Purpose::Document, windows, Lane::Bulk).expect("vectors");
    let all = [&document.vector].into_iter().chain(&document.windows.vectors);
    for (own, wanted) in all.zip(vectors.rows()) {
        assert!(cosine(own, wanted) > 0.999_99);
    }
    assert_eq!(document.windows.truncated_at, None);
}

#[test]
fn token_vectors_are_of_the_text_and_not_of_its_prompt() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::os::unix::fs::symlink(real_model().canonicalize().expect("a folder").join(name), folder.path().join(name))
            .expect("a link");
    }
    let prompts = json!({"prompts": {"query": "query: ", "document": "passage: "}});
    std::fs::write(folder.path().join("config_sentence_transformers.json"), prompts.to_string()).expect("a write");
    let (encoder, without) = (load(folder.path()).expect("an encoder"), load(&real_model()).expect("an encoder"));
    let long = "the quick brown fox jumps over the lazy dog ".repeat(40);
    for text in ["Lena's train is late.", &long] {
        let prompted = without.embed_documents(vec![format!("passage: {text}")], 48, 1, Lane::Bulk).expect("documents");
        let document = encoder.embed_documents(vec![text.into()], 48, 1, Lane::Bulk).expect("documents").remove(0);
        assert_eq!(document.vector, prompted[0].vector);
        let tokens = encoder.tokenizer().pieces(text).expect("tokens").len();
        assert_eq!(document.token_vectors.len(), tokens * 48, "as many as the text has");
    }
    let own = encoder.embed_queries(vec!["Where is Lena?".into()], Some(48)).expect("queries").queries.remove(0);
    let whole =
        without.embed_queries(vec!["query: Where is Lena?".into()], Some(48)).expect("queries").queries.remove(0);
    let (own, whole) = (own.tokens.expect("tokens"), whole.tokens.expect("tokens"));
    assert_eq!(own.places[0], 0..5);
    assert_eq!(own.vectors, whole.vectors[2 * 48..], "`query` and `:` are the prompt");
}

#[test]
fn what_a_folder_says_and_is_not_computed_is_refused_by_its_name() {
    let st = |name: &str| format!("sentence_transformers.models.{name}");
    let with = |kinds: &[(&str, &str)]| folder(&[modules(kinds), pooling("mean_tokens")]);
    let (lstm, normalize, cnn) = (st("LSTM"), st("Normalize"), st("CNN"));
    let side_by_side = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true});
    let instructor = json!({"pooling_mode_mean_tokens": true, "include_prompt": false});
    let dense = json!({"in_features": 64, "out_features": 8, "activation_function": "torch.nn.Mish"});
    let with_dense = [PLAIN[0], PLAIN[1], ("2_Dense", "sentence_transformers.models.Dense")];
    let prompts = ("config_sentence_transformers.json", json!({"prompts": {"query": "q: "}}));
    let of_tokens = json!({"in_features": 64, "out_features": 8, "module_input_name": "token_embeddings"});
    let with_dense_of =
        |config: Value| folder(&[modules(&with_dense), pooling("cls_token"), ("2_Dense/config.json", config)]);
    let with_transformer =
        |config: Value| folder(&[modules(&PLAIN), pooling("cls_token"), ("sentence_bert_config.json", config)]);
    let pooler = json!({"text": {"method": "forward", "method_output_name": "pooler_output"}});
    let cases = [
        (with(&[("", "custom_st.Transformer"), PLAIN[1]]), "the module custom_st.Transformer at place 0"),
        (with_dense_of(of_tokens), "module_input_name \"token_embeddings\""),
        (with_dense_of(json!({"in_features": 64, "out_features": 64, "use_residual": true})), "use_residual"),
        (with_transformer(json!({"transformer_task": "text-generation"})), "transformer_task \"text-generation\""),
        (with_transformer(json!({"modality_config": pooler})), "method_output_name \"pooler_output\""),
        (with_transformer(json!({"module_output_name": "sentence_embedding"})), "module_output_name"),
        (with_transformer(json!({"query_length": 32})), "query_length 32"),
        (with(&[PLAIN[0], PLAIN[1], ("2", &lstm)]), "the module LSTM at place 2"),
        (with(&[PLAIN[0], ("1", &cnn), PLAIN[1]]), "the module CNN at place 1"),
        (with(&[PLAIN[0]]), "no module Pooling"),
        (with(&[("0_BERT", PLAIN[0].1), PLAIN[1]]), "a transformer in a folder of its own, \"0_BERT\""),
        (with(&[PLAIN[0], ("../1", PLAIN[1].1), ("", &normalize)]), "outside of the folder"),
        (folder(&[modules(&PLAIN)]), "1_Pooling/config.json is missing"),
        (folder(&[modules(&PLAIN), pooling("weightedmean_tokens")]), "the pooling mode \"weightedmean_tokens\""),
        (folder(&[modules(&PLAIN), pooling("none")]), "every pooling mode is off"),
        (folder(&[modules(&PLAIN), ("1_Pooling/config.json", side_by_side)]), "side by side"),
        (folder(&[modules(&PLAIN), ("1_Pooling/config.json", instructor), prompts]), "include_prompt false"),
        (folder(&[modules(&with_dense), pooling("cls_token"), ("2_Dense/config.json", dense)]), "\"Mish\""),
        (folder(&[("config_sentence_transformers.json", json!({"default_prompt_name": "q"}))]), "default_prompt_name"),
        (folder(&[("config_sentence_transformers.json", json!({"truncate_dim": 65}))]), "truncate_dim is 65"),
        (folder(&[("sentence_bert_config.json", json!({"max_seq_length": 2}))]), "max_seq_length is 2"),
    ];
    for (folder, said) in cases {
        let refused = ModelDescription::read(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(said), "{said}: {refused}");
        assert!(load(folder.path()).is_err(), "{said}");
    }
}
