//! Files of token vectors hold what was appended to them, or say that it is missing: never other codes.

use membox_vectors::token_format::SEALED_BYTES;
use membox_vectors::{RowCodes, StoredCodes, TokenFile, TokenSpace, TokenView, VectorsError};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const SPACE: TokenSpace = TokenSpace { dimension: 32, axes: [3; 16] };
const VECTORS: Uuid = Uuid::from_u128(77);
const ROWS: u32 = 24;

/// What a row is to have: checksum of its vector, tokens, key and codes.
type Codes = (u32, u16, u32, Vec<u8>);
type Model = BTreeMap<u32, Codes>;

/// Codes that no other seed gives.
fn codes(seed: u32, tokens: u16, key: u32) -> Codes {
    let length = usize::from(tokens) * SPACE.token_bytes() + if key == 0 { 0 } else { SEALED_BYTES };
    let byte = |i: usize| (seed.wrapping_mul(0x9E37_79B9).rotate_left(i as u32 % 31) >> 7) as u8 ^ i as u8;
    (seed ^ 0xC0FF_EE00, tokens, key, (0..length).map(byte).collect())
}

fn append(file: &mut TokenFile, row: u32, (vector_crc, tokens, key, bytes): &Codes) {
    let codes = StoredCodes { tokens: *tokens, key: *key, bytes };
    file.append(&[RowCodes { row, vector_crc: *vector_crc, codes }]).expect("room");
}

fn get(view: &TokenView, row: u32, vector_crc: u32) -> Option<Codes> {
    view.get(row, vector_crc).map(|found| (vector_crc, found.tokens, found.key, found.bytes.to_vec()))
}

/// Holds every row against what it is to have.
fn check(view: &TokenView, model: &Model) {
    for row in 0..ROWS + 5 {
        let wanted = model.get(&row);
        let crc = wanted.map_or(1, |codes| codes.0);
        assert_eq!(get(view, row, crc).as_ref(), wanted, "row {row}");
        assert_eq!(view.get(row, crc ^ 4), None, "another vector is in row {row}");
        assert_eq!(view.key(row), wanted.map(|codes| codes.2));
    }
}

/// Holds every row against what it is to have, where it has anything.
fn check_no_other(view: &TokenView, model: &Model) -> usize {
    let found = |row| {
        let crc = model.get(&row).map_or(1, |codes: &Codes| codes.0);
        get(view, row, crc).map(|found| assert_eq!(Some(&found), model.get(&row), "row {row}"))
    };
    (0..ROWS + 5).filter_map(found).count()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.mbe");
    (folder, path)
}

fn created(path: &Path) -> TokenFile {
    TokenFile::create(path, SPACE, VECTORS).expect("a file")
}

/// A file whose rows but for every fifth have codes, some of them sealed.
fn filled(path: &Path) -> (TokenFile, Model) {
    let (mut file, mut model) = (created(path), Model::new());
    for row in (0..ROWS).rev().filter(|row| row % 5 != 0) {
        let new = codes(row + 100, row as u16 % 7 + 1, row % 3);
        append(&mut file, row, &new);
        model.insert(row, new);
    }
    (file, model)
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("a cut");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u32, u16, u32),
    Erase(u32),
    Reopen,
    Forget(u32),
    Copy,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ROWS, 1u16..9, 0u32..3).prop_map(|(row, tokens, key)| Step::Append(row, tokens, key)),
        2 => (0..ROWS).prop_map(Step::Erase),
        1 => Just(Step::Reopen),
        1 => (0..ROWS).prop_map(Step::Forget),
        1 => Just(Step::Copy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_file_is_a_map_of_rows(steps in prop::collection::vec(step(), 1..60)) {
        let (_folder, path) = folder();
        let (mut file, mut model) = (created(&path), Model::new());
        for (seed, step) in (0..).zip(steps) {
            match step {
                Step::Append(row, tokens, key) => {
                    let new = codes(seed, tokens, key);
                    append(&mut file, row, &new);
                    model.insert(row, new);
                }
                Step::Erase(row) => {
                    file.erase([row]).expect("an erasure");
                    model.remove(&row);
                }
                Step::Reopen => {
                    drop(file);
                    file = TokenFile::open(&path, VECTORS, ROWS).expect("the file");
                }
                Step::Forget(row) => {
                    file.forget_rows_from(row).expect("a cut");
                    model.retain(|known, _| *known < row);
                }
                Step::Copy => {
                    let to = path.with_file_name(format!("copy{seed}.mbe"));
                    let opened = [&path, &path.with_extension("mbt")].map(|path| File::open(path).expect("a file"));
                    let bytes = TokenFile::copy((&opened[0], &opened[1]), VECTORS, ROWS, &to).expect("a copy");
                    file = TokenFile::open(&to, VECTORS, ROWS).expect("the copy");
                    prop_assert_eq!(bytes, file.bytes());
                    let stored: usize = model.values().map(|codes| codes.3.len()).sum();
                    let length = fs::metadata(to.with_extension("mbt")).expect("a file").len();
                    prop_assert_eq!(length, stored as u64, "what no entry names is not copied");
                    file.rename(&path).expect("a rename");
                }
            }
            prop_assert_eq!(file.filled().iter().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            check(&file.view(), &model);
        }
        check(&TokenView::open(&path, VECTORS).expect("the file"), &model);
        // Whatever was replaced or erased is not in the file.
        let stored: usize = model.values().map(|codes| codes.3.iter().filter(|byte| **byte != 0).count()).sum();
        let bytes = fs::read(path.with_extension("mbt")).expect("the codes");
        prop_assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), stored);
    }

    #[test]
    fn a_flipped_bit_gives_no_other_codes(of_codes: bool, at: prop::sample::Index, bit in 0u32..8) {
        let (_folder, path) = folder();
        let (file, model) = filled(&path);
        drop(file);
        let flipped = if of_codes { path.with_extension("mbt") } else { path.clone() };
        let mut bytes = fs::read(&flipped).expect("the bytes");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&flipped, bytes).expect("a write");
        match TokenFile::open(&path, VECTORS, ROWS) {
            Ok(file) => prop_assert!(check_no_other(&file.view(), &model) >= model.len() - 1),
            Err(error) => {
                let is_damaged = matches!(error, VectorsError::Damaged { .. });
                prop_assert!(is_damaged && !of_codes && at < 4096, "{error}");
            }
        }
    }

    #[test]
    fn rows_of_a_cut_file_are_whole_or_missing(of_codes: bool, at: prop::sample::Index) {
        let (_folder, path) = folder();
        let (file, model) = filled(&path);
        let view = file.view();
        drop(file);
        let which = if of_codes { path.with_extension("mbt") } else { path.clone() };
        let length = at.index(fs::metadata(&which).expect("a file").len() as usize) as u64;
        cut(&which, length);
        check_no_other(&view, &model);
        let Ok(mut file) = TokenFile::open(&path, VECTORS, ROWS) else {
            prop_assert!(!of_codes && length < 4096);
            return Ok(());
        };
        check_no_other(&file.view(), &model);
        // What is missing can be written again.
        for (row, codes) in &model {
            append(&mut file, *row, codes);
        }
        check(&file.view(), &model);
    }
}

