//! Exact recall over vectors that stay on a GPU.

use crate::CudaError;
use crate::gpu::Gpu;
use crate::launch::{self, Selection};
use crate::number::Half;
use crate::source::load;
use cudarc::driver::{CudaFunction, CudaModule, CudaSlice, CudaStream, CudaView};
use std::path::Path;
use std::sync::Arc;

/// Questions that share one reading of the rows: AT_ONCE of recall.cu.
const AT_ONCE: usize = 4;
/// Blocks a multiprocessor is given, so that it always has some that do not wait for memory.
const BLOCKS_A_PROCESSOR: usize = 16;
/// Digits of a key: 64 bits, 8 at a time.
const DIGITS: usize = 8;
/// Where the first of them begins.
const HIGHEST_DIGIT: u32 = 56;
/// What a row that is not allowed scores: MINUS_INFINITY of recall.cu.
const NOT_ALLOWED: f32 = -3.0e38;

struct Functions {
    score_one: CudaFunction,
    score_many: CudaFunction,
    selection: SelectFunctions,
}

/// Rows of 16-bit numbers on a GPU, to be searched exactly.
pub struct ResidentRows {
    gpu: Gpu,
    stream: Arc<CudaStream>,
    functions: Functions,
    dimension: usize,
    count: usize,
    rows: CudaSlice<u16>,
    scores: CudaSlice<f32>,
    processors: usize,
}

/// A row and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Its number.
    pub row: u32,
    /// Its inner product with the question, summed in f32 in an order of the GPU's: score again exactly what comes
    /// close to the last place.
    pub score: f32,
}

impl ResidentRows {
    /// Makes room for `capacity` rows of f16.
    pub fn new(gpu: &Gpu, dimension: usize, capacity: usize, cache: Option<&Path>) -> Result<Self, CudaError> {
        if dimension == 0 || !dimension.is_multiple_of(4) {
            return Err(CudaError::Shape(format!("vectors of {dimension} numbers: the kernels know multiples of 4")));
        }
        let one = load(gpu, "recall", Half::F16, &[("DIMENSION", dimension)], cache)?;
        let many = load(gpu, "recall", Half::F16, &[("DIMENSION", dimension), ("AT_ONCE", AT_ONCE)], cache)?;
        let functions = Functions {
            score_one: one.load_function("score_rows")?,
            score_many: many.load_function("score_rows")?,
            selection: SelectFunctions::of(&one)?,
        };
        let processors = gpu.processors()?;
        let stream = gpu.context.new_stream()?;
        let capacity = capacity.max(1);
        let (rows, scores) = (stream.alloc_zeros(capacity * dimension)?, stream.alloc_zeros(capacity * AT_ONCE)?);
        Ok(Self { gpu: gpu.clone(), stream, functions, dimension, count: 0, rows, scores, processors })
    }

    /// The GPU that they are on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Rows that are there.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the GPU's memory that so many rows take.
    pub fn bytes(dimension: usize, rows: usize) -> usize {
        rows * (dimension * 2 + AT_ONCE * 4)
    }

    /// Appends rows of f16, one after the other, as far as there is room; what does not fit is an error and nothing
    /// is appended.
    pub fn append(&mut self, rows: &[u16]) -> Result<(), CudaError> {
        assert!(rows.len().is_multiple_of(self.dimension), "rows of the collection's dimension");
        let from = self.count * self.dimension;
        if from + rows.len() > self.rows.len() {
            return Err(CudaError::OutOfMemory);
        }
        self.stream.memcpy_htod(rows, &mut self.rows.slice_mut(from..from + rows.len()))?;
        self.stream.synchronize()?;
        self.count += rows.len() / self.dimension;
        Ok(())
    }

    /// The `k` nearest of each question, best first, of those whose bit is set in `allowed` (bit i % 32 of word i /
    /// 32).
    pub fn search(
        &mut self,
        queries: &[f32],
        k: usize,
        allowed: Option<&[u32]>,
    ) -> Result<Vec<Vec<Scored>>, CudaError> {
        assert!(queries.len().is_multiple_of(self.dimension), "questions of the collection's dimension");
        assert!(allowed.is_none_or(|bits| bits.len() >= self.count.div_ceil(32)), "a bit for each row");
        let k = k.min(self.count);
        let mut found = Vec::with_capacity(queries.len() / self.dimension);
        if k == 0 {
            return Ok(vec![Vec::new(); queries.len() / self.dimension]);
        }
        let allowed = allowed.map(|bits| self.stream.clone_htod(bits)).transpose()?;
        let mut queries = queries;
        while !queries.is_empty() {
            let at_once = if queries.len() >= AT_ONCE * self.dimension { AT_ONCE } else { 1 };
            let (now, later) = queries.split_at(at_once * self.dimension);
            queries = later;
            self.score(now, at_once, allowed.as_ref())?;
            for n in 0..at_once {
                found.push(self.select(n, k)?);
            }
        }
        Ok(found)
    }

    fn blocks(&self, threads: usize) -> usize {
        self.count.div_ceil(threads).min(self.processors * BLOCKS_A_PROCESSOR)
    }

    fn score(&mut self, queries: &[f32], at_once: usize, allowed: Option<&CudaSlice<u32>>) -> Result<(), CudaError> {
        let queries = self.stream.clone_htod(queries)?;
        let function = if at_once == 1 { &self.functions.score_one } else { &self.functions.score_many };
        let size = (self.count, self.blocks(128));
        launch::score_rows(&self.stream, function, &self.rows, (&queries, at_once), allowed, &mut self.scores, size)
    }

    /// The best of the scores of question `n`.
    fn select(&self, n: usize, k: usize) -> Result<Vec<Scored>, CudaError> {
        let scores = self.scores.slice(n * self.count..(n + 1) * self.count);
        let mut found = select(&self.stream, &self.functions.selection, &scores, k, self.blocks(256))?;
        found.retain(|scored| scored.score > NOT_ALLOWED);
        Ok(found)
    }
}

/// The kernels of a selection.
pub(crate) struct SelectFunctions {
    count: CudaFunction,
    digit: CudaFunction,
    gather: CudaFunction,
}

impl SelectFunctions {
    pub fn of(module: &Arc<CudaModule>) -> Result<Self, CudaError> {
        let load = |name| module.load_function(name);
        Ok(Self { count: load("select_count")?, digit: load("select_digit")?, gather: load("select_gather")? })
    }
}

/// The `k` best of the scores, best first, of equal ones the lower row.
pub(crate) fn select(
    stream: &Arc<CudaStream>,
    functions: &SelectFunctions,
    scores: &CudaView<f32>,
    k: usize,
    blocks: usize,
) -> Result<Vec<Scored>, CudaError> {
    let begin = Selection { wanted: k as u32, shift: HIGHEST_DIGIT, ..Selection::default() };
    let mut state = stream.clone_htod(&[begin])?;
    let mut histogram = stream.alloc_zeros::<u32>(256)?;
    let (mut rows, mut best) = (stream.alloc_zeros::<u32>(k)?, stream.alloc_zeros::<f32>(k)?);
    for _ in 0..DIGITS {
        let step = (&functions.count, &functions.digit);
        launch::select_digit(stream, step, scores, &mut state, &mut histogram, blocks)?;
    }
    launch::select_gather(stream, &functions.gather, scores, &mut state, &mut rows, &mut best, blocks)?;
    let (rows, best) = (stream.clone_dtoh(&rows)?, stream.clone_dtoh(&best)?);
    stream.synchronize()?;
    let mut found: Vec<Scored> = rows.into_iter().zip(best).map(|(row, score)| Scored { row, score }).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    Ok(found)
}
