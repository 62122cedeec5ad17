//! Who stands beside whom in a conversation: the rows of each session, linked in the order of writing.

use std::collections::HashMap;
use std::sync::Arc;

const NONE: u32 = u32::MAX;
/// Rows of one part. A link that changes while somebody reads copies its part, 32 KB.
const PART_ROWS: usize = 4096;

/// For every row the rows before and after it in its session. A copy shares what is there, and stays as it is.
#[derive(Clone, Default)]
pub(crate) struct Links {
    parts: Arc<Vec<Arc<[Link; PART_ROWS]>>>,
}

/// The rows before and after a row, or [`NONE`].
#[derive(Clone, Copy, PartialEq)]
struct Link {
    before: u32,
    after: u32,
}

const ALONE: Link = Link { before: NONE, after: NONE };

impl Links {
    fn get(&self, row: u32) -> Link {
        let row = row as usize;
        self.parts.get(row / PART_ROWS).map_or(ALONE, |part| part[row % PART_ROWS])
    }

    fn get_mut(&mut self, row: u32) -> &mut Link {
        let row = row as usize;
        let parts = Arc::make_mut(&mut self.parts);
        if parts.len() <= row / PART_ROWS {
            parts.resize_with(row / PART_ROWS + 1, || Arc::new([ALONE; PART_ROWS]));
        }
        &mut Arc::make_mut(&mut parts[row / PART_ROWS])[row % PART_ROWS]
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
        let links = self.parts.iter().flat_map(|part| part.iter().copied());
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
            self.links.get_mut(last).after = row;
            self.links.get_mut(row).before = last;
        }
        self.last.insert(session.to_owned(), row);
    }

    /// Puts a row in the place of another: a new version of the same record.
    pub fn replace(&mut self, old: u32, new: u32, session: &str) {
        let link = std::mem::replace(self.links.get_mut(old), ALONE);
        *self.links.get_mut(new) = link;
        if link.before != NONE {
            self.links.get_mut(link.before).after = new;
        }
        if link.after != NONE {
            self.links.get_mut(link.after).before = new;
        }
        if let Some(last) = self.last.get_mut(session).filter(|last| **last == old) {
            *last = new;
        }
    }

    /// Takes a row out of its session; those beside it become neighbours.
    pub fn remove(&mut self, row: u32, session: &str) {
        let Link { before, after } = std::mem::replace(self.links.get_mut(row), ALONE);
        if before != NONE {
            self.links.get_mut(before).after = after;
        }
        if after != NONE {
            self.links.get_mut(after).before = before;
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
            *links.get_mut(row(old)) = Link { before: renumbered(link.before), after: renumbered(link.after) };
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
        fn links_are_those_of_plain_lists(steps in prop::collection::vec((0u8..3, 0usize..3, 0usize..8), 1..60)) {
            let (mut links, mut lists, mut next) = (SessionLinks::default(), [vec![], vec![], vec![]], 0u32);
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
            // As after a compaction: only the rows of current versions are left.
            let mut kept: Vec<u32> = lists.iter().flatten().copied().collect();
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
