//! The arithmetic of exact recall, without a GPU: `kernels/recall.cu` compiled as C++, held against f64 references.

use crate::host::{Half, Kernels};
use membox_cuda::reference::{self, error, numbers};
use proptest::prelude::*;
use std::ffi::c_void;

fn wide(half: Half, x: &[u16]) -> Vec<f64> {
    half.widen(x).into_iter().map(f64::from).collect()
}

/// Rows of a shape, a question, and what an exact scan says of them.
struct Recall {
    kernels: Kernels,
    half: Half,
    dimension: usize,
    count: usize,
    rows: Vec<u16>,
    query: Vec<f32>,
    allowed: Vec<u32>,
    scores: Vec<f64>,
}

/// What a row scores that is not allowed.
const NOT_ALLOWED: f32 = -3.0e38;
const GROUP: usize = 128;

impl Recall {
    /// Of vectors that are as wide as a lane, a chunk, and each number of tiles has them; odd and even.
    const SHAPES: [(Half, usize, usize); 7] = [
        (Half::F16, 384, 391),
        (Half::Bf16, 32, 700),
        (Half::F16, 96, 128),
        (Half::F16, 512, 259),
        (Half::F16, 800, 130),
        (Half::F16, 1536, 33),
        (Half::F16, 1568, 5),
    ];

    fn new((half, dimension, count): (Half, usize, usize)) -> Self {
        let kernels = Kernels::compile("recall", half, &[("DIMENSION", dimension)]);
        let (rows, query) = (half.narrow(&numbers(1, count * dimension, 0.1)), numbers(2, dimension, 1.0));
        let scores = reference::scores(&wide(half, &rows), &query);
        // A word of none is among them.
        let word = |i: u32| if i == 1 { 0 } else { 0xb5a7_3c11u32.rotate_left(i) };
        let allowed = (0..count.div_ceil(32) as u32).map(word).collect();
        Self { kernels, half, dimension, count, rows, query, allowed, scores }
    }

    fn filter(&self, is_filtered: bool) -> *const u32 {
        if is_filtered { self.allowed.as_ptr() } else { std::ptr::null() }
    }

    fn score(&self, row: usize, is_filtered: bool) -> f64 {
        self.score_of(&self.scores, row, is_filtered)
    }

    fn score_of(&self, scores: &[f64], row: usize, is_filtered: bool) -> f64 {
        let is_allowed = !is_filtered || self.allowed[row / 32] >> (row % 32) & 1 == 1;
        if is_allowed { scores[row] } else { f64::from(NOT_ALLOWED) }
    }

    /// The best of each group.
    fn best(&self, is_filtered: bool) -> Vec<f64> {
        self.best_of(&self.scores, is_filtered)
    }

    fn best_of(&self, scores: &[f64], is_filtered: bool) -> Vec<f64> {
        let scores: Vec<f64> = (0..self.count).map(|row| self.score_of(scores, row, is_filtered)).collect();
        scores.chunks(GROUP).map(|group| group.iter().fold(f64::MIN, |m, s| m.max(*s))).collect()
    }

    fn scan(&self, is_filtered: bool, blocks: u32) -> Vec<f32> {
        let mut maxima = vec![0f32; self.count.div_ceil(GROUP)];
        type Scan = unsafe extern "C" fn(*const c_void, *const f32, *const u32, *mut f32, u32, u32);
        let scan = self.kernels.get::<Scan>("host_scan_rows");
        let (rows, allowed) = (self.rows.as_ptr().cast(), self.filter(is_filtered));
        // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
        unsafe { scan(rows, self.query.as_ptr(), allowed, maxima.as_mut_ptr(), self.count as u32, blocks) };
        maxima
    }
}

#[test]
fn a_scan_keeps_the_best_score_of_each_group_and_their_rows_score_the_same_again() {
    for shape in Recall::SHAPES {
        let recall = Recall::new(shape);
        for (is_filtered, blocks) in [(false, 1), (true, 2)] {
            let maxima = recall.scan(is_filtered, blocks);
            assert!(error(&maxima, &recall.best(is_filtered)) < 1e-5, "{shape:?}");

            // Of two questions, of which the second is the first one's opposite, the groups from the last one on.
            let groups = maxima.len();
            let queries: Vec<f32> = recall.query.iter().copied().chain(recall.query.iter().map(|q| -q)).collect();
            let order: Vec<u32> = (0..groups as u32).rev().collect();
            let chosen: Vec<u32> = [vec![0; 2], order.clone(), vec![0; 2], order.clone()].concat();
            let mut scores = vec![7f32; 2 * groups * GROUP];
            type Score =
                unsafe extern "C" fn(*const c_void, *const f32, *const u32, *const u32, u32, *mut f32, u32, u32, u32);
            // SAFETY: as above, with two questions and room for two times the scores.
            unsafe {
                recall.kernels.get::<Score>("host_score_groups")(
                    recall.rows.as_ptr().cast(),
                    queries.as_ptr(),
                    recall.filter(is_filtered),
                    chosen.as_ptr(),
                    2 + groups as u32,
                    scores.as_mut_ptr(),
                    recall.count as u32,
                    groups as u32,
                    2,
                );
            }
            let (first, second) = scores.split_at(groups * GROUP);
            for (i, (score, opposite)) in first.iter().zip(second).enumerate() {
                let row = order[i / GROUP] as usize * GROUP + i % GROUP;
                let wanted = if row < recall.count { recall.score(row, is_filtered) } else { f64::from(NOT_ALLOWED) };
                let is_allowed = wanted > f64::from(NOT_ALLOWED);
                assert!(is_allowed || (*score, *opposite) == (NOT_ALLOWED, NOT_ALLOWED), "{shape:?} {row}");
                assert!(!is_allowed || (f64::from(*score) - wanted).abs() < 1e-3 && *score == -opposite, "{row}");
            }
            // To the last bit, so that the best rows are in the best groups.
            for (group, scores) in order.iter().zip(first.chunks(GROUP)) {
                let best = scores.iter().fold(NOT_ALLOWED, |m, s| m.max(*s));
                assert_eq!(maxima[*group as usize], best, "{shape:?} {group}");
            }
        }
    }
}

