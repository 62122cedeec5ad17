//! Exact recall over rows on a card: by rows, by codes, and for many questions at once.

use half::f16;
use membox_cuda::reference::{numbers, scores};
use membox_cuda::{CudaError, Gpu, ResidentRows};
use membox_software_card::faults::{counts, set};
use membox_software_card::on_card;

/// Of which the PTX is kept.
const DIMENSION: usize = 64;

struct Rows {
    on_card: ResidentRows,
    dimension: usize,
    known: Vec<f64>,
}

impl Rows {
    fn new(dimension: usize, capacity: usize) -> Self {
        let gpu = Gpu::find(0).expect("a card");
        let on_card = ResidentRows::new(&gpu, dimension, capacity, None).expect("room");
        Self { on_card, dimension, known: Vec::new() }
    }

    /// The same with codes.
    fn with_codes(dimension: usize, capacity: usize) -> Self {
        let mut rows = Self::new(dimension, capacity);
        assert_eq!(rows.on_card.add_codes(), Ok(true));
        rows
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
        assert_eq!(found.len(), queries.len() / self.dimension);
        for (query, found) in queries.chunks(self.dimension).zip(found) {
            let wanted = self.wanted(query, k, is_allowed);
            assert_eq!(found.len(), wanted.len());
            let mut rows: Vec<u32> = found.iter().map(|one| one.row).collect();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), found.len(), "no row twice");
            for (found, (row, score)) in found.iter().zip(&wanted) {
                // Rows that are as near as f32 can tell may change places.
                let own = self.known[found.row as usize * self.dimension..][..self.dimension].iter().zip(query);
                let own: f64 = own.map(|(x, q)| x * f64::from(*q)).sum();
                assert!(is_allowed(found.row) && (own - score).abs() < 1e-5, "{found:?} {row} {score}");
                assert!((f64::from(found.score) - own).abs() < 1e-5);
            }
        }
    }
}

