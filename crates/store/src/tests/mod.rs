mod background;
mod commands;
mod contract;
mod panics;
mod sample;
