//! What `membox import` reads: lines, arrays and objects, broken or not.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The module of the binary, which is no library; it needs nothing but serde_json.
#[allow(dead_code)]
#[path = "../../crates/membox/src/import/items.rs"]
mod items;

fuzz_target!(|data: &[u8]| {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut bytes = 0;
    for item in items::Items::new(Box::new(data)) {
        let Ok(item) = item else { return };
        assert!((1..=lines).contains(&item.line), "line {} of {lines}", item.line);
        bytes += item.bytes.len();
        assert!(bytes <= data.len(), "no byte is read twice");
    }
});
