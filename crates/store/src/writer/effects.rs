//! What a command has changed, to be published after the commit.

use crate::StoreError;
use crate::collection::CollectionState;
use crate::command::VersionId;
use crate::record_store::Change;
use membox_records::{LiveRow, Record, Renamed, StoredSession};

/// What a command changed in memory's picture of a collection. Published after the commit, all at once.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Records that are in a row now, and what they replaced.
    pub written: Vec<Published>,
    /// Records that are gone.
    pub removed: Vec<LiveRow>,
    /// Rows that were appended and that no record names.
    pub unused: Vec<u32>,
    /// Whether records that were there have vectors of their tokens now.
    pub has_tokens: bool,
}

/// A record's new version.
#[derive(Debug)]
pub(super) struct Published {
    pub row: u32,
    /// Rows behind it, of further windows.
    pub further: u32,
    pub record: Record,
    pub replaced: Option<LiveRow>,
    /// A message that has another id among records, and the one that it had.
    pub renamed: Option<(Renamed, String)>,
}

impl Effects {
    /// Makes them visible, and gives the rows that are dead from then on.
    pub fn publish(self, state: &mut CollectionState) -> Vec<u32> {
        let mut dead = self.unused;
        if self.has_tokens {
            state.set_changed();
        }
        let version = |state: &CollectionState, row| VersionId(state.slots.slot(row));
        // A damaged slot may name any row: what is not current is nobody's to take away.
        let current = |state: &CollectionState, old: LiveRow| state.rows.rows().contains(old.row).then_some(old);
        for Published { row, further, record, replaced, renamed } in self.written {
            let replaced = replaced.and_then(|old| current(state, old));
            if let Some((renamed, from)) = renamed {
                state.rename(&renamed, &from);
            }
            dead.extend(replaced.iter().flat_map(|old| all_rows(state, old)));
            state.insert((row, further), &record, replaced.as_ref());
            let replaced_version = replaced.as_ref().map(|old| version(state, old.row));
            state.changes.push(Change::Written { version: version(state, row), replaced: replaced_version });
        }
        for old in self.removed {
            let Some(old) = current(state, old) else { continue };
            dead.extend(all_rows(state, &old));
            state.remove(&old);
            state.changes.push(Change::Deleted(version(state, old.row)));
        }
        dead
    }
}

/// The row of a record and those of its further windows.
fn all_rows(state: &CollectionState, of: &LiveRow) -> impl Iterator<Item = u32> {
    std::iter::once(of.row).chain(state.windows.of(of.row))
}

/// Refuses a session that somebody else has made with another user or collection.
pub(super) fn check_made(
    made: &StoredSession,
    user: Option<&Option<String>>,
    collection: Option<i64>,
) -> Result<(), StoreError> {
    let what = match (user, collection) {
        (Some(user), _) if *user != made.user => "user",
        (_, Some(collection)) if collection != made.collection => "collection",
        _ => return Ok(()),
    };
    Err(StoreError::SessionExists { id: made.id.clone(), what })
}
