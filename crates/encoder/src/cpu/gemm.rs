//! Matrix products with prepacked weights: `out[m, n] = a[m, k] · w[k, n] + bias[n]`, in f32 and in int8.
//!
//! The weights are packed once into panels of [`PANEL`] columns, so that the innermost loop reads them as one stream;
//! the rows of `a` are broadcast against them. A tile of up to 12 rows × 32 columns lives in the 24 accumulators that
//! AVX-512 has room for (6 × 16 on AVX2). Each tile brings its share of the next panel into the first cache while it is
//! computed: weights come from the third cache or from memory, and the CPU alone fetches them too late. (BLIS and
//! oneDNN prefetch the next panel likewise.) The int8 product takes activations as u8 with a scale and a zero point per
//! row and weights as i8 with a scale per column, and gives f32:
//!
//! ```text
//! out[m, n] = scale_a[m] · scale_w[n] · (Σ_k a[m, k]·w[k, n] − zero_a[m]·Σ_k w[k, n]) + bias[n]
//! ```
//!
//! This is the encoder's one module of `unsafe` code: raw loads and stores of the tiles, behind [`PackedF32::multiply`]
//! and [`PackedI8::multiply`], which check every length.

use super::isa::{Isa, Level};

/// Columns of a packed panel.
pub const PANEL: usize = 32;

/// 32 columns of f32 weights at one `k`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct RowF32([f32; PANEL]);

/// 32 columns of i8 weights at four consecutive `k`, the four of a column side by side (what VNNI wants).
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct RowI8([i8; PANEL * 4]);

/// f32 weights `[k, n]` in panels, with their bias.
pub struct PackedF32 {
    panels: Vec<RowF32>,
    bias: Vec<f32>,
    k: usize,
    n: usize,
}

/// i8 weights `[k, n]` in panels, with the scale and the sum of each column, and the bias in f32.
pub struct PackedI8 {
    panels: Vec<RowI8>,
    scale: Vec<f32>,
    column_sum: Vec<i32>,
    bias: Vec<f32>,
    k: usize,
    n: usize,
}

/// Rows of activations as u8: `real = scale · (byte − zero)`, each row with its own.
#[derive(Default)]
pub struct QuantizedRows {
    /// `[m, k]`, row after row.
    pub bytes: Vec<u8>,
    /// One a row.
    pub scale: Vec<f32>,
    /// One a row.
    pub zero: Vec<i32>,
}

impl PackedF32 {
    /// Packs `weight`, `[n, k]` row after row as PyTorch's `Linear` keeps it, with `bias[n]`. `n` must be a multiple
    /// of 32.
    pub fn new(weight: &[f32], bias: &[f32], n: usize, k: usize) -> Self {
        assert!(n.is_multiple_of(PANEL) && weight.len() == n * k && bias.len() == n);
        let mut panels = Vec::with_capacity(n / PANEL * k);
        for panel in weight.chunks_exact(PANEL * k) {
            panels.extend((0..k).map(|p| RowF32(std::array::from_fn(|c| panel[c * k + p]))));
        }
        Self { panels, bias: bias.to_vec(), k, n }
    }

    /// Columns of the product.
    pub fn columns(&self) -> usize {
        self.n
    }

    /// `out[m, n] = a[m, k] · w + bias`; `m` is the number of rows in `a`.
    pub fn multiply(&self, isa: Isa, a: &[f32], out: &mut [f32]) {
        let m = a.len() / self.k;
        assert!(a.len() == m * self.k && out.len() == m * self.n);
        // The next of the last is the first.
        let panels = self.panels.chunks_exact(self.k);
        for ((index, panel), next) in panels.clone().enumerate().zip(panels.cycle().skip(1)) {
            let column = index * PANEL;
            let bias = &self.bias[column..column + PANEL];
            let blocks = row_blocks(m, isa);
            let count = blocks.len();
            for (block, (row, rows)) in blocks.enumerate() {
                let share = || Prefetch::new(next, block, count);
                let a = &a[row * self.k..(row + rows) * self.k];
                let out = &mut out[row * self.n + column..(row + rows - 1) * self.n + column + PANEL];
                match isa.0 {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the level was detected; `a` holds `rows` rows of k, `panel` k rows of 32, `bias` 32,
                    // and `out` reaches from the first row's first column to the last row's last, at stride n.
                    Level::Avx512 | Level::Avx512Vnni => unsafe {
                        each_row_count!(rows, f32_avx512, a, panel, share(), bias, out, self.n)
                    },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Level::Avx2 => unsafe { each_row_count!(rows, f32_avx2, a, panel, share(), bias, out, self.n) },
                    Level::Portable => portable_f32(a, self.k, panel, bias, out, self.n),
                }
            }
        }
    }
}

