//! What the kernels compute, in f64 and one number after the other: what tests without a GPU and
//! [`check_kernels`](crate::check_kernels) on one hold them against.

/// Numbers from −1 to 1, the same ones for a seed.
pub fn uniform(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Numbers that look like activations of a size, the same ones for a seed.
pub fn numbers(seed: u64, count: usize, size: f32) -> Vec<f32> {
    uniform(seed, 3 * count).chunks(3).map(|three| (three[0] + three[1] + three[2]) * size / 1.7).collect()
}

/// The largest difference, as a share of the largest number.
pub fn error(got: &[f32], wanted: &[f64]) -> f64 {
    let most = wanted.iter().fold(1e-9, |m: f64, w| m.max(w.abs()));
    let differences = got.iter().zip(wanted).map(|(g, w)| (f64::from(*g) - w).abs() / most);
    // What is no number is as wrong as can be.
    let largest = differences.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    if got.len() == wanted.len() { largest } else { f64::INFINITY }
}

/// LayerNorm of each row; a row is as wide as gamma.
pub fn norm(x: &[f64], gamma: &[f32], beta: &[f32], epsilon: f64) -> Vec<f64> {
    let of_row = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (variance + epsilon).sqrt();
        row.iter().zip(gamma).zip(beta).map(|((v, g), b)| (v - mean) * scale * f64::from(*g) + f64::from(*b)).collect()
    };
    x.chunks(gamma.len()).flat_map(of_row).collect()
}

/// The sum of each token's embedding and its position's, before the norm.
pub fn embedded(
    (word_embeddings, ids): (&[f64], &[u32]),
    (positions, places): (&[f64], &[u32]),
    width: usize,
) -> Vec<f64> {
    let row = |i: u32| i as usize * width..(i as usize + 1) * width;
    let pairs = ids.iter().zip(places).flat_map(|(id, place)| row(*id).zip(row(*place)));
    pairs.map(|(word, position)| word_embeddings[word] + positions[position]).collect()
}

/// States, an update and its bias summed, before the norm; a row is as wide as the bias.
pub fn residual(states: &[f32], update: &[f64], bias: &[f32]) -> Vec<f64> {
    let terms = states.iter().zip(update).zip(bias.iter().cycle());
    terms.map(|((x, u), b)| f64::from(*x) + u + f64::from(*b)).collect()
}

/// `x · (1 + erf(x / √2)) / 2`, by the series of erf.
pub fn gelu(x: f64) -> f64 {
    let z = x / 2f64.sqrt();
    let (mut term, mut sum) = (z, z);
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    let erf = if z.abs() > 5.0 { z.signum() } else { sum * 2.0 / std::f64::consts::PI.sqrt() };
    x * (1.0 + erf) / 2.0
}

/// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
pub fn gelu_tanh(x: f64) -> f64 {
    x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// `x · σ(x)`.
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The activated first half of each row times the second one, each plus its bias; a row is as wide as the bias.
pub fn gated(x: &[f64], bias: &[f32], activation: impl Fn(f64) -> f64) -> Vec<f64> {
    let width = bias.len() / 2;
    let of_row = |row: &[f64]| -> Vec<f64> {
        let biased: Vec<f64> = row.iter().zip(bias).map(|(x, b)| x + f64::from(*b)).collect();
        biased[..width].iter().zip(&biased[width..]).map(|(a, b)| activation(*a) * b).collect()
    };
    x.chunks(bias.len()).flat_map(of_row).collect()
}

/// `[positions, head / 2]` pairs of a cosine and a sine, of frequencies by the base 10 000.
pub fn angles(positions: usize, head: usize) -> Vec<f32> {
    let pair = move |at: usize, i: usize| {
        let (sine, cosine) = (at as f64 / 10_000f64.powf(2.0 * i as f64 / head as f64)).sin_cos();
        [cosine as f32, sine as f32]
    };
    (0..positions).flat_map(|at| (0..head / 2).flat_map(move |i| pair(at, i))).collect()
}

/// Rows of queries, keys and values: the first two plus their bias, and of each head the numbers i and i + head / 2
/// turned by the angles of the row's place.
pub fn rotated(qkv: &[f64], bias: &[f32], angles: &[f32], places: &[u32], head: usize) -> Vec<f64> {
    let mut all = qkv.to_vec();
    for (row, place) in all.chunks_mut(bias.len() / 2 * 3).zip(places) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += f64::from(*b));
        let own = &angles[*place as usize * head..][..head];
        for of_head in row[..bias.len()].chunks_mut(head) {
            for i in 0..head / 2 {
                let (cosine, sine) = (f64::from(own[2 * i]), f64::from(own[2 * i + 1]));
                let (x, y) = (of_head[i], of_head[i + head / 2]);
                (of_head[i], of_head[i + head / 2]) = (x * cosine - y * sine, y * cosine + x * sine);
            }
        }
    }
    all
}

