//! What is appended and synced is there after reopening; what is damaged is refused.

use membox_vectors::{RowType, VectorFile, VectorsError};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vectors.mbv");
    (folder, path)
}

fn overwrite(path: &PathBuf, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).expect("a write");
}

#[test]
fn rows_survive_reopening_and_uncommitted_ones_are_cut_off() {
    let (_folder, path) = folder();
    let vectors: Vec<[f32; 3]> = (0..5).map(|i| [i as f32, 0.5, -1.0]).collect();
    let mut file = VectorFile::create(&path, 3, RowType::F32).expect("a file");
    let receipts = file.append(vectors.iter().map(<[f32; 3]>::as_slice)).expect("room");
    file.sync().expect("a sync");
    let uuid = file.header().uuid;
    drop(file);

    let mut file = VectorFile::open(&path, 3).expect("the file");
    assert_eq!((file.rows(), file.header().uuid), (3, uuid));
    assert_eq!(file.view(3).vector(2), [2.0, 0.5, -1.0]);
    assert_eq!(file.view(3).crc(2), receipts[2].crc);
    let again = file.append([[9.0, 9.0, 9.0].as_slice()]).expect("room");
    assert_eq!(again[0].row, 3, "the row number of a row that was cut off is used for the next");
}

#[test]
fn a_view_sees_its_rows_while_the_file_outgrows_its_map() {
    let (_folder, path) = folder();
    let mut file = VectorFile::create(&path, 384, RowType::F16).expect("a file");
    let row = |i: usize| -> Vec<f32> { (0..384).map(|d| ((i * 7 + d) % 13) as f32).collect() };
    file.append([row(0).as_slice()]).expect("room");
    let early = file.view(1);
    for i in 1..4000 {
        file.append([row(i).as_slice()]).expect("room");
    }
    assert_eq!(early.vector(0), row(0));
    assert_eq!(file.view(4000).vector(3999), row(3999));
}

#[test]
fn damaged_and_foreign_files_are_refused_with_the_reason() {
    let (_folder, path) = folder();
    let mut file = VectorFile::create(&path, 8, RowType::F16).expect("a file");
    file.append([[0.5; 8].as_slice()]).expect("room");
    drop(file);
    let whole = std::fs::read(&path).expect("the bytes");

    let message = |rows| VectorFile::open(&path, rows).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message(2).contains("it holds 1 rows; 2 were committed"));
    for at in [0, 9, 13, 20, 30, 41, 2000] {
        overwrite(&path, at, &[!whole[at as usize]]);
        assert!(!message(1).is_empty(), "a flipped byte at {at} went unseen");
        std::fs::write(&path, &whole).expect("a write");
    }
    std::fs::write(&path, &whole[..100]).expect("a write");
    assert!(message(1).contains("shorter than its header"));
    std::fs::write(&path, b"").expect("a write");
    assert!(message(0).contains("shorter than its header"));

    let mut newer = whole.clone();
    newer[8] = 9;
    let crc = crc32c::crc32c(&newer[..40]);
    newer[40..44].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &newer).expect("a write");
    assert!(matches!(VectorFile::open(&path, 1), Err(VectorsError::TooNew { found: 9, .. })));
}

#[test]
fn vectors_that_do_not_fit_are_refused_and_leave_nothing() {
    let (_folder, path) = folder();
    let mut file = VectorFile::create(&path, 2, RowType::F16).expect("a file");
    assert!(matches!(file.append([[1.0].as_slice()]), Err(VectorsError::Dimension { found: 1, expected: 2 })));
    for bad in [f32::NAN, f32::INFINITY, 1e6] {
        assert!(matches!(file.append([[0.0, 0.0].as_slice(), &[0.0, bad]]), Err(VectorsError::NotFinite(_))));
    }
    assert_eq!(file.rows(), 0);
}

#[test]
fn an_erased_row_is_zero_on_disk() {
    let (_folder, path) = folder();
    let mut file = VectorFile::create(&path, 4, RowType::F32).expect("a file");
    file.append([[1.5; 4].as_slice(), &[2.5; 4]]).expect("room");
    file.erase([0]).expect("a sync");
    let bytes = std::fs::read(&path).expect("the bytes");
    assert!(bytes[4096..4096 + 64].iter().all(|&b| b == 0));
    assert_eq!(file.view(2).vector(1), [2.5; 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_scan_gives_what_sorting_all_scores_gives(
        seeds in prop::collection::vec(0u32..1000, 1..80),
        allowed in prop::collection::btree_set(0u32..80, 0..40),
        k in 1usize..12,
        wide: bool,
    ) {
        let (_folder, path) = folder();
        let row_type = if wide { RowType::F32 } else { RowType::F16 };
        let number = |seed: u32, d: u32| ((seed * 31 + d * 17) % 101) as f32 / 101.0 - 0.5;
        let vector = |seed: u32| -> Vec<f32> { (0..32).map(|d| number(seed, d)).collect() };
        let vectors: Vec<Vec<f32>> = seeds.iter().map(|&s| vector(s)).collect();
        let mut file = VectorFile::create(&path, 32, row_type).expect("a file");
        file.append(vectors.iter().map(Vec::as_slice)).expect("room");
        let (view, query) = (file.view(file.rows()), vector(1));
        let allowed: RoaringBitmap = allowed.into_iter().collect();
        for filter in [None, Some(&allowed)] {
            let mut all: Vec<_> = (0..view.rows()).filter(|r| filter.is_none_or(|f| f.contains(*r)))
                .map(|row| membox_vectors::ScoredRow { row, score: view.score(&query, row) }).collect();
            all.sort();
            all.truncate(k);
            prop_assert_eq!(view.scan(&query, 0..view.rows(), filter, k), all);
        }
    }
}