impl PackedI8 {
    /// Quantises `weight`, `[n, k]` as PyTorch's `Linear` keeps it, symmetrically with one scale a column, and packs
    /// it. `n` must be a multiple of 32 and `k` of 4.
    pub fn new(weight: &[f32], bias: &[f32], n: usize, k: usize) -> Self {
        assert!(n.is_multiple_of(PANEL) && k.is_multiple_of(4) && weight.len() == n * k && bias.len() == n);
        let scale: Vec<f32> =
            weight.chunks_exact(k).map(|w| w.iter().fold(0f32, |m, x| m.max(x.abs())).max(1e-12) / 127.0).collect();
        let quantized: Vec<i8> = weight
            .chunks_exact(k)
            .zip(&scale)
            .flat_map(|(w, s)| w.iter().map(move |x| (x / s).round().clamp(-127.0, 127.0) as i8))
            .collect();
        let column_sum = quantized.chunks_exact(k).map(|w| w.iter().map(|&x| i32::from(x)).sum()).collect();
        let mut panels = Vec::with_capacity(n / PANEL * k / 4);
        for panel in quantized.chunks_exact(PANEL * k) {
            let at = |quad: usize| RowI8(std::array::from_fn(|i| panel[i / 4 * k + quad * 4 + i % 4]));
            panels.extend((0..k / 4).map(at));
        }
        Self { panels, scale, column_sum, bias: bias.to_vec(), k, n }
    }

    /// Columns of the product.
    pub fn columns(&self) -> usize {
        self.n
    }

    /// `out[m, n] = a · w + bias` for the rows of `a`.
    pub fn multiply(&self, isa: Isa, a: &QuantizedRows, out: &mut [f32]) {
        let (k, m) = (self.k, a.scale.len());
        assert!(a.bytes.len() == m * k && a.zero.len() == m && out.len() == m * self.n);
        // The next of the last is the first.
        let panels = self.panels.chunks_exact(k / 4);
        for ((index, panel), next) in panels.clone().enumerate().zip(panels.cycle().skip(1)) {
            let columns = index * PANEL..(index + 1) * PANEL;
            let finish = Dequantize {
                scale: &self.scale[columns.clone()],
                column_sum: &self.column_sum[columns.clone()],
                bias: &self.bias[columns.clone()],
            };
            let blocks = row_blocks(m, isa);
            let count = blocks.len();
            for (block, (row, rows)) in blocks.enumerate() {
                let share = || Prefetch::new(next, block, count);
                let a = QuantizedBlock {
                    bytes: &a.bytes[row * k..(row + rows) * k],
                    scale: &a.scale[row..row + rows],
                    zero: &a.zero[row..row + rows],
                };
                let out = &mut out[row * self.n + columns.start..(row + rows - 1) * self.n + columns.end];
                match isa.0 {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the level was detected; `a` holds `rows` rows of k (a multiple of 4), and a scale
                    // and a zero point each, `panel` k/4 rows of 32 × 4, `finish` 32 of each, and `out` reaches from
                    // the first row's first column to the last row's last, at stride n.
                    Level::Avx512Vnni => unsafe {
                        each_row_count!(rows, i8_vnni, a, panel, share(), &finish, out, self.n)
                    },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Level::Avx2 | Level::Avx512 => unsafe {
                        each_row_count!(rows, i8_avx2, a, panel, &finish, out, self.n)
                    },
                    Level::Portable => portable_i8(a, k, panel, &finish, out, self.n),
                }
            }
        }
    }
}

/// The rows of a tile, each with its scale and zero point.
#[derive(Clone, Copy)]
struct QuantizedBlock<'a> {
    bytes: &'a [u8],
    scale: &'a [f32],
    zero: &'a [i32],
}

/// What turns a tile's integer sums into f32, for the 32 columns of a panel.
struct Dequantize<'a> {
    scale: &'a [f32],
    column_sum: &'a [i32],
    bias: &'a [f32],
}

/// What a tile brings into the first cache while it is computed: `step` bytes more of the next panel at each step.
#[derive(Clone, Copy)]
struct Prefetch {
    from: *const i8,
    step: usize,
}

impl Prefetch {
    /// What one of `blocks` brings of a panel.
    fn new<T>(panel: &[T], block: usize, blocks: usize) -> Self {
        Self {
            from: panel.as_ptr().cast::<i8>().wrapping_add(size_of_val(panel) * block / blocks),
            step: size_of::<T>().div_ceil(blocks),
        }
    }

