//! The arithmetic of the kernels, without a GPU: their own sources compiled as C++, held against f64 references.

use crate::host::{Half, Kernels};
use membox_cuda::reference::{
    angles, attention, by_distance, embedded, error, gated, gelu, gelu_tanh, keep, max_logits, mean, near, norm,
    numbers, offsets, residual, rotated, silu,
};
use std::ffi::c_void;

fn wide(half: Half, x: &[u16]) -> Vec<f64> {
    half.widen(x).into_iter().map(f64::from).collect()
}

#[test]
fn sixteen_bit_numbers_are_those_of_the_half_crate() {
    for half in [Half::F16, Half::Bf16] {
        let kernels = Kernels::compile("gelu", half, &[]);
        type ToFloat = unsafe extern "C" fn(*const u16, *mut f32, u32);
        type ToHalf = unsafe extern "C" fn(*const f32, *mut u16, u32);
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut floats = vec![0f32; all.len()];
        // SAFETY: the signature is that of host.cpp, and there is room for as many.
        unsafe { kernels.get::<ToFloat>("host_to_float")(all.as_ptr(), floats.as_mut_ptr(), all.len() as u32) };
        for (got, wanted) in floats.iter().zip(half.widen(&all)) {
            assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{half:?}: {got} {wanted}");
        }
        // Each number, what lies halfway to the next, and what lies just beside.
        let between = |pair: &[f32]| [pair[0], (pair[0] + pair[1]) / 2.0, pair[0] * 0.25 + pair[1] * 0.75];
        let tried: Vec<f32> = floats.windows(2).flat_map(between).filter(|x| x.is_finite()).collect();
        let mut narrow = vec![0u16; tried.len()];
        // SAFETY: as above.
        unsafe { kernels.get::<ToHalf>("host_to_half")(tried.as_ptr(), narrow.as_mut_ptr(), tried.len() as u32) };
        for ((x, got), wanted) in tried.iter().zip(&narrow).zip(half.narrow(&tried)) {
            assert_eq!(*got, wanted, "{half:?} {x}");
        }
    }
}

#[test]
fn token_states_are_normalised() {
    for (half, hidden, tokens) in [(Half::F16, 384, 5), (Half::Bf16, 768, 3), (Half::F16, 1024, 1), (Half::F16, 64, 9)]
    {
        let kernels = Kernels::compile("norm", half, &[("HIDDEN", hidden)]);
        let (gamma, beta) = (numbers(1, hidden, 1.0), numbers(2, hidden, 0.3));
        let (word_embeddings, positions) =
            (half.narrow(&numbers(3, 20 * hidden, 0.1)), half.narrow(&numbers(4, 8 * hidden, 0.1)));
        let ids: Vec<u32> = (0..tokens as u32).map(|t| t * 7 % 20).collect();
        let places: Vec<u32> = (0..tokens as u32).map(|t| t % 8).collect();
        let mut states = vec![0u16; tokens * hidden];
        type Embed = unsafe extern "C" fn(
            *const u32,
            *const u32,
            *const c_void,
            *const c_void,
            *const f32,
            *const f32,
            f32,
            *mut c_void,
            u32,
        );
        // SAFETY: the signature is that of host.cpp, and every array has the shape that the kernel's file says.
        unsafe {
            kernels.get::<Embed>("host_embed_norm")(
                ids.as_ptr(),
                places.as_ptr(),
                word_embeddings.as_ptr().cast(),
                positions.as_ptr().cast(),
                gamma.as_ptr(),
                beta.as_ptr(),
                1e-12,
                states.as_mut_ptr().cast(),
                tokens as u32,
            );
        }
        let (word_embeddings, positions) = (wide(half, &word_embeddings), wide(half, &positions));
        let sums = embedded((&word_embeddings, &ids), (&positions, &places), hidden);
        let wanted = norm(&sums, &gamma, &beta, 1e-12);
        assert!(error(&half.widen(&states), &wanted) < half.step(), "{half:?} {hidden}");

        let (update, bias) = (half.narrow(&numbers(5, tokens * hidden, 0.5)), numbers(6, hidden, 0.2));
        let sums = residual(&half.widen(&states), &wide(half, &update), &bias);
        type Residual = unsafe extern "C" fn(*mut c_void, *const c_void, *const f32, *const f32, *const f32, f32, u32);
        // SAFETY: as above.
        unsafe {
            kernels.get::<Residual>("host_residual_norm")(
                states.as_mut_ptr().cast(),
                update.as_ptr().cast(),
                bias.as_ptr(),
                gamma.as_ptr(),
                beta.as_ptr(),
                1e-12,
                tokens as u32,
            );
        }
        let wanted = norm(&sums, &gamma, &beta, 1e-12);
        assert!(error(&half.widen(&states), &wanted) < half.step(), "{half:?} {hidden} residual");
    }
}

