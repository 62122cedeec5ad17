//! The driver's functions for pools, for pinned memory of the host, and for events.
//!
//! A copy from pinned memory reads it when the stream's turn comes, as a card does: who writes to it before has waited
//! for nothing. What waits for an event does all that its stream has to do.

use crate::driver::{answer, result};
use crate::faults::is_due;
use crate::state::{Work, code, state};
use std::ffi::{c_int, c_uint, c_void};

/// A pool's handle: that of its card.
const POOLS: usize = 0x200;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut usize, device: c_int) -> i32 {
    let state = state();
    let found = if state.faults.pools { Ok(POOLS + device as usize) } else { Err(code::INVALID_VALUE) };
    // SAFETY: as C has it.
    unsafe { answer(pool, found) }
}

/// Of a pool, how much it keeps is known and changes nothing: what is freed is counted as free at once.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemPoolSetAttribute(pool: usize, attribute: c_uint, _value: *const u64) -> i32 {
    let is_known = pool.checked_sub(POOLS).is_some_and(|card| card < state().cards.len());
    if is_known && attribute == 4 { code::SUCCESS } else { code::INVALID_VALUE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(to: *mut *mut c_void, size: usize, _flags: c_uint) -> i32 {
    let mut state = state();
    let allowed = state.card().map(|_| ()).and_then(|()| state.not_recorded("an allocation of pinned memory"));
    if let Err(code) = allowed {
        return code;
    }
    if is_due(&mut state.faults.fail_host_allocation) {
        return code::OUT_OF_MEMORY;
    }
    // What is never written is no number.
    let mut memory = vec![0xa5a5_a5a5_a5a5_a5a5u64; size.div_ceil(8).max(1)].into_boxed_slice();
    // SAFETY: as C has it.
    unsafe { to.write(memory.as_mut_ptr().cast()) };
    state.pinned.push(memory);
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(address: *mut c_void) -> i32 {
    let mut state = state();
    let from = address as usize;
    let Some(at) = state.pinned.iter().position(|memory| memory.as_ptr() as usize == from) else {
        state.complain("pinned memory is freed that is none");
        return code::INVALID_VALUE;
    };
    let end = from + state.pinned[at].len() * 8;
    let is_of = |work: &Work| match work {
        Work::UploadPinned { from: address, .. } | Work::Download { to: address, .. } => (from..end).contains(address),
        _ => false,
    };
    if state.streams.values().any(|stream| stream.queue.iter().any(is_of)) {
        state.complain("pinned memory is freed that a copy is still to use");
        return code::INVALID_VALUE;
    }
    state.pinned.swap_remove(at);
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> i32 {
    let mut state = state();
    if let Err(code) = state.card() {
        return code;
    }
    let handle = state.handle();
    state.events.insert(handle, None);
    // SAFETY: as C has it.
    unsafe { event.write(handle) };
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: usize) -> i32 {
    let mut state = state();
    let known = state.events.remove(&event).is_some();
    result(state.card().and(if known { Ok(()) } else { Err(code::INVALID_HANDLE) }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: usize, stream: usize) -> i32 {
    let mut state = state();
    let allowed = state.not_recorded("an event").and_then(|()| state.stream(stream).map(|_| ()));
    result(allowed.and_then(|()| match state.events.get_mut(&event) {
        Some(recorded) => {
            *recorded = Some(stream);
            Ok(())
        }
        None => Err(code::INVALID_HANDLE),
    }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: usize) -> i32 {
    let mut state = state();
    let recorded = match state.events.get(&event) {
        Some(recorded) => *recorded,
        None => return code::INVALID_HANDLE,
    };
    let done = state.card().map(|_| ()).and_then(|()| match recorded {
        Some(stream) if state.streams.contains_key(&stream) => state.drain(stream),
        _ => Ok(()),
    });
    result(done)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(_stream: usize, event: usize, _flags: c_uint) -> i32 {
    cuEventSynchronize(event)
}
