//! The small models of the fixtures.

use membox_compressor::Compressor;
use membox_encoder::{Encoder, EncoderConfig, KeepHead, Precision, Scheduler, SchedulerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn compressor(model: &str, precision: Precision) -> Compressor {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let config = EncoderConfig { precision, ..EncoderConfig::default() };
    Compressor::load(model, &fixtures().join(model), config, &scheduler).expect("a model")
}

/// The built-in keep head over the real MiniLM, which `make model` installs. It is part of the tests: without it they
/// fail.
pub fn keep_head() -> Compressor {
    let head = membox_compressor::keep_head::built_in(MINILM).expect("a head");
    Compressor::over(minilm(head)).expect("a compressor")
}

/// MiniLM, which has no head yet.
pub fn untrained() -> Compressor {
    Compressor::untrained(minilm(None)).expect("a student")
}

const MINILM: &str = "all-MiniLM-L6-v2";

fn minilm(keep_head: Option<KeepHead>) -> Arc<Encoder> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models").join(MINILM);
    let folder = std::env::var_os("MEMBOX_TEST_MODEL").map_or(default, PathBuf::from);
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let config = EncoderConfig { keep_head, ..EncoderConfig::default() };
    Arc::new(Encoder::load(MINILM, &folder, config, &scheduler).expect("run `make model` first"))
}
