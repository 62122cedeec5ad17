use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys::cublasStatus_t;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;
use std::fmt;

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
    #[error("{library} is not found: `pip install {package}`, or set LD_LIBRARY_PATH to where it is")]
    NoLibrary {
        /// The library.
        library: &'static str,
        /// The package of PyPI that has it, for this driver.
        package: String,
    },
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
    /// The driver takes nothing that the compiler makes of a kernel.
    #[error("no form of kernels/{file}.cu loads: {reason} ({versions}); what suits: `pip install {package}`")]
    Image {
        /// The kernel's file.
        file: &'static str,
        /// What the driver says.
        reason: String,
        /// What is installed.
        versions: Versions,
        /// The package of PyPI whose compiler suits the driver.
        package: String,
    },
    /// The model's shape is one that the kernels are not written for.
    #[error("{0}")]
    Shape(String),
    /// The GPU's memory is full.
    #[error("the card's memory is full")]
    OutOfMemory,
    /// The GPU answers every further call with this error: what is on it is gone.
    #[error("CUDA: {0}")]
    Lost(String),
    /// Anything else that the driver or a library says.
    #[error("CUDA: {0}")]
    Driver(String),
}

/// What is installed of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The newest CUDA that the driver knows, such as 12040.
    pub driver: i32,
    /// NVRTC's release.
    pub nvrtc: (i32, i32),
    /// cuBLASLt's, as it says it: 120905.
    pub cublas_lt: usize,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { driver, nvrtc: (major, minor), cublas_lt } = self;
        write!(f, "driver for CUDA {}.{}, NVRTC {major}.{minor}, ", driver / 1000, driver % 1000 / 10)?;
        write!(f, "cuBLASLt {}.{}", cublas_lt / 10_000, cublas_lt % 10_000 / 100)
    }
}

/// Whether a context is lost with it: NVIDIA says of these that all further calls return the same, until the process
/// ends.
pub(crate) fn is_sticky(code: CUresult) -> bool {
    matches!(
        code,
        CUresult::CUDA_ERROR_DEINITIALIZED
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_EXTERNAL_DEVICE
            | CUresult::CUDA_ERROR_UNKNOWN
    )
}

impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> Self {
        match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory,
            code if is_sticky(code) => Self::Lost(error.to_string()),
            _ => Self::Driver(error.to_string()),
        }
    }
}

impl From<CublasError> for CudaError {
    fn from(error: CublasError) -> Self {
        match error.0 {
            cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Self::OutOfMemory,
            _ => Self::Driver(format!("cuBLASLt: {error:?}")),
        }
    }
}
