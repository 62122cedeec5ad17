//! The time of day, which does not go back.
//!
//! What the box keeps in order has numbers of its own and asks no clock: messages, sessions, inputs, checkpoints, jobs,
//! the audit log, pages, versions (docs/guarantees.md has the list). Times decide on what ends: a lease, a lifetime, a
//! day's quota. A clock that is set back, by hand or by NTP, would let what has expired come back, and give today's
//! quota twice. So a time that was given once is not undercut: after a step back, time goes on at half its speed until
//! the clock has caught up, as `adjtime` slews.
//!
//! A clock that is set back by more than an hour was wrong before. Its new time is taken as it is, with a warning.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The largest step back that is made up for slowly, in milliseconds.
const MAX_SLEWED_MS: i64 = 3600 * 1000;

/// What was given out last, in milliseconds since 1970, and when.
struct Clock(Mutex<Option<(i64, Instant)>>);

static CLOCK: Clock = Clock(Mutex::new(None));

/// Milliseconds since 1970; never less than before, unless the clock was set back by more than an hour.
pub fn now() -> i64 {
    CLOCK.at(jiff::Timestamp::now().as_millisecond(), Instant::now())
}

impl Clock {
    /// The time when the clock of the machine says `wall`, at a moment.
    fn at(&self, wall: i64, moment: Instant) -> i64 {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((last, since)) = *given else {
            *given = Some((wall, moment));
            return wall;
        };
        let behind = last.saturating_sub(wall);
        if behind > MAX_SLEWED_MS {
            tracing::warn!(seconds = behind / 1000, "the clock was set back; what ends at a time ends later");
        }
        if behind <= 0 || behind > MAX_SLEWED_MS {
            *given = Some((wall, moment));
            return wall;
        }
        let passed = moment.saturating_duration_since(since).as_millis() as u64 / 2;
        // The rest of the time that has passed counts for the next one.
        *given = Some((last + passed as i64, since + Duration::from_millis(2 * passed)));
        last + passed as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn after_a_step_back_time_goes_on_and_the_clock_catches_up() {
        let (clock, begun) = (Clock(Mutex::new(None)), Instant::now());
        let at = |wall, ms| clock.at(wall, begun + Duration::from_millis(ms));
        assert_eq!(at(1_000_000, 0), 1_000_000);
        // Ten seconds back.
        assert_eq!(at(990_000, 0), 1_000_000);
        assert_eq!(at(990_001, 1), 1_000_000);
        assert_eq!(at(991_000, 1000), 1_000_500, "at half the speed, however often somebody asks");
        assert_eq!(at(1_000_400, 10_400), 1_005_200);
        assert_eq!(at(1_009_000, 19_000), 1_009_000, "it has caught up with what was given out last");
    }

    #[test]
    fn a_clock_that_was_wrong_by_a_year_is_right_at_once() {
        let (clock, begun) = (Clock(Mutex::new(None)), Instant::now());
        let year = 365 * 24 * MAX_SLEWED_MS;
        assert_eq!(clock.at(year, begun), year);
        assert_eq!(clock.at(5, begun), 5);
        assert_eq!(clock.at(6, begun), 6);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_whatever_steps_of_up_to_an_hour_the_clock_makes(
            steps in prop::collection::vec((0u64..5000, -MAX_SLEWED_MS / 20..MAX_SLEWED_MS / 20), 1..20),
        ) {
            let (clock, mut moment, mut wall) = (Clock(Mutex::new(None)), Instant::now(), 0i64);
            let mut last = clock.at(wall, moment);
            for (passed, step) in steps {
                moment += Duration::from_millis(passed);
                wall += passed as i64 + step;
                let next = clock.at(wall, moment);
                prop_assert!(next >= last && next >= wall);
                last = next;
            }
            moment += Duration::from_millis(3 * MAX_SLEWED_MS as u64);
            prop_assert_eq!(clock.at(wall + 3 * MAX_SLEWED_MS, moment), wall + 3 * MAX_SLEWED_MS);
        }
    }
}
