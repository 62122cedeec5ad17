//! Who stands beside whom in a conversation: the rows of each session, linked in the order of writing.

use std::collections::HashMap;
use std::sync::Arc;

const NONE: u32 = u32::MAX;
/// Rows of one part. A link that changes while somebody reads copies its part, 32 KB.
const PART_ROWS: usize = BLOCK_ROWS * u64::BITS as usize;
/// Rows of which is known together whether they are [contiguous](Links::is_contiguous).
pub(crate) const BLOCK_ROWS: usize = 64;

/// For every row the rows before and after it in its session. A copy shares what is there, and stays as it is.
#[derive(Clone, Default)]
pub(crate) struct Links {
    parts: Arc<Vec<Arc<Part>>>,
}

#[derive(Clone)]
struct Part {
    links: [Link; PART_ROWS],
    /// A bit for each block of rows: whether all links that it ever had were to the rows next to it.
    contiguous: u64,
}

/// The rows before and after a row, or [`NONE`].
#[derive(Clone, Copy, PartialEq)]
struct Link {
    before: u32,
    after: u32,
}

const ALONE: Link = Link { before: NONE, after: NONE };

impl Link {
    /// Whether a row with it has none beside it but the rows before and after it by number.
    fn is_contiguous(self, row: u32) -> bool {
        (self.before == NONE || self.before + 1 == row) && (self.after == NONE || self.after == row + 1)
    }
}

impl Links {
    fn get(&self, row: u32) -> Link {
        let row = row as usize;
        self.parts.get(row / PART_ROWS).map_or(ALONE, |part| part.links[row % PART_ROWS])
    }

    /// Puts a link in the place of what `change` gets.
    fn change(&mut self, row: u32, change: impl FnOnce(Link) -> Link) {
        let at = row as usize;
        let parts = Arc::make_mut(&mut self.parts);
        if parts.len() <= at / PART_ROWS {
            let alone = || Arc::new(Part { links: [ALONE; PART_ROWS], contiguous: u64::MAX });
            parts.resize_with(at / PART_ROWS + 1, alone);
        }
        let part = Arc::make_mut(&mut parts[at / PART_ROWS]);
        let link = change(part.links[at % PART_ROWS]);
        part.links[at % PART_ROWS] = link;
        if !link.is_contiguous(row) {
            part.contiguous &= !(1 << (at % PART_ROWS / BLOCK_ROWS));
        }
    }

    fn set_before(&mut self, row: u32, before: u32) {
        self.change(row, |link| Link { before, ..link });
    }

    fn set_after(&mut self, row: u32, after: u32) {
        self.change(row, |link| Link { after, ..link });
    }

    /// Whether the rows of a block, of the block before it and of the one after it are known to be linked to none but
    /// the rows before and after them by number, as those of a conversation are that was written at once.
    pub fn is_contiguous(&self, block: usize) -> bool {
        const BLOCKS: usize = PART_ROWS / BLOCK_ROWS;
        let is_one = |block: usize| {
            self.parts.get(block / BLOCKS).is_none_or(|part| part.contiguous >> (block % BLOCKS) & 1 == 1)
        };
        (block.saturating_sub(1)..=block + 1).all(is_one)
    }

    /// The row before a row.
    pub fn before(&self, row: u32) -> Option<u32> {
        Some(self.get(row).before).filter(|&r| r != NONE)
    }

    /// The row after a row.
    pub fn after(&self, row: u32) -> Option<u32> {
        Some(self.get(row).after).filter(|&r| r != NONE)
    }

    /// Rows that have somebody beside them.
    fn linked(&self) -> impl Iterator<Item = (u32, Link)> {
        let links = self.parts.iter().flat_map(|part| part.links.iter().copied());
        (0..).zip(links).filter(|(_, link)| *link != ALONE)
    }
}

/// The links, and where each session ends.
#[derive(Default)]
pub(crate) struct SessionLinks {
    links: Links,
    last: HashMap<String, u32>,
}

impl SessionLinks {
    /// Appends a row to a session.
    pub fn push(&mut self, row: u32, session: &str) {
        if let Some(&last) = self.last.get(session) {
            self.links.set_after(last, row);
            self.links.set_before(row, last);
        }
        self.last.insert(session.to_owned(), row);
    }

