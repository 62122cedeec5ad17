//! How often a key may ask: a bucket that fills with time, and gives one for each request. And how often the log says
//! what others can cause as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests that a key may send.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    /// What is in it, and when it was looked at last.
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// One that fills with so many a second, holds as many as a second brings (one at least), and is full.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, state: Mutex::new((per_second.max(1.0), Instant::now())) }
    }

    /// With how many a second it fills.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Takes one, or says how long it will be until there is one.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, looked_at) = *state;
        let more = now.saturating_duration_since(looked_at).as_secs_f64() * self.per_second;
        let left = (left + more).min(self.per_second.max(1.0));
        let (left, taken) = if left >= 1.0 {
            (left - 1.0, Ok(()))
        } else {
            (left, Err(Duration::from_secs_f64((1.0 - left) / self.per_second)))
        };
        *state = (left, now.max(looked_at));
        taken
    }
}

/// How long the log is silent about something after it was said.
const SILENCE: Duration = Duration::from_secs(10);

/// Counts what is logged once in a while.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When it was said last, and how often it has happened since.
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// Counts one. How many there were since it was said last, this one included, where it is time to say so.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, times) = (state.0, state.1 + 1);
        let is_due = said.is_none_or(|said| now.saturating_duration_since(said) >= SILENCE);
        *state = if is_due { (Some(now), 0) } else { (said, times) };
        is_due.then_some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_happens_often_is_said_once_in_a_while_with_how_often() {
        let (throttle, begun) = (Throttle::default(), Instant::now());
        let said = |ms: u64| throttle.count(begun + Duration::from_millis(ms));
        assert_eq!([said(0), said(1), said(9_999), said(10_000), said(10_001)], [Some(1), None, None, Some(3), None]);
        assert_eq!(said(60_000), Some(2));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_the_rate_and_one_bucket(
            per_second in 0.5f64..50.0,
            waits in prop::collection::vec(0u64..400, 1..200),
        ) {
            let bucket = Bucket::new(per_second);
            let (mut now, mut given) = (Instant::now(), Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait);
                match bucket.take(now) {
                    Ok(()) => given.push(now),
                    Err(wait) => {
                        now += wait + Duration::from_micros(1);
                        prop_assert!(bucket.take(now).is_ok(), "after as long as it says there is one");
                        given.push(now);
                    }
                }
            }
            for (i, first) in given.iter().enumerate() {
                for (n, last) in given[i..].iter().enumerate() {
                    let most = last.duration_since(*first).as_secs_f64() * per_second + per_second.max(1.0);
                    prop_assert!((n + 1) as f64 <= most + 1e-6, "{} in {:?}", n + 1, last.duration_since(*first));
                }
            }
        }
    }
}
