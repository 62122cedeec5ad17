//! Products of matrices by cuBLASLt.
//!
//! Not by cudarc's wrapper: that one panics where there is no room for its workspace, and where it is dropped after
//! its card was lost.

use crate::CudaError;
use crate::number::{Half, Number};
use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Bytes of workspace that are asked for, the most first: what NVIDIA advises for Hopper, for older cards, and none.
const WORKSPACES: [usize; 3] = [32 << 20, 4 << 20, 0];
/// Hopper's compute capability.
const HOPPER: i32 = 9;

/// A handle of the library, and the memory that products on one stream work in.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    stream: Arc<CudaStream>,
    workspace: Option<CudaSlice<u8>>,
    /// What the library chose before. To ask it takes longer than a small product does.
    plans: RefCell<HashMap<(Shape, Half), Plan>>,
}

/// Shapes whose plans are kept at most; then all are forgotten.
const MAX_PLANS: usize = 4096;

/// A product as the library is asked for it, and how it chose to do it.
struct Plan {
    description: Description,
    weight: Layout,
    x: Layout,
    out: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: NVIDIA documents a handle as one that several threads may use.
unsafe impl Send for Blas {}

/// `out = x · weightᵀ`: `weight` is `[outputs, inputs]`, `x` `[rows, inputs]`, `out` `[rows, outputs]`, row after row.
/// A row of `x` is `stride` numbers after the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub stride: usize,
}

/// What describes a product to the library, and is destroyed after it.
macro_rules! described {
    ($name:ident, $handle:ty, $destroy:path) => {
        struct $name($handle);

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: it was made by the library, and is destroyed once. There is nothing to do where that fails.
                let _ = unsafe { $destroy(self.0) };
            }
        }
    };
}

described!(Layout, sys::cublasLtMatrixLayout_t, result::destroy_matrix_layout);
described!(Description, sys::cublasLtMatmulDesc_t, result::destroy_matmul_desc);
described!(Preference, sys::cublasLtMatmulPreference_t, result::destroy_matmul_pref);

impl Blas {
    /// A handle for a stream of a card, with as large a workspace as there is room for.
    pub fn new(stream: &Arc<CudaStream>, capability: (i32, i32)) -> Result<Self, CudaError> {
        stream.context().bind_to_thread()?;
        let (handle, stream) = (result::create_handle()?, stream.clone());
        let mut blas = Self { handle, stream, workspace: None, plans: RefCell::default() };
        let sizes = if capability.0 >= HOPPER { &WORKSPACES[..] } else { &WORKSPACES[1..] };
        for size in sizes.iter().filter(|size| **size > 0) {
            // SAFETY: the library writes what it reads there.
            match unsafe { blas.stream.alloc::<u8>(*size) }.map_err(CudaError::from) {
                Ok(workspace) => {
                    blas.workspace = Some(workspace);
                    break;
                }
                Err(CudaError::OutOfMemory) => tracing::warn!(bytes = size, "no room for cuBLASLt's workspace"),
                Err(error) => return Err(error),
            }
        }
        Ok(blas)
    }

    /// `out = x · weightᵀ`. The library counts by columns: the rows of ours are its columns.
    pub fn product<T: Number>(
        &self,
        shape: Shape,
        weight: &CudaSlice<T>,
        x: &CudaSlice<T>,
        out: &mut CudaSlice<T>,
    ) -> Result<(), CudaError> {
        let Shape { rows, inputs, outputs, stride } = shape;
        assert!(stride >= inputs && x.len() >= stride * rows);
        assert!(weight.len() >= inputs * outputs && out.len() >= outputs * rows);
        self.stream.context().bind_to_thread()?;
        let mut plans = self.plans.borrow_mut();
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        let plan = match plans.entry((shape, T::HALF)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.plan(shape, T::HALF)?),
        };
        let (one, zero, size) = (1f32, 0f32, self.workspace.as_ref().map_or(0, CudaSlice::len));
        let workspace = self.workspace.as_ref().map(|memory| memory.device_ptr(&self.stream).0);
        let (weight, x) = (weight.device_ptr(&self.stream).0, x.device_ptr(&self.stream).0);
        let out = out.device_ptr_mut(&self.stream).0;
        // SAFETY: the three matrices have the sizes of their layouts, and stay until the stream has done the product:
        // events do not track them (`Gpu::find`). The workspace is as large as the plan was told.
        unsafe {
            result::matmul(
                self.handle,
                plan.description.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                weight as *const _,
                plan.weight.0,
                x as *const _,
                plan.x.0,
                out as *const _,
                plan.out.0,
                out as *mut _,
                plan.out.0,
                &raw const plan.algorithm,
                workspace.unwrap_or(0) as *mut _,
                size,
                self.stream.cu_stream().cast(),
            )?;
        }
        Ok(())
    }

    /// Asks the library how to do a product.
    fn plan(&self, shape: Shape, half: Half) -> Result<Plan, CudaError> {
        let Shape { rows, inputs, outputs, stride } = shape;
        let number = match half {
            Half::F16 => sys::cudaDataType::CUDA_R_16F,
            Half::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        };
        let layout = |rows: usize, columns: usize, leading: usize| -> Result<Layout, CudaError> {
            Ok(Layout(result::create_matrix_layout(number, rows as u64, columns as u64, leading as i64)?))
        };
        let (weight, x) = (layout(inputs, outputs, inputs)?, layout(inputs, rows, stride)?);
        let out = layout(outputs, rows, outputs)?;
        let sums = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let description = Description(result::create_matmul_desc(sums, sys::cudaDataType::CUDA_R_32F)?);
        let preference = Preference(result::create_matmul_pref()?);
        let (transposed, size) = (1i32, self.workspace.as_ref().map_or(0, CudaSlice::len));
        // SAFETY: the attributes have the sizes that they are said to have.
        let choice = unsafe {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
            result::set_matmul_desc_attribute(description.0, attribute, (&raw const transposed).cast(), 4)?;
            let attribute = sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference.0, attribute, (&raw const size).cast(), size_of::<usize>())?;
            result::get_matmul_algo_heuristic(self.handle, description.0, weight.0, x.0, out.0, out.0, preference.0)?
        };
        Ok(Plan { description, weight, x, out, algorithm: choice.algo })
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        let _ = self.stream.context().bind_to_thread();
        // SAFETY: the handle is destroyed once. Of a lost card that fails, and nothing is left to do.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
