//! The driver: the functions of `libcuda` that are called, by the names that cudarc asks for.

use crate::compiler::CUBIN;
use crate::faults::{Faults, is_due};
use crate::ptx;
use crate::state::{CURRENT, RECORDS, State, Stream, Work, code, state};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

/// A context's handle: that of its card.
const CONTEXTS: usize = 0x100;

pub(crate) fn result(done: Result<(), i32>) -> i32 {
    done.err().unwrap_or(code::SUCCESS)
}

/// What a function of C was given to write to.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> i32 {
    // SAFETY: the caller's, as C has it.
    unsafe { to.write(value) };
    code::SUCCESS
}

/// What is found, written to where C wants it.
pub(crate) unsafe fn answer<T>(to: *mut T, found: Result<T, i32>) -> i32 {
    match found {
        // SAFETY: as C has it.
        Ok(value) => unsafe { put(to, value) },
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> i32 {
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(version, state().faults.driver) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(count, state().cards.len() as c_int) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> i32 {
    let is_there = (0..state().cards.len() as c_int).contains(&ordinal);
    // SAFETY: as C has it.
    unsafe { answer(device, if is_there { Ok(ordinal) } else { Err(code::INVALID_DEVICE) }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> i32 {
    let found = state().cards[device as usize].lost.map_or(Ok(CONTEXTS + device as usize), Err);
    // SAFETY: as C has it.
    unsafe { answer(context, found) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> i32 {
    state().cards[device as usize].lost.unwrap_or(code::SUCCESS)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) -> i32 {
    let state = state();
    let capability = Faults::of(&state.faults.capability, device as usize) as c_int;
    let found = match attribute {
        16 => Ok(state.faults.processors),
        75 => Ok(capability / 10),
        76 => Ok(capability % 10),
        115 => Ok(c_int::from(state.faults.pools)),
        _ => Err(code::INVALID_VALUE),
    };
    // SAFETY: as C has it.
    unsafe { answer(value, found) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> i32 {
    let text = format!("Software Card {device}\0");
    let count = text.len().min(len as usize);
    // SAFETY: as C has it: room for `len`.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, count) };
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(bytes, state().cards[device as usize].memory.limit) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut usize) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(context, CURRENT.get().map_or(0, |card| CONTEXTS + card)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: usize) -> i32 {
    CURRENT.set(context.checked_sub(CONTEXTS));
    code::SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> i32 {
    let mut state = state();
    let all = |state: &mut State| {
        let card = state.card()?;
        state.not_recorded("a wait for a context")?;
        let streams: Vec<usize> = state.streams.iter().filter(|(_, s)| s.card == card).map(|(at, _)| *at).collect();
        streams.into_iter().try_for_each(|stream| state.drain(stream))
    };
    result(all(&mut state))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> i32 {
    let state = state();
    let Ok(card) = state.card() else { return code::INVALID_CONTEXT };
    let memory = &state.cards[card].memory;
    // SAFETY: as C has it.
    unsafe { put(free, memory.limit.saturating_sub(memory.used)) + put(total, memory.limit) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, _flags: c_uint) -> i32 {
    let mut state = state();
    let new = state.card().map(|card| {
        let handle = state.handle();
        state.streams.insert(handle, Stream { card, ..Stream::default() });
        handle
    });
    // SAFETY: as C has it.
    unsafe { answer(stream, new) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(stream: *mut usize, flags: c_uint, _priority: c_int) -> i32 {
    // SAFETY: as C has it.
    unsafe { cuStreamCreate(stream, flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(least, 0) + put(greatest, -5) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: usize) -> i32 {
    let mut state = state();
    let done = state.drain(stream);
    state.streams.remove(&stream);
    result(done)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: usize) -> i32 {
    let mut state = state();
    let recorded = state.not_recorded("a wait for a stream");
    result(recorded.and_then(|()| state.drain(stream)))
}

fn allocate(state: &mut State, size: usize) -> Result<u64, i32> {
    let card = state.card()?;
    state.not_recorded("an allocation")?;
    state.counts.allocations += 1;
    if size == 0 {
        return Err(code::INVALID_VALUE);
    }
    if is_due(&mut state.faults.fail_allocation) {
        return Err(code::OUT_OF_MEMORY);
    }
    state.cards[card].memory.allocate(size).ok_or(code::OUT_OF_MEMORY)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(address: *mut u64, size: usize, stream: usize) -> i32 {
    let mut state = state();
    let found = state.stream(stream).map(|_| ()).and_then(|()| allocate(&mut state, size));
    // SAFETY: as C has it.
    unsafe { answer(address, found) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, size: usize) -> i32 {
    // SAFETY: as C has it.
    unsafe { answer(address, allocate(&mut state(), size)) }
}

fn give_back(state: &mut State, address: u64) -> Result<(), i32> {
    let card = state.card()?;
    let done = state.cards[card].memory.give_back(address);
    done.map_err(|why| {
        state.complain(&why);
        code::INVALID_VALUE
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(address: u64, stream: usize) -> i32 {
    let mut state = state();
    if is_due(&mut state.faults.fail_free) {
        return code::INVALID_VALUE;
    }
    let done = give_back(&mut state, address);
    result(done.and_then(|()| state.enqueue(stream, Work::Free(address))))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> i32 {
    let mut state = state();
    let done = give_back(&mut state, address);
    let at_once = |state: &mut State| {
        let card = state.card()?;
        state.cards[card].memory.free(address).map_err(|_| code::INVALID_VALUE)
    };
    result(done.and_then(|()| at_once(&mut state)))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) -> i32 {
    result(state().enqueue(stream, Work::Fill { to, value, count }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, count: usize, stream: usize) -> i32 {
    let mut state = state();
    let address = from as usize;
    let is_in = |memory: &[u64]| (memory.as_ptr() as usize..memory.as_ptr_range().end as usize).contains(&address);
    let work = match state.pinned.iter().any(|memory| is_in(memory)) {
        true => Work::UploadPinned { to, from: address, count },
        // SAFETY: as C has it. What is pageable is read before the call ends.
        false => Work::Upload { to, bytes: unsafe { std::slice::from_raw_parts(from, count) }.to_vec() },
    };
    result(state.enqueue(stream, work))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, count: usize, stream: usize) -> i32 {
    // Who does not wait finds that nothing is there yet.
    // SAFETY: as C has it: room for as many bytes.
    unsafe { std::ptr::write_bytes(to, 0xa5, count) };
    result(state().enqueue(stream, Work::Download { from, to: to as usize, count }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, count: usize, stream: usize) -> i32 {
    result(state().enqueue(stream, Work::Copy { from, to, count }))
}

/// The newest PTX that a driver of a CUDA takes: that of its release.
fn newest_ptx(driver: i32) -> u32 {
    match (driver / 1000, driver % 1000 / 10) {
        (11, minor) => 70 + minor as u32,
        (12, minor @ 0..=5) => 80 + minor as u32,
        (12, minor) => 79 + minor as u32,
        (major, minor) => (90 + minor + 10 * (major - 13)) as u32,
    }
}

/// What a card takes of an image.
fn load(state: &State, card: usize, image: &str) -> Result<ptx::Module, (i32, String)> {
    let capability = Faults::of(&state.faults.capability, card);
    let (text, header) = match image.strip_prefix(CUBIN).and_then(|rest| rest.split_once('\n')) {
        Some((header, text)) => (text, Some(header)),
        None => (image, None),
    };
    let module = ptx::parse(text).map_err(|why| (code::INVALID_PTX, why))?;
    let newest = newest_ptx(state.faults.driver);
    let target = module.target;
    if state.faults.refuse_images {
        return Err((code::UNSUPPORTED_PTX_VERSION, "no image is taken, as was asked for".into()));
    }
    match header.map(|header| header.parse::<i32>().unwrap_or(0)) {
        Some(major) if major > state.faults.driver / 1000 => {
            Err((code::INVALID_IMAGE, format!("a cubin of CUDA {major}, and a driver of {}", state.faults.driver)))
        }
        Some(_) if target / 10 != capability / 10 || target > capability => {
            Err((code::NO_BINARY_FOR_GPU, format!("a cubin for {target} on a card of {capability}")))
        }
        None if module.version > newest => {
            Err((code::UNSUPPORTED_PTX_VERSION, format!("PTX {} and a driver that takes {newest}", module.version)))
        }
        None if target > capability => Err((code::INVALID_PTX, format!("PTX for {target} on a card of {capability}"))),
        _ => Ok(module),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(handle: *mut usize, image: *const c_char) -> i32 {
    // SAFETY: as C has it: PTX ends with a nought, and so do the cubins of `compiler.rs`.
    let image = unsafe { CStr::from_ptr(image) }.to_string_lossy();
    let mut state = state();
    let mut found = || {
        let card = state.card()?;
        state.not_recorded("a module")?;
        // A refusal is an answer and no complaint: callers try one image after the other.
        let module = load(&state, card, &image).map_err(|(code, why)| {
            eprintln!("software card: {why}");
            code
        })?;
        let handle = state.handle();
        state.modules.insert(handle, module.kernels);
        Ok(handle)
    };
    let found = found();
    // SAFETY: as C has it.
    unsafe { answer(handle, found) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: usize) -> i32 {
    let mut state = state();
    state.modules.remove(&module);
    result(state.card().map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) -> i32 {
    // SAFETY: as C has it.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    let mut state = state();
    let found = state.modules.get(&module).and_then(|kernels| kernels.get(name)).cloned().ok_or(code::NOT_FOUND);
    let found = found.map(|kernel| {
        let handle = state.handle();
        state.functions.insert(handle, kernel);
        handle
    });
    // SAFETY: as C has it.
    unsafe { answer(function, found) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    x: c_uint,
    y: c_uint,
    z: c_uint,
    threads: c_uint,
    threads_y: c_uint,
    threads_z: c_uint,
    _shared: c_uint,
    stream: usize,
    parameters: *const *const c_void,
    _extra: *const c_void,
) -> i32 {
    let mut state = state();
    let Some(kernel) = state.functions.get(&function).cloned() else { return code::INVALID_HANDLE };
    if x == 0 || y == 0 || z == 0 || y > 65_535 || threads == 0 || (threads_y, threads_z) != (1, 1) {
        return code::INVALID_VALUE;
    }
    if threads > kernel.max_threads || is_due(&mut state.faults.fail_launch) {
        return code::LAUNCH_OUT_OF_RESOURCES;
    }
    let mut values = Vec::with_capacity(kernel.parameters.len());
    for (number, size) in kernel.parameters.iter().enumerate() {
        let mut eight = [0u8; 8];
        // SAFETY: as C has it: a pointer for each parameter, to as many bytes as it has.
        unsafe {
            let from = (*parameters.add(number)).cast::<u8>();
            std::ptr::copy_nonoverlapping(from, eight.as_mut_ptr(), *size);
        }
        values.push(u64::from_le_bytes(eight));
    }
    state.counts.launches += 1;
    result(state.enqueue(stream, Work::Kernel { kernel, parameters: values, grid: [x, y, z], threads }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(stream: usize, _mode: c_uint) -> i32 {
    let mut state = state();
    let begun = state.stream(stream).and_then(|stream| match stream.capture {
        Some(_) => Err(code::INVALID_VALUE),
        None => {
            stream.capture = Some(Default::default());
            Ok(())
        }
    });
    if begun.is_ok() {
        RECORDS.set(Some(stream));
    }
    result(begun)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: usize, graph: *mut usize) -> i32 {
    let mut state = state();
    RECORDS.set(None);
    let recorded = state.stream(stream).and_then(|stream| stream.capture.take().ok_or(code::INVALID_VALUE));
    let found = recorded.and_then(|(works, is_spoilt)| match is_spoilt {
        true => Err(code::CAPTURE_INVALIDATED),
        false => {
            let handle = state.handle();
            state.graphs.insert(handle, Arc::new(works));
            Ok(handle)
        }
    });
    // SAFETY: as C has it.
    unsafe { answer(graph, found) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(handle: *mut usize, graph: usize, _flags: u64) -> i32 {
    let mut state = state();
    let found = state.graphs.get(&graph).cloned().ok_or(code::INVALID_HANDLE).map(|works| {
        let handle = state.handle();
        state.graphs.insert(handle, works);
        handle
    });
    // SAFETY: as C has it.
    unsafe { answer(handle, found) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(graph: usize, stream: usize) -> i32 {
    let mut state = state();
    let Some(works) = state.graphs.get(&graph).cloned() else { return code::INVALID_HANDLE };
    state.counts.graphs += 1;
    if is_due(&mut state.faults.fail_launch) {
        return code::LAUNCH_OUT_OF_RESOURCES;
    }
    result(works.iter().try_for_each(|work| state.enqueue(stream, work.clone())))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(graph: usize) -> i32 {
    let mut state = state();
    state.graphs.remove(&graph);
    result(state.card().map(|_| ()))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: usize) -> i32 {
    cuGraphExecDestroy(graph)
}

fn said(error: i32) -> &'static CStr {
    match error {
        code::SUCCESS => c"CUDA_SUCCESS",
        code::INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
        code::OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
        code::INVALID_DEVICE => c"CUDA_ERROR_INVALID_DEVICE",
        code::INVALID_IMAGE => c"CUDA_ERROR_INVALID_IMAGE",
        code::INVALID_CONTEXT => c"CUDA_ERROR_INVALID_CONTEXT",
        code::NO_BINARY_FOR_GPU => c"CUDA_ERROR_NO_BINARY_FOR_GPU",
        code::INVALID_PTX => c"CUDA_ERROR_INVALID_PTX",
        code::UNSUPPORTED_PTX_VERSION => c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        code::ILLEGAL_ADDRESS => c"CUDA_ERROR_ILLEGAL_ADDRESS",
        code::LAUNCH_OUT_OF_RESOURCES => c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
        code::MISALIGNED_ADDRESS => c"CUDA_ERROR_MISALIGNED_ADDRESS",
        code::LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
        code::CAPTURE_UNSUPPORTED => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        code::CAPTURE_INVALIDATED => c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        _ => c"CUDA_ERROR_UNKNOWN",
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: i32, text: *mut *const c_char) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(text, said(error).as_ptr()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: i32, text: *mut *const c_char) -> i32 {
    // SAFETY: as C has it.
    unsafe { put(text, said(error).as_ptr()) }
}
