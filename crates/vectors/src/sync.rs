//! The locks and channels of this crate: the standard library's, or, with `--cfg membox_loom`, those of loom, which
//! tries every order of events.

#[cfg(not(membox_loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    mpsc::{Sender, channel},
};

#[cfg(membox_loom)]
pub(crate) use loom::sync::{
    Arc, Mutex, MutexGuard,
    mpsc::{Sender, channel},
};

#[cfg(all(test, membox_loom))]
pub(crate) use loom::{
    model,
    sync::{RwLock, atomic::AtomicBool},
    thread::spawn,
};

#[cfg(all(test, not(membox_loom)))]
pub(crate) use std::{
    sync::{RwLock, atomic::AtomicBool},
    thread::spawn,
};

/// Without loom, the orders of events that happen to come.
#[cfg(all(test, not(membox_loom)))]
pub(crate) fn model(run: impl Fn()) {
    (0..500).for_each(|_| run());
}
