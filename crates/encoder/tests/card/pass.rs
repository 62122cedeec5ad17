//! The forward pass as a whole.

use crate::small::{apart, encode, everything, load, model, sequences};
use membox_encoder::{Device, Precision, Wanted};
use membox_software_card::faults::counts;
use membox_software_card::on_card;

/// f16 has 11 bits; states are of size 3 or so.
const F16_ERROR: f32 = 0.03;

#[test]
fn a_batch_of_every_length_is_what_the_cpu_computes_in_f32() {
    on_card!("driver=13050", || {
        let folder = model();
        let cpu = load(folder.path(), Device::Cpu, Precision::F32, 1).expect("the CPU");
        let card = load(folder.path(), Device::Cuda(0), Precision::Int8, 1).expect("a card");
        assert_eq!(card.engine().name(), "cuda Software Card 0 f16");
        let lengths = [1, 2, 15, 16, 17, 63, 64, 65, 130, 512];
        let inputs = sequences(&lengths);
        let (wanted, got) = (encode(&cpu, inputs.clone(), everything()), encode(&card, inputs, everything()));
        let far = apart(&wanted.expect("states"), &got.expect("states"));
        println!("apart by {far}");
        assert!(far < F16_ERROR, "{far}");
        // Each alone, from a graph, twice.
        let before = counts();
        for input in sequences(&[1, 5, 64]) {
            let vectors = Wanted::vectors(true);
            let wanted = encode(&cpu, vec![input.clone()], vectors).expect("a vector");
            for _ in 0..2 {
                assert!(apart(&wanted, &encode(&card, vec![input.clone()], vectors).expect("a vector")) < F16_ERROR);
            }
        }
        let [_, _, graphs, _, complaints] = counts();
        assert_eq!((graphs - before[2], complaints), (6, 0));
    });
}
