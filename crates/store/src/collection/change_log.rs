//! The newest changes of a collection, for whoever follows them.

use crate::record_store::{Change, Changes, Sequence};
use std::collections::VecDeque;
use uuid::Uuid;

/// Changes that are kept; some 24 bytes each.
pub(crate) const MAX_CHANGES: usize = 4096;

/// The changes since the collection was opened, but for the oldest.
#[derive(Clone, Debug)]
pub(crate) struct ChangeLog {
    epoch: Uuid,
    /// Changes that are not kept any more.
    dropped: u64,
    changes: VecDeque<Change>,
}

impl ChangeLog {
    pub fn new() -> Self {
        Self { epoch: Uuid::new_v4(), dropped: 0, changes: VecDeque::new() }
    }

    pub fn push(&mut self, change: Change) {
        if self.changes.len() == MAX_CHANGES {
            self.changes.pop_front();
            self.dropped += 1;
        }
        self.changes.push_back(change);
    }

    fn now(&self) -> Sequence {
        Sequence { epoch: self.epoch, number: self.dropped + self.changes.len() as u64 }
    }

    /// What follows a moment; `None` where that is not known any more.
    pub fn after(&self, moment: Option<Sequence>) -> Option<Changes> {
        let until = self.now();
        let after = moment.unwrap_or(until);
        let skipped = after.number.checked_sub(self.dropped).filter(|_| after.epoch == self.epoch)?;
        Some(Changes { changes: self.changes.iter().skip(skipped as usize).copied().collect(), until })
    }
}
