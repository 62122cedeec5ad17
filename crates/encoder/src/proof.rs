//! What a GPU proves itself by, before it is taken: a fixed set of sequences, as the CPU computes them in f32.

use crate::TokenWeight;
use crate::cpu::CpuEngine;
use crate::cuda::{BATCH_TOKENS, run_on_gpu};
use crate::engine::{Engine, Outputs, PackedBatch, Precision};
use crate::pooling::{Pooling, to_unit_length};
use crate::room::Room;
use crate::splade::{SparseHead, SpladePooling};
use crate::weights::EncoderWeights;
use half::f16;
use membox_cuda::{Model, Pass};
use std::sync::Arc;

/// Lengths of the sequences.
const PROOF: [usize; 6] = [1, 5, 17, 64, 65, 200];
/// Least cosine of a GPU's vector to that of the CPU in f32: f16 is closer by an order of magnitude.
const LEAST_COSINE: f32 = 0.999;
/// How far a keep probability may be from that of the CPU in f32.
const MAX_KEEP_ERROR: f32 = 0.05;

/// What the CPU computes in f32 of a fixed set of sequences.
pub(crate) struct Proof {
    batch: PackedBatch,
    width: usize,
    vectors: Vec<f32>,
    /// None where the model has no keep head.
    keep: Vec<f32>,
    /// None where the model makes no sparse vectors.
    sparse: Vec<Vec<TokenWeight>>,
    pooling: Option<SpladePooling>,
    vocabulary: usize,
}

impl Proof {
    pub fn new(weights: &EncoderWeights) -> Self {
        // The card gives means; other poolings are of its states.
        let weights = weights.clone().with_pooling(Pooling::Mean);
        let cpu = Arc::new(CpuEngine::new(weights, Precision::F32));
        let (mut batch, mut id, width) = (PackedBatch::new(), 7usize, cpu.dimension());
        for length in PROOF.map(|length| length.min(cpu.max_sequence())) {
            let next = |_| {
                id = (id * 7919 + 104_729) % cpu.vocabulary();
                id as u32
            };
            batch.push(&(0..length).map(next).collect::<Vec<u32>>());
        }
        let mut vectors = vec![0.0; batch.sequences() * width];
        let mut keep = vec![0.0; if cpu.has_keep_head() { batch.tokens() } else { 0 }];
        let pooling = cpu.sparse().map(SparseHead::pooling);
        let mut sparse = vec![Vec::new(); if pooling.is_some() { batch.sequences() } else { 0 }];
        let outputs = outputs(&mut vectors, &mut keep, &mut sparse);
        cpu.clone().session().run(&batch, outputs, 0, &mut || ());
        Self { batch, width, vectors, keep, sparse, pooling, vocabulary: cpu.vocabulary() }
    }

    /// Encodes the sequences on a GPU, together, and each alone, as a query comes; says what does not agree.
    pub fn check(&self, model: &Arc<Model<f16>>) -> Result<(), String> {
        let mut pass = Pass::new(model, false).map_err(|error| error.to_string())?;
        let room = Room::new(BATCH_TOKENS);
        let (mut vectors, mut keep) = (vec![0.0; self.vectors.len()], vec![0.0; self.keep.len()]);
        let all = 0..self.batch.sequences();
        let mut sparse = vec![Vec::new(); self.sparse.len()];
        run_on_gpu(&mut pass, &room, &self.batch, all.clone(), outputs(&mut vectors, &mut keep, &mut sparse))
            .map_err(|error| error.to_string())?;
        compare(&vectors, &self.vectors, self.width)?;
        compare_keep(&keep, &self.keep)?;
        self.compare_sparse(&mut sparse, 0)?;
        // The second time is from a recording.
        for sequence in all.flat_map(|sequence| [sequence; 2]) {
            let mut alone = vec![0.0; self.width];
            sparse.truncate(1);
            let outputs = outputs(&mut alone, &mut [], &mut sparse);
            run_on_gpu(&mut pass, &room, &self.batch, sequence..sequence + 1, outputs)
                .map_err(|error| error.to_string())?;
            self.compare_sparse(&mut sparse, sequence)?;
            compare(&alone, &self.vectors[sequence * self.width..(sequence + 1) * self.width], self.width)?;
        }
        Ok(())
    }

    /// Makes sparse vectors of the largest logits of sequences from the first of these on, and compares them.
    fn compare_sparse(&self, got: &mut [Vec<TokenWeight>], first: usize) -> Result<(), String> {
        let Some(pooling) = self.pooling else { return Ok(()) };
        pooling.apply(got);
        for (got, wanted) in got.iter().zip(&self.sparse[first..]) {
            let both = [got, wanted].map(|vector| self.whole(vector));
            if !wanted.is_empty() || !got.is_empty() {
                compare(&both[0], &both[1], both[0].len())?;
            }
        }
        Ok(())
    }

    /// A sparse vector with its noughts, at unit length.
    fn whole(&self, vector: &[TokenWeight]) -> Vec<f32> {
        let mut all = vec![0.0; self.vocabulary];
        vector.iter().for_each(|one| all[one.id as usize] = one.weight);
        to_unit_length(&mut all);
        all
    }
}

fn outputs<'a>(vectors: &'a mut [f32], keep: &'a mut [f32], sparse: &'a mut [Vec<TokenWeight>]) -> Outputs<'a> {
    let (keep, sparse) = ((!keep.is_empty()).then_some(keep), (!sparse.is_empty()).then_some(sparse));
    Outputs { vectors: Some(vectors), normalize: true, keep, sparse, ..Outputs::default() }
}

fn compare(got: &[f32], wanted: &[f32], width: usize) -> Result<(), String> {
    for (got, wanted) in got.chunks(width).zip(wanted.chunks(width)) {
        let cosine: f32 = got.iter().zip(wanted).map(|(a, b)| a * b).sum();
        if cosine.is_nan() || cosine < LEAST_COSINE {
            return Err(format!(
                "the card failed its proof: a cosine of {cosine} to the CPU's vector in f32, not {LEAST_COSINE}"
            ));
        }
    }
    Ok(())
}

fn compare_keep(got: &[f32], wanted: &[f32]) -> Result<(), String> {
    let far = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).find(|far| far.is_nan() || *far > MAX_KEEP_ERROR);
    far.map_or(Ok(()), |far| {
        Err(format!(
            "the card failed its proof: a keep probability is {far} from the CPU's in f32, not {MAX_KEEP_ERROR} at most"
        ))
    })
}
