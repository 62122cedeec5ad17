//! A model whose unrelated texts are much alike: what is compared counts from there on.

use crate::common::{Server, post, real_models};
use crate::several_models::{OWN, data_with_models};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Numbers of a vector.
const WIDTH: usize = 384;
/// What is added to the first number of each vector, whose length is 6 or so: unrelated texts have a cosine of 0.77.
const IN_COMMON: f32 = 11.0;

/// The real model, of which all vectors have something in common, as those of E5 have.
fn write_narrow(model: &Path) {
    fs::create_dir_all(model.join("1_Pooling")).expect("a folder");
    fs::create_dir_all(model.join("2_Dense")).expect("a folder");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::os::unix::fs::symlink(real_models().join(OWN).join(file), model.join(file)).expect("a link");
    }
    let module = |path: &str, kind: &str| json!({"path": path, "type": format!("sentence_transformers.models.{kind}")});
    let modules = json!([module("", "Transformer"), module("1_Pooling", "Pooling"), module("2_Dense", "Dense")]);
    let dense = json!({"in_features": WIDTH, "out_features": WIDTH, "bias": true,
        "activation_function": "torch.nn.modules.linear.Identity"});
    for (name, value) in [
        ("modules.json", modules),
        ("1_Pooling/config.json", json!({"pooling_mode": "mean"})),
        ("2_Dense/config.json", dense),
    ] {
        fs::write(model.join(name), value.to_string()).expect("a file");
    }
    let bytes = |numbers: Vec<f32>| numbers.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let same = (0..WIDTH * WIDTH).map(|i| if i % (WIDTH + 1) == 0 { 1.0 } else { 0.0 });
    let common = (0..WIDTH).map(|i| if i == 0 { IN_COMMON } else { 0.0 });
    let (weight, bias) = (bytes(same.collect()), bytes(common.collect()));
    let tensors = [
        ("linear.weight", TensorView::new(Dtype::F32, vec![WIDTH, WIDTH], &weight).expect("a tensor")),
        ("linear.bias", TensorView::new(Dtype::F32, vec![WIDTH], &bias).expect("a tensor")),
    ];
    safetensors::serialize_to_file(tensors, None, &model.join("2_Dense/model.safetensors")).expect("a file");
}

#[test]
fn doubles_count_from_the_cosine_that_unrelated_texts_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_models(folder.path(), "models = [\"narrow\"]\n");
    write_narrow(&data.join("models/narrow"));
    let server = Server::start(&data, &[]);
    let texts = [
        ("key", "The spare key is under the blue flower pot."),
        ("again", "the spare key is under the blue flower pot"),
        ("tap", "The kitchen tap drips at night."),
        ("rain", "It rained all of Sunday."),
        ("tea", "Lena drinks green tea."),
    ];
    let records: Vec<Value> = texts.iter().map(|(id, text)| json!({"id": id, "text": text})).collect();
    for (name, settings) in [("plain", json!({})), ("narrow", json!({"model": "narrow"}))] {
        assert_eq!(server.call("PUT", &format!("/v1/collections/{name}"), &settings).0, 201);
        post(&server, &format!("/v1/collections/{name}/records"), &json!({ "records": records }));
        let recall = |more: Value| {
            let mut body = json!({"query": "Where is the spare key?", "mode": "vector", "k": 5});
            body.as_object_mut().expect("a body").extend(more.as_object().expect("fields").clone());
            post(&server, &format!("/v1/collections/{name}/recall"), &body)["hits"].as_array().expect("hits").clone()
        };
        let least = recall(json!({"include": ["scores"]})).last().expect("a hit")["score"].as_f64().expect("a score");
        assert_eq!(least > 0.7, name == "narrow", "{name}: unrelated texts have {least}");
        // By either model two say the same, and no others.
        let folded = recall(json!({"fold_doubles": 0.7}));
        assert_eq!(folded.len(), 4, "{name}: {folded:?}");
        assert_eq!(folded[0]["doubles"].as_array().map(Vec::len), Some(1), "{name}: {folded:?}");
    }
    server.stop();
}
