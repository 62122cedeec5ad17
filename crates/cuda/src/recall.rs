//! Exact recall over vectors that stay on a GPU.
//!
//! No array of scores is written. A scan writes the best score of each group of rows; the `k` best rows lie in the `k`
//! groups that are best, and only their rows are scored again. By codes of 8 bits, or by questions of 16 bits on
//! tensor cores, a scan writes what a score can be at most. Then an answer is certain if its last row is better than
//! what any other group can have; where it is not, the rows themselves are scanned.

mod bound;
mod filter;

pub(crate) use bound::{Bound, in_half, in_two_bytes};

use crate::CudaError;
use crate::gpu::Gpu;
use crate::launch::{self, Codes, GROUP, Scan};
use crate::number::Half;
use crate::pinned::Pinned;
use crate::source::load;
use cudarc::driver::{CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, ValidAsZeroBits};
use filter::Filter;
use std::path::Path;
use std::sync::Arc;

/// Numbers of a row on the GPU are a multiple of it: what a lane reads, and a tile product takes.
const MULTIPLE: usize = 32;
/// Blocks of a scan that a multiprocessor has at a time, and of one by tensor cores: as recall.cu bounds them.
const SCAN_BLOCKS: usize = 5;
const MANY_BLOCKS: usize = 4;
/// Questions at once, at most: those of `scan_many` for vectors of up to 384 numbers.
const MAX_QUESTIONS: usize = 64;
/// Scores that are kept for the rows of chosen groups, of all questions at once.
const MAX_SCORES: usize = 1 << 24;
/// Questions from which on tensor cores are the faster way: beside codes, and beside rows.
const MIN_QUESTIONS_BESIDE_CODES: usize = 3;
const MIN_QUESTIONS_BESIDE_ROWS: usize = 2;
/// What a row that is not allowed scores: MINUS_INFINITY of recall.cu.
const NOT_ALLOWED: f32 = -3.0e38;

struct Functions {
    scan_rows: CudaFunction,
    scan_codes: CudaFunction,
    scan_many: Option<CudaFunction>,
    choose_best: CudaFunction,
    score_groups: CudaFunction,
    encode_rows: CudaFunction,
}

impl Functions {
    fn of(module: &Arc<CudaModule>, width: usize) -> Result<Self, CudaError> {
        let load = |name| module.load_function(name);
        Ok(Self {
            scan_rows: load("scan_rows")?,
            scan_codes: load("scan_codes")?,
            scan_many: if questions_at_once(width) > 0 { Some(load("scan_many")?) } else { None },
            choose_best: load("choose_best")?,
            score_groups: load("score_groups")?,
            encode_rows: load("encode_rows")?,
        })
    }
}

/// Questions that `scan_many` takes for rows of so many numbers: 16 · TILES of recall.cu.
pub(crate) fn questions_at_once(width: usize) -> usize {
    match width {
        0..=384 => MAX_QUESTIONS,
        385..=768 => 32,
        769..=1536 => 16,
        _ => 0,
    }
}

/// Numbers that a row takes on the GPU.
pub(crate) fn width_of(dimension: usize) -> usize {
    dimension.next_multiple_of(MULTIPLE)
}

/// Rows of 16-bit numbers on a GPU, to be searched exactly.
pub struct ResidentRows {
    gpu: Gpu,
    stream: Arc<CudaStream>,
    functions: Functions,
    dimension: usize,
    width: usize,
    count: usize,
    capacity: usize,
    rows: CudaSlice<u16>,
    codes: Option<Codes>,
    /// No row is longer.
    longest: f32,
    largest: CudaSlice<f32>,
    filter: Filter,
    questions: CudaSlice<u32>,
    maxima: CudaSlice<f32>,
    chosen: CudaSlice<u32>,
    scores: CudaSlice<f32>,
    found: CudaSlice<u32>,
    asked: Pinned<u32>,
    answered: Pinned<u32>,
    processors: usize,
    scanned_again: u64,
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

/// How groups are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// None is: all rows are scored.
    All,
    /// By their rows.
    Rows,
    /// By the codes of their rows.
    Codes,
    /// By their rows, for many questions by tensor cores.
    Many,
}

/// What is asked at once.
#[derive(Clone, Copy)]
struct Plan {
    way: Way,
    questions: usize,
    groups: usize,
}

