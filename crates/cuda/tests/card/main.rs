//! What runs on a software card: the kernels, recall, and the card's own strictness. Each test is a process of its own.

mod kernels;
mod pass;
mod recall;
mod strictness;
