//! Finding a GPU.

use crate::CudaError;
use crate::error::Versions;
use crate::libraries::Runtime;
use crate::nvrtc::Nvrtc;
use cudarc::driver::sys::{CUdevice_attribute, CUmemPool_attribute};
use cudarc::driver::{CudaContext, CudaStream};
use libloading::os::unix::Library;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A GPU that the kernels can run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    name: String,
    capability: (i32, i32),
    memory: usize,
    versions: Versions,
}

/// The newest CUDA that the driver knows, such as 12040.
fn driver() -> Result<i32, CudaError> {
    let mut version = 0;
    // SAFETY: writes one number.
    unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

/// Opens cuBLASLt for the process; its version, or nothing where there is none.
fn cublas_lt(driver: i32) -> Option<usize> {
    static VERSION: OnceLock<Option<usize>> = OnceLock::new();
    // SAFETY: the function is documented to have this type.
    let version = |library: &Library| unsafe {
        Some(library.get::<unsafe extern "C" fn() -> usize>(b"cublasLtGetVersion").ok()?())
    };
    *VERSION.get_or_init(|| {
        let library = Runtime::CublasLt.open(driver, |library| Some((version(library)? / 10_000) as i32))?;
        let found = version(&library);
        // It stays, so that cudarc finds it by its name.
        std::mem::forget(library);
        // SAFETY: as above.
        found.filter(|_| unsafe { cudarc::cublaslt::sys::is_culib_present() })
    })
}

/// Has the GPU's pool keep what is freed for what is allocated next: by itself it gives it back at each wait.
fn keep_pool(context: &CudaContext) -> Result<(), CudaError> {
    if context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? <= 0 {
        return Ok(());
    }
    let (mut pool, mut most) = (std::ptr::null_mut(), u64::MAX);
    // SAFETY: the first writes one handle, and the second reads one number of 64 bits, as this attribute wants it.
    unsafe {
        cudarc::driver::sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result()?;
        let threshold = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        cudarc::driver::sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut most).cast()).result()?;
    }
    Ok(())
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
        let driver = driver()?;
        let missing = |of: Runtime| CudaError::NoLibrary { library: of.name(), package: of.package(driver) };
        let nvrtc = Nvrtc::get(driver).ok_or_else(|| missing(Runtime::Nvrtc))?.version;
        let cublas_lt = cublas_lt(driver).ok_or_else(|| missing(Runtime::CublasLt))?;
        let versions = Versions { driver, nvrtc, cublas_lt };
        let context = CudaContext::new(ordinal)?;
        // SAFETY: what is written on one stream is synchronised before another reads it, and no buffer is freed while
        // another stream reads it: a pass owns its stream and its buffers, and holds the model whose weights it
        // reads. Tracking by events would be in the way of recording graphs.
        unsafe { context.disable_event_tracking() };
        let (name, capability, memory) = (context.name()?, context.compute_capability()?, context.total_mem()?);
        if capability < MIN_CAPABILITY {
            return Err(CudaError::TooOld { name, major: capability.0, minor: capability.1 });
        }
        keep_pool(&context)?;
        Ok(Self { context, name, capability, memory, versions })
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

    /// A stream whose kernels go before those of others.
    pub(crate) fn urgent_stream(&self) -> Result<Arc<CudaStream>, CudaError> {
        self.context.bind_to_thread()?;
        let (_, most_urgent) = cudarc::driver::result::stream::get_priority_range()?;
        Ok(self.context.new_stream_with_priority(most_urgent)?)
    }

    /// Takes errors away that cudarc keeps for whoever calls next: they are of what another thread dropped. Those that
    /// all calls would meet stay.
    pub(crate) fn forget_errors_of_others(&self) -> Result<(), CudaError> {
        match self.context.check_err().map_err(CudaError::from) {
            Err(error @ CudaError::Lost(_)) => Err(error),
            Err(error) => {
                tracing::warn!(card = self.ordinal(), %error, "something of another thread was not freed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Multiprocessors.
    pub(crate) fn processors(&self) -> Result<usize, CudaError> {
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(self.context.attribute(attribute)?.max(1) as usize)
    }

    /// What is installed of CUDA.
    pub fn versions(&self) -> Versions {
        self.versions
    }
}
