//! The GPU: finding it, kernels compiled for it when it is first used, the forward pass of an encoder, and exact
//! recall.
//!
//! Nothing of CUDA is needed to build or to start: the driver, NVRTC and cuBLASLt are looked for when a [`Gpu`] is,
//! and what is missing is a [`CudaError`] that says so. The kernels are the files of `kernels/`, embedded as sources;
//! each opens with what it computes, its shapes and its launch. They are compiled once for a GPU and driver and kept
//! in a folder of the caller's.
//!
//! This crate does not know tokenizers, model files, vector files or HTTP: it is given weights as slices and rows as
//! numbers.
//!
//! Unsafe code is where kernels are launched (`launch.rs`) and products called (`blas.rs`), where work on a stream is
//! recorded (`pass.rs`), memory is allocated (`pinned.rs`, `work.rs`), and where libraries are opened (`gpu.rs`,
//! `libraries.rs`, `nvrtc.rs`).
//!
//! # Example
//!
//! ```
//! use membox_cuda::{Gpu, CudaError};
//!
//! match Gpu::find(0) {
//!     Ok(gpu) => println!("{} with {} GiB", gpu.name(), gpu.memory() >> 30),
//!     Err(CudaError::NoDriver) => println!("the CPU it is"),
//!     Err(error) => println!("no GPU: {error}"),
//! }
//! ```

mod blas;
mod check;
pub mod cost;
mod error;
mod forward;
mod gpu;
mod host;
mod launch;
mod launch_heads;
mod libraries;
mod masked_lm;
mod model;
mod number;
mod nvrtc;
mod pass;
mod pinned;
mod recall;
pub mod reference;
mod source;
mod work;

pub use check::{CHECKED_SHAPES, Checked, check_kernels};
pub use error::{CudaError, Versions};
pub use gpu::Gpu;
pub use host::{HostActivation, HostKeep, HostLayer, HostLinear, HostMaskedLm, HostModel, HostNorm, HostRelative};
pub use model::Model;
pub use number::{Half, Number};
pub use pass::{Pass, Request};
pub use recall::{ResidentRows, Scored};
pub use source::{FILES, compile, source};