    /// A hint to the CPU, which reads nothing: any address will do.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn fetch(self, step: usize) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 CPU has SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.from.wrapping_add(step * self.step)) }
    }
}

/// Splits `m` rows into blocks of nearly equal height, at most what the level's accumulators hold: `(first row, rows)`.
fn row_blocks(m: usize, isa: Isa) -> impl ExactSizeIterator<Item = (usize, usize)> {
    let most = match isa.0 {
        Level::Portable => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 6,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni => 12,
    };
    let blocks = m.div_ceil(most);
    (0..blocks).map(move |i| (i * m / blocks, (i + 1) * m / blocks - i * m / blocks))
}

fn portable_f32(a: &[f32], k: usize, panel: &[RowF32], bias: &[f32], out: &mut [f32], stride: usize) {
    for (row, out) in a.chunks_exact(k).zip(out.chunks_mut(stride)) {
        let mut sums: [f32; PANEL] = std::array::from_fn(|c| bias[c]);
        for (x, weights) in row.iter().zip(panel) {
            sums.iter_mut().zip(&weights.0).for_each(|(s, w)| *s += x * w);
        }
        out[..PANEL].copy_from_slice(&sums);
    }
}

fn portable_i8(
    QuantizedBlock { bytes, scale, zero }: QuantizedBlock,
    k: usize,
    panel: &[RowI8],
    finish: &Dequantize,
    out: &mut [f32],
    stride: usize,
) {
    for (r, (row, out)) in bytes.chunks_exact(k).zip(out.chunks_mut(stride)).enumerate() {
        let mut sums = [0i32; PANEL];
        for (quad, weights) in row.chunks_exact(4).zip(panel) {
            for (sum, w) in sums.iter_mut().zip(weights.0.chunks_exact(4)) {
                *sum += quad.iter().zip(w).map(|(&a, &w)| i32::from(a) * i32::from(w)).sum::<i32>();
            }
        }
        for c in 0..PANEL {
            let whole = (sums[c] - zero[r] * finish.column_sum[c]) as f32;
            out[c] = whole * (scale[r] * finish.scale[c]) + finish.bias[c];
        }
    }
}

/// Calls a tile kernel with its number of rows as a constant, so that the accumulators stay in registers.
macro_rules! each_row_count {
    ($rows:expr, $kernel:ident, $($arg:expr),*) => {
        match $rows {
            1 => x86::$kernel::<1>($($arg),*),
            2 => x86::$kernel::<2>($($arg),*),
            3 => x86::$kernel::<3>($($arg),*),
            4 => x86::$kernel::<4>($($arg),*),
            5 => x86::$kernel::<5>($($arg),*),
            6 => x86::$kernel::<6>($($arg),*),
            7 => x86::$kernel::<7>($($arg),*),
            8 => x86::$kernel::<8>($($arg),*),
            9 => x86::$kernel::<9>($($arg),*),
            10 => x86::$kernel::<10>($($arg),*),
            11 => x86::$kernel::<11>($($arg),*),
            12 => x86::$kernel::<12>($($arg),*),
            rows => unreachable!("row_blocks gave a block of {rows} rows"),
        }
    };
}
use each_row_count;

