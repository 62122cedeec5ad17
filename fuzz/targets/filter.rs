//! The filter language, as JSON that a client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use membox_records::Filter;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = serde_json::from_slice(data) {
        let first = Filter::parse(&value, "/filter");
        let again = Filter::parse(&value, "/filter");
        assert_eq!(format!("{first:?}"), format!("{again:?}"), "a filter means one thing");
    }
});