#[test]
fn where_norms_stand_before_the_sum_stays_and_its_norm_is_beside_it() {
    for (half, hidden, tokens) in [(Half::F16, 384, 5), (Half::Bf16, 64, 3)] {
        let kernels = Kernels::compile("norm", half, &[("HIDDEN", hidden), ("NO_PLACES", 1), ("PRE_NORM", 1)]);
        let (gamma, beta, bias) = (numbers(1, hidden, 1.0), numbers(2, hidden, 0.3), numbers(3, hidden, 0.2));
        let [mut states, update] = [4, 5].map(|seed| half.narrow(&numbers(seed, tokens * hidden, 1.0)));
        let (sums, mut normed) = (residual(&half.widen(&states), &wide(half, &update), &bias), vec![0; states.len()]);
        type Add =
            unsafe extern "C" fn(*mut c_void, *const c_void, *const f32, *const f32, *const f32, f32, *mut c_void, u32);
        // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
        unsafe {
            kernels.get::<Add>("host_add_norm")(
                states.as_mut_ptr().cast(),
                update.as_ptr().cast(),
                bias.as_ptr(),
                gamma.as_ptr(),
                beta.as_ptr(),
                1e-12,
                normed.as_mut_ptr().cast(),
                tokens as u32,
            );
        }
        assert!(error(&half.widen(&states), &sums) < half.step(), "{half:?} {hidden} sums");
        let wanted = norm(&sums, &gamma, &beta, 1e-12);
        assert!(error(&half.widen(&normed), &wanted) < half.step(), "{half:?} {hidden}");
    }
}

/// Calls a kernel of gelu.cu for rows as wide as the bias.
fn activate(kernels: &Kernels, name: &str, x: &mut [u16], bias: &[f32], blocks: u32) {
    type Activate = unsafe extern "C" fn(*mut c_void, *const f32, u32, u32, u32, u32);
    let (rows, width) = (x.len() / bias.len(), if name == "host_bias_gated" { bias.len() / 2 } else { bias.len() });
    let (x, bias) = (x.as_mut_ptr().cast(), bias.as_ptr());
    // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
    unsafe { kernels.get::<Activate>(name)(x, bias, width as u32, rows as u32, blocks, 64) };
}

type Activation = fn(f64) -> f64;

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

#[test]
fn activations_and_gates_are_those_of_their_numbers() {
    let activations: [(&[_], Activation); 5] = [
        // What the file has where no number is said.
        (&[], gelu),
        (&[("ACTIVATION", 0)], gelu),
        (&[("ACTIVATION", 1)], gelu_tanh),
        (&[("ACTIVATION", 2)], relu),
        (&[("ACTIVATION", 3)], silu),
    ];
    for (half, rows, width, blocks) in [(Half::F16, 3, 1536, 2), (Half::Bf16, 1, 8, 1), (Half::F16, 7, 72, 5)] {
        for (number, activation) in activations {
            let plain = Kernels::compile("gelu", half, number);
            let (mut x, bias) = (half.narrow(&numbers(1, rows * width, 3.0)), numbers(2, width, 1.0));
            let biased = wide(half, &x).into_iter().zip(bias.iter().cycle()).map(|(x, b)| x + f64::from(*b));
            let wanted: Vec<f64> = biased.map(activation).collect();
            activate(&plain, "host_bias_gelu", &mut x, &bias, blocks);
            assert!(error(&half.widen(&x), &wanted) < half.step(), "{half:?} {number:?}");

            let with_gate = Kernels::compile("gelu", half, &[number, &[("GATED", 1)]].concat());
            let (mut x, bias) = (half.narrow(&numbers(3, rows * 2 * width, 3.0)), numbers(4, 2 * width, 1.0));
            let wanted = gated(&wide(half, &x), &bias, activation);
            activate(&with_gate, "host_bias_gated", &mut x, &bias, blocks);
            let got: Vec<f32> = half.widen(&x).chunks(2 * width).flat_map(|row| row[..width].to_vec()).collect();
            assert!(error(&got, &wanted) < half.step(), "{half:?} {number:?} gated");
        }
    }
}

