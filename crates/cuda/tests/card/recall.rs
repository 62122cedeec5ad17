//! Exact recall over rows on a card.

use half::f16;
use membox_cuda::reference::{numbers, scores};
use membox_cuda::{CudaError, Gpu, ResidentRows};
use membox_software_card::faults::{counts, set};
use membox_software_card::on_card;

/// Of which the PTX is kept.
const DIMENSION: usize = 64;

struct Rows {
    on_card: ResidentRows,
    known: Vec<f64>,
}

impl Rows {
    fn new(capacity: usize) -> Self {
        let gpu = Gpu::find(0).expect("a card");
        Self { on_card: ResidentRows::new(&gpu, DIMENSION, capacity, None).expect("room"), known: Vec::new() }
    }

    fn append(&mut self, rows: &[f32]) {
        let narrow: Vec<f16> = rows.iter().map(|x| f16::from_f32(*x)).collect();
        self.on_card.append(&narrow.iter().map(|x| x.to_bits()).collect::<Vec<u16>>()).expect("room");
        self.known.extend(narrow.iter().map(|x| x.to_f64()));
    }

    /// The rows that an exact scan finds: the best first, of equal ones the lower.
    fn wanted(&self, query: &[f32], k: usize, is_allowed: impl Fn(u32) -> bool) -> Vec<(u32, f64)> {
        let scores = scores(&self.known, query).into_iter().enumerate().map(|(row, score)| (row as u32, score));
        let mut scored: Vec<(u32, f64)> = scores.filter(|(row, _)| is_allowed(*row)).collect();
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored.truncate(k);
        scored
    }

    fn agrees(&mut self, queries: &[f32], k: usize, allowed: Option<&[u32]>) {
        let is_allowed = |row: u32| allowed.is_none_or(|bits| bits[row as usize / 32] >> (row % 32) & 1 == 1);
        let found = self.on_card.search(queries, k, allowed).expect("an answer");
        assert_eq!(found.len(), queries.len() / DIMENSION);
        for (query, found) in queries.chunks(DIMENSION).zip(found) {
            let wanted = self.wanted(query, k, is_allowed);
            assert_eq!(found.len(), wanted.len());
            for (found, (row, score)) in found.iter().zip(&wanted) {
                // Rows that are as near as f32 can tell may change places.
                let own = self.known[found.row as usize * DIMENSION..][..DIMENSION].iter().zip(query);
                let own: f64 = own.map(|(x, q)| x * f64::from(*q)).sum();
                assert!(is_allowed(found.row) && (own - score).abs() < 1e-4, "{found:?} {row} {score}");
                assert!((f64::from(found.score) - own).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn it_is_that_of_an_exact_scan_for_one_question_and_for_many() {
    on_card!("", || {
        let mut rows = Rows::new(3000);
        rows.append(&numbers(1, 2777 * DIMENSION, 1.0));
        for questions in [1, 3, 4, 9] {
            rows.agrees(&numbers(questions as u64 + 5, questions * DIMENSION, 1.0), 10, None);
        }
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn a_filter_leaves_what_it_allows_and_no_row_more() {
    on_card!("", || {
        let mut rows = Rows::new(1000);
        rows.append(&numbers(1, 1000 * DIMENSION, 1.0));
        let query = numbers(2, DIMENSION, 1.0);
        let some: Vec<u32> = (0..32).map(|i| 0x1111_1111u32.rotate_left(i)).collect();
        rows.agrees(&query, 50, Some(&some));
        rows.agrees(&query, 50, Some(&[0; 32]));
        // Fewer than are wanted.
        let few: Vec<u32> = (0..32).map(|i| u32::from(i == 31)).collect();
        rows.agrees(&query, 50, Some(&few));
    });
}

#[test]
fn of_equal_rows_the_lower_ones_are_found() {
    on_card!("", || {
        let mut rows = Rows::new(600);
        let row = numbers(3, DIMENSION, 1.0);
        rows.append(&row.repeat(600));
        let found = rows.on_card.search(&row, 300, None).expect("an answer");
        assert!(found[0].iter().map(|scored| scored.row).eq(0..300));
    });
}

#[test]
fn as_many_are_found_as_there_are_and_the_collection_grows_between() {
    on_card!("", || {
        let mut rows = Rows::new(12_000);
        let query = numbers(2, DIMENSION, 1.0);
        assert!(rows.on_card.search(&query, 5, None).expect("none").concat().is_empty());
        for (seed, more) in [(1, 5), (2, 200), (3, 10_000)] {
            rows.append(&numbers(seed, more * DIMENSION, 1.0));
            rows.agrees(&query, 10_000, None);
        }
        assert_eq!(rows.on_card.len(), 10_205);
        let too_many = vec![0; 2000 * DIMENSION];
        assert_eq!(rows.on_card.append(&too_many), Err(CudaError::OutOfMemory));
        rows.agrees(&query, 3, None);
    });
}

#[test]
fn without_room_nothing_is_lost_and_a_lost_card_says_so() {
    on_card!("", || {
        let mut rows = Rows::new(100);
        rows.append(&numbers(1, 100 * DIMENSION, 1.0));
        let query = numbers(2, DIMENSION, 1.0);
        for nth in 1..=5 {
            set(&format!("fail_allocation={nth}"));
            assert!(matches!(rows.on_card.search(&query, 5, None), Err(CudaError::OutOfMemory)), "{nth}");
        }
        rows.agrees(&query, 5, None);
        set("memory=1000");
        assert!(matches!(ResidentRows::new(rows.on_card.gpu(), DIMENSION, 100, None), Err(CudaError::OutOfMemory)));
        set("memory=1000000000 lose=1");
        assert!(matches!(rows.on_card.search(&query, 5, None), Err(CudaError::Lost(_))));
    });
}

#[test]
fn rows_of_a_width_that_the_kernels_do_not_know_are_refused() {
    on_card!("", || {
        let gpu = Gpu::find(0).expect("a card");
        assert!(matches!(ResidentRows::new(&gpu, 66, 10, None), Err(CudaError::Shape(_))));
        assert_eq!(ResidentRows::bytes(DIMENSION, 10), 10 * (128 + 16));
        assert_eq!(Gpu::find(1).err(), Some(CudaError::NoGpu { ordinal: 1, count: 1 }));
    });
}
