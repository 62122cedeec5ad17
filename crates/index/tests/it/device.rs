//! Rows on a device: the same answers as an exact scan, in step with the file, and none the worse when the device
//! fails.

use half::f16;
use membox_index::{
    AllowedRows, DeviceRows, Effort, Found, IndexError, IndexPolicy, RowDevice, Scanner, Search, VectorIndex,
};
use membox_vectors::{RowType, VectorFile, VectorView};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DIMENSION: usize = 16;

/// The machine's own memory as a device: it sums in an order of its own, and can be slow, full and broken.
#[derive(Debug, Default)]
struct Memory(Arc<State>);

#[derive(Debug, Default)]
struct State {
    most_rows: AtomicUsize,
    is_broken: AtomicBool,
    is_slow: AtomicBool,
    rooms: AtomicUsize,
    searches: AtomicUsize,
    filters: AtomicUsize,
    rows: AtomicUsize,
    /// Appending more rows than that fails, where it is not nought.
    is_full_at: AtomicUsize,
    refused: AtomicUsize,
}

struct Rows {
    state: Arc<State>,
    dimension: usize,
    capacity: usize,
    rows: Vec<u16>,
}

impl RowDevice for Memory {
    fn allocate(&self, dimension: usize, capacity: usize) -> Result<Box<dyn DeviceRows>, IndexError> {
        self.0.rooms.fetch_add(1, Ordering::Relaxed);
        match capacity <= self.0.most_rows.load(Ordering::Relaxed) {
            true => Ok(Box::new(Rows { state: self.0.clone(), dimension, capacity, rows: Vec::new() })),
            false => Err(IndexError::Device(format!("no room for {capacity} rows"))),
        }
    }
}

impl DeviceRows for Rows {
    fn append(&mut self, rows: &[u16]) -> Result<(), IndexError> {
        let (count, most) =
            ((self.rows.len() + rows.len()) / self.dimension, self.state.is_full_at.load(Ordering::Relaxed));
        if most > 0 && count > most {
            self.state.refused.fetch_add(1, Ordering::Relaxed);
            return Err(IndexError::Device("it is full".into()));
        }
        self.rows.extend(rows);
        self.state.rows.store(count, Ordering::Relaxed);
        assert!(self.rows.len() <= self.capacity * self.dimension, "more rows than its capacity");
        Ok(())
    }

    fn search(&mut self, queries: &[f32], k: usize, allowed: Option<&[u32]>) -> Result<Vec<Vec<u32>>, IndexError> {
        self.state.searches.fetch_add(1, Ordering::Relaxed);
        self.state.filters.fetch_add(usize::from(allowed.is_some()), Ordering::Relaxed);
        if self.state.is_broken.load(Ordering::Relaxed) {
            return Err(IndexError::Device("it fell off the bus".into()));
        }
        if self.state.is_slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let best_of = |query: &[f32]| {
            let score =
                |row: &[u16]| row.iter().zip(query).rev().map(|(x, q)| f16::from_bits(*x).to_f32() * q).sum::<f32>();
            let is_allowed = |row: &usize| allowed.is_none_or(|bits| bits[row / 32] >> (row % 32) & 1 == 1);
            let rows = self.rows.chunks(self.dimension).enumerate().filter(|(row, _)| is_allowed(row));
            let mut scored: Vec<(u32, f32)> = rows.map(|(row, numbers)| (row as u32, score(numbers))).collect();
            scored.sort_by(|a, b| b.1.total_cmp(&a.1));
            scored.into_iter().take(k).map(|(row, _)| row).collect()
        };
        Ok(queries.chunks(self.dimension).map(best_of).collect())
    }
}

/// A device with room for so many rows, and a scanner that uses it.
fn device(most_rows: usize) -> (Arc<State>, Scanner) {
    let memory = Memory::default();
    memory.0.most_rows.store(most_rows, Ordering::Relaxed);
    (memory.0.clone(), Scanner::on(Some(Arc::new(memory))))
}

fn vectors(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect()).collect()
}