#[test]
fn queries_and_keys_are_turned_by_the_angles_of_their_places() {
    for (half, hidden, head, tokens) in [(Half::F16, 64, 32, 5), (Half::Bf16, 768, 64, 3), (Half::F16, 128, 64, 9)] {
        let kernels = Kernels::compile("rotary", half, &[("HIDDEN", hidden), ("HEAD", head)]);
        let (mut qkv, bias) = (half.narrow(&numbers(1, tokens * 3 * hidden, 1.0)), numbers(2, 2 * hidden, 0.5));
        let (angles, places): (_, Vec<u32>) = (angles(40, head), (0..tokens as u32).map(|t| t * 7 % 40).collect());
        let wanted = rotated(&wide(half, &qkv), &bias, &angles, &places, head);
        type Rotate = unsafe extern "C" fn(*mut c_void, *const f32, *const f32, *const u32, u32, u32, u32);
        // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
        unsafe {
            kernels.get::<Rotate>("host_rotate")(
                qkv.as_mut_ptr().cast(),
                bias.as_ptr(),
                angles.as_ptr(),
                places.as_ptr(),
                tokens as u32,
                2,
                32,
            );
        }
        assert!(error(&half.widen(&qkv), &wanted) < half.step(), "{half:?} {hidden} {head}");
    }
}

#[test]
fn vectors_and_keep_probabilities_are_read_off_the_states() {
    for (half, width, lengths) in
        [(Half::F16, 384, vec![1, 7, 33]), (Half::Bf16, 768, vec![2]), (Half::F16, 32, vec![5, 1])]
    {
        let kernels = Kernels::compile("heads", half, &[]);
        let offsets = offsets(&lengths);
        let tokens = offsets[lengths.len()] as usize;
        let states = half.narrow(&numbers(1, tokens * width, 1.0));
        let known = wide(half, &states);
        for normalize in [0, 1] {
            let mut vectors = vec![0f32; lengths.len() * width];
            type Pool = unsafe extern "C" fn(*const c_void, *const u32, *mut f32, u32, u32, u32);
            // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
            unsafe {
                let sequences = lengths.len() as u32;
                kernels.get::<Pool>("host_mean_pool")(
                    states.as_ptr().cast(),
                    offsets.as_ptr(),
                    vectors.as_mut_ptr(),
                    width as u32,
                    normalize,
                    sequences,
                );
            }
            for (s, vector) in vectors.chunks(width).enumerate() {
                let rows = &known[offsets[s] as usize * width..offsets[s + 1] as usize * width];
                let wanted = mean(rows, width, normalize == 1);
                assert!(error(vector, &wanted) < 1e-5, "{half:?} {width} {s}");
            }
        }
        let weight = numbers(2, width, 0.2);
        let mut kept = vec![0f32; tokens];
        type Keep = unsafe extern "C" fn(*const c_void, *const f32, f32, *mut f32, u32, u32);
        // SAFETY: as above.
        unsafe {
            kernels.get::<Keep>("host_keep")(
                states.as_ptr().cast(),
                weight.as_ptr(),
                0.25,
                kept.as_mut_ptr(),
                width as u32,
                tokens as u32,
            );
        }
        let wanted = keep(&known, &weight, 0.25);
        assert!(error(&kept, &wanted) < 1e-5, "{half:?} {width}");
    }
}