impl ResidentRows {
    /// Makes room for `capacity` rows of f16.
    pub fn new(gpu: &Gpu, dimension: usize, capacity: usize, cache: Option<&Path>) -> Result<Self, CudaError> {
        if dimension == 0 || !dimension.is_multiple_of(4) {
            return Err(CudaError::Shape(format!("vectors of {dimension} numbers: the kernels know multiples of 4")));
        }
        let width = width_of(dimension);
        let module = load(gpu, "recall", Half::F16, &[("DIMENSION", width)], cache)?;
        let (functions, processors) = (Functions::of(&module, width)?, gpu.processors()?);
        let (stream, capacity) = (gpu.context.new_stream()?, capacity.max(1));
        let (groups, words) = (capacity.div_ceil(GROUP), capacity.div_ceil(32));
        let filter = Filter::new(&stream, words)?;
        let (asked, answered) = (MAX_QUESTIONS * width * 3 / 2, MAX_QUESTIONS * 64);
        Ok(Self {
            gpu: gpu.clone(),
            functions,
            dimension,
            width,
            count: 0,
            capacity,
            rows: stream.alloc_zeros(capacity * width)?,
            codes: None,
            longest: 0.0,
            largest: stream.alloc_zeros(4 * processors * SCAN_BLOCKS)?,
            filter,
            questions: stream.alloc_zeros(asked)?,
            maxima: stream.alloc_zeros(questions_at_once(width).max(1) * groups)?,
            chosen: stream.alloc_zeros(answered)?,
            scores: stream.alloc_zeros(Self::scores(capacity))?,
            found: stream.alloc_zeros(answered)?,
            asked: Pinned::new(&stream, asked)?,
            answered: Pinned::new(&stream, answered)?,
            processors,
            scanned_again: 0,
            stream,
        })
    }

    /// Makes room for codes of 8 bits of the same rows, which a lone question reads in half the time. `false` if the
    /// GPU's memory does not suffice: then all is as it was.
    pub fn add_codes(&mut self) -> Result<bool, CudaError> {
        let allocate = || {
            let codes = self.stream.alloc_zeros(self.capacity * self.width / 4)?;
            Ok::<_, CudaError>(Codes { codes, scales: self.stream.alloc_zeros(self.capacity)? })
        };
        match allocate() {
            Ok(codes) => self.codes = Some(codes),
            Err(CudaError::OutOfMemory) => return Ok(false),
            Err(error) => return Err(error),
        }
        let encoded = if self.count > 0 { self.encode(0, self.count) } else { Ok(()) };
        encoded.inspect_err(|_| self.codes = None)?;
        Ok(true)
    }

