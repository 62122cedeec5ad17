use cudarc::cublaslt::result::CublasError;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

/// Why the GPU cannot do something, or cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The driver is not installed.
    #[error("no CUDA driver: libcuda.so.1 is not found")]
    NoDriver,
    /// The driver is there and shows no such GPU.
    #[error("no card {ordinal}: the driver shows {count}")]
    NoGpu {
        /// The GPU that was asked for.
        ordinal: usize,
        /// Cards that there are.
        count: usize,
    },
    /// The GPU cannot run the kernels.
    #[error("{name} is of compute capability {major}.{minor}; at least 7.5 is wanted")]
    TooOld {
        /// The GPU.
        name: String,
        /// Its compute capability.
        major: i32,
        /// … and the digit after the point.
        minor: i32,
    },
    /// A library of the CUDA run time is not installed.
    #[error("{0} is not found: install the CUDA run-time libraries, or set LD_LIBRARY_PATH to where they are")]
    NoLibrary(&'static str),
    /// A kernel does not compile for this GPU.
    #[error("kernels/{file}.cu does not compile for {architecture}: {log}")]
    Compile {
        /// The kernel's file.
        file: &'static str,
        /// What it was compiled for.
        architecture: String,
        /// What the compiler says.
        log: String,
    },
    /// The model's shape is one that the kernels are not written for.
    #[error("{0}")]
    Shape(String),
    /// The GPU's memory is full.
    #[error("the card's memory is full")]
    OutOfMemory,
    /// Anything else that the driver or a library says. Most of these mean that the context is lost.
    #[error("CUDA: {0}")]
    Driver(String),
}

impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> Self {
        match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory,
            _ => Self::Driver(error.to_string()),
        }
    }
}

impl From<CublasError> for CudaError {
    fn from(error: CublasError) -> Self {
        Self::Driver(format!("cuBLASLt: {error:?}"))
    }
}
