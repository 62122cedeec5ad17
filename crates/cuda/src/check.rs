//! Every kernel on a GPU, held against [`reference`](crate::reference): what `membox doctor --gpu` shows.

use crate::CudaError;
use crate::gpu::Gpu;
use crate::launch::{self, Codes, GROUP, Norm, Reach, Scan};
use crate::launch_heads::{self, Columns};
use crate::number::{Half, Number};
use crate::recall::{in_half, in_two_bytes, questions_at_once, width_of};
use crate::reference::{self, by_distance, error, near, numbers, offsets};
use crate::source::load;
use cudarc::driver::{CudaModule, CudaSlice, CudaStream};
use std::path::Path;
use std::sync::Arc;

/// The shapes of MiniLM, BERT-base and XLM-R large: hidden size and head.
pub const CHECKED_SHAPES: [(usize, usize); 3] = [(384, 32), (768, 64), (1024, 64)];
/// One token, one long sequence, and lengths around the edges of tiles.
const LENGTHS: [usize; 8] = [1, 512, 63, 64, 65, 2, 17, 130];
/// Tokens to each side of local attention, less than a tile.
const WINDOW: u32 = 20;
/// How far numbers by distance reach, less than the longest sequence.
const REACH: u32 = 300;
/// Blocks of the kernels that go on in steps of the grid: fewer than the work, so that they do.
const BLOCKS: usize = 7;

/// A kernel's largest error on random inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The kernel.
    pub kernel: &'static str,
    /// The shape.
    pub shape: String,
    /// The largest difference to the reference, as a share of the largest number.
    pub error: f64,
    /// What the rounding of 16-bit numbers explains.
    pub tolerance: f64,
}

impl Checked {
    /// Whether the error is one that rounding explains.
    pub fn is_right(&self) -> bool {
        self.error <= self.tolerance
    }
}

struct Check<'a> {
    gpu: &'a Gpu,
    stream: Arc<CudaStream>,
    cache: Option<&'a Path>,
    found: Vec<Checked>,
}

/// Numbers on the GPU, and what they are there.
type Both<T> = (CudaSlice<T>, Vec<f64>);

/// Runs every kernel on random inputs, for models of these hidden sizes and heads: [`CHECKED_SHAPES`]. Compiled kernels
/// are kept in `cache`.
pub fn check_kernels(
    gpu: &Gpu,
    half: Half,
    shapes: &[(usize, usize)],
    cache: Option<&Path>,
) -> Result<Vec<Checked>, CudaError> {
    match half {
        Half::F16 => check_all::<half::f16>(gpu, shapes, cache),
        Half::Bf16 => check_all::<half::bf16>(gpu, shapes, cache),
    }
}

fn check_all<T: Number>(gpu: &Gpu, shapes: &[(usize, usize)], cache: Option<&Path>) -> Result<Vec<Checked>, CudaError> {
    let mut check = Check { gpu, stream: gpu.context.new_stream()?, cache, found: Vec::new() };
    for &(hidden, head) in shapes {
        check.norms::<T>(hidden)?;
        check.rotary::<T>(hidden, head)?;
        for (window, reach) in [(None, None), (Some(WINDOW), None), (None, Some(REACH))] {
            check.attention::<T>(hidden, head, window, reach)?;
        }
        check.heads::<T>(hidden)?;
        check.masked_lm::<T>(hidden)?;
    }
    if let Some(&(hidden, _)) = shapes.first() {
        check.gelu::<T>(4 * hidden)?;
        check.gated::<T>(4 * hidden)?;
        check.recall(hidden)?;
    }
    Ok(check.found)
}

/// The share of a number that rounding it may change.
fn step<T: Number>() -> f64 {
    let one = f64::from(T::from_f32(1.0).to_f32());
    let next =
        (1..=24).map(|bits| 1.0 + 0.5f64.powi(bits)).take_while(|x| f64::from(T::from_f32(*x as f32).to_f32()) > one);
    next.last().map_or(1.0, |next| next - one)
}

