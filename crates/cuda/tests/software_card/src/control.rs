//! What a test asks of the card of its process: faults, and what was counted.

use crate::faults::Faults;
use crate::state::state;
use std::ffi::{CStr, c_char};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn software_card_set(words: *const c_char) {
    // SAFETY: a string of C.
    let words = unsafe { CStr::from_ptr(words) }.to_str().unwrap_or_default();
    let mut state = state();
    state.faults.set(words);
    let limits: Vec<usize> = state.faults.memory.clone();
    state.cards.iter_mut().enumerate().for_each(|(i, card)| card.memory.limit = Faults::of(&limits, i));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn software_card_counts(counts: *mut u64) {
    let state = state();
    let c = &state.counts;
    let five = [c.launches, c.products, c.graphs, c.allocations, c.complaints];
    // SAFETY: there is room for five.
    unsafe { std::ptr::copy_nonoverlapping(five.as_ptr(), counts, 5) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn software_card_traffic(kernel: *const c_char, both: *mut u64) {
    // SAFETY: a string of C.
    let kernel = unsafe { CStr::from_ptr(kernel) }.to_string_lossy();
    let (launches, bytes) = state().traffic.get(kernel.as_ref()).copied().unwrap_or_default();
    // SAFETY: there is room for two.
    unsafe { std::ptr::copy_nonoverlapping([launches, bytes].as_ptr(), both, 2) };
}

/// As much of the last complaint as there is room for; how long it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn software_card_complaint(to: *mut u8, room: usize) -> usize {
    let state = state();
    let count = state.complaint.len().min(room);
    // SAFETY: there is room for so many.
    unsafe { std::ptr::copy_nonoverlapping(state.complaint.as_ptr(), to, count) };
    count
}
