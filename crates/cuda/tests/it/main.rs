//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

mod arithmetic;
mod compile;
mod host;
mod recall;
