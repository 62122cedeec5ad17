//! How often a key may ask: a bucket that fills with time, and gives one for each request.

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
