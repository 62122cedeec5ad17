//! A vector file of any bytes: as they are, and with the checksum of their header, since no random bytes have that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use membox_vectors::VectorView;
use membox_vectors::format::HEADER_BYTES;
use std::path::Path;

fn read(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
    for rows in [0, 1, 3, u32::MAX] {
        let Ok(view) = VectorView::open(path, rows) else { continue };
        let end = view.header().row_offset(u64::from(rows));
        assert!(end <= bytes.len() as u64, "{rows} rows end at {end}, the file at {}", bytes.len());
        if let Some(last) = rows.checked_sub(1) {
            assert_eq!(view.bytes(last).len(), view.header().stride());
            assert_eq!(view.vector(last).len(), view.header().dimension);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vectors.mbv");
    read(&path, data);
    // The header, then rows: a fuzzer does not find 4 KiB of zeros.
    let (fields, rows) = data.split_at(data.len().min(40));
    let mut whole = fields.to_vec();
    whole.resize(40, 0);
    whole.extend(crc32c::crc32c(&whole).to_le_bytes());
    whole.resize(HEADER_BYTES as usize, 0);
    whole.extend(rows);
    read(&path, &whole);
});
