//! cuBLASLt: products of matrices whose columns lie one after the other.

use crate::faults::is_due;
use crate::memory::Memory;
use crate::state::{CURRENT, Work, state};
use half::{bf16, f16};
use std::ffi::{c_int, c_void};

const SUCCESS: u32 = 0;
const NOT_INITIALIZED: u32 = 1;
const INVALID_VALUE: u32 = 7;
const EXECUTION_FAILED: u32 = 13;
const NOT_SUPPORTED: u32 = 15;

/// `cudaDataType`.
const F16: i32 = 2;
const BF16: i32 = 14;
const F32: i32 = 0;

/// A matrix of 16-bit numbers on the card.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    pub at: u64,
    pub rows: usize,
    pub columns: usize,
    /// Numbers from one column to the next.
    pub leading: usize,
}

/// `d = alpha · op(a) · op(b) + beta · c`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub a: Matrix,
    pub b: Matrix,
    pub c: Matrix,
    pub d: Matrix,
    pub transposed: [bool; 2],
    pub alpha: f32,
    pub beta: f32,
    pub is_bf16: bool,
    pub workspace: (u64, usize),
}

impl Product {
    /// What decides which kernel a library takes.
    pub fn shape(&self) -> String {
        format!("{} {} {} {:?} {}", self.d.rows, self.d.columns, self.b.rows, self.transposed, self.is_bf16)
    }

    fn number(&self, bits: [u8; 2]) -> f32 {
        let bits = u16::from_le_bytes(bits);
        if self.is_bf16 { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() }
    }

    fn columns(&self, memory: &mut Memory, matrix: Matrix) -> Result<Vec<f32>, String> {
        let mut all = Vec::with_capacity(matrix.rows * matrix.columns);
        for column in 0..matrix.columns {
            let bytes = memory.read(matrix.at + (2 * column * matrix.leading) as u64, 2 * matrix.rows)?;
            all.extend(bytes.as_chunks::<2>().0.iter().map(|bits| self.number(*bits)));
        }
        Ok(all)
    }

    /// Computes it; a wrong card is one whose results are not.
    pub fn run(&self, memory: &mut Memory, is_wrong: bool) -> Result<(), String> {
        let turned = |all: Vec<f32>, rows: usize| -> Vec<f32> {
            let columns = all.len() / rows;
            (0..all.len()).map(|i| all[i % columns * rows + i / columns]).collect()
        };
        let deep = if self.transposed[0] { self.a.rows } else { self.a.columns };
        let a = self.columns(memory, self.a)?;
        let a = if self.transposed[0] { a } else { turned(a, self.a.rows) };
        let b = self.columns(memory, self.b)?;
        let b = if self.transposed[1] { turned(b, self.b.rows) } else { b };
        let before = if self.beta == 0.0 { Vec::new() } else { self.columns(memory, self.c)? };
        if self.workspace.1 > 0 {
            memory.forget(self.workspace.0, self.workspace.1)?;
        }
        for (column, b) in b.chunks(deep).enumerate() {
            let mut bytes = Vec::with_capacity(2 * self.d.rows);
            for (row, a) in a.chunks(deep).enumerate() {
                let mut sum = self.alpha * dot(a, b);
                if let Some(before) = before.get(column * self.d.rows + row) {
                    sum += self.beta * before;
                }
                if is_wrong {
                    sum = 0.5 - sum;
                }
                let bits = if self.is_bf16 { bf16::from_f32(sum).to_bits() } else { f16::from_f32(sum).to_bits() };
                bytes.extend(bits.to_le_bytes());
            }
            memory.write(self.d.at + (2 * column * self.d.leading) as u64, &bytes)?;
        }
        Ok(())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a, b) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.0.iter().zip(b.0) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(a, b)| a * b).sum::<f32>()
}

#[derive(Clone, Copy)]
struct Layout {
    of: i32,
    rows: u64,
    columns: u64,
    leading: i64,
}

