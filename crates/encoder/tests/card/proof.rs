//! What a card must show before it is taken.

use crate::small::{VectorsOfBoth, apart, encode, everything, load, model, sequences};
use candle_core::{Device as CandleDevice, Tensor};
use membox_encoder::{Device, Precision, Wanted};
use membox_software_card::faults::set;
use membox_software_card::on_card;
use std::path::Path;

#[test]
fn a_card_that_computes_wrong_is_not_taken_and_the_reason_is_said() {
    on_card!("wrong_card=0", || {
        let folder = model();
        let encoder = load(folder.path(), Device::Auto, Precision::Int8, 1).expect("the CPU");
        let why = encoder.why_not_cuda().expect("a reason");
        assert!(why.starts_with("the card failed its proof: a cosine of"), "{why}");
        assert!(load(folder.path(), Device::Cuda(0), Precision::Int8, 1).is_err());
        // It is the card and not the model: once it computes right it is taken.
        set("wrong_card=none");
        assert!(load(folder.path(), Device::Cuda(0), Precision::Int8, 1).is_ok());
    });
}

#[test]
fn of_several_cards_the_one_that_computes_wrong_is_left_out() {
    on_card!("cards=2 wrong_card=0", || {
        let both = VectorsOfBoth::new();
        assert_eq!(both.card.engine().name(), "cuda Software Card 1 f16");
        assert!(both.is_on_card(&[3, 40, 7]));
        assert!(!both.card.engine().is_degraded(), "it never was one of the cards");
    });
}

#[test]
fn of_several_cards_the_one_that_has_no_room_is_left_out() {
    on_card!("cards=2 memory=1000,1000000000", || {
        let both = VectorsOfBoth::new();
        assert_eq!(both.card.engine().name(), "cuda Software Card 1 f16");
    });
}

/// Makes the weights of one input of each feed-forward layer large, and that input small: the bytes of int8 are spent
/// on it, and f16 does not mind.
fn spread(folder: &Path) {
    let path = folder.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &CandleDevice::Cpu).expect("a model");
    let mut scale = |name: String, factor: &dyn Fn(usize) -> f32| {
        let tensor = &tensors[&name];
        let values: Vec<f32> = tensor.flatten_all().and_then(|t| t.to_vec1()).expect("numbers");
        let values: Vec<f32> = values.iter().enumerate().map(|(i, x)| x * factor(i)).collect();
        let scaled = Tensor::from_vec(values, tensor.shape(), &CandleDevice::Cpu).expect("a tensor");
        tensors.insert(name, scaled);
    };
    let first = |factor: f32| move |i: usize| if i.is_multiple_of(64) { factor } else { 1.0 };
    for layer in (0..2).map(|layer| format!("encoder.layer.{layer}")) {
        scale(format!("{layer}.attention.output.LayerNorm.weight"), &first(0.001));
        scale(format!("{layer}.attention.output.LayerNorm.bias"), &first(0.001));
        scale(format!("{layer}.intermediate.dense.weight"), &first(300.0));
    }
    candle_core::safetensors::save(&tensors, &path).expect("a write");
}

#[test]
fn a_card_is_held_against_f32_and_not_against_what_int8_makes_of_it() {
    on_card!("", || {
        let folder = model();
        spread(folder.path());
        let [f32, int8] =
            [Precision::F32, Precision::Int8].map(|p| load(folder.path(), Device::Cpu, p, 1).expect("CPU"));
        let vectors = |encoder| encode(encoder, sequences(&[17, 64]), Wanted::vectors(true)).expect("vectors").vectors;
        let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).take(64).map(|(a, b)| a * b).sum::<f32>();
        let of_int8 = cosine(&vectors(&f32), &vectors(&int8));
        assert!(of_int8 < 0.985, "int8 loses much of this model: {of_int8}");
        let card = load(folder.path(), Device::Cuda(0), Precision::Int8, 1).expect("a card that is right");
        assert!(cosine(&vectors(&f32), &vectors(&card)) > 0.999);
    });
}

#[test]
fn keep_probabilities_are_part_of_the_proof() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        let of = |encoder| encode(encoder, sequences(&[30]), everything()).expect("keep probabilities");
        assert!(apart(&of(&both.cpu), &of(&both.card)) < 0.03);
        drop(both);
        // The head's layer is the one product of 32 numbers a token.
        set("wrong_outputs=32");
        let folder = model();
        let encoder = load(folder.path(), Device::Auto, Precision::Int8, 1).expect("the CPU");
        let why = encoder.why_not_cuda().expect("a reason");
        assert!(why.starts_with("the card failed its proof: a keep probability is"), "{why}");
    });
}