/// Mean of rows of `width`, at unit length if wanted.
pub fn mean(rows: &[f64], width: usize, normalize: bool) -> Vec<f64> {
    let count = rows.len() as f64 / width as f64;
    let mut mean: Vec<f64> = (0..width).map(|d| rows.chunks(width).map(|r| r[d]).sum::<f64>() / count).collect();
    let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
    if normalize {
        mean.iter_mut().for_each(|x| *x /= length);
    }
    mean
}

/// The largest of each column of logits plus its bias, at least 0.
pub fn max_logits(logits: &[f64], bias: &[f32]) -> Vec<f64> {
    let most = |column: usize| logits.chunks(bias.len()).map(|row| row[column]).fold(f64::MIN, f64::max);
    bias.iter().enumerate().map(|(column, bias)| (most(column) + f64::from(*bias)).max(0.0)).collect()
}

/// How likely tokens are to be kept, by one logit of each state.
pub fn keep(states: &[f64], weight: &[f32], bias: f64) -> Vec<f64> {
    let logit = |row: &[f64]| row.iter().zip(weight).map(|(x, w)| x * f64::from(*w)).sum::<f64>() + bias;
    states.chunks(weight.len()).map(|row| 1.0 / (1.0 + (-logit(row)).exp())).collect()
}

/// Attention over packed sequences: `qkv` `[tokens, 3 · hidden]` with its bias added, queries already scaled; gives
/// `[tokens, hidden]`. To the score of a head, of a query and a key by their places in the sequence, is added what
/// `added` gives.
pub fn attention(
    qkv: &[f64],
    offsets: &[u32],
    hidden: usize,
    head: usize,
    added: impl Fn(usize, usize, usize) -> f64,
) -> Vec<f64> {
    let mut mixed = vec![0.0; qkv.len() / 3];
    for sequence in offsets.windows(2) {
        let tokens = sequence[0] as usize..sequence[1] as usize;
        for h in (0..hidden).step_by(head) {
            let part = |t: usize, which: usize| {
                let at = t * 3 * hidden + which * hidden + h;
                &qkv[at..at + head]
            };
            for query in tokens.clone() {
                let product = |key| part(query, 0).iter().zip(part(key, 1)).map(|(a, b)| a * b).sum::<f64>();
                let score = |key| product(key) + added(h / head, query - tokens.start, key - tokens.start);
                let scores: Vec<f64> = tokens.clone().map(score).collect();
                let most = scores.iter().fold(f64::MIN, |m, s| m.max(*s));
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in 0..head {
                    let sum: f64 = weights.iter().zip(tokens.clone()).map(|(w, key)| w * part(key, 2)[d]).sum();
                    mixed[query * hidden + h + d] = sum / total;
                }
            }
        }
    }
    mixed
}

/// What attention adds where a query has the keys of so many tokens to each side.
pub fn near(window: usize) -> impl Fn(usize, usize, usize) -> f64 {
    move |_, query, key| if query.abs_diff(key) > window { f64::NEG_INFINITY } else { 0.0 }
}

/// What attention adds by the distance from a query to a key, of `[heads, 2 · reach + 1]` numbers.
pub fn by_distance(numbers: &[f32], reach: usize) -> impl Fn(usize, usize, usize) -> f64 {
    move |head, query, key| {
        f64::from(numbers[head * (2 * reach + 1) + (key + reach).saturating_sub(query).min(2 * reach)])
    }
}

/// Inner products of rows with a question.
pub fn scores(rows: &[f64], query: &[f32]) -> Vec<f64> {
    rows.chunks(query.len()).map(|row| row.iter().zip(query).map(|(x, q)| x * f64::from(*q)).sum()).collect()
}

/// Where sequences of these lengths begin and end.
pub fn offsets(lengths: &[usize]) -> Vec<u32> {
    let ends = lengths.iter().scan(0, |sum, length| {
        *sum += *length as u32;
        Some(*sum)
    });
    std::iter::once(0).chain(ends).collect()
}