    /// Whether there are codes.
    pub fn has_codes(&self) -> bool {
        self.codes.is_some()
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

    /// How often an answer by codes, or of many questions at once, was not certain, and rows were scanned for it.
    pub fn scanned_again(&self) -> u64 {
        self.scanned_again
    }

    fn scores(capacity: usize) -> usize {
        (capacity.next_multiple_of(GROUP) * MAX_QUESTIONS).min(MAX_SCORES)
    }

    /// Bytes of the GPU's memory that so many rows take.
    pub fn bytes(dimension: usize, rows: usize) -> usize {
        let (width, groups) = (width_of(dimension), rows.div_ceil(GROUP));
        let maxima = questions_at_once(width).max(1) * groups;
        rows * width * 2 + rows.div_ceil(8) + 4 * (maxima + Self::scores(rows) + MAX_QUESTIONS * width * 2)
    }

    /// Bytes that their codes take beside them.
    pub fn bytes_of_codes(dimension: usize, rows: usize) -> usize {
        rows * (width_of(dimension) + 4)
    }

    /// Appends rows of f16, one after the other, as far as there is room; what does not fit is an error and nothing
    /// is appended.
    pub fn append(&mut self, rows: &[u16]) -> Result<(), CudaError> {
        assert!(rows.len().is_multiple_of(self.dimension), "rows of the collection's dimension");
        let end = self.count + rows.len() / self.dimension;
        if end > self.capacity {
            return Err(CudaError::OutOfMemory);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut place = self.rows.slice_mut(self.count * self.width..end * self.width);
        if self.width == self.dimension {
            self.stream.memcpy_htod(rows, &mut place)?;
        } else {
            let mut wide = vec![0; (end - self.count) * self.width];
            for (wide, row) in wide.chunks_mut(self.width).zip(rows.chunks(self.dimension)) {
                wide[..row.len()].copy_from_slice(row);
            }
            self.stream.memcpy_htod(&wide, &mut place)?;
        }
        self.encode(self.count, end)?;
        self.count = end;
        Ok(())
    }

    /// Codes of rows, and how long they are.
    fn encode(&mut self, from: usize, end: usize) -> Result<(), CudaError> {
        let blocks = (end - from).div_ceil(4).min(self.processors * SCAN_BLOCKS);
        let size = Scan { count: end, width: self.width, questions: 1, blocks };
        let Self { stream, functions, rows, codes, largest, .. } = self;
        launch::encode_rows(stream, &functions.encode_rows, rows, codes.as_mut(), largest, (from, &size))?;
        let squares = stream.clone_dtoh(&largest.slice(..4 * blocks))?;
        stream.synchronize()?;
        let longest = squares.into_iter().fold(0f32, f32::max).sqrt() * 1.001;
        self.longest = self.longest.max(longest);
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
        let words = self.count.div_ceil(32);
        assert!(allowed.is_none_or(|bits| bits.len() >= words), "a bit for each row");
        let k = k.min(self.count);
        if k == 0 {
            return Ok(vec![Vec::new(); queries.len() / self.dimension]);
        }
        let found = self.search_some(queries, k, allowed.map(|bits| &bits[..words]));
        if found.is_err() {
            // What was being copied is done with before anything is written over it.
            let _ = self.stream.synchronize();
            self.filter.forget();
        }
        found
    }

    fn search_some(
        &mut self,
        mut queries: &[f32],
        k: usize,
        allowed: Option<&[u32]>,
    ) -> Result<Vec<Vec<Scored>>, CudaError> {
        if let Some(bits) = allowed {
            self.filter.send(&self.stream, bits)?;
        }
        let mut found = Vec::with_capacity(queries.len() / self.dimension);
        while !queries.is_empty() {
            let plan = self.plan(self.way(queries.len() / self.dimension), queries.len() / self.dimension, k);
            let (now, later) = queries.split_at(plan.questions * self.dimension);
            queries = later;
            for (question, answer) in now.chunks(self.dimension).zip(self.ask(now, plan, k, allowed.is_some())?) {
                found.push(match answer {
                    Some(certain) => certain,
                    None => self.again(question, k, allowed.is_some())?,
                });
            }
        }
        Ok(found)
    }

    /// By the rows themselves, what was not certain.
    fn again(&mut self, question: &[f32], k: usize, is_filtered: bool) -> Result<Vec<Scored>, CudaError> {
        self.scanned_again += 1;
        tracing::debug!(rows = self.count, k, "an answer is not certain, and its rows are scanned again");
        let certain = self.ask(question, self.plan(Way::Rows, 1, k), k, is_filtered)?;
        Ok(certain.into_iter().flatten().flatten().collect())
    }

    fn way(&self, questions: usize) -> Way {
        let (at_once, has_codes) = (questions_at_once(self.width), self.has_codes());
        let least = if has_codes { MIN_QUESTIONS_BESIDE_CODES } else { MIN_QUESTIONS_BESIDE_ROWS };
        match self.longest.is_finite() {
            true if at_once > 0 && questions >= least => Way::Many,
            true if has_codes => Way::Codes,
            _ => Way::Rows,
        }
    }

    fn plan(&self, way: Way, questions: usize, k: usize) -> Plan {
        let all = self.count.div_ceil(GROUP);
        // More than k groups are scored where bounds chose them, so that the k best are most often among them.
        let groups = match way {
            Way::All => all,
            Way::Rows => k,
            Way::Codes => 2 * k + 64,
            Way::Many => k + 32,
        };
        let (way, groups) = if groups * 2 >= all { (Way::All, all) } else { (way, groups) };
        let at_once = match way {
            Way::All => MAX_QUESTIONS,
            Way::Many => questions_at_once(self.width),
            Way::Rows | Way::Codes => 1,
        };
        let room = self.scores.len() / (groups * GROUP);
        Plan { way, questions: questions.min(at_once).min(room).max(1), groups }
    }

    /// The best rows of each question; `None` where they are not certain to be the best.
    fn ask(
        &mut self,
        queries: &[f32],
        plan: Plan,
        k: usize,
        is_filtered: bool,
    ) -> Result<Vec<Option<Vec<Scored>>>, CudaError> {
        let Plan { way, questions, groups } = plan;
        let room = 2 + 2 * k;
        reserve(&self.stream, &mut self.chosen, questions * (2 + 2 * groups))?;
        reserve(&self.stream, &mut self.scores, questions * groups * GROUP)?;
        reserve(&self.stream, &mut self.found, questions * room)?;
        if self.answered.len() < questions * room {
            self.answered = Pinned::new(&self.stream, questions * room)?;
        }
        let bounds = self.send(queries, way)?;
        self.choose_groups(plan, &bounds, is_filtered)?;

        let size = Scan { count: self.count, width: self.width, questions, blocks: groups };
        let Self { stream, functions, rows, filter, chosen, scores, found, questions: sent, answered, .. } = self;
        let allowed = is_filtered.then_some(filter.bits());
        let chosen = (way != Way::All).then_some(&*chosen);
        let wide = sent.slice(..questions * size.width);
        launch::score_groups(stream, &functions.score_groups, (rows, &wide), allowed, chosen, scores, (&size, groups))?;
        let values = (&*scores, groups * GROUP);
        launch::choose_best(stream, &functions.choose_best, values, chosen, (questions, k), found)?;
        let answers = &mut answered.numbers()?[..questions * room];
        stream.memcpy_dtoh(&found.slice(..questions * room), answers)?;
        stream.synchronize()?;
        let answers = answers.chunks(room).enumerate();
        Ok(answers.map(|(n, answer)| read_answer(answer, bounds.get(n), k)).collect())
    }

    /// Sends questions as f32, and as what the scan wants; what that says of scores.
    fn send(&mut self, queries: &[f32], way: Way) -> Result<Vec<Bound>, CudaError> {
        let (width, questions) = (self.width, queries.len() / self.dimension);
        let (asked, longest) = (self.asked.numbers()?, self.longest);
        let (wide, narrow) = asked.split_at_mut(questions * width);
        for (wide, query) in wide.chunks_mut(width).zip(queries.chunks(self.dimension)) {
            wide.fill(0);
            wide.iter_mut().zip(query).for_each(|(bits, x)| *bits = x.to_bits());
        }
        let mut end = questions * width;
        let queries = queries.chunks(self.dimension);
        let bounds = match way {
            Way::All | Way::Rows => Vec::new(),
            Way::Codes => {
                end += width / 2;
                queries.map(|query| in_two_bytes(query, longest, &mut narrow[..width / 2])).collect()
            }
            Way::Many => {
                let numbers = questions_at_once(width) * width / 2;
                end += numbers;
                narrow[..numbers].fill(0);
                let narrow = narrow.chunks_mut(width / 2);
                queries.zip(narrow).map(|(query, narrow)| in_half(query, longest, narrow)).collect()
            }
        };
        reserve(&self.stream, &mut self.questions, end)?;
        self.stream.memcpy_htod(&asked[..end], &mut self.questions.slice_mut(..end))?;
        Ok(bounds)
    }

    /// The best groups of each question.
    fn choose_groups(&mut self, plan: Plan, bounds: &[Bound], is_filtered: bool) -> Result<(), CudaError> {
        let (count, width, all) = (self.count, self.width, self.count.div_ceil(GROUP));
        let blocks = |at_once: usize| all.div_ceil(4).min(self.processors * at_once);
        let one = Scan { count, width, questions: 1, blocks: blocks(SCAN_BLOCKS) };
        let many = Scan { questions: questions_at_once(width), blocks: blocks(MANY_BLOCKS), ..one };
        let Self { stream, functions, rows, codes, filter, questions, maxima, chosen, .. } = self;
        let (allowed, narrow) = (is_filtered.then_some(filter.bits()), plan.questions * width);
        match (plan.way, &functions.scan_many, codes, bounds) {
            (Way::All, ..) => return Ok(()),
            (Way::Many, Some(function), ..) => {
                let question = questions.slice(narrow..narrow + many.questions * width / 2);
                launch::scan_rows(stream, function, rows, &question, allowed, maxima, &many)?;
            }
            (Way::Codes, _, Some(codes), [bound, ..]) => {
                let question = (&questions.slice(narrow..narrow + width / 2), (bound.step, bound.length));
                launch::scan_codes(stream, &functions.scan_codes, codes, question, allowed, maxima, &one)?;
            }
            _ => {
                let question = questions.slice(..width);
                launch::scan_rows(stream, &functions.scan_rows, rows, &question, allowed, maxima, &one)?;
            }
        }
        let size = (plan.questions, plan.groups);
        launch::choose_best(stream, &functions.choose_best, (maxima, all), None, size, chosen)
    }
}

/// The best rows of an answer of `choose_best`; `None` if the best group that was not chosen may have a better one.
fn read_answer(answer: &[u32], bound: Option<&Bound>, k: usize) -> Option<Vec<Scored>> {
    let (rows, scores) = answer[2..].split_at(k);
    let scored = rows.iter().zip(scores).map(|(row, score)| Scored { row: *row, score: f32::from_bits(*score) });
    let mut found: Vec<Scored> = scored.take(answer[0] as usize).filter(|one| one.score > NOT_ALLOWED).collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    let rest = f32::from_bits(answer[1]);
    let is_certain = match (bound, found.last()) {
        (None, _) => true,
        (Some(_), _) if rest <= NOT_ALLOWED => true,
        (Some(_), last) if found.len() < k || last.is_none() => false,
        (Some(bound), last) => last.is_some_and(|last| f64::from(last.score) > bound.most(rest)),
    };
    is_certain.then_some(found)
}

/// Memory for at least so many numbers, of which none is kept.
fn reserve<T: DeviceRepr + ValidAsZeroBits>(
    stream: &Arc<CudaStream>,
    memory: &mut CudaSlice<T>,
    count: usize,
) -> Result<(), CudaError> {
    if memory.len() < count {
        *memory = stream.alloc_zeros(count)?;
    }
    Ok(())
}
