//! Texts that look real: random walks over the pairs of words of a corpus, so that frequencies and neighbours of
//! words are its own.

use crate::{COLLECTION, TENANT, percentile, print};
use membox_memory::{MemoryBox, RecallMode, RecallRequest};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// A corpus of lines.
pub struct Corpus {
    lines: Vec<Vec<String>>,
    /// For each word, where in the corpus it stands.
    places: HashMap<String, Vec<(u32, u32)>>,
}

/// The next number of a sequence that a seed begins.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)) as usize >> 1
}

impl Corpus {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let lines: Vec<Vec<String>> = text
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|words| words.len() > 3)
            .collect();
        let mut places: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        for (l, line) in lines.iter().enumerate() {
            for (w, word) in line.iter().enumerate() {
                places.entry(word.clone()).or_default().push((l as u32, w as u32));
            }
        }
        Self { lines, places }
    }

    /// A text that is the same for the same seed.
    pub fn text(&self, seed: u64) -> String {
        let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let length = self.lines[next(&mut state) % self.lines.len()].len();
        let mut word = &self.lines[next(&mut state) % self.lines.len()][0];
        let mut words = vec![word.as_str()];
        while words.len() < length {
            let places = &self.places[word];
            let (line, place) = places[next(&mut state) % places.len()];
            word = match self.lines[line as usize].get(place as usize + 1) {
                Some(following) => following,
                None => &self.lines[next(&mut state) % self.lines.len()][0],
            };
            words.push(word);
        }
        words.join(" ")
    }

    /// A question: some words in a row of a real line.
    fn question(&self, seed: u64) -> String {
        let mut state = seed;
        let line = &self.lines[next(&mut state) % self.lines.len()];
        let length = 5 + next(&mut state) % 8;
        let first = next(&mut state) % line.len().saturating_sub(length).max(1);
        line[first..(first + length).min(line.len())].join(" ")
    }
}

/// Recall by text questions, from the words to the answer, one after the other: tokenize, embed, search, score, fetch.
pub fn recall(memory: &MemoryBox, corpus: &Corpus) {
    for mode in [RecallMode::Vector, RecallMode::Text, RecallMode::Hybrid] {
        let mut times = Vec::new();
        for seed in 0..400 {
            // Each question is asked once: none is remembered.
            let query = Some(corpus.question(seed * 3 + mode as u64));
            let request = RecallRequest { query, mode: Some(mode), ..RecallRequest::default() };
            let begun = Instant::now();
            memory.recall(TENANT, COLLECTION, &request).expect("an answer");
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        print(json!({"measure": "text questions", "mode": format!("{mode:?}"), "p50_ms": percentile(&mut times, 0.5),
            "p99_ms": percentile(&mut times, 0.99)}));
    }
}