    /// Puts a row in the place of another: a new version of the same record.
    pub fn replace(&mut self, old: u32, new: u32, session: &str) {
        let link = self.links.get(old);
        self.links.change(old, |_| ALONE);
        self.links.change(new, |_| link);
        if link.before != NONE {
            self.links.set_after(link.before, new);
        }
        if link.after != NONE {
            self.links.set_before(link.after, new);
        }
        if let Some(last) = self.last.get_mut(session).filter(|last| **last == old) {
            *last = new;
        }
    }

    /// Takes a row out of its session; those beside it become neighbours.
    pub fn remove(&mut self, row: u32, session: &str) {
        let Link { before, after } = self.links.get(row);
        self.links.change(row, |_| ALONE);
        if before != NONE {
            self.links.set_after(before, after);
        }
        if after != NONE {
            self.links.set_before(after, before);
        }
        if self.last.get(session) == Some(&row) {
            if before == NONE {
                self.last.remove(session);
            } else {
                self.last.insert(session.to_owned(), before);
            }
        }
    }

    /// The same links between other row numbers, in the same order.
    pub fn renumbered(&self, row: impl Fn(u32) -> u32) -> Self {
        let mut links = Links::default();
        let renumbered = |old: u32| if old == NONE { NONE } else { row(old) };
        for (old, link) in self.links.linked() {
            links.change(row(old), |_| Link { before: renumbered(link.before), after: renumbered(link.after) });
        }
        Self { links, last: self.last.iter().map(|(name, &last)| (name.clone(), row(last))).collect() }
    }

    /// Who stands beside whom now.
    pub fn links(&self) -> &Links {
        &self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn links_are_those_of_plain_lists(
            before in 0u32..300,
            steps in prop::collection::vec((0u8..3, 0usize..3, 0usize..8), 1..60),
        ) {
            let (mut links, mut lists, mut next) = (SessionLinks::default(), [vec![], vec![], vec![]], before);
            (0..before).for_each(|row| links.push(row, "at once"));
            for (kind, session, at) in steps {
                let (name, list): (String, &mut Vec<u32>) = (session.to_string(), &mut lists[session]);
                match kind {
                    0 => { links.push(next, &name); list.push(next); next += 1; }
                    1 if !list.is_empty() => {
                        let at = at % list.len();
                        links.replace(list[at], next, &name);
                        list[at] = next;
                        next += 1;
                    }
                    2 if !list.is_empty() => { let at = at % list.len(); links.remove(list.remove(at), &name); }
                    _ => {}
                }
            }
            let is_contiguous = |row: u32| {
                let beside = [links.links().before(row), links.links().after(row)];
                beside.into_iter().flatten().all(|beside| beside.abs_diff(row) == 1)
            };
            for block in (0..8).filter(|&block| links.links().is_contiguous(block)) {
                let rows = (block.saturating_sub(1) * BLOCK_ROWS) as u32..((block + 2) * BLOCK_ROWS) as u32;
                prop_assert!(rows.into_iter().all(is_contiguous), "{block}");
            }
            prop_assert!(links.links().is_contiguous(0) || before < 2 * BLOCK_ROWS as u32);
            // As after a compaction: only the rows of current versions are left.
            let mut kept: Vec<u32> = (0..before).chain(lists.iter().flatten().copied()).collect();
            kept.sort_unstable();
            let new = |row: u32| kept.binary_search(&row).expect("a current row") as u32;
            let compacted = links.renumbered(new);
            let (links, compacted) = (links.links(), compacted.links());
            for list in &lists {
                for (i, &row) in list.iter().enumerate() {
                    prop_assert_eq!(compacted.before(new(row)), i.checked_sub(1).map(|i| new(list[i])));
                    prop_assert_eq!(compacted.after(new(row)), list.get(i + 1).map(|&row| new(row)));
                }
            }
            for list in &lists {
                for (i, &row) in list.iter().enumerate() {
                    prop_assert_eq!(links.before(row), i.checked_sub(1).map(|i| list[i]));
                    prop_assert_eq!(links.after(row), list.get(i + 1).copied());
                }
            }
        }
    }
}
