//! The encoder on a software card: the real driver's calls, kernels and products, held against the CPU in f32. Each
//! test is a process of its own.

#[path = "../it/common/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;
mod families;
mod images;
mod losses;
mod memory;
mod pass;
mod proof;
mod small;
mod splade;
