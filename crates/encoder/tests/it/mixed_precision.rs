//! Layers that int8 spoils are found, and computed in f32.

use crate::common::{Shape, cosine, write_model};
use crate::folders::tokenizer;
use candle_core::{Device, Tensor};
use membox_encoder::{
    Encoder, EncoderConfig, EncoderError, Int8Check, Lane, PRECISION_FILE, Precision, Scheduler, SchedulerConfig,
};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const SHAPE: Shape = Shape { hidden: 64, heads: 2, layers: 4, intermediate: 128, positions: 64 };
const TEXTS: [&str; 4] = ["one two three", "two two", "passage : three one two one", "query : one"];
/// Random weights lose more by int8 than trained ones do.
const WANTED: f32 = 0.98;

fn texts() -> Vec<String> {
    TEXTS.map(str::to_owned).to_vec()
}

/// A model of which some layers have, in each row of a matrix, one weight that is far larger than the others: a row
/// has one scale, and of the others 8 bits leave nothing. What it is multiplied by is 0, so that f32 loses nothing.
fn folder(spoilt: &[usize]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), SHAPE);
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer().to_string()).expect("a write");
    let path = folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("the weights");
    for layer in spoilt {
        let name = format!("encoder.layer.{layer}.intermediate.dense.weight");
        let mut rows: Vec<Vec<f32>> = tensors[&name].to_vec2().expect("a matrix");
        rows.iter_mut().for_each(|row| row[7] = 60.0);
        let numbers = rows.concat();
        let tensor = Tensor::from_vec(numbers, (SHAPE.intermediate, SHAPE.hidden), &Device::Cpu).expect("a tensor");
        tensors.insert(name, tensor);
        for part in ["weight", "bias"] {
            let name = format!("encoder.layer.{layer}.attention.output.LayerNorm.{part}");
            let mut numbers: Vec<f32> = tensors[&name].to_vec1().expect("a vector");
            numbers[7] = 0.0;
            tensors.insert(name, Tensor::from_vec(numbers, SHAPE.hidden, &Device::Cpu).expect("a tensor"));
        }
    }
    candle_core::safetensors::save(&tensors, &path).expect("a write");
    folder
}

fn vectors(folder: &Path, precision: Precision) -> Result<Vec<Vec<f32>>, EncoderError> {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let config = EncoderConfig { precision, ..EncoderConfig::default() };
    let answer = Encoder::load("model", folder, config, &scheduler)?.embed(texts(), Lane::Bulk)?;
    Ok(answer.rows().map(<[f32]>::to_vec).collect())
}

fn least(folder: &Path) -> f32 {
    let of = |precision| vectors(folder, precision).expect("vectors");
    let (exact, int8) = (of(Precision::F32), of(Precision::Int8));
    exact.iter().zip(&int8).map(|(a, b)| cosine(a, b)).fold(1.0, f32::min)
}

#[test]
fn a_model_that_int8_does_no_harm_stays_in_int8() {
    let folder = folder(&[]);
    let found = Int8Check::of(folder.path(), &texts(), WANTED).expect("a check");
    assert!(found.least >= WANTED && found.layers.f32_layers.is_empty(), "{found:?}");
    assert!((found.least - least(folder.path())).abs() < 1e-5, "as its vectors are: {found:?}");
}

#[test]
fn layers_that_int8_spoils_are_computed_in_f32_and_no_others() {
    for spoilt in [&[2][..], &[0, 3]] {
        let folder = folder(spoilt);
        let found = Int8Check::of(folder.path(), &texts(), WANTED).expect("a check");
        assert!(found.least < WANTED && found.least_with_them >= WANTED, "{found:?}");
        assert_eq!(found.layers.f32_layers, spoilt, "{found:?}");
        assert!(least(folder.path()) < WANTED);
        std::fs::write(folder.path().join(PRECISION_FILE), json!(found.layers).to_string()).expect("a write");
        let with_them = least(folder.path());
        assert!((with_them - found.least_with_them).abs() < 1e-5, "{with_them}, and {found:?}");
    }
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let folder = folder(&[]);
    std::fs::write(folder.path().join(PRECISION_FILE), r#"{"f32_layers": [4]}"#).expect("a write");
    let refused = vectors(folder.path(), Precision::Int8).expect_err("a layer too many").to_string();
    assert!(refused.contains("membox.json") && refused.contains("layer 4"), "{refused}");
}
