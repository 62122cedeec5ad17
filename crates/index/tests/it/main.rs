//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits. `large_pages` measures the memory of its process,
//! and has a binary of its own.

mod derived_index;
mod device;
mod metrics;
