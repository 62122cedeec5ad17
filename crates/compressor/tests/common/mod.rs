//! The small models of the fixtures.
#![allow(dead_code)]

use membox_compressor::Compressor;
use membox_encoder::{EncoderConfig, Precision, Scheduler, SchedulerConfig};
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