#[test]
fn what_a_crash_left_of_rows_without_a_record_is_cut_off_and_overwritten() {
    let (_folder, path) = folder();
    let (file, mut model) = filled(&path);
    drop(file);
    let file = TokenFile::open(&path, VECTORS, 10).expect("the file");
    model.retain(|row, _| *row < 10);
    check(&file.view(), &model);
    assert_eq!(fs::metadata(&path).expect("a file").len(), 4096 + 160);
    let bytes = fs::read(path.with_extension("mbt")).expect("the codes");
    let lost = codes(111, 11 % 7 + 1, 2).3;
    assert!(!bytes.windows(lost.len()).any(|window| window == lost), "codes of a row that was never acknowledged");
}

#[test]
fn a_view_sees_its_rows_while_the_file_outgrows_its_maps() {
    let (_folder, path) = folder();
    let mut file = created(&path);
    append(&mut file, 0, &codes(1, 9, 0));
    let early = file.view();
    let all: Vec<Codes> = (0..9000).map(|row| codes(row + 1, 9, 0)).collect();
    let all: Vec<RowCodes> = (0..)
        .zip(&all)
        .map(|(row, (vector_crc, tokens, key, bytes))| RowCodes {
            row,
            vector_crc: *vector_crc,
            codes: StoredCodes { tokens: *tokens, key: *key, bytes },
        })
        .collect();
    file.append(&all[1..]).expect("room");
    assert_eq!(early.get(0, all[0].vector_crc), Some(all[0].codes));
    assert_eq!(early.get(1, all[1].vector_crc), None, "it was written later");
    let view = file.view();
    assert!(all.iter().all(|new| view.get(new.row, new.vector_crc) == Some(new.codes)));
    assert!(file.take_unsynced().is_some_and(|sync| sync.sync().is_ok()) && file.take_unsynced().is_none());
}

#[test]
fn files_of_others_and_none_at_all_are_errors() {
    let (_folder, path) = folder();
    assert!(matches!(TokenFile::open(&path, VECTORS, ROWS), Err(VectorsError::Io { .. })), "there is none");
    let (file, _) = filled(&path);
    drop(file);
    let other = TokenFile::open(&path, Uuid::from_u128(1), ROWS);
    assert!(matches!(other, Err(VectorsError::Damaged { .. })));
    fs::remove_file(path.with_extension("mbt")).expect("a removal");
    assert!(matches!(TokenFile::open(&path, VECTORS, ROWS), Err(VectorsError::Io { .. })), "one of two is there");
    // Another one takes its place.
    check(&created(&path).view(), &Model::new());
}

#[test]
fn a_file_that_is_cut_while_it_is_open_takes_no_more() {
    let (_folder, path) = folder();
    let (mut file, model) = filled(&path);
    cut(&path.with_extension("mbt"), 50);
    check_no_other(&file.view(), &model);
    let (vector_crc, tokens, key, bytes) = codes(5, 3, 0);
    let new = RowCodes { row: 2, vector_crc, codes: StoredCodes { tokens, key, bytes: &bytes } };
    assert!(matches!(file.append(&[new]), Err(VectorsError::Damaged { .. })));
    assert!(matches!(file.erase([2]), Err(VectorsError::Damaged { .. })));
}