#[derive(Default)]
struct Description {
    compute: u32,
    scale: i32,
    transposed: [i32; 3],
}

unsafe fn give<T, P>(to: *mut *mut P, value: T) -> u32 {
    // SAFETY: the caller's, as C has it.
    unsafe { *to = Box::into_raw(Box::new(value)).cast() };
    SUCCESS
}

unsafe fn take_back<T>(what: *mut c_void) -> u32 {
    if what.is_null() {
        return INVALID_VALUE;
    }
    // SAFETY: it came from `give`, of the same type.
    drop(unsafe { Box::from_raw(what.cast::<T>()) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    let (major, minor) = state().faults.nvrtc;
    (major * 10_000 + minor * 100) as usize
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(handle: *mut *mut c_void) -> u32 {
    let mut state = state();
    if state.card().is_err() {
        return NOT_INITIALIZED;
    }
    let status = std::mem::take(&mut state.faults.handle_status);
    if status != SUCCESS {
        return status;
    }
    // SAFETY: as C has it.
    unsafe { give(handle, state.card().unwrap_or_default()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtDestroy(handle: *mut c_void) -> u32 {
    let is_lost = state().card().is_err();
    // SAFETY: as C has it.
    let done = unsafe { take_back::<usize>(handle) };
    if is_lost { NOT_INITIALIZED } else { done }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutCreate(
    layout: *mut *mut c_void,
    of: i32,
    rows: u64,
    columns: u64,
    leading: i64,
) -> u32 {
    // SAFETY: as C has it.
    unsafe { give(layout, Layout { of, rows, columns, leading }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutDestroy(layout: *mut c_void) -> u32 {
    // SAFETY: as C has it.
    unsafe { take_back::<Layout>(layout) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescCreate(description: *mut *mut c_void, compute: u32, scale: i32) -> u32 {
    // SAFETY: as C has it.
    unsafe { give(description, Description { compute, scale, transposed: [0; 3] }) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescDestroy(description: *mut c_void) -> u32 {
    // SAFETY: as C has it.
    unsafe { take_back::<Description>(description) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescSetAttribute(
    description: *mut c_void,
    attribute: u32,
    value: *const c_void,
    size: usize,
) -> u32 {
    // SAFETY: as C has it: a description of ours, and a number of four bytes.
    let (description, value) = unsafe { (&mut *description.cast::<Description>(), *value.cast::<i32>()) };
    match (attribute, size) {
        (3..=5, 4) => description.transposed[attribute as usize - 3] = value,
        // No epilogue but the one that does nothing.
        (7, 4) if value == 1 => {}
        _ => return NOT_SUPPORTED,
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceCreate(preference: *mut *mut c_void) -> u32 {
    // SAFETY: as C has it.
    unsafe { give(preference, 0usize) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceDestroy(preference: *mut c_void) -> u32 {
    // SAFETY: as C has it.
    unsafe { take_back::<usize>(preference) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceSetAttribute(
    preference: *mut c_void,
    attribute: u32,
    value: *const c_void,
    size: usize,
) -> u32 {
    if (attribute, size) != (1, 8) {
        return NOT_SUPPORTED;
    }
    // SAFETY: as C has it: a preference of ours, and a number of eight bytes.
    unsafe { *preference.cast::<usize>() = *value.cast::<usize>() };
    SUCCESS
}

/// `cublasLtMatmulHeuristicResult_t`.
#[repr(C)]
pub struct Choice {
    algorithm: [u64; 8],
    workspace: usize,
    state: u32,
    waves: f32,
    reserved: [c_int; 4],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    _handle: *mut c_void,
    _description: *mut c_void,
    _a: *mut c_void,
    _b: *mut c_void,
    _c: *mut c_void,
    _d: *mut c_void,
    preference: *mut c_void,
    wanted: c_int,
    found: *mut Choice,
    count: *mut c_int,
) -> u32 {
    // SAFETY: as C has it: a preference of ours, and room for as many choices as are wanted, one at least.
    unsafe {
        let most = *preference.cast::<usize>();
        let workspace = most.min(1 << 16);
        found.write(Choice {
            algorithm: [workspace as u64; 8],
            workspace,
            state: SUCCESS,
            waves: 1.0,
            reserved: [0; 4],
        });
        *count = wanted.min(1);
    }
    SUCCESS
}

fn matrix(at: *const c_void, layout: Layout) -> Option<(Matrix, i32)> {
    let (rows, columns, leading) = (layout.rows as usize, layout.columns as usize, layout.leading as usize);
    // What the default preference promises a library of addresses.
    let is_sound = rows > 0 && columns > 0 && leading >= rows && (at as u64).is_multiple_of(256);
    is_sound.then_some((Matrix { at: at as u64, rows, columns, leading }, layout.of))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    handle: *mut c_void,
    description: *mut c_void,
    alpha: *const f32,
    a: *const c_void,
    a_layout: *mut c_void,
    b: *const c_void,
    b_layout: *mut c_void,
    beta: *const f32,
    c: *const c_void,
    c_layout: *mut c_void,
    d: *mut c_void,
    d_layout: *mut c_void,
    algorithm: *const u64,
    workspace: *mut c_void,
    workspace_size: usize,
    stream: *mut c_void,
) -> u32 {
    // SAFETY: as C has it: all of these are ours, and the numbers are there.
    let (card, description, alpha, beta, needed, layouts) = unsafe {
        let layouts = [a_layout, b_layout, c_layout, d_layout].map(|layout| *layout.cast::<Layout>());
        (*handle.cast::<usize>(), &*description.cast::<Description>(), *alpha, *beta, *algorithm as usize, layouts)
    };
    let mut state = state();
    let status = std::mem::take(&mut state.faults.product_status);
    if status != SUCCESS {
        return status;
    }
    if CURRENT.get() != Some(card) || state.card().is_err() {
        state.complain("a product with a handle of another context");
        return NOT_INITIALIZED;
    }
    let all = [a, b, c, d.cast_const()].into_iter().zip(layouts).map(|(at, layout)| matrix(at, layout));
    let all: Vec<_> = all.collect();
    let [Some((a, of)), Some((b, b_of)), Some((c, c_of)), Some((d, d_of))] = all[..] else { return INVALID_VALUE };
    let transposed = [0, 1].map(|i| description.transposed[i] == 1);
    let shape = |matrix: Matrix, is_turned: bool| {
        if is_turned { (matrix.columns, matrix.rows) } else { (matrix.rows, matrix.columns) }
    };
    let ((m, k), (k_of_b, n)) = (shape(a, transposed[0]), shape(b, transposed[1]));
    let is_known = (of == F16 || of == BF16)
        && [b_of, c_of, d_of] == [of; 3]
        && description.scale == F32
        && description.compute == 68;
    if !is_known
        || k != k_of_b
        || (m, n) != (d.rows, d.columns)
        || (m, n) != (c.rows, c.columns)
        || description.transposed[2] != 0
    {
        state.complain("a product of matrices that do not fit each other");
        return INVALID_VALUE;
    }
    if workspace_size < needed || (workspace.is_null() && workspace_size > 0) {
        state.complain("a product without the workspace that it needs");
        return INVALID_VALUE;
    }
    let workspace = (workspace as u64, workspace_size);
    let product = Product { a, b, c, d, transposed, alpha, beta, is_bf16: of == BF16, workspace };
    state.counts.products += 1;
    if is_due(&mut state.faults.fail_launch) {
        return EXECUTION_FAILED;
    }
    match state.enqueue(stream as usize, Work::Product(product)) {
        Ok(()) => SUCCESS,
        Err(_) => EXECUTION_FAILED,
    }
}