#[test]
fn rows_are_normalised_alone_in_the_head_of_masked_language_models() {
    for (half, hidden, tokens) in [(Half::F16, 384, 5), (Half::Bf16, 64, 3)] {
        let kernels = Kernels::compile("norm", half, &[("HIDDEN", hidden), ("ROW_NORM", 1)]);
        let (gamma, beta) = (numbers(1, hidden, 1.0), numbers(2, hidden, 0.3));
        let mut states = half.narrow(&numbers(3, tokens * hidden, 1.0));
        let before = wide(half, &states);
        type Row = unsafe extern "C" fn(*mut c_void, *const f32, *const f32, f32, u32);
        // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
        unsafe {
            let states = states.as_mut_ptr().cast();
            kernels.get::<Row>("host_row_norm")(states, gamma.as_ptr(), beta.as_ptr(), 1e-12, tokens as u32);
        }
        let wanted = norm(&before, &gamma, &beta, 1e-12);
        assert!(error(&half.widen(&states), &wanted) < half.step(), "{half:?} {hidden}");
    }
}

#[test]
fn of_logits_the_largest_of_each_word_piece_counts_if_it_is_above_0() {
    for (half, columns, first, width, lengths) in
        [(Half::F16, 300, 40, 512, vec![1, 7, 33]), (Half::Bf16, 8, 0, 8, vec![20, 8])]
    {
        let kernels = Kernels::compile("heads", half, &[("LOGITS", 1)]);
        let offsets = offsets(&lengths);
        let logits = half.narrow(&numbers(1, offsets[lengths.len()] as usize * columns, 1.0));
        let (known, bias) = (wide(half, &logits), numbers(2, columns, 2.0));
        let mut maxima = vec![-1f32; lengths.len() * width];
        type Maxima = unsafe extern "C" fn(*const c_void, *const f32, *const u32, *mut f32, u32, u32, u32, u32);
        // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
        unsafe {
            kernels.get::<Maxima>("host_max_logits")(
                logits.as_ptr().cast(),
                bias.as_ptr(),
                offsets.as_ptr(),
                maxima.as_mut_ptr(),
                first as u32,
                columns as u32,
                width as u32,
                lengths.len() as u32,
            );
        }
        for (bounds, row) in offsets.windows(2).zip(maxima.chunks(width)) {
            let wanted = max_logits(&known[bounds[0] as usize * columns..bounds[1] as usize * columns], &bias);
            let (before, rest) = row.split_at(first);
            let (own, behind) = rest.split_at(columns);
            assert!(error(own, &wanted) < 1e-6, "{half:?} {columns}");
            assert!(before.iter().chain(behind).all(|x| *x == -1.0), "other columns are those of others");
        }
    }
}

/// A sequence, and the first query of each tile in it.
fn tiles(lengths: &[usize]) -> Vec<u32> {
    let of_sequence = |(s, length): (usize, &usize)| (0..*length).step_by(64).flat_map(move |q| [s as u32, q as u32]);
    lengths.iter().enumerate().flat_map(of_sequence).collect()
}

/// Which keys a query has, and what is added to their scores.
enum Reach<'a> {
    All,
    /// Tokens to each side.
    Near(usize),
    /// Numbers by distance, and how far they reach.
    ByDistance(&'a [f32], usize),
}

