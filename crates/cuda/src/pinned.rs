//! Memory of the host that a GPU copies from and to by itself, without another copy between.

use crate::CudaError;
use cudarc::driver::{CudaStream, DeviceRepr, PinnedHostSlice, ValidAsZeroBits};
use std::sync::Arc;

/// So many numbers of it, noughts at first.
pub(crate) struct Pinned<T>(PinnedHostSlice<T>);

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    pub fn new(stream: &Arc<CudaStream>, count: usize) -> Result<Self, CudaError> {
        // SAFETY: it is filled before anything reads it.
        let mut memory = unsafe { stream.context().alloc_pinned_with_flags::<T>(count, 0)? };
        // SAFETY: there is room for so many, and noughts are numbers.
        unsafe { std::ptr::write_bytes(memory.as_mut_ptr()?, 0, count) };
        Ok(Self(memory))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it. No copy from or to it is under way: whoever begins one waits for it.
    pub fn numbers(&mut self) -> Result<&mut [T], CudaError> {
        Ok(self.0.as_mut_slice()?)
    }
}
