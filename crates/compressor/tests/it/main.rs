//! The integration tests, in one binary: each binary is linked anew with all that it needs. So no test may change what
//! belongs to the process: its environment, its folder, its limits.

mod budgets;
mod common;
mod default_mode;
mod distil;
mod equality;
mod languages;
mod tokens;
mod wholes;
