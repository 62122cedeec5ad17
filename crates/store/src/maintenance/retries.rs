//! Background work that has failed: when it is tried again, and from when on whoever runs the box hears of it.

use crate::collection::Collection;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// How long it is left after the first failure; twice as long after each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Failures in a row from which on it is named as a trouble.
const NAMED_AFTER: u32 = 3;

struct Failure {
    times: u32,
    next: Instant,
    reason: String,
    collection: Weak<Collection>,
}

/// What has failed since it was last done, by its name.
#[derive(Default)]
pub(crate) struct Retries(BTreeMap<String, Failure>);

impl Retries {
    /// Notes a failure of work on a collection, or of work on none.
    pub fn failed(&mut self, what: &str, collection: Weak<Collection>, reason: String, now: Instant) {
        let times = self.0.get(what).map_or(0, |before| before.times) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_PAUSE);
        self.0.insert(what.to_owned(), Failure { times, next: now + pause, reason, collection });
    }

    /// Notes that it was done.
    pub fn done(&mut self, what: &str) {
        self.0.remove(what);
    }

    /// Whether it is to be left alone for now.
    pub fn is_paused(&self, what: &str, now: Instant) -> bool {
        self.0.get(what).is_some_and(|failure| failure.next > now)
    }

    /// Collections on which work is to be tried again. Those that are not open any more, or dropped, are forgotten:
    /// who opens one asks for all of it anew.
    pub fn due(&mut self, now: Instant) -> Vec<Weak<Collection>> {
        let is_gone = |failure: &Failure| failure.collection.upgrade().is_none_or(|found| found.is_gone());
        self.0.retain(|_, failure| failure.collection.ptr_eq(&Weak::new()) || !is_gone(failure));
        self.0.values().filter(|failure| failure.next <= now).map(|failure| failure.collection.clone()).collect()
    }

    /// What fails again and again, each with the last reason.
    pub fn troubles(&self) -> Vec<String> {
        let named = self.0.iter().filter(|(_, failure)| failure.times >= NAMED_AFTER);
        named
            .map(|(what, Failure { times, reason, .. })| format!("{what} has failed {times} times: {reason}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_what_fails_again_and_again_is_named() {
        let (mut retries, mut now) = (Retries::default(), Instant::now());
        let mut pauses = Vec::new();
        for times in 1..=9 {
            assert_eq!(retries.troubles().len(), usize::from(times > 3));
            retries.failed("an index", Weak::new(), format!("reason {times}"), now);
            let began = now;
            while retries.is_paused("an index", now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(retries.troubles(), ["an index has failed 9 times: reason 9"]);
        assert_eq!(retries.due(now).len(), 1);
        retries.done("an index");
        assert!(retries.troubles().is_empty() && retries.due(now).is_empty());
    }
}
