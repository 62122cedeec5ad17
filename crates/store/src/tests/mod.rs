mod background;
mod commands;
mod contract;
mod panics;
pub(crate) mod sample;