fn file(folder: &tempfile::TempDir, name: &str, count: usize) -> VectorFile {
    let mut file = VectorFile::create(&folder.path().join(name), DIMENSION, RowType::F16).expect("a file");
    file.append(vectors(count, 1).iter().map(Vec::as_slice)).expect("room");
    file
}

/// Two of three rows are live.
fn live(view: &VectorView) -> AllowedRows {
    AllowedRows::from((0..view.rows()).filter(|row| row % 3 > 0).collect::<RoaringBitmap>())
}

fn ask(view: &VectorView, index: Option<&VectorIndex>, effort: Effort, scanner: &Scanner, seed: u64) -> Vec<Found> {
    let queries = vectors(3, seed);
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let search = Search { view, index, allowed: &live(view), policy: IndexPolicy::hnsw(), effort, scanner };
    let found = search.nearest(&queries, 10).expect("a search");
    for (query, found) in queries.iter().zip(&found) {
        let wanted = view.scan(query, 0..view.rows(), Some(live(view).rows()), 10);
        if found.exact {
            assert_eq!(found.rows, wanted);
        }
        assert_eq!(found.rows.len(), 10);
    }
    found
}

#[test]
fn what_is_on_a_device_is_found_there_exactly_and_in_step_with_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, scanner) = device(1_000_000);
    let mut first = file(&folder, "first.mbv", 70_000);
    let view = first.view(70_000);
    let searches = || state.searches.swap(0, Ordering::Relaxed);
    ask(&view, None, Effort::default(), &scanner, 10);
    assert_eq!(searches(), 0, "a search takes only some of the rows there");
    for seed in 11..14 {
        assert!(ask(&view, None, Effort::default(), &scanner, seed)[0].exact);
        assert_eq!(searches(), 1);
    }
    // Within its room, and beyond it.
    for (rows, rooms) in [(80_000, 1), (150_000, 2)] {
        first.append(vectors(rows - first.rows() as usize, 2).iter().map(Vec::as_slice)).expect("room");
        let view = first.view(rows as u32);
        ask_until_there(&view, &scanner, &state);
        state.searches.store(0, Ordering::Relaxed);
        assert_eq!(state.rooms.load(Ordering::Relaxed), rooms);
    }
    // Who still looks at fewer rows finds none of the others.
    assert!(ask(&view, None, Effort::default(), &scanner, 20)[0].exact);
    let second = file(&folder, "second.mbv", 30_000);
    ask(&second.view(30_000), None, Effort::default(), &scanner, 21);
    assert_eq!((searches(), state.rooms.load(Ordering::Relaxed)), (2, 3), "after a compaction the file is another one");
}

/// Asks until the device has answered.
fn ask_until_there(view: &VectorView, scanner: &Scanner, state: &State) {
    let begun = Instant::now();
    while state.searches.load(Ordering::Relaxed) == 0 {
        ask(view, None, Effort::default(), scanner, 1);
        assert!(begun.elapsed() < Duration::from_secs(60), "{} rows are there in the end", view.rows());
    }
}

#[test]
fn many_rows_are_taken_there_beside_the_searches() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, scanner) = device(1_000_000);
    let file = file(&folder, "many.mbv", 300_000);
    let view = file.view(300_000);
    // One search begins it, and no other is asked until all of them are there.
    ask(&view, None, Effort::default(), &scanner, 1);
    let begun = Instant::now();
    while state.rows.load(Ordering::Relaxed) < 300_000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} rows", state.rows.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(1));
    }
    ask_until_there(&view, &scanner, &state);
    assert_eq!(state.rooms.load(Ordering::Relaxed), 1);
}

#[test]
fn a_thread_that_takes_rows_there_ends_where_the_device_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, scanner) = device(1_000_000);
    let file = file(&folder, "many.mbv", 300_000);
    state.is_full_at.store(150_000, Ordering::Relaxed);
    ask(&file.view(300_000), None, Effort::default(), &scanner, 1);
    let begun = Instant::now();
    while state.refused.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it comes to the row that does not fit");
        std::thread::sleep(Duration::from_millis(1));
    }
    ask(&file.view(300_000), None, Effort::default(), &scanner, 2);
    assert_eq!(state.searches.load(Ordering::Relaxed), 0, "searches go on without it");
}