/// The tile kernels. Each multiplies `R` rows by one panel; the callers vouch for the lengths.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Dequantize, PANEL, Prefetch, QuantizedBlock, RowF32, RowI8};
    use std::arch::x86_64::*;

    /// # Safety
    /// `a`: R·k, `bias`: 32, `out`: (R−1)·stride + 32, where k = `panel.len()`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn f32_avx512<const R: usize>(
        a: &[f32],
        panel: &[RowF32],
        next: Prefetch,
        bias: &[f32],
        out: &mut [f32],
        stride: usize,
    ) {
        let (k, a) = (panel.len(), a.as_ptr());
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for (p, weights) in panel.iter().enumerate() {
            next.fetch(p);
            // SAFETY: a row of the panel is 32 f32, aligned to 64 bytes; `a` holds R rows of k > p.
            unsafe {
                let w = [_mm512_load_ps(weights.0.as_ptr()), _mm512_load_ps(weights.0.as_ptr().add(16))];
                for (r, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(r * k + p));
                    sum[0] = _mm512_fmadd_ps(x, w[0], sum[0]);
                    sum[1] = _mm512_fmadd_ps(x, w[1], sum[1]);
                }
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            for (half, sum) in sum.iter().enumerate() {
                // SAFETY: the caller vouches for 32 of `bias` and for 32 columns of `out` in each of R rows.
                unsafe {
                    let b = _mm512_loadu_ps(bias.as_ptr().add(half * 16));
                    _mm512_storeu_ps(out.as_mut_ptr().add(r * stride + half * 16), _mm512_add_ps(*sum, b));
                }
            }
        }
    }

    /// # Safety
    /// As [`f32_avx512`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn f32_avx2<const R: usize>(
        a: &[f32],
        panel: &[RowF32],
        next: Prefetch,
        bias: &[f32],
        out: &mut [f32],
        stride: usize,
    ) {
        let (k, a) = (panel.len(), a.as_ptr());
        for half in [0, PANEL / 2] {
            let mut sums = [[_mm256_setzero_ps(); 2]; R];
            for (p, weights) in panel.iter().enumerate() {
                next.fetch(p);
                // SAFETY: a row of the panel is 32 f32, aligned to 64 bytes; `a` holds R rows of k > p.
                unsafe {
                    let at = weights.0.as_ptr().add(half);
                    let w = [_mm256_load_ps(at), _mm256_load_ps(at.add(8))];
                    for (r, sum) in sums.iter_mut().enumerate() {
                        let x = _mm256_set1_ps(*a.add(r * k + p));
                        sum[0] = _mm256_fmadd_ps(x, w[0], sum[0]);
                        sum[1] = _mm256_fmadd_ps(x, w[1], sum[1]);
                    }
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                for (i, sum) in sum.iter().enumerate() {
                    let column = half + i * 8;
                    // SAFETY: the caller vouches for 32 of `bias` and for 32 columns of `out` in each of R rows.
                    unsafe {
                        let b = _mm256_loadu_ps(bias.as_ptr().add(column));
                        _mm256_storeu_ps(out.as_mut_ptr().add(r * stride + column), _mm256_add_ps(*sum, b));
                    }
                }
            }
        }
    }

    /// # Safety
    /// The block: R rows of k bytes, with their scales and zero points. `finish`: 32 each, `out`: (R−1)·stride + 32,
    /// where k = 4·`panel.len()`.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn i8_vnni<const R: usize>(
        QuantizedBlock { bytes, scale, zero }: QuantizedBlock,
        panel: &[RowI8],
        next: Prefetch,
        finish: &Dequantize,
        out: &mut [f32],
        stride: usize,
    ) {
        let (k, a) = (panel.len() * 4, bytes.as_ptr());
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        for (quad, weights) in panel.iter().enumerate() {
            next.fetch(quad);
            // SAFETY: a row of the panel is 128 bytes, aligned to 64; `a` holds R rows of k ≥ 4·quad + 4 bytes.
            unsafe {
                let at = weights.0.as_ptr();
                let w = [_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(64).cast())];
                for (r, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(a.add(r * k + quad * 4).cast::<i32>().read_unaligned());
                    sum[0] = _mm512_dpbusd_epi32(sum[0], x, w[0]);
                    sum[1] = _mm512_dpbusd_epi32(sum[1], x, w[1]);
                }
            }
        }
        for half in 0..2 {
            let column = half * 16;
            // SAFETY: `finish` holds 32 of each.
            let (column_sum, column_scale, bias) = unsafe {
                (
                    _mm512_loadu_si512(finish.column_sum.as_ptr().add(column).cast()),
                    _mm512_loadu_ps(finish.scale.as_ptr().add(column)),
                    _mm512_loadu_ps(finish.bias.as_ptr().add(column)),
                )
            };
            for (r, sum) in sums.iter().enumerate() {
                // SAFETY: `scale` and `zero` hold R, `out` 32 columns in each of R rows.
                unsafe {
                    let shift = _mm512_mullo_epi32(column_sum, _mm512_set1_epi32(*zero.get_unchecked(r)));
                    let whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[half], shift));
                    let factor = _mm512_mul_ps(column_scale, _mm512_set1_ps(*scale.get_unchecked(r)));
                    let real = _mm512_fmadd_ps(whole, factor, bias);
                    _mm512_storeu_ps(out.as_mut_ptr().add(r * stride + column), real);
                }
            }
        }
    }

    /// Exact without VNNI: bytes widened to 16 bits, because the 8-bit multiply of AVX2 saturates.
    ///
    /// # Safety
    /// As [`i8_vnni`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn i8_avx2<const R: usize>(
        QuantizedBlock { bytes, scale, zero }: QuantizedBlock,
        panel: &[RowI8],
        finish: &Dequantize,
        out: &mut [f32],
        stride: usize,
    ) {
        let (k, a) = (panel.len() * 4, bytes.as_ptr());
        for column in (0..PANEL).step_by(8) {
            // Each lane of 64 bits holds the two halves of one column's sum.
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for (quad, weights) in panel.iter().enumerate() {
                // SAFETY: a row of the panel is 128 bytes, aligned to 64; `a` holds R rows of k ≥ 4·quad + 4 bytes.
                unsafe {
                    let at = weights.0.as_ptr().add(column * 4);
                    let w = [
                        _mm256_cvtepi8_epi16(_mm_load_si128(at.cast())),
                        _mm256_cvtepi8_epi16(_mm_load_si128(at.add(16).cast())),
                    ];
                    for (r, sum) in sums.iter_mut().enumerate() {
                        let bytes = a.add(r * k + quad * 4).cast::<i32>().read_unaligned();
                        let x = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
                        sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(x, w[0]));
                        sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(x, w[1]));
                    }
                }
            }
            // SAFETY: `finish` holds 32 of each.
            let (column_sum, column_scale, bias) = unsafe {
                (
                    _mm256_loadu_si256(finish.column_sum.as_ptr().add(column).cast()),
                    _mm256_loadu_ps(finish.scale.as_ptr().add(column)),
                    _mm256_loadu_ps(finish.bias.as_ptr().add(column)),
                )
            };
            for (r, sum) in sums.iter().enumerate() {
                let paired = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(sum[0], sum[1]));
                // SAFETY: `scale` and `zero` hold R, `out` 32 columns in each of R rows.
                unsafe {
                    let shift = _mm256_mullo_epi32(column_sum, _mm256_set1_epi32(*zero.get_unchecked(r)));
                    let whole = _mm256_cvtepi32_ps(_mm256_sub_epi32(paired, shift));
                    let factor = _mm256_mul_ps(column_scale, _mm256_set1_ps(*scale.get_unchecked(r)));
                    let real = _mm256_fmadd_ps(whole, factor, bias);
                    _mm256_storeu_ps(out.as_mut_ptr().add(r * stride + column), real);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn reference(a: &[f32], weight: &[f32], bias: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
        let dot = |i: usize, j: usize| -> f64 {
            (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(weight[j * k + p])).sum::<f64>() + f64::from(bias[j])
        };
        (0..m * n).map(|x| dot(x / n, x % n)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_level_multiplies_f32_like_f64(m in 1usize..40, panels in 1usize..4, quads in 1usize..60, seed: u64) {
            let (n, k) = (panels * PANEL, quads * 4);
            let (a, weight, bias) = (numbers(seed, m * k), numbers(seed ^ 1, n * k), numbers(seed ^ 2, n));
            let want = reference(&a, &weight, &bias, m, n, k);
            let packed = PackedF32::new(&weight, &bias, n, k);
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; m * n];
                packed.multiply(isa, &a, &mut out);
                for (got, want) in out.iter().zip(&want) {
                    prop_assert!((f64::from(*got) - want).abs() < 1e-4, "{}: {got} for {want}", isa.name());
                }
            }
        }

        #[test]
        fn every_level_multiplies_int8_to_the_same_bits_of_the_sum(m in 1usize..40, panels in 1usize..4,
            quads in 1usize..60, seed: u64) {
            let (n, k) = (panels * PANEL, quads * 4);
            let (weight, bias) = (numbers(seed ^ 1, n * k), numbers(seed ^ 2, n));
            let packed = PackedI8::new(&weight, &bias, n, k);
            // Full-range bytes: the saturating AVX2 multiply would be wrong on these.
            let rows = QuantizedRows {
                bytes: numbers(seed, m * k).iter().map(|x| ((x + 1.0) * 127.5) as u8).collect(),
                scale: vec![0.01; m],
                zero: (0..m as i32).map(|i| i * 5 % 256).collect(),
            };
            let real = |i: usize| rows.scale[i / k] * (i32::from(rows.bytes[i]) - rows.zero[i / k]) as f32;
            let real: Vec<f32> = (0..m * k).map(real).collect();
            let want = reference(&real, &weight, &bias, m, n, k);
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; m * n];
                packed.multiply(isa, &rows, &mut out);
                for (got, want) in out.iter().zip(&want) {
                    let bound = 0.01 * 128.0 * 0.5 / 127.0 * 2.0 * k as f64 + 1e-3;
                    prop_assert!((f64::from(*got) - want).abs() < bound, "{}: {got} for {want}", isa.name());
                }
                if let Some(first) = &first {
                    let apart = first.iter().zip(&out).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                    prop_assert!(apart < 1e-4, "{} is {apart} away from the portable product", isa.name());
                }
                first.get_or_insert(out);
            }
        }
    }
}
