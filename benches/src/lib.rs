//! What the benches share: where the model is, and vectors and texts that are the same in every run.
//!
//! `cargo bench -p membox-benches` runs them; `make bench` runs them with the peers beside them and writes
//! `benches/results`.

use std::path::{Path, PathBuf};

/// That of `membox` itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where `make model` installs the real MiniLM.
///
/// # Panics
/// When it is not there.
pub fn model() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/all-MiniLM-L6-v2");
    assert!(folder.join("model.safetensors").exists(), "run `make model` first");
    folder
}

/// Unit vectors around centres, as those of real text are; the same for the same count.
pub fn vectors(count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let centres: Vec<Vec<f32>> = (0..500).map(|_| (0..dimension).map(|_| next()).collect()).collect();
    let blend = |i: usize, next: &mut dyn FnMut() -> f32| {
        let v: Vec<f32> = centres[i % centres.len()].iter().map(|c| c + 0.7 * next()).collect();
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.into_iter().map(|x| x / length).collect()
    };
    (0..count).map(|i| blend(i, &mut next)).collect()
}

/// A text of so many words.
pub fn text(seed: usize, words: usize) -> String {
    const WORDS: [&str; 16] = [
        "we", "talked", "about", "the", "garden", "and", "Lena", "will", "bring", "tomatoes", "on", "Sunday", "if",
        "train", "is", "late",
    ];
    (0..words).map(|i| WORDS[(seed * 7 + i * 5 + i * i) % WORDS.len()]).collect::<Vec<_>>().join(" ")
}