#[test]
fn a_search_of_all_rows_brings_no_filter() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rows = file(&folder, "rows.mbv", 30_001);
    let (state, scanner) = device(1_000_000);
    let query = vectors(1, 5).remove(0);
    let search = |view: &VectorView, allowed: RoaringBitmap| {
        let (policy, effort) = (IndexPolicy::hnsw(), Effort::default());
        let wanted = view.scan(&query, 0..view.rows(), Some(&allowed), 10);
        let allowed = &AllowedRows::from(allowed);
        let search = Search { view, index: None, allowed, policy, effort, scanner: &scanner };
        assert_eq!(search.nearest(&[&query], 10).expect("a search")[0].rows, wanted);
        (state.searches.swap(0, Ordering::Relaxed), state.filters.swap(0, Ordering::Relaxed))
    };
    let view = rows.view(30_001);
    assert_eq!(search(&view, (0..30_001).collect()), (1, 0));
    // All but the last, whose bit is alone in its word.
    assert_eq!(search(&view, (0..30_000).collect()), (1, 1));
    assert_eq!(search(&view, (1..30_001).collect()), (1, 1));
    // All of fewer rows than are there.
    rows.append(vectors(100, 6).iter().map(Vec::as_slice)).expect("room");
    assert_eq!(search(&rows.view(30_101), (0..30_101).collect()), (1, 0));
    assert_eq!(search(&view, (0..30_001).collect()), (1, 1));
}

#[test]
fn searches_go_on_without_a_device_that_is_full_or_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = file(&folder, "rows.mbv", 30_000).view(30_000);
    let (state, full) = device(1000);
    (0..4).for_each(|seed| drop(ask(&view, None, Effort::default(), &full, seed)));
    assert_eq!(state.rooms.load(Ordering::Relaxed), 1, "it is left alone for a while");
    let (state, broken) = device(1_000_000);
    ask(&view, None, Effort::default(), &broken, 5);
    state.is_broken.store(true, Ordering::Relaxed);
    (0..4).for_each(|seed| drop(ask(&view, None, Effort::default(), &broken, seed)));
    assert_eq!(state.searches.load(Ordering::Relaxed), 2, "so is this one");
}

#[test]
fn an_index_that_is_faster_is_used_and_an_exact_search_is_the_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = file(&folder, "rows.mbv", 30_000).view(30_000);
    let spec = IndexPolicy::hnsw().wanted(30_000).expect("an index");
    let index = VectorIndex::build(&view, spec, 2, &mut |_| true).expect("a build");
    let (state, scanner) = device(1_000_000);
    state.is_slow.store(true, Ordering::Relaxed);
    let found: Vec<bool> =
        (0..12).map(|seed| ask(&view, Some(&index), Effort::default(), &scanner, seed)[0].exact).collect();
    assert_eq!(found, [[true; 8].as_slice(), &[false; 4]].concat(), "eight searches go both ways");
    assert!(ask(&view, Some(&index), Effort { exact: true, ..Effort::default() }, &scanner, 1)[0].exact);
    assert_eq!(state.searches.load(Ordering::Relaxed), 9);
    let by_hand = Effort { ef_search: Some(50), ..Effort::default() };
    assert!(!ask(&view, Some(&index), by_hand, &scanner, 2)[0].exact, "who names a beam means the index");
}

#[test]
fn searches_at_the_same_time_do_not_wait_for_the_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = file(&folder, "rows.mbv", 30_000).view(30_000);
    let (state, scanner) = device(1_000_000);
    ask(&view, None, Effort::default(), &scanner, 1);
    state.is_slow.store(true, Ordering::Relaxed);
    state.searches.store(0, Ordering::Relaxed);
    let answered = Mutex::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (scanner, view, answered) = (&scanner, &view, &answered);
            scope.spawn(move || {
                (0..5).for_each(|seed| drop(ask(view, None, Effort::default(), scanner, 100 * thread + seed)));
                *answered.lock().expect("a lock") += 5;
            });
        }
    });
    let there = state.searches.load(Ordering::Relaxed);
    assert!(*answered.lock().expect("a lock") == 20 && (1..20).contains(&there), "{there} searches were there");
}
