//! Finding a GPU.

use crate::CudaError;
use cudarc::driver::CudaContext;
use cudarc::driver::sys::CUdevice_attribute;
use std::sync::Arc;
use std::time::Instant;

/// A GPU that the kernels can run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    name: String,
    capability: (i32, i32),
    memory: usize,
}

/// Least compute capability: that of the tensor cores that the kernels use.
const MIN_CAPABILITY: (i32, i32) = (7, 5);

impl Gpu {
    /// How many GPUs the driver shows.
    pub fn count() -> Result<usize, CudaError> {
        // SAFETY: looks for the library by its names and loads it; NVIDIA's driver has no side effects when loaded.
        if !unsafe { cudarc::driver::sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        Ok(CudaContext::device_count()?.max(0) as usize)
    }

    /// The GPU of a number, if everything that the kernels need is there.
    pub fn find(ordinal: usize) -> Result<Self, CudaError> {
        let count = Self::count()?;
        if ordinal >= count {
            return Err(CudaError::NoGpu { ordinal, count });
        }
        // SAFETY: as above.
        let present = unsafe { [cudarc::nvrtc::sys::is_culib_present(), cudarc::cublaslt::sys::is_culib_present()] };
        if let Some(missing) = ["libnvrtc", "libcublasLt"].iter().zip(present).find(|(_, present)| !present) {
            return Err(CudaError::NoLibrary(missing.0));
        }
        let context = CudaContext::new(ordinal)?;
        // SAFETY: what is written on one stream is synchronised before another reads it, and no buffer is freed while
        // another stream reads it: a pass owns its stream and its buffers, and holds the model whose weights it
        // reads. Tracking by events would be in the way of recording graphs.
        unsafe { context.disable_event_tracking() };
        let (name, capability, memory) = (context.name()?, context.compute_capability()?, context.total_mem()?);
        if capability < MIN_CAPABILITY {
            return Err(CudaError::TooOld { name, major: capability.0, minor: capability.1 });
        }
        Ok(Self { context, name, capability, memory })
    }

    /// Its name, such as `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Its compute capability.
    pub fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Seconds that a copy of so many bytes within its memory takes: the least of ten. Reads and writes each byte once.
    pub fn copy_seconds(&self, bytes: usize) -> Result<f64, CudaError> {
        let stream = self.context.new_stream()?;
        let (from, mut to) = (stream.alloc_zeros::<u8>(bytes)?, stream.alloc_zeros::<u8>(bytes)?);
        stream.synchronize()?;
        let mut least = f64::INFINITY;
        for _ in 0..10 {
            let begun = Instant::now();
            stream.memcpy_dtod(&from, &mut to)?;
            stream.synchronize()?;
            least = least.min(begun.elapsed().as_secs_f64());
        }
        Ok(least)
    }

    /// Multiprocessors.
    pub(crate) fn processors(&self) -> Result<usize, CudaError> {
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(self.context.attribute(attribute)?.max(1) as usize)
    }

    /// What NVRTC calls its architecture: PTX for it.
    pub(crate) fn architecture(&self) -> String {
        format!("compute_{}{}", self.capability.0, self.capability.1)
    }
}
