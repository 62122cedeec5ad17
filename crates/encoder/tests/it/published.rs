//! The published LLMLingua-2 models fit the loader: every tensor of theirs is read, and none that they do not have is
//! asked for.

use membox_encoder::{Architecture, ModelType};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

fn published() -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published.json");
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
}

#[test]
fn every_tensor_of_the_published_models_is_accounted_for() {
    let models = published();
    assert_eq!(models.len(), 2);
    for (name, model) in models {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, model["config"].to_string()).expect("a write");
        let config = Architecture::read(&path).expect("a configuration");
        let (prefix, sequence) = match config.model_type {
            ModelType::Bert => ("bert", 512),
            ModelType::XlmRoberta => ("roberta", 512),
            other => panic!("{name} is of {other}"),
        };
        assert_eq!(config.max_sequence, sequence, "{name}");
        let mut ours: BTreeMap<String, Vec<usize>> =
            config.tensors().into_iter().map(|(tensor, shape)| (format!("{prefix}.{tensor}"), shape)).collect();
        ours.insert("classifier.weight".into(), vec![2, config.hidden_size]);
        ours.insert("classifier.bias".into(), vec![2]);
        let theirs: BTreeMap<String, Vec<usize>> =
            serde_json::from_value(model["tensors"].clone()).expect("names and shapes");
        assert_eq!(ours, theirs, "{name}");
    }
}