/// How far attention of sequences is from that of the reference, where `added` is what it adds to scores. Queries, keys
/// and values are of a size; the bias is that of the queries.
fn attention_error(
    half: Half,
    (hidden, head): (usize, usize),
    lengths: &[usize],
    (size, query_bias): (f32, &[f32]),
    reach: &Reach,
    added: impl Fn(usize, usize, usize) -> f64,
) -> f64 {
    let (kind, by_distance, reach): (&[_], &[f32], usize) = match *reach {
        Reach::All => (&[], &[], 0),
        Reach::Near(window) => (&[("LOCAL", 1)], &[], window),
        Reach::ByDistance(numbers, reach) => (&[("RELATIVE", 1)], numbers, reach),
    };
    let kernels = Kernels::compile("attention", half, &[&[("HIDDEN", hidden), ("HEAD", head)], kind].concat());
    let (offsets, tiles) = (offsets(lengths), tiles(lengths));
    let tokens = lengths.iter().sum::<usize>();
    let (qkv, mut mixed) = (half.narrow(&numbers(1, tokens * 3 * hidden, size)), vec![0u16; tokens * hidden]);
    let scaled: Vec<f32> = by_distance.iter().map(|x| x * std::f32::consts::LOG2_E).collect();
    type Attention =
        unsafe extern "C" fn(*const c_void, *const f32, *const u32, *const u32, *mut c_void, u32, *const f32, u32);
    // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
    unsafe {
        kernels.get::<Attention>("host_attention")(
            qkv.as_ptr().cast(),
            query_bias.as_ptr(),
            offsets.as_ptr(),
            tiles.as_ptr(),
            mixed.as_mut_ptr().cast(),
            (tiles.len() / 2) as u32,
            scaled.as_ptr(),
            reach as u32,
        );
    }
    // The kernel rounds queries to 16 bits after the bias, which the reference does not.
    let add = |(i, x): (usize, f64)| x + query_bias.get(i % (3 * hidden)).map_or(0.0, |bias| f64::from(*bias));
    let biased: Vec<f64> = wide(half, &qkv).into_iter().enumerate().map(add).collect();
    error(&half.widen(&mixed), &attention(&biased, &offsets, hidden, head, added))
}

#[test]
fn attention_is_that_of_each_sequence_and_head() {
    let many_short: Vec<usize> = (1..=20).collect();
    for (half, head, hidden, lengths, size) in [
        (Half::F16, 32, 64, vec![512], 1.0),
        (Half::F16, 64, 128, vec![1, 65, 63], 1.0),
        (Half::Bf16, 32, 96, many_short, 1.0),
        // Scores far apart: the softmax must not overflow.
        (Half::F16, 32, 32, vec![130], 5.0),
    ] {
        let (sizes, bias) = ((hidden, head), numbers(2, hidden, 0.5));
        let error = attention_error(half, sizes, &lengths, (size, &bias), &Reach::All, |_, _, _| 0.0);
        assert!(error < half.step() * f64::from(size) * 4.0, "{half:?} head {head}: {error}");
    }
}

#[test]
fn local_attention_has_the_keys_near_a_query_and_no_others() {
    for (half, head, hidden, lengths, window) in [
        (Half::F16, 32, 32, vec![300, 1, 65], 20),
        (Half::F16, 64, 64, vec![200], 64),
        (Half::Bf16, 32, 32, vec![130, 64], 0),
        // Wider than any sequence.
        (Half::F16, 32, 32, vec![70], 5000),
    ] {
        let (sizes, bias) = ((hidden, head), vec![0.0; hidden]);
        let error = attention_error(half, sizes, &lengths, (1.0, &bias), &Reach::Near(window), near(window));
        assert!(error < half.step() * 4.0, "{half:?} head {head}, {window} to each side: {error}");
    }
}

#[test]
fn a_number_by_distance_is_added_to_each_score() {
    for (half, head, hidden, lengths, reach) in [
        (Half::F16, 32, 64, vec![300, 1, 65], 299),
        (Half::F16, 64, 64, vec![64, 200], 40),
        (Half::Bf16, 32, 32, vec![130], 129),
    ] {
        let (sizes, bias) = ((hidden, head), vec![0.0; hidden]);
        let added = numbers(3, hidden / head * (2 * reach + 1), 2.0);
        let relative = Reach::ByDistance(&added, reach);
        let error = attention_error(half, sizes, &lengths, (1.0, &bias), &relative, by_distance(&added, reach));
        assert!(error < half.step() * 4.0, "{half:?} head {head}, reach {reach}: {error}");
    }
}
