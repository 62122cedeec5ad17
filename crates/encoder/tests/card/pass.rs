//! The forward pass as a whole.

use crate::small::{
    F16_ERROR, VectorsOfBoth, apart, as_cross_encoder, as_xlm_roberta, computed, encode, everything, load_with, model,
    sequences,
};
use membox_encoder::{Device, Inputs, Lane, Precision, Request, TokenPair, Wanted};
use membox_software_card::faults::counts;
use membox_software_card::on_card;

#[test]
fn a_batch_of_every_length_is_what_the_cpu_computes_in_f32() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        both.agree(&[1, 2, 15, 16, 17, 63, 64, 65, 130, 512]);
        assert!(both.is_on_card(&[3; 40]));
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn the_second_pass_of_a_size_is_recorded_and_played_back_from_then_on() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        let graphs = || counts()[2];
        let played = |lengths: &[usize]| {
            let (before, input, vectors) = (graphs(), sequences(lengths), Wanted::vectors(true));
            let wanted = encode(&both.cpu, input.clone(), vectors).expect("a vector");
            assert!(apart(&wanted, &encode(&both.card, input, vectors).expect("a vector")) < F16_ERROR, "{lengths:?}");
            graphs() - before
        };
        for lengths in [&[1][..], &[20], &[64], &[30, 40, 7], &[512, 64, 65]] {
            assert_eq!([played(lengths), played(lengths), played(lengths)], [0, 1, 1], "{lengths:?}");
        }
        assert_eq!([played(&[5]), played(&[32, 38, 6])], [1, 1], "others that are rounded up to the same sizes");
        // Larger batches move the memory, so what was recorded is recorded anew.
        both.agree(&[512; 5]);
        assert_eq!([played(&[20]), played(&[20]), played(&[20])], [0, 1, 1]);
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn what_wants_attention_goes_by_the_cpu() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        let wanted = Wanted { attention: true, ..Wanted::vectors(true) };
        let before = counts()[1];
        let of = |encoder| encode(encoder, sequences(&[9]), wanted).expect("attention");
        assert_eq!(of(&both.cpu).attention, of(&both.card).attention);
        assert_eq!(counts()[1], before);
    });
}

#[test]
fn texts_of_both_lanes_come_from_the_card_at_the_same_time() {
    on_card!("", || {
        let both = VectorsOfBoth::new();
        let texts = vec!["one two one".to_owned(), "two".to_owned()];
        let ask = |encoder: &membox_encoder::Encoder, lane| {
            let request =
                Request { inputs: Inputs::Texts(texts.clone()), max_tokens: 64, wanted: Wanted::vectors(true), lane };
            encoder.encode(request).expect("vectors")
        };
        let wanted = ask(&both.cpu, Lane::Bulk);
        std::thread::scope(|scope| {
            for lane in [Lane::Bulk, Lane::Interactive, Lane::Bulk, Lane::Interactive] {
                let (ask, both, wanted) = (&ask, &both, &wanted);
                scope.spawn(move || (0..5).for_each(|_| assert!(apart(&ask(&both.card, lane), wanted) < F16_ERROR)));
            }
        });
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn a_model_of_xlm_robertas_family_with_llmlinguas_classifier_is_what_the_cpu_computes() {
    on_card!("", || {
        let folder = model();
        as_xlm_roberta(folder.path());
        let of = |device| load_with(folder.path(), device, Precision::F32, 1, None).expect("an encoder");
        let (cpu, card) = (of(Device::Cpu), of(Device::Cuda(0)));
        let inputs = sequences(&[1, 17, 64, 65, 510]);
        let [wanted, got] = [&cpu, &card].map(|encoder| encode(encoder, inputs.clone(), everything()).expect("all"));
        assert_eq!(got.keep.iter().map(Vec::len).collect::<Vec<_>>(), [1, 17, 64, 65, 510]);
        assert!(apart(&wanted, &got) < F16_ERROR);
    });
}

#[test]
fn pairs_get_the_numbers_of_the_cpu() {
    on_card!("", || {
        let folder = model();
        as_cross_encoder(folder.path());
        let of = |device| load_with(folder.path(), device, Precision::F32, 1, None).expect("an encoder");
        let (cpu, card) = (of(Device::Cpu), of(Device::Cuda(0)));
        assert!(card.engine().name().starts_with("cuda"), "{}", card.engine().name());
        // The longest pair has rows of the second half of the positions up to the last one.
        let pairs = [3, 20, 1, 60].into_iter().zip(sequences(&[5, 65, 512, 64]));
        let pairs: Vec<TokenPair> = pairs.map(|(second, ids)| TokenPair { ids, second }).collect();
        let scores = |encoder: &membox_encoder::Encoder| {
            let inputs = Inputs::Pairs(pairs.clone());
            let request = Request { inputs, max_tokens: 512, wanted: Wanted::vectors(false), lane: Lane::Bulk };
            encoder.encode(request).expect("numbers").vectors
        };
        let before = counts()[1];
        let (wanted, got) = (scores(&cpu), scores(&card));
        assert!(counts()[1] > before, "the card computes");
        let far = wanted.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(wanted.len() == 4 && far < 0.02, "{wanted:?}, {got:?}");
    });
}

#[test]
fn vectors_that_are_no_means_are_pooled_from_the_states_of_the_card() {
    on_card!("", || {
        for mode in ["cls", "max", "lasttoken"] {
            let folder = model();
            std::fs::create_dir(folder.path().join("1_Pooling")).expect("a folder");
            let [transformer, pooling] =
                ["Transformer", "Pooling"].map(|name| format!("sentence_transformers.models.{name}"));
            let modules = format!(r#"[{{"type": "{transformer}"}}, {{"type": "{pooling}", "path": "1_Pooling"}}]"#);
            std::fs::write(folder.path().join("modules.json"), modules).expect("a file");
            let pooling = format!("{{\"pooling_mode\": \"{mode}\"}}");
            std::fs::write(folder.path().join("1_Pooling/config.json"), pooling).expect("a file");
            let of = |device| load_with(folder.path(), device, Precision::F32, 1, None).expect("an encoder");
            let (cpu, card) = (of(Device::Cpu), of(Device::Cuda(0)));
            let inputs = sequences(&[1, 17, 64, 65, 510]);
            for states in [false, true] {
                let (before, wanted) = (computed(), Wanted { states, ..Wanted::vectors(true) });
                let [wanted, got] = [&cpu, &card].map(|e| encode(e, inputs.clone(), wanted).expect("vectors"));
                assert!(apart(&wanted, &got) < F16_ERROR, "{mode}");
                assert!(computed() > before, "{mode}: by the card");
            }
        }
    });
}

#[test]
fn several_workers_share_a_card_and_several_cards_share_the_work() {
    on_card!("cards=2", || {
        let folder = model();
        let cpu = load_with(folder.path(), Device::Cpu, Precision::F32, 1, None).expect("the CPU");
        let card = load_with(folder.path(), Device::Auto, Precision::F32, 4, None).expect("cards");
        let vectors = Wanted::vectors(true);
        std::thread::scope(|scope| {
            for length in 1..=4 {
                let (cpu, card) = (&cpu, &card);
                scope.spawn(move || {
                    let inputs = sequences(&vec![length * 9; 30]);
                    let wanted = encode(cpu, inputs.clone(), vectors).expect("vectors");
                    for _ in 0..3 {
                        assert!(apart(&wanted, &encode(card, inputs.clone(), vectors).expect("vectors")) < F16_ERROR);
                    }
                });
            }
        });
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}
