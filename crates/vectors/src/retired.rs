//! Rows whose record is gone: overwritten, but not while somebody looks at them.
//!
//! Whoever takes a snapshot takes the token of its time along. When rows die, they are retired with that token, and
//! the snapshots from then on get another one. Once nobody holds a token any more, nobody can see the rows that were
//! retired with it.

use crate::sync::{Arc, Mutex};
use std::sync::PoisonError;

/// Held by a snapshot for as long as it looks at rows.
pub type RowPin = Arc<()>;

/// Rows that wait to be overwritten.
#[derive(Default)]
pub struct Retired {
    rows: Mutex<Vec<(RowPin, Vec<u32>)>>,
}

impl Retired {
    /// Takes rows that are dead for every snapshot to come. `pin` is the token that snapshots got until now; it is
    /// replaced by a new one, under the same lock under which snapshots take it.
    pub fn retire(&self, rows: Vec<u32>, pin: &mut RowPin) {
        if !rows.is_empty() {
            let seen = std::mem::replace(pin, Arc::new(()));
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).push((seen, rows));
        }
    }

    /// Takes out the rows that nobody looks at any more.
    pub fn take_unseen(&self) -> Vec<u32> {
        let mut all = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unseen = Vec::new();
        // Older snapshots look at what died later too: in order, up to the first that is held.
        while let Some((seen, _)) = all.first() {
            if Arc::strong_count(seen) > 1 {
                break;
            }
            unseen.append(&mut all.remove(0).1);
        }
        unseen
    }

    /// Forgets all of them: their file is gone.
    pub fn clear(&self) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests hear a panic when they join the thread")]
mod tests {
    use super::*;
    use crate::sync::{RwLock, model, spawn};
    use std::sync::atomic::Ordering::SeqCst;

    /// Two rows that die one after the other, as a writer publishes it, and a reader that looks at whichever its
    /// snapshot shows.
    #[test]
    fn no_row_is_overwritten_under_a_snapshot_that_shows_it() {
        model(|| {
            let live = Arc::new(RwLock::new((vec![0u32, 1], RowPin::default())));
            let retired = Arc::new(Retired::default());
            let overwritten = Arc::new([crate::sync::AtomicBool::new(false), crate::sync::AtomicBool::new(false)]);
            let reader = {
                let (live, overwritten) = (live.clone(), overwritten.clone());
                spawn(move || {
                    let (rows, _seen) = live.read().expect("a lock").clone();
                    for row in rows {
                        assert!(!overwritten[row as usize].load(SeqCst), "row {row} was overwritten under a reader");
                    }
                })
            };
            for row in [0u32, 1] {
                {
                    let mut live = live.write().expect("a lock");
                    let (rows, seen) = &mut *live;
                    rows.retain(|r| *r != row);
                    retired.retire(vec![row], seen);
                }
                for row in retired.take_unseen() {
                    overwritten[row as usize].store(true, SeqCst);
                }
            }
            reader.join().expect("a thread");
            for row in retired.take_unseen() {
                overwritten[row as usize].store(true, SeqCst);
            }
            assert!(overwritten.iter().all(|row| row.load(SeqCst)), "in the end all are overwritten");
        });
    }
}
