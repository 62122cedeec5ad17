//! The driver's pools, memory of the host, and events.

use crate::driver::{answer, put, result};
use crate::faults::is_due;
use crate::state::{code, state};
use std::alloc::Layout;
use std::ffi::{c_int, c_uint};

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

/// Where the size of what was allocated stands: before it, as far as addresses are rounded up to.
const HOST_ALIGNMENT: usize = 64;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(memory: *mut *mut u8, size: usize, _flags: c_uint) -> i32 {
    let mut state = state();
    let allowed = state.card().and_then(|_| state.not_recorded("an allocation"));
    if let Err(code) = allowed {
        return code;
    }
    if is_due(&mut state.faults.fail_host_allocation) {
        return code::OUT_OF_MEMORY;
    }
    let Ok(layout) = Layout::from_size_align(size + HOST_ALIGNMENT, HOST_ALIGNMENT) else { return code::INVALID_VALUE };
    // SAFETY: it is of more than no bytes, and has room for its own size.
    unsafe {
        let base = std::alloc::alloc(layout);
        if base.is_null() {
            return code::OUT_OF_MEMORY;
        }
        base.cast::<usize>().write(layout.size());
        // Who reads before writing finds it.
        std::ptr::write_bytes(base.add(HOST_ALIGNMENT), 0xa5, size);
        put(memory, base.add(HOST_ALIGNMENT))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(memory: *mut u8) -> i32 {
    // SAFETY: as C has it: what the function above gave.
    unsafe {
        let base = memory.sub(HOST_ALIGNMENT);
        let size = base.cast::<usize>().read();
        std::alloc::dealloc(base, Layout::from_size_align_unchecked(size, HOST_ALIGNMENT));
    }
    code::SUCCESS
}

// Events that nothing is recorded to: they wait for nothing.

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> i32 {
    let mut state = state();
    let new = state.card().map(|_| state.handle());
    // SAFETY: as C has it.
    unsafe { answer(event, new) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(_event: usize) -> i32 {
    result(state().card().map(|_| ()))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(_event: usize) -> i32 {
    result(state().card().map(|_| ()))
}
