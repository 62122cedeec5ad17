//! What every engine does: a packed batch of token ids in; one vector a sequence, one keep probability a token out.

use crate::{Architecture, TokenWeight};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Sequences of token ids end to end, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedBatch {
    ids: Vec<u32>,
    positions: Vec<u32>,
    offsets: Vec<u32>,
}

impl PackedBatch {
    /// An empty batch; memory grows with use and stays.
    pub fn new() -> Self {
        Self { ids: Vec::new(), positions: Vec::new(), offsets: vec![0] }
    }

    /// Appends a sequence.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.positions.extend(0..ids.len() as u32);
        self.offsets.push(self.ids.len() as u32);
    }

    /// Appends a sequence of two texts, of which the second begins at a token: in the table of positions its rows are
    /// `segment` further on.
    pub fn push_pair(&mut self, ids: &[u32], second: usize, segment: u32) {
        self.push(ids);
        let first = self.positions.len() - ids.len();
        self.positions[first..].iter_mut().skip(second).for_each(|position| *position += segment);
    }

    /// Forgets the sequences and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.positions.clear();
        self.offsets.truncate(1);
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Sum of the squares of the sequences' lengths.
    pub fn squares(&self) -> usize {
        self.offsets.windows(2).map(|bounds| ((bounds[1] - bounds[0]) as usize).pow(2)).sum()
    }

    /// Token ids of all sequences.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Position of each token in its sequence, as a row of the table of positions.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Sequence s is `ids[offsets[s]..offsets[s + 1]]`.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}

/// The arithmetic of an engine's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout: cosine ≥ 0.9999 to the reference.
    F32,
    /// Weights i8 per column, activations u8 per token, everything else f32: mean cosine ≥ 0.995.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("{text:?} is no precision: f32 or int8")),
        }
    }
}

/// What a model is to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// Every GPU that there is and that proves itself; else the CPU, and the reason is said.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of a number; it is an error if it cannot be used.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(ordinal))) => Ok(Self::Cuda(ordinal)),
            _ => Err(format!("{text:?} is no device: auto, cpu or cuda:N")),
        }
    }
}

/// A model on a device.
pub trait Engine: Send + Sync {
    /// For logs and `/info`, such as `cpu avx512-vnni int8`.
    fn name(&self) -> String;

    /// Width of a vector.
    fn dimension(&self) -> usize;

    /// Longest sequence, in tokens.
    fn max_sequence(&self) -> usize;

    /// Token ids are below this.
    fn vocabulary(&self) -> usize;

    /// The parts of the model, where it is one of those that are loaded from a folder.
    fn architecture(&self) -> Option<&Architecture> {
        None
    }

    /// Whether it can say how likely a token is to be kept.
    fn has_keep_head(&self) -> bool;

    /// Numbers of a sparse vector, of a model that makes them.
    fn sparse_width(&self) -> Option<usize> {
        None
    }

    /// Tokens of a batch that it is fastest with, where that is another number than the scheduler's.
    fn batch_tokens(&self) -> Option<usize> {
        None
    }

    /// Whether something else computes than what it was set up on, since that is lost.
    fn is_degraded(&self) -> bool {
        false
    }

    /// Working memory of one thread, reused from batch to batch.
    fn session(self: Arc<Self>) -> Box<dyn Session>;

    /// One whose work goes before that of others, where a device has such.
    fn urgent_session(self: Arc<Self>) -> Box<dyn Session>;
}

/// What a pass is to give: all that is asked for comes from one pass.
#[derive(Default)]
pub struct Outputs<'a> {
    /// `[sequences, dimension]`: what pooling makes of each sequence's token states.
    pub vectors: Option<&'a mut [f32]>,
    /// Whether vectors get unit length.
    pub normalize: bool,
    /// `[tokens]`: how likely each token is to be kept. Only where [`Engine::has_keep_head`].
    pub keep: Option<&'a mut [f32]>,
    /// `[tokens, dimension]`: the states of the last layer.
    pub states: Option<&'a mut [f32]>,
    /// `[length, length]` of each sequence: the attention that each token pays to each, the mean over all heads of
    /// the layers 8 to 11, or of the last third of a model's that has fewer than twelve; LightMem cuts topics by it.
    pub attention: Option<&'a mut [f32]>,
    /// `[sequences]`: the numbers of each sparse vector that are not 0. Only where [`Engine::sparse_width`].
    pub sparse: Option<&'a mut [Vec<TokenWeight>]>,
}

/// One thread's use of an engine.
pub trait Session: Send {
    /// Encodes `batch` into `outputs`. Calls `pause` now and then (a few times a layer), so that more urgent work
    /// need not wait for the whole batch. `helpers` further threads may be used for it: as many cores are idle.
    fn run(&mut self, batch: &PackedBatch, outputs: Outputs<'_>, helpers: usize, pause: &mut (dyn FnMut() + Send));
}
