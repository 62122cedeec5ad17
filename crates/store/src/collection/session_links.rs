//! Who stands beside whom in a conversation: the rows of each session, linked in the order of writing.

use std::collections::HashMap;

const NONE: u32 = u32::MAX;

/// For every row the rows before and after it in its session.
#[derive(Default)]
pub(crate) struct SessionLinks {
    before: Vec<u32>,
    after: Vec<u32>,
    last: HashMap<String, u32>,
}

impl SessionLinks {
    /// Appends a row to a session.
    pub fn push(&mut self, row: u32, session: &str) {
        self.reserve(row);
        if let Some(&last) = self.last.get(session) {
            self.after[last as usize] = row;
            self.before[row as usize] = last;
        }
        self.last.insert(session.to_owned(), row);
    }

    /// Puts a row in the place of another: a new version of the same record.
    pub fn replace(&mut self, old: u32, new: u32, session: &str) {
        self.reserve(old.max(new));
        let (before, after) = (self.before[old as usize], self.after[old as usize]);
        self.isolate(old);
        self.before[new as usize] = before;
        self.after[new as usize] = after;
        if before != NONE {
            self.after[before as usize] = new;
        }
        if after != NONE {
            self.before[after as usize] = new;
        }
        if let Some(last) = self.last.get_mut(session).filter(|last| **last == old) {
            *last = new;
        }
    }

    /// Takes a row out of its session; those beside it become neighbours.
    pub fn remove(&mut self, row: u32, session: &str) {
        self.reserve(row);
        let (before, after) = (self.before[row as usize], self.after[row as usize]);
        self.isolate(row);
        if before != NONE {
            self.after[before as usize] = after;
        }
        if after != NONE {
            self.before[after as usize] = before;
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
        let mut links =
            Self { last: self.last.iter().map(|(name, &last)| (name.clone(), row(last))).collect(), ..Self::default() };
        for (old, (&before, &after)) in (0..).zip(self.before.iter().zip(&self.after)) {
            if before != NONE || after != NONE {
                let new = row(old);
                links.reserve(new);
                links.before[new as usize] = if before == NONE { NONE } else { row(before) };
                links.after[new as usize] = if after == NONE { NONE } else { row(after) };
            }
        }
        links
    }

    /// The row before a row.
    pub fn before(&self, row: u32) -> Option<u32> {
        self.before.get(row as usize).copied().filter(|&r| r != NONE)
    }

    /// The row after a row.
    pub fn after(&self, row: u32) -> Option<u32> {
        self.after.get(row as usize).copied().filter(|&r| r != NONE)
    }

    fn isolate(&mut self, row: u32) {
        self.before[row as usize] = NONE;
        self.after[row as usize] = NONE;
    }

    fn reserve(&mut self, row: u32) {
        let length = self.before.len().max(row as usize + 1);
        self.before.resize(length, NONE);
        self.after.resize(length, NONE);
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