#[test]
fn codes_bound_the_best_score_of_each_group() {
    for shape in Recall::SHAPES {
        let mut recall = Recall::new(shape);
        // A row of noughts, a long one, and one whose numbers hardly are any.
        let narrow = |x: f32| recall.half.narrow(&vec![x; recall.dimension]);
        let others = [narrow(0.0), narrow(300.0), narrow(1e-7)];
        for (row, other) in recall.rows.chunks_mut(recall.dimension).zip(others) {
            row.copy_from_slice(&other);
        }
        let known = wide(recall.half, &recall.rows);
        recall.scores = reference::scores(&known, &recall.query);
        let (count, dimension) = (recall.count, recall.dimension);
        let (mut codes, mut scales) = (vec![0i8; count * dimension], vec![0u32; count]);
        let mut largest = vec![0f32; 8];
        type Encode = unsafe extern "C" fn(*const c_void, *mut i8, *mut u32, *mut f32, u32, u32);
        let encode = recall.kernels.get::<Encode>("host_encode_rows");
        let rows = recall.rows.as_ptr().cast();
        // SAFETY: the signature is that of host.cpp, and there is room for all rows, and for two blocks of four warps.
        unsafe { encode(rows, codes.as_mut_ptr(), scales.as_mut_ptr(), largest.as_mut_ptr(), count as u32, 2) };
        let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut longest = 0f64;
        for (row, (x, codes)) in known.chunks(dimension).zip(codes.chunks(dimension)).enumerate() {
            let pair = recall.half.widen(&[scales[row] as u16, (scales[row] >> 16) as u16]);
            let (scale, said) = (f64::from(pair[0]), f64::from(pair[1]));
            let rest: Vec<f64> = x.iter().zip(codes).map(|(x, code)| x - scale * f64::from(*code)).collect();
            assert!(length(&rest) <= said, "{shape:?} {row}: {} {said}", length(&rest));
            assert!(said <= length(&rest) * 1.02 + 1e-6 && length(&rest) < 0.02 * length(x) + 1e-6, "{row}");
            longest = longest.max(length(x));
        }
        let largest = f64::from(largest.iter().fold(0f32, |m, l| m.max(*l))).sqrt();
        assert!((largest - longest).abs() < 1e-4 * longest);
        // Without a place for codes, only lengths are measured.
        let (mut again, none) = (vec![0f32; 8], std::ptr::null_mut());
        // SAFETY: as above; nulls are among the kernel's values.
        unsafe { encode(rows, none, std::ptr::null_mut(), again.as_mut_ptr(), count as u32, 2) };
        assert_eq!(again.iter().fold(0f32, |m, l| m.max(*l)), (largest * largest) as f32);

        let step = recall.query.iter().fold(0f32, |m, q| m.max(q.abs())) / 32_639.0;
        let whole: Vec<i32> = recall.query.iter().map(|q| (q / step).round() as i32).collect();
        let high = whole.iter().map(|w| ((w + 128) >> 8) as i8);
        let question: Vec<i8> = high.chain(whole.iter().map(|w| (w - ((w + 128) >> 8) * 256) as i8)).collect();
        let of_query = length(&recall.query.iter().map(|q| f64::from(*q)).collect::<Vec<f64>>()) * 1.001;
        for (is_filtered, blocks) in [(false, 2), (true, 1)] {
            let mut maxima = vec![0f32; count.div_ceil(GROUP)];
            type Scan =
                unsafe extern "C" fn(*const i8, *const u32, *const i8, f32, f32, *const u32, *mut f32, u32, u32);
            // SAFETY: as above.
            unsafe {
                recall.kernels.get::<Scan>("host_scan_codes")(
                    codes.as_ptr(),
                    scales.as_ptr(),
                    question.as_ptr(),
                    step,
                    of_query as f32,
                    recall.filter(is_filtered),
                    maxima.as_mut_ptr(),
                    count as u32,
                    blocks,
                );
            }
            for (bound, best) in maxima.iter().zip(recall.best(is_filtered)) {
                let above = f64::from(*bound) - best;
                assert!(above >= -1e-4 * of_query && above <= 0.03 * longest * of_query, "{shape:?}: {bound} {best}");
            }
        }
    }
}

