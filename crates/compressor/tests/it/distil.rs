//! `distil` trains heads that learn what their teachers say, and an interrupted run ends as an uninterrupted one.

use crate::common::{compressor, keep_head, untrained};
use membox_compressor::distil::{DistilConfig, Stage, distil, texts_for_training};
use membox_compressor::{CompressOptions, Compressor};
use membox_encoder::{Encoder, EncoderConfig, KeepHead, Lane, Precision, Scheduler, SchedulerConfig};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

fn texts(config: &DistilConfig) -> Vec<String> {
    let names = ["Caroline", "Joseph", "Melanie", "Wang", "Okafor", "Ines"];
    let things =
        ["the red bicycle", "a letter from Lisbon", "three tickets", "the budget for May", "my grandmother's clock"];
    let lines = (0..80).map(|i| {
        format!(
            "Well, I think that {} said on day {} that we should really bring {} to the meeting.",
            names[i % 6],
            i * 3,
            things[i % 5]
        )
    });
    texts_for_training(lines, config)
}

fn run(
    student: &Compressor,
    teacher: Option<&Compressor>,
    config: &DistilConfig,
    work: &std::path::Path,
    stop: Option<(Stage, usize)>,
) -> Option<Vec<u8>> {
    let out = work.join("head.safetensors");
    let mut progress = |stage, done, _| assert!(stop.is_none_or(|stop| stop != (stage, done)), "interrupted");
    let train = || distil(student, teacher, &texts(config), config, work, &out, &mut progress);
    let report = catch_unwind(AssertUnwindSafe(train)).ok()?.expect("a report");
    assert!(report.loss.1 < report.loss.0 && report.tokens > 1000, "{report:?}");
    assert!(report.agreement > 0.6, "{report:?}");
    Some(std::fs::read(out).expect("a head"))
}

#[test]
fn an_interrupted_run_ends_as_an_uninterrupted_one() {
    let student = untrained();
    let config = DistilConfig { width: 32, epochs: 3, learning_rate: 3e-3, ..DistilConfig::default() };
    let (straight, broken) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let want = run(&student, None, &config, straight.path(), None).expect("a head");
    assert!(run(&student, None, &config, broken.path(), Some((Stage::Teach, 48))).is_none());
    // As a kill in the middle of a line would leave it.
    let targets = broken.path().join("targets.jsonl");
    let taught = std::fs::read(&targets).expect("what was taught");
    std::fs::write(&targets, &taught[..taught.len() - 9]).expect("a write");
    assert!(run(&student, None, &config, broken.path(), Some((Stage::Train, 9))).is_none());
    let got = run(&student, None, &config, broken.path(), None).expect("a head");
    let weights = |bytes: &[u8]| KeepHead::from_safetensors(bytes).expect("a head");
    assert!(weights(&got) == weights(&want), "the same head");
    let other = DistilConfig { frequency: 0.0, ..config };
    let got = run(&student, None, &other, broken.path(), None).expect("a head");
    assert!(weights(&got) != weights(&want), "checkpoints of another configuration are not taken");
}

#[test]
fn a_head_learns_from_an_llmlingua_2_model_and_compresses() {
    let (student, teacher) = (keep_head(), compressor("bert-base-multilingual-cased-tiny", Precision::F32));
    let config = DistilConfig { width: 32, epochs: 2, model: 3.0, ..DistilConfig::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let head = run(&student, Some(&teacher), &config, folder.path(), None).expect("a head");
    let model = std::env::var_os("MEMBOX_TEST_MODEL").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/models/all-MiniLM-L6-v2").into(),
        std::path::PathBuf::from,
    );
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let with_head = EncoderConfig {
        keep_head: Some(KeepHead::from_safetensors(&head).expect("a head")),
        ..EncoderConfig::default()
    };
    let encoder = Encoder::load("all-MiniLM-L6-v2", &model, with_head, &scheduler).expect("a model");
    let trained = Compressor::over(Arc::new(encoder)).expect("a compressor");
    let text = texts(&config)[0].clone();
    let answer = trained.compress(&[text], &CompressOptions::default(), Lane::Bulk).expect("an answer");
    assert!(answer.compressed_tokens < answer.origin_tokens);
}
