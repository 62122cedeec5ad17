//! Every family on a card: what differs from BERT in more than names is held against the CPU in f32.

use crate::common::{VOCABULARY, cosine, write_folder};
use crate::small::{F16_ERROR, apart, computed, encode, everything, head, load_with, model, sequences};
use membox_encoder::{Architecture, Device, Precision, Wanted};
use membox_software_card::faults::counts;
use membox_software_card::on_card;
use serde_json::{Value, json};
use std::path::Path;

/// Least cosine of a vector to that of the CPU in f32.
const LEAST_COSINE: f32 = 0.999_9;
/// Positions of the fixtures' models.
const LONGEST: usize = 160;

/// Makes a model one of a family: the configuration of its fixture, some fields otherwise, and random weights.
fn as_other(folder: &Path, fixture: &str, change: impl Fn(&mut Value)) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures");
    let text = std::fs::read(fixtures.join(format!("{fixture}.json"))).expect("a fixture");
    let mut config = serde_json::from_slice::<Value>(&text).expect("JSON")["config"].take();
    config["vocab_size"] = VOCABULARY.into();
    change(&mut config);
    let path = folder.join("config.json");
    std::fs::write(&path, config.to_string()).expect("a file");
    let architecture = Architecture::read(&path).expect("an architecture");
    write_folder(&config, &architecture.tensors().into_iter().collect(), folder);
}

/// As [`agrees_with`], with the configuration of the fixture as it is.
fn agrees(fixture: &str) {
    agrees_with(fixture, |_| {});
}

/// Vectors, keep probabilities and token states of sequences of every length are those of the CPU, batch after batch.
fn agrees_with(fixture: &str, change: impl Fn(&mut Value)) {
    let folder = model();
    as_other(folder.path(), fixture, change);
    let of = |device, precision| load_with(folder.path(), device, precision, 1, Some(head())).expect("an encoder");
    // The CPU behind the card is in int8, as it is by default: a card is of f16 whatever that is.
    let (cpu, card) = (of(Device::Cpu, Precision::F32), of(Device::Auto, Precision::Int8));
    assert_eq!(card.why_not_cuda(), None, "{fixture}");
    for lengths in [&[1, 2, 15, 16, 17, 63, 64, 65, 130, LONGEST][..], &[9], &[3; 40]] {
        let mut least = (1f32, 0f32);
        for _ in 0..3 {
            let (before, inputs) = (computed(), sequences(lengths));
            let [wanted, got] = [&cpu, &card].map(|e| encode(e, inputs.clone(), everything()).expect("all"));
            assert!(computed() > before, "{fixture}: by the card");
            let cosines = wanted.rows().zip(got.rows()).map(|(a, b)| cosine(a, b));
            least = (cosines.fold(least.0, f32::min), least.1.max(apart(&wanted, &got)));
        }
        println!("{fixture}, {lengths:?}: least cosine {}, largest difference {}", least.0, least.1);
        assert!(least.0 >= LEAST_COSINE && least.1 < F16_ERROR, "{fixture}, {lengths:?}: {least:?}");
    }
    // What late interaction is made of.
    let states = Wanted { states: true, ..Wanted::default() };
    let [wanted, got] = [&cpu, &card].map(|e| encode(e, sequences(&[40, 7]), states).expect("states"));
    let rows = wanted.states.iter().zip(&got.states).flat_map(|(a, b)| a.chunks(64).zip(b.chunks(64)));
    assert!(rows.map(|(a, b)| cosine(a, b)).fold(1.0, f32::min) >= LEAST_COSINE, "{fixture}");
    assert_eq!(counts()[4], 0, "nothing to complain of");
}

#[test]
fn nomic_bert_is_what_the_cpu_computes() {
    on_card!("", || agrees("nomic-bert"));
}

#[test]
fn nomic_bert_with_biases_is_what_the_cpu_computes() {
    on_card!("", || agrees_with("nomic-bert", |config| {
        for field in ["qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"] {
            config[field] = true.into();
        }
    }));
}

#[test]
fn gtes_bert_is_what_the_cpu_computes() {
    on_card!("", || agrees("gte"));
}

#[test]
fn gtes_bert_for_longer_texts_is_what_the_cpu_computes() {
    on_card!("", || agrees("gte-ntk"));
}

#[test]
fn modern_bert_is_what_the_cpu_computes() {
    on_card!("", || agrees("modernbert"));
}

#[test]
fn modern_bert_with_biases_and_wider_windows_is_what_the_cpu_computes() {
    on_card!("", || agrees_with("modernbert-biases", |config| {
        // Heads that a card knows; and windows that end before, at and after the edge of a tile.
        (config["hidden_size"], config["local_attention"]) = (64.into(), 128.into());
    }));
}

#[test]
fn modern_bert_on_a_card_before_ampere_is_what_the_cpu_computes() {
    on_card!("capability=75", || agrees("modernbert"));
}

#[test]
fn mpnet_is_what_the_cpu_computes() {
    on_card!("", || agrees("mpnet"));
}

#[test]
fn mpnet_on_a_card_before_ampere_is_what_the_cpu_computes() {
    on_card!("capability=75", || agrees("mpnet"));
}

#[test]
fn jina_bert_is_what_the_cpu_computes() {
    on_card!("", || agrees_with("jina-bert", |config| {
        // A hidden size that a card knows.
        (config["hidden_size"], config["num_attention_heads"]) = (64.into(), 2.into());
    }));
}

#[test]
fn bert_with_other_activations_is_what_the_cpu_computes() {
    on_card!("", || {
        agrees("bert-relu");
        agrees("bert-gelu-new");
        agrees_with("bert", |config| config["hidden_act"] = json!("silu"));
    });
}