#[test]
fn many_questions_at_once_have_maxima_of_their_own() {
    for shape in Recall::SHAPES.into_iter().filter(|(_, dimension, _)| *dimension <= 1536) {
        let recall = Recall::new(shape);
        let (count, dimension) = (recall.count, recall.dimension);
        let at_once = match dimension {
            0..=384 => 64,
            385..=768 => 32,
            _ => 16,
        };
        let queries = recall.half.narrow(&numbers(9, at_once * dimension, 1.0));
        for (is_filtered, blocks) in [(false, 2), (true, 1)] {
            let groups = count.div_ceil(GROUP);
            let mut maxima = vec![0f32; at_once * groups];
            type Scan = unsafe extern "C" fn(*const c_void, *const u16, *const u32, *mut f32, u32, u32);
            // SAFETY: the signature is that of host.cpp, and the arrays have the shapes that the kernel's file says.
            unsafe {
                let scan = recall.kernels.get::<Scan>("host_scan_many");
                let (rows, allowed) = (recall.rows.as_ptr().cast(), recall.filter(is_filtered));
                scan(rows, queries.as_ptr(), allowed, maxima.as_mut_ptr(), count as u32, blocks);
            }
            let known = wide(recall.half, &recall.rows);
            for (query, maxima) in recall.half.widen(&queries).chunks(dimension).zip(maxima.chunks(groups)) {
                let scores = reference::scores(&known, query);
                assert!(error(maxima, &recall.best_of(&scores, is_filtered)) < 1e-5, "{shape:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_best_are_chosen_and_of_equal_ones_the_lower_row(
        scores in prop::collection::vec(prop_oneof![Just(NOT_ALLOWED), Just(0.5), -1.0f32..1.0, Just(-0.0)], 1..900),
        k in 1usize..300,
        (many, times) in (1usize..3, prop_oneof![Just(1), Just(5)]),
        is_of_groups: bool,
    ) {
        let kernels = Kernels::compile("recall", Half::F16, &[("DIMENSION", 32)]);
        // More than are looked at closely, some of them alike.
        let again = |n: usize| scores.iter().map(move |x| if x.abs() < 0.3 { x + n as f32 * 1e-3 } else { *x });
        let mut scores: Vec<f32> = (0..times).flat_map(again).collect();
        if is_of_groups {
            scores.resize(scores.len().next_multiple_of(GROUP), NOT_ALLOWED);
        }
        let (count, wanted_count) = (scores.len(), k.min(scores.len()));
        // Groups in an order of their own, each question's, whose best one that was not chosen is known.
        let groups = count.div_ceil(GROUP);
        let of_question = |n: usize| (0..groups).map(move |i| ((i + n) * 7 % 1009) as u32).collect::<Vec<u32>>();
        let chosen = |n| [vec![0, 0.25f32.to_bits()], of_question(n), vec![0; groups]].concat();
        let all_chosen: Vec<u32> = (0..many).flat_map(chosen).collect();
        let values = scores.repeat(many);
        let room = 2 + 2 * wanted_count;
        let mut best = vec![0u32; many * room];
        type Choose = unsafe extern "C" fn(*const f32, u32, *const u32, u32, u32, *mut u32, u32);
        // SAFETY: the signature is that of host.cpp; there are as many values and groups, and there is room for k.
        unsafe {
            let chosen = if is_of_groups { all_chosen.as_ptr() } else { std::ptr::null() };
            kernels.get::<Choose>("host_choose_best")(
                values.as_ptr(), count as u32, chosen, 2 + 2 * groups as u32, wanted_count as u32,
                best.as_mut_ptr(), many as u32,
            );
        }
        for (n, best) in best.chunks(room).enumerate() {
            let row = |i: u32| if is_of_groups {
                of_question(n)[i as usize / GROUP] * GROUP as u32 + i % GROUP as u32
            } else {
                i
            };
            let mut order: Vec<u32> = (0..count as u32).collect();
            order.sort_by(|a, b| {
                scores[*b as usize].total_cmp(&scores[*a as usize]).then(row(*a).cmp(&row(*b)))
            });
            let (first, rest) = order.split_at(wanted_count);
            prop_assert_eq!(best[0] as usize, wanted_count);
            let wanted_rest = match (is_of_groups, rest.first()) {
                (true, _) => 0.25,
                (false, first) => first.map_or(NOT_ALLOWED, |i| scores[*i as usize]),
            };
            prop_assert_eq!(f32::from_bits(best[1]), wanted_rest);
            let mut got: Vec<(u32, u32)> =
                best[2..2 + wanted_count].iter().copied().zip(best[2 + wanted_count..].iter().copied()).collect();
            let mut wanted: Vec<(u32, u32)> = first.iter().map(|i| (row(*i), scores[*i as usize].to_bits())).collect();
            got.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(got, wanted);
        }
    }
}
