//! A page of a mapped vector file that cannot be read is an error of that file alone.

use membox_vectors::{RowType, VectorFile, VectorsError};
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

const ROWS: u32 = 400;
const DIMENSION: usize = 384;

fn vector(row: u32) -> Vec<f32> {
    (0..DIMENSION).map(|d| ((row as usize * 31 + d * 7) % 97) as f32 - 48.0).collect()
}

fn made(path: &Path) -> VectorFile {
    let mut file = VectorFile::create(path, DIMENSION, RowType::F16).expect("a file");
    let vectors: Vec<_> = (0..ROWS).map(vector).collect();
    file.append(vectors.iter().map(Vec::as_slice)).expect("room");
    file.sync().expect("a sync");
    file
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).expect("a cut");
}

#[test]
fn a_file_that_is_cut_anywhere_under_a_map_is_damaged_and_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = made(&folder.path().join("other.mbv"));
    let whole = std::fs::metadata(folder.path().join("other.mbv")).expect("a length").len();
    let stride = 768;
    let mut lengths = vec![0, 1, 4095, 4096, 4097, 4096 + stride, 4096 + stride * 3 + 100, whole - 1, whole];
    lengths.extend((1500..whole).step_by(16 * 1024 + 77));
    for length in lengths {
        let path = folder.path().join(format!("cut-{length}.mbv"));
        let mut file = made(&path);
        let view = file.view(ROWS);
        let crcs: Vec<u32> = (0..ROWS).map(|row| view.crc(row)).collect();
        cut(&path, length);
        let best = view.scan(&vector(7), 0..ROWS, None, ROWS as usize);
        assert_eq!(best.len(), ROWS as usize, "the scan goes on with zeros");
        // What is left of the last page is zeros without a signal.
        let has_lost_pages = length.next_multiple_of(4096) < whole;
        assert_eq!(view.check_readable().is_err(), has_lost_pages, "{length} of {whole} bytes");
        for row in 0..ROWS {
            let is_left = view.header().row_offset(u64::from(row) + 1) <= length;
            assert!(!is_left || view.crc(row) == crcs[row as usize], "row {row} of {length} bytes stays");
        }
        let appended = file.append([vector(0).as_slice()]);
        assert_eq!(matches!(appended, Err(VectorsError::Damaged { .. })), length < whole, "{length}: {appended:?}");
        assert!(length >= whole || file.erase([0]).is_err(), "nothing makes it longer again");
    }
    other.view(ROWS).check_readable().expect("the other file is whole");
    assert_eq!(other.view(ROWS).scan(&vector(7), 0..ROWS, None, 1)[0].row, 7);
}

#[test]
fn many_threads_that_meet_the_same_pages_all_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vectors.mbv");
    let file = made(&path);
    let view = file.view(ROWS);
    cut(&path, 4096);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let view = &view;
            scope.spawn(move || {
                for row in (0..ROWS).cycle().skip(thread * 50).take(ROWS as usize) {
                    assert!(view.vector(row).iter().all(|number| *number == 0.0));
                }
            });
        }
    });
    assert!(view.check_readable().is_err());
    // A copy of it would pass zeros off as rows.
    let mut copy = VectorFile::create(&folder.path().join("copy.mbv"), DIMENSION, RowType::F16).expect("a file");
    assert!(copy.append_rows(&view, 0..ROWS).is_err());
    assert_eq!(copy.rows(), 0);
}

/// A map that is not ours.
#[test]
#[ignore = "ends its process; another test runs it in one of its own"]
fn ends_by_a_bus_error_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = made(&folder.path().join("vectors.mbv"));
    ours.view(ROWS).check_readable().expect("it is whole");
    let path = folder.path().join("theirs");
    std::fs::write(&path, vec![1; 20_000]).expect("a file");
    let file = File::open(&path).expect("a file");
    // SAFETY: the map is read-only; what reading it does when the file is cut is what this test is about.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("a map");
    cut(&path, 0);
    std::hint::black_box(map[10_000]);
}

#[test]
fn a_bus_error_elsewhere_ends_the_process_as_before() {
    let own = std::env::current_exe().expect("this binary");
    let run = Command::new(own).args(["--ignored", "--exact", "ends_by_a_bus_error_elsewhere"]).output();
    let status = run.expect("a process").status;
    assert_eq!(status.signal(), Some(7), "SIGBUS: {status:?}");
}
