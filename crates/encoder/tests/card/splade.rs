//! Sparse vectors on a card: those of the CPU in f32.

use crate::common::{cosine, write_folder};
use crate::small::{computed, load_with, model};
use membox_encoder::{Device, Encoder, Inputs, Lane, Precision, Request, TokenWeight, Wanted};
use membox_software_card::faults::{counts, set};
use membox_software_card::on_card;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// Word pieces: three tiles of the head, of which the last is filled up.
const VOCABULARY: usize = 500;
const HIDDEN: usize = 64;
const LEAST_COSINE: f32 = 0.999_9;

/// A folder as sentence-transformers' SparseEncoder saves it, of a fixture's model with a larger vocabulary.
fn folder(fixture: &str, activation: &str) -> TempDir {
    let folder = model();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/splade").join(format!("{fixture}.json"));
    let mut known: Value = serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON");
    let (mut config, tensors) = (known["config"].take(), known["tensors"].take());
    let mut tensors: BTreeMap<String, Vec<usize>> = serde_json::from_value(tensors).expect("shapes");
    // Their own are of a width that no kernel has, in one of them.
    let key = if config.get("dim").is_some() { "dim" } else { "hidden_size" };
    let own = [(config["vocab_size"].take(), VOCABULARY), (config[key].take(), HIDDEN)];
    for (own, ours) in own.into_iter().filter_map(|(own, ours)| Some((own.as_u64()? as usize, ours))) {
        tensors.values_mut().flatten().filter(|size| **size == own).for_each(|size| *size = ours);
    }
    (config["vocab_size"], config[key]) = (VOCABULARY.into(), HIDDEN.into());
    write_folder(&config, &tensors, folder.path());
    let module = |path: &str, kind: &str| json!({"path": path, "type": format!("sentence_transformers.{kind}")});
    let modules = json!([
        module("", "sparse_encoder.models.MLMTransformer"),
        module("1_SpladePooling", "sparse_encoder.models.SpladePooling"),
    ]);
    let pooling = json!({"pooling_strategy": "max", "activation_function": activation});
    std::fs::create_dir(folder.path().join("1_SpladePooling")).expect("a folder");
    for (name, value) in [("modules.json", modules), ("1_SpladePooling/config.json", pooling)] {
        std::fs::write(folder.path().join(name), value.to_string()).expect("a file");
    }
    folder
}

/// The same model on the CPU in f32 and on a card.
fn both(folder: &TempDir) -> [Encoder; 2] {
    let of = |device| load_with(folder.path(), device, Precision::F32, 1, None).expect("an encoder");
    let both = [of(Device::Cpu), of(Device::Auto)];
    assert_eq!(both[1].why_not_cuda(), None);
    both
}

fn sparse(encoder: &Encoder, lengths: &[usize], wanted: Wanted) -> Vec<Vec<TokenWeight>> {
    let id = |s: usize, t: usize| (5 + (s * 131 + t * 37) % (VOCABULARY - 5)) as u32;
    let sequences = lengths.iter().enumerate().map(|(s, length)| (0..*length).map(|t| id(s, t)).collect());
    let inputs = Inputs::Tokens(sequences.collect());
    encoder.encode(Request { inputs, max_tokens: 512, wanted, lane: Lane::Bulk }).expect("vectors").sparse
}

/// All vectors of both are the same; the least cosine.
fn agree([cpu, card]: &[Encoder; 2], lengths: &[usize], wanted: Wanted) -> f32 {
    let (wanted, got) = (sparse(cpu, lengths, wanted), sparse(card, lengths, wanted));
    assert_eq!((wanted.len(), got.len()), (lengths.len(), lengths.len()));
    let whole = |vector: &[TokenWeight]| {
        assert!(vector.is_sorted_by(|a, b| a.id < b.id) && vector.iter().all(|one| one.weight > 0.0));
        let mut all = vec![0f32; VOCABULARY];
        vector.iter().for_each(|one| all[one.id as usize] = one.weight);
        let length = all.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!(length > 0.0, "a vector of noughts says nothing");
        all.iter().map(|x| x / length).collect::<Vec<f32>>()
    };
    wanted.iter().zip(&got).map(|(a, b)| cosine(&whole(a), &whole(b))).fold(1.0, f32::min)
}

#[test]
fn sparse_vectors_are_those_of_the_cpu() {
    on_card!("", || {
        for fixture in ["bert", "bert-relu", "distilbert", "roberta", "xlm-roberta"] {
            let (folder, before) = (folder(fixture, "relu"), counts()[1]);
            let both = both(&folder);
            assert!(counts()[1] > before, "it proves itself");
            for lengths in [&[1, 2, 17, 64, 65, 130][..], &[9], &[3; 40]] {
                // Kernel by kernel, recorded, and played back.
                for _ in 0..3 {
                    let before = computed();
                    let least = agree(&both, lengths, Wanted::sparse());
                    assert!(computed() > before, "{fixture}: by the card");
                    println!("{fixture}, {lengths:?}: least cosine {least}");
                    assert!(least >= LEAST_COSINE, "{fixture}, {lengths:?}: {least}");
                }
            }
        }
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn the_logarithm_is_taken_twice_where_the_folder_says_so_and_states_come_beside() {
    on_card!("", || {
        let folder = folder("bert", "log1p_relu");
        let both = both(&folder);
        for wanted in [Wanted::sparse(), Wanted { states: true, vectors: true, ..Wanted::sparse() }] {
            assert!(agree(&both, &[5, 40], wanted) >= LEAST_COSINE);
        }
    });
}

#[test]
fn what_the_card_has_no_room_for_comes_by_halves_or_by_the_cpu() {
    on_card!("", || {
        let folder = folder("bert", "relu");
        let both = both(&folder);
        agree(&both, &[3], Wanted::sparse());
        // Of the room for maxima among others.
        for nth in 1..=6 {
            set(&format!("fail_allocation={nth}"));
            assert!(agree(&both, &[30, 40, 7, 9, 3, 3, 3, 3, 3, 3], Wanted::sparse()) >= LEAST_COSINE, "{nth}");
            set("fail_allocation=0");
            assert!(agree(&both, &vec![3; 20 * nth], Wanted::sparse()) >= LEAST_COSINE, "{nth}");
        }
        assert!(!both[1].engine().is_degraded());
    });
}
