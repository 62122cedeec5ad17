//! A CUDA driver, cuBLASLt and a front of NVRTC in software: what tests open instead of NVIDIA's libraries.
//!
//! It interprets the PTX of the kernels, block by block, computes cuBLASLt's products by their documented meaning, and
//! is stricter than a card. Each stream's work is deferred until something waits for it. Memory that was freed, was
//! never written or lies outside of an allocation, addresses that are not aligned, races in shared memory, diverged
//! barriers and shuffles are errors that name kernel, instruction and thread. Errors of kernels are sticky, as on a
//! card. Faults come on request: [`Faults`](faults::Faults).
//!
//! Tests start a process of their own with it: [`process::on_card`].

#![expect(missing_docs, reason = "a library of tests")]
#![expect(clippy::missing_safety_doc, reason = "the functions of C are those that NVIDIA documents")]
#![allow(non_snake_case, reason = "NVIDIA's names")]
#![expect(clippy::unwrap_used, reason = "a panic ends a test")]

pub mod blas;
pub mod compiler;
pub mod decode;
pub mod driver;
pub mod faults;
pub mod host;
pub mod lanes;
pub mod memory;
pub mod process;
pub mod ptx;
pub mod shared;
pub mod state;
pub mod warp;