impl Check<'_> {
    fn both<T: Number>(&self, seed: u64, count: usize, size: f32) -> Result<Both<T>, CudaError> {
        let narrow: Vec<T> = numbers(seed, count, size).into_iter().map(T::from_f32).collect();
        let known = narrow.iter().map(|x| f64::from(x.to_f32())).collect();
        Ok((self.stream.clone_htod(&narrow)?, known))
    }

    fn floats(&self, seed: u64, count: usize, size: f32) -> Result<(CudaSlice<f32>, Vec<f32>), CudaError> {
        let values = numbers(seed, count, size);
        Ok((self.stream.clone_htod(&values)?, values))
    }

    fn empty<T: Number>(&self, count: usize) -> Result<CudaSlice<T>, CudaError> {
        Ok(self.stream.clone_htod(&vec![T::from_f32(0.0); count])?)
    }

    fn read<T: Number>(&self, numbers: &CudaSlice<T>) -> Result<Vec<f32>, CudaError> {
        let narrow = self.stream.clone_dtoh(numbers)?;
        self.stream.synchronize()?;
        Ok(narrow.into_iter().map(T::to_f32).collect())
    }

    fn read_floats(&self, numbers: &CudaSlice<f32>) -> Result<Vec<f32>, CudaError> {
        let values = self.stream.clone_dtoh(numbers)?;
        self.stream.synchronize()?;
        Ok(values)
    }

    fn record(&mut self, kernel: &'static str, shape: String, error: f64, tolerance: f64) {
        self.found.push(Checked { kernel, shape, error, tolerance });
    }

    fn norms<T: Number>(&mut self, hidden: usize) -> Result<(), CudaError> {
        let (tokens, vocabulary) = (301, 50);
        let module = load(self.gpu, "norm", T::HALF, &[("HIDDEN", hidden)], self.cache)?;
        let (word_embeddings, known_word_embeddings) = self.both::<T>(1, vocabulary * hidden, 0.1)?;
        let (places, known_places) = self.both::<T>(2, vocabulary * hidden, 0.1)?;
        let ((gamma, known_gamma), (beta, known_beta)) = (self.floats(3, hidden, 1.0)?, self.floats(4, hidden, 0.3)?);
        let norm = Norm { gamma, beta, epsilon: 1e-12 };
        let ids: Vec<u32> = (0..tokens as u32).map(|t| t * 7 % vocabulary as u32).collect();
        let (on_gpu, mut states) = (self.stream.clone_htod(&ids)?, self.empty::<T>(tokens * hidden)?);
        let function = module.load_function("embed_norm")?;
        launch::embed_norm(
            &self.stream,
            &function,
            (&on_gpu.as_view(), &word_embeddings),
            (&on_gpu.as_view(), Some(&places)),
            &norm,
            &mut states,
            tokens,
        )?;
        let normed = |x: &[f64]| reference::norm(x, &known_gamma, &known_beta, 1e-12);
        let sums = reference::embedded((&known_word_embeddings, &ids), (&known_places, &ids), hidden);
        let got = self.read(&states)?;
        self.record("embed_norm", format!("{tokens} x {hidden}"), error(&got, &normed(&sums)), step::<T>());

        let (update, known_update) = self.both::<T>(5, tokens * hidden, 0.5)?;
        let (bias, known_bias) = self.floats(6, hidden, 0.2)?;
        let added = |states: &[f32]| reference::residual(states, &known_update, &known_bias);
        let (function, sums) = (module.load_function("residual_norm")?, added(&got));
        launch::residual_norm(&self.stream, &function, &mut states, (&update, &bias), &norm, None, tokens)?;
        let got = self.read(&states)?;
        self.record("residual_norm", format!("{tokens} x {hidden}"), error(&got, &normed(&sums)), step::<T>());

        let defines = [("HIDDEN", hidden), ("NO_PLACES", 1), ("PRE_NORM", 1)];
        let function = load(self.gpu, "norm", T::HALF, &defines, self.cache)?.load_function("add_norm")?;
        let (sums, mut beside) = (added(&got), self.empty::<T>(tokens * hidden)?);
        let place = Some(&mut beside);
        launch::residual_norm(&self.stream, &function, &mut states, (&update, &bias), &norm, place, tokens)?;
        let error = error(&self.read(&states)?, &sums).max(error(&self.read(&beside)?, &normed(&sums)));
        self.record("add_norm", format!("{tokens} x {hidden}"), error, step::<T>());
        Ok(())
    }

    fn rotary<T: Number>(&mut self, hidden: usize, head: usize) -> Result<(), CudaError> {
        let (tokens, positions) = (77, 50);
        let defines = [("HIDDEN", hidden), ("HEAD", head)];
        let function = load(self.gpu, "rotary", T::HALF, &defines, self.cache)?.load_function("rotate")?;
        let (mut qkv, known) = self.both::<T>(1, tokens * 3 * hidden, 1.0)?;
        let ((bias, known_bias), known_angles) = (self.floats(2, 2 * hidden, 0.3)?, reference::angles(positions, head));
        let places: Vec<u32> = (0..tokens as u32).map(|t| t * 7 % positions as u32).collect();
        let (on_gpu, angles) = (self.stream.clone_htod(&places)?, self.stream.clone_htod(&known_angles)?);
        launch::rotate(&self.stream, &function, &mut qkv, &bias, (&on_gpu.as_view(), &angles), tokens)?;
        let wanted = reference::rotated(&known, &known_bias, &known_angles, &places, head);
        let error = error(&self.read(&qkv)?, &wanted);
        self.record("rotate", format!("{tokens} x {hidden}, heads of {head}"), error, step::<T>());
        Ok(())
    }

    fn attention<T: Number>(
        &mut self,
        hidden: usize,
        head: usize,
        window: Option<u32>,
        reach: Option<u32>,
    ) -> Result<(), CudaError> {
        let mut defines = vec![("HIDDEN", hidden), ("HEAD", head)];
        defines.extend(window.map(|_| ("LOCAL", 1)));
        defines.extend(reach.map(|_| ("RELATIVE", 1)));
        let function = load(self.gpu, "attention", T::HALF, &defines, self.cache)?.load_function("attention")?;
        let offsets = offsets(&LENGTHS);
        let tokens = LENGTHS.iter().sum::<usize>();
        let (qkv, known) = self.both::<T>(1, tokens * 3 * hidden, 0.7)?;
        let (bias, known_bias) = self.floats(2, hidden, 0.3)?;
        let tiles = crate::forward::tiles(&offsets);
        let (count, mut mixed) = (tiles.len() / 2, self.empty::<T>(tokens * hidden)?);
        let (offsets_on_gpu, tiles) = (self.stream.clone_htod(&offsets)?, self.stream.clone_htod(&tiles)?);
        let heads = hidden / head;
        let (offsets_on_gpu, tiles) = (offsets_on_gpu.as_view(), (&tiles.as_view(), count));
        let far = reach.unwrap_or_default();
        let (added, known_added) = self.floats(3, heads * (2 * far as usize + 1), 2.0)?;
        let relative = reach.map(|reach| (&added, reach));
        let function = (&function, Reach { window, relative });
        launch::attention(&self.stream, function, (&qkv, &bias), &offsets_on_gpu, tiles, heads, &mut mixed)?;
        // That of the queries alone.
        let add = |(i, x): (usize, &f64)| x + known_bias.get(i % (3 * hidden)).map_or(0.0, |bias| f64::from(*bias));
        let biased: Vec<f64> = known.iter().enumerate().map(add).collect();
        let wanted = match (window, reach) {
            // As the kernel has them: times log2(e).
            (_, Some(reach)) => {
                let numbers: Vec<f32> = known_added.iter().map(|x| x / std::f32::consts::LOG2_E).collect();
                reference::attention(&biased, &offsets, hidden, head, by_distance(&numbers, reach as usize))
            }
            (window, None) => {
                let window = window.map_or(usize::MAX, |window| window as usize);
                reference::attention(&biased, &offsets, hidden, head, near(window))
            }
        };
        let error = error(&self.read(&mixed)?, &wanted);
        let mut of = window.map_or_else(String::new, |window| format!(", {window} to each side"));
        of.extend(reach.map(|_| ", by distance"));
        let shape = format!("{heads} heads of {head}{of}, sequences of {LENGTHS:?}");
        self.record("attention", shape, error, step::<T>() * 4.0);
        Ok(())
    }

    fn heads<T: Number>(&mut self, hidden: usize) -> Result<(), CudaError> {
        let module = load(self.gpu, "heads", T::HALF, &[], self.cache)?;
        let offsets = offsets(&LENGTHS);
        let tokens = LENGTHS.iter().sum::<usize>();
        let (states, known) = self.both::<T>(1, tokens * hidden, 1.0)?;
        let on_gpu = self.stream.clone_htod(&offsets)?;
        let mut vectors = self.stream.alloc_zeros::<f32>(LENGTHS.len() * hidden)?;
        let (function, shape) = (module.load_function("mean_pool")?, (LENGTHS.len(), hidden));
        launch_heads::mean_pool(&self.stream, &function, &states, &on_gpu.as_view(), &mut vectors, shape, true)?;
        let rows = |s: usize| &known[offsets[s] as usize * hidden..offsets[s + 1] as usize * hidden];
        let wanted: Vec<f64> = (0..LENGTHS.len()).flat_map(|s| reference::mean(rows(s), hidden, true)).collect();
        let pooled = error(&self.read_floats(&vectors)?, &wanted);
        self.record("mean_pool", format!("{} x {hidden}", LENGTHS.len()), pooled, 1e-5);

        let (weight, known_weight) = self.floats(2, hidden, 0.2)?;
        let mut kept = self.stream.alloc_zeros::<f32>(tokens)?;
        let function = module.load_function("keep")?;
        launch_heads::keep(&self.stream, &function, &states, (&weight, 0.25), &mut kept, tokens)?;
        let wanted = reference::keep(&known, &known_weight, 0.25);
        let kept = error(&self.read_floats(&kept)?, &wanted);
        self.record("keep", format!("{tokens} x {hidden}"), kept, 1e-5);
        Ok(())
    }

    fn masked_lm<T: Number>(&mut self, hidden: usize) -> Result<(), CudaError> {
        let module = load(self.gpu, "norm", T::HALF, &[("HIDDEN", hidden), ("ROW_NORM", 1)], self.cache)?;
        let offsets = offsets(&LENGTHS);
        let tokens = LENGTHS.iter().sum::<usize>();
        let ((mut states, known), (beta, known_beta)) =
            (self.both::<T>(1, tokens * hidden, 1.0)?, self.floats(4, hidden, 0.3)?);
        let (gamma, known_gamma) = self.floats(3, hidden, 1.0)?;
        let norm = Norm { gamma, beta, epsilon: 1e-12 };
        launch_heads::row_norm(&self.stream, &module.load_function("row_norm")?, &mut states, &norm, tokens)?;
        let wanted = reference::norm(&known, &known_gamma, &known_beta, 1e-12);
        let normed = error(&self.read(&states)?, &wanted);
        self.record("row_norm", format!("{tokens} x {hidden}"), normed, step::<T>());

        // A tile that begins and ends within a row of maxima.
        let (columns, first, width) = (hidden + 8, 16, hidden + 32);
        let function = load(self.gpu, "heads", T::HALF, &[("LOGITS", 1)], self.cache)?.load_function("max_logits")?;
        let (logits, known) = self.both::<T>(5, tokens * columns, 1.0)?;
        let (bias, known_bias) = self.floats(6, columns, 2.0)?;
        let (on_gpu, mut maxima) =
            (self.stream.clone_htod(&offsets)?, self.stream.alloc_zeros::<f32>(LENGTHS.len() * width)?);
        let (logits, sequences) = ((&logits, &bias), (&on_gpu.as_view(), LENGTHS.len()));
        launch_heads::max_logits(&self.stream, &function, logits, sequences, &mut maxima, Columns { first, width })?;
        let mut wanted = vec![0.0; LENGTHS.len() * width];
        for (bounds, row) in offsets.windows(2).zip(wanted.chunks_mut(width)) {
            let own = &known[bounds[0] as usize * columns..bounds[1] as usize * columns];
            row[first..first + columns].copy_from_slice(&reference::max_logits(own, &known_bias));
        }
        let most = error(&self.read_floats(&maxima)?, &wanted);
        self.record("max_logits", format!("{tokens} x {columns}"), most, 1e-5);
        Ok(())
    }

    fn gelu<T: Number>(&mut self, width: usize) -> Result<(), CudaError> {
        let rows = 77;
        let function = load(self.gpu, "gelu", T::HALF, &[], self.cache)?.load_function("bias_gelu")?;
        let (mut x, known) = self.both::<T>(1, rows * width, 3.0)?;
        let (bias, known_bias) = self.floats(2, width, 1.0)?;
        launch::activate(&self.stream, &function, &mut x, &bias, rows, false)?;
        let of = |(i, x): (usize, &f64)| reference::gelu(x + f64::from(known_bias[i % width]));
        let wanted: Vec<f64> = known.iter().enumerate().map(of).collect();
        let error = error(&self.read(&x)?, &wanted);
        self.record("bias_gelu", format!("{rows} x {width}"), error, step::<T>());
        Ok(())
    }

    fn gated<T: Number>(&mut self, width: usize) -> Result<(), CudaError> {
        let (rows, defines) = (77, [("ACTIVATION", 3), ("GATED", 1)]);
        let function = load(self.gpu, "gelu", T::HALF, &defines, self.cache)?.load_function("bias_gated")?;
        let (mut x, known) = self.both::<T>(1, rows * 2 * width, 3.0)?;
        let (bias, known_bias) = self.floats(2, 2 * width, 1.0)?;
        launch::activate(&self.stream, &function, &mut x, &bias, rows, true)?;
        let wanted = reference::gated(&known, &known_bias, reference::silu);
        let got: Vec<f32> = self.read(&x)?.chunks(2 * width).flat_map(|row| row[..width].to_vec()).collect();
        self.record("bias_gated", format!("{rows} x {width}"), error(&got, &wanted), step::<T>());
        Ok(())
    }

    fn recall(&mut self, dimension: usize) -> Result<(), CudaError> {
        let (count, width, shape) = (10_007usize, width_of(dimension), format!("10007 x {dimension}"));
        let (groups, at_once) = (count.div_ceil(GROUP), questions_at_once(width));
        let module = load(self.gpu, "recall", Half::F16, &[("DIMENSION", width)], self.cache)?;
        let function = |name| module.load_function(name);
        let narrow: Vec<half::f16> = numbers(1, count * width, 1.0).into_iter().map(half::f16::from_f32).collect();
        let known: Vec<f64> = narrow.iter().map(|x| x.to_f64()).collect();
        let rows = self.stream.clone_htod(&narrow.iter().map(|x| x.to_bits()).collect::<Vec<u16>>())?;
        let query = numbers(2, width, 1.0);
        let on_gpu = self.stream.clone_htod(&query.iter().map(|x| x.to_bits()).collect::<Vec<u32>>())?;
        let (scores, on_gpu) = (reference::scores(&known, &query), on_gpu.slice(..));
        let best: Vec<f64> = scores.chunks(GROUP).map(|group| group.iter().fold(f64::MIN, |m, s| m.max(*s))).collect();
        let size = Scan { count, width, questions: 1, blocks: BLOCKS };
        let mut maxima = self.stream.alloc_zeros::<f32>(groups * at_once.max(1))?;

        let scan = function("scan_rows")?;
        launch::scan_rows(&self.stream, &scan, &rows, &on_gpu, None, &mut maxima, &size)?;
        let by_rows = self.read_floats(&maxima)?[..groups].to_vec();
        self.record("scan_rows", shape.clone(), error(&by_rows, &best), 1e-5);

        let (wanted, choose) = (20, function("choose_best")?);
        let mut chosen = self.stream.alloc_zeros::<u32>(2 + 2 * wanted)?;
        launch::choose_best(&self.stream, &choose, (&maxima, groups), None, (1, wanted), &mut chosen)?;
        let mut found = self.stream.clone_dtoh(&chosen)?;
        let mut values = self.stream.alloc_zeros::<f32>(wanted * GROUP)?;
        let (score, rows_and_question) = (function("score_groups")?, (&rows, &on_gpu));
        let scored = (&size, wanted);
        launch::score_groups(&self.stream, &score, rows_and_question, None, Some(&chosen), &mut values, scored)?;
        let values = self.read_floats(&values)?;
        let order = |values: &[f32]| {
            let mut order: Vec<u32> = (0..values.len() as u32).collect();
            order.sort_by(|a, b| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b)));
            order
        };
        let (order, is_first) = (order(&by_rows), found[0] == wanted as u32);
        let is_rest = found[1] == by_rows[order[wanted] as usize].to_bits() && is_first;
        let unsorted: Vec<u32> = found[2..2 + wanted].to_vec();
        found[2..2 + wanted].sort_unstable();
        let mut best_groups = order[..wanted].to_vec();
        best_groups.sort_unstable();
        let is_right = is_rest && found[2..2 + wanted] == best_groups;
        self.record("choose_best", format!("{wanted} of {groups}"), f64::from(u8::from(!is_right)), 0.0);
        let there = |group: u32| (0..GROUP).map(move |row| group as usize * GROUP + row);
        let both = unsorted.into_iter().flat_map(there).zip(values).filter(|(row, _)| *row < count);
        let (of_groups, got): (Vec<f64>, Vec<f32>) = both.map(|(row, value)| (scores[row], value)).unzip();
        self.record("score_groups", format!("{wanted} x {GROUP} x {width}"), error(&got, &of_groups), 1e-5);

        let length = known.chunks(width).map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt());
        let longest = length.fold(0.0, f64::max) as f32 * 1.001;
        self.codes((&rows, &query, &best), longest, &module, &size)?;
        if at_once > 0 {
            self.many((&rows, &query, &best), longest, &module, &Scan { questions: at_once, ..size })?;
        }
        Ok(())
    }

    /// Bounds by codes: none is below the best score, or above it by more than the errors of both.
    fn codes(
        &mut self,
        (rows, query, best): (&CudaSlice<u16>, &[f32], &[f64]),
        longest: f32,
        module: &Arc<CudaModule>,
        size: &Scan,
    ) -> Result<(), CudaError> {
        let words = self.stream.alloc_zeros(size.count * size.width / 4)?;
        let mut codes = Codes { codes: words, scales: self.stream.alloc_zeros(size.count)? };
        let mut largest = self.stream.alloc_zeros::<f32>(4 * size.blocks)?;
        let encode = module.load_function("encode_rows")?;
        launch::encode_rows(&self.stream, &encode, rows, Some(&mut codes), &mut largest, (0, size))?;
        let found = self.read_floats(&largest)?.into_iter().fold(0f32, f32::max).sqrt();
        let is_long = (found * 1.001 - longest).abs() <= longest * 1e-4;
        let mut bytes = vec![0; size.width / 2];
        let bound = in_two_bytes(query, longest, &mut bytes);
        let question = self.stream.clone_htod(&bytes)?;
        let question = (&question.slice(..), (bound.step, bound.length));
        let mut maxima = self.stream.alloc_zeros::<f32>(best.len())?;
        let scan = module.load_function("scan_codes")?;
        launch::scan_codes(&self.stream, &scan, &codes, question, None, &mut maxima, size)?;
        let above: Vec<f64> = self.read_floats(&maxima)?.iter().zip(best).map(|(x, b)| f64::from(*x) - b).collect();
        let is_bound = is_long && above.iter().all(|above| *above >= -f64::from(bound.slack));
        let most = above.into_iter().fold(0.0, f64::max) / f64::from(longest * bound.length);
        let error = if is_bound { most } else { f64::INFINITY };
        self.record("encode_rows, scan_codes", format!("{} x {}", size.count, size.width), error, 0.02);
        Ok(())
    }

    /// Bounds by tensor cores: the first of the questions is the one that is known, and the others are noughts.
    fn many(
        &mut self,
        (rows, query, best): (&CudaSlice<u16>, &[f32], &[f64]),
        longest: f32,
        module: &Arc<CudaModule>,
        size: &Scan,
    ) -> Result<(), CudaError> {
        let mut pairs = vec![0; size.questions * size.width / 2];
        let bound = in_half(query, longest, &mut pairs[..size.width / 2]);
        let question = self.stream.clone_htod(&pairs)?;
        let mut maxima = self.stream.alloc_zeros::<f32>(best.len() * size.questions)?;
        let scan = module.load_function("scan_many")?;
        launch::scan_rows(&self.stream, &scan, rows, &question.slice(..), None, &mut maxima, size)?;
        let maxima = self.read_floats(&maxima)?;
        let (first, others) = maxima.split_at(best.len());
        let difference = |(x, best): (&f32, &f64)| (f64::from(*x) * f64::from(bound.unit) - best).abs();
        let most = first.iter().zip(best).map(difference).fold(0.0, f64::max);
        let is_right = others.iter().all(|x| *x == 0.0);
        let error = if is_right { most / f64::from(bound.slack) } else { f64::INFINITY };
        let shape = format!("{} x {} x {}", size.count, size.width, size.questions);
        self.record("scan_many", shape, error, 1.0);
        Ok(())
    }
}
