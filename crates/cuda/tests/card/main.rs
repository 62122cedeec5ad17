//! What runs on a software card: the kernels, recall, and the card's own strictness. Each test is a process of its own.

mod cost;
mod kernels;
mod recall;
mod strictness;