/// Unit vectors whose products with a question are not all alike.
fn vectors(seed: u64, count: usize) -> Vec<f32> {
    let mut all = numbers(seed, count * DIMENSION, 1.0);
    for vector in all.chunks_mut(DIMENSION) {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
    all
}

#[test]
fn it_is_that_of_an_exact_scan_for_one_question_and_for_many() {
    on_card!("", || {
        // More groups than are scored: 79 of the 157.
        for mut rows in [Rows::new(DIMENSION, 20_100), Rows::with_codes(DIMENSION, 20_100)] {
            rows.append(&vectors(1, 20_077));
            for (questions, k) in [(1, 5), (2, 5), (3, 1), (9, 5), (66, 5), (1, 60)] {
                rows.agrees(&vectors(questions as u64 + 5, questions), k, None);
            }
            assert_eq!(rows.on_card.scanned_again(), 0, "all were certain at once");
        }
        assert_eq!(counts()[4], 0, "nothing to complain of");
    });
}

#[test]
fn so_it_is_before_ampere() {
    on_card!("capability=75", || {
        let mut rows = Rows::with_codes(DIMENSION, 12_000);
        rows.append(&vectors(1, 12_000));
        rows.agrees(&vectors(2, 1), 5, None);
        rows.agrees(&vectors(3, 4), 5, None);
    });
}

#[test]
fn a_filter_leaves_what_it_allows_and_no_row_more() {
    on_card!("", || {
        for mut rows in [Rows::new(DIMENSION, 20_000), Rows::with_codes(DIMENSION, 20_000)] {
            rows.append(&vectors(1, 20_000));
            let (one, many) = (vectors(2, 1), vectors(3, 3));
            let mut some: Vec<u32> = (0..625).map(|i| 0x1111_1111u32.rotate_left(i)).collect();
            rows.agrees(&one, 5, Some(&some));
            rows.agrees(&many, 5, Some(&some));
            // Some of it changes, and a question without one is between.
            some[3] = 0;
            some[600] = u32::MAX;
            rows.agrees(&one, 5, None);
            rows.agrees(&one, 5, Some(&some));
            // A few of the rows, so that most groups have none; fewer than are wanted; and none.
            let few: Vec<u32> = (0..625).map(|i| u32::from(i % 100 == 31)).collect();
            rows.agrees(&one, 5, Some(&few));
            rows.agrees(&many, 5, Some(&few));
            rows.agrees(&many, 50, Some(&few));
            rows.agrees(&one, 50, Some(&few));
            rows.agrees(&one, 50, Some(&[0; 625]));
            rows.agrees(&many, 5, Some(&[0; 625]));
        }
    });
}

#[test]
fn of_a_filter_only_what_changed_is_sent() {
    on_card!("", || {
        let mut rows = Rows::new(DIMENSION, 100_000);
        rows.append(&vectors(1, 100_000));
        let query = vectors(2, 1);
        let mut some = vec![0x5555_5555u32; 3125];
        rows.agrees(&query, 3, Some(&some));
        // Of four pieces of 1024 numbers the first and the last.
        (some[0], some[3124]) = (1, 1);
        rows.agrees(&query, 3, Some(&some));
        // What was lost with an error is sent again.
        set("fail_launch=1");
        some[1500] = u32::MAX;
        assert!(rows.on_card.search(&query, 3, Some(&some)).is_err());
        rows.agrees(&query, 3, Some(&some));
    });
}

#[test]
fn of_equal_rows_the_lower_ones_are_found_though_bounds_cannot_tell_them() {
    on_card!("", || {
        for mut rows in [Rows::new(DIMENSION, 40_000), Rows::with_codes(DIMENSION, 40_000)] {
            let row = vectors(3, 1);
            rows.append(&row.repeat(40_000));
            let lowest = |found: &[membox_cuda::Scored], k| found.iter().map(|one| one.row).eq(0..k);
            let found = rows.on_card.search(&row, 30, None).expect("an answer");
            assert!(lowest(&found[0], 30));
            assert_eq!(rows.on_card.scanned_again(), u64::from(rows.on_card.has_codes()));
            let before = rows.on_card.scanned_again();
            let found = rows.on_card.search(&row.repeat(3), 30, None).expect("an answer");
            assert!(found.iter().all(|found| lowest(found, 30)));
            assert_eq!(rows.on_card.scanned_again(), before + 3);
        }
    });
}

#[test]
fn differences_that_bounds_cannot_tell_are_found_by_rows() {
    on_card!("", || {
        let mut rows = Rows::with_codes(DIMENSION, 30_000);
        // Each row differs from the next by less than its codes do; the best are among the last ones.
        let base = vectors(3, 1);
        let all: Vec<f32> = (0..30_000)
            .flat_map(|row| {
                let mut own = base.clone();
                own[row % DIMENSION] += 4e-3 * (row as f32 / 30_000.0);
                own
            })
            .collect();
        rows.append(&all);
        for questions in [1, 3] {
            rows.agrees(&base.repeat(questions), 10, None);
        }
        assert_eq!(rows.on_card.scanned_again(), 4);
    });
}

#[test]
fn as_many_are_found_as_there_are_and_the_collection_grows_between() {
    on_card!("", || {
        for mut rows in [Rows::new(DIMENSION, 12_000), Rows::with_codes(DIMENSION, 12_000)] {
            let query = vectors(2, 1);
            assert!(rows.on_card.search(&query, 5, None).expect("none").concat().is_empty());
            for (seed, more) in [(1, 5), (2, 200), (3, 10_000)] {
                rows.append(&vectors(seed, more));
                rows.agrees(&query, 10_000, None);
                rows.agrees(&vectors(seed, 3), 4, None);
            }
            assert_eq!(rows.on_card.len(), 10_205);
            let too_many = vec![0; 2000 * DIMENSION];
            assert_eq!(rows.on_card.append(&too_many), Err(CudaError::OutOfMemory));
            rows.agrees(&query, 3, None);
        }
    });
}

#[test]
fn codes_of_rows_that_are_there_already_are_made_where_memory_suffices() {
    on_card!("", || {
        let mut rows = Rows::new(DIMENSION, 12_000);
        rows.append(&vectors(1, 11_000));
        let query = vectors(2, 1);
        for nth in 1..=2 {
            set(&format!("fail_allocation={nth}"));
            assert_eq!(rows.on_card.add_codes(), Ok(false), "{nth}");
            assert!(!rows.on_card.has_codes());
            rows.agrees(&query, 5, None);
        }
        assert_eq!(rows.on_card.add_codes(), Ok(true));
        assert!(rows.on_card.has_codes());
        rows.agrees(&query, 5, None);
        rows.append(&vectors(4, 1000));
        rows.agrees(&query, 5, None);
        assert_eq!(rows.on_card.scanned_again(), 0);
    });
}

#[test]
fn a_question_allocates_nothing_unless_it_wants_more_than_any_before() {
    on_card!("", || {
        let mut rows = Rows::with_codes(DIMENSION, 20_000);
        rows.append(&vectors(1, 20_000));
        let search = |rows: &mut Rows, k| {
            let before = counts()[3];
            rows.agrees(&vectors(2, 1), k, None);
            rows.agrees(&vectors(3, 5), k, Some(&[u32::MAX; 625]));
            counts()[3] - before
        };
        assert_eq!(search(&mut rows, 10), 0);
        assert!(search(&mut rows, 5000) > 0);
        assert_eq!(search(&mut rows, 5000), 0);
    });
}

#[test]
fn numbers_that_are_too_large_for_bounds_are_scanned_by_rows() {
    on_card!("", || {
        let mut rows = Rows::with_codes(DIMENSION, 12_000);
        rows.append(&vectors(1, 12_000));
        for size in [1e-30, 1e-6, 1e6] {
            let query: Vec<f32> = vectors(2, 1).iter().map(|x| x * size).collect();
            let found = rows.on_card.search(&query, 5, None).expect("an answer");
            let rows: Vec<u32> = rows.wanted(&query, 5, |_| true).iter().map(|(row, _)| *row).collect();
            assert!(found[0].iter().map(|one| one.row).eq(rows), "{size}");
        }
        let nought = rows.on_card.search(&[0.0; 4 * DIMENSION], 5, None).expect("an answer");
        assert!(nought.iter().all(|found| found.iter().map(|one| one.row).eq(0..5)));
        // A row whose length is no number of f32, and one that is long.
        let mut long = vectors(7, 2);
        long[..DIMENSION].fill(60_000.0);
        rows.append(&[]);
        let mut others = Rows::with_codes(DIMENSION, 12_002);
        others.append(&vectors(1, 12_000));
        others.append(&long);
        let found = others.on_card.search(&[1.0; DIMENSION], 1, None).expect("an answer");
        assert_eq!(found[0][0].row, 12_000);
    });
}

#[test]
fn without_room_nothing_is_lost_and_a_lost_card_says_so() {
    on_card!("", || {
        let mut rows = Rows::new(DIMENSION, 10_000);
        rows.append(&vectors(1, 10_000));
        let query = vectors(2, 1);
        set("fail_allocation=1");
        assert!(matches!(rows.on_card.search(&query, 5000, None), Err(CudaError::OutOfMemory)));
        set("fail_allocation=0 fail_host_allocation=1");
        assert!(matches!(rows.on_card.search(&query, 5000, None), Err(CudaError::OutOfMemory)));
        for nth in 1..=3 {
            set(&format!("fail_launch={nth}"));
            assert!(rows.on_card.search(&query, 5, None).is_err(), "{nth}");
        }
        set("fail_launch=0");
        rows.agrees(&query, 5, None);
        let gpu = rows.on_card.gpu().clone();
        for fault in ["fail_allocation=3", "fail_host_allocation=2"] {
            set(fault);
            assert_eq!(ResidentRows::new(&gpu, DIMENSION, 100, None).err(), Some(CudaError::OutOfMemory), "{fault}");
        }
        set("memory=1000");
        assert!(matches!(ResidentRows::new(&gpu, DIMENSION, 100, None), Err(CudaError::OutOfMemory)));
        set("memory=1000000000 lose=1");
        assert!(matches!(rows.on_card.search(&query, 5, None), Err(CudaError::Lost(_))));
    });
}

#[test]
fn rows_take_as_much_memory_as_is_said() {
    on_card!("", || {
        let gpu = Gpu::find(0).expect("a card");
        for rows in [100, 100_000] {
            let bytes = ResidentRows::bytes(DIMENSION, rows);
            set(&format!("memory={}", bytes + (64 << 10)));
            let mut on_card = ResidentRows::new(&gpu, DIMENSION, rows, None).expect("room");
            set(&format!("memory={}", bytes + ResidentRows::bytes_of_codes(DIMENSION, rows) + (64 << 10)));
            assert_eq!(on_card.add_codes(), Ok(true));
        }
    });
}

#[test]
fn rows_end_with_noughts_where_they_are_shorter_than_the_kernels_want() {
    on_card!("", || {
        let mut rows = Rows::with_codes(60, 9000);
        rows.append(&numbers(1, 9000 * 60, 0.1));
        rows.agrees(&numbers(2, 60, 0.1), 5, None);
        rows.agrees(&numbers(3, 4 * 60, 0.1), 5, None);
    });
}

#[test]
fn rows_of_a_width_that_the_kernels_do_not_know_are_refused() {
    on_card!("", || {
        let gpu = Gpu::find(0).expect("a card");
        assert!(matches!(ResidentRows::new(&gpu, 66, 10, None), Err(CudaError::Shape(_))));
        assert_eq!(Gpu::find(1).err(), Some(CudaError::NoGpu { ordinal: 1, count: 1 }));
    });
}
