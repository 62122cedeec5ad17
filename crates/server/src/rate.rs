//! How often a key may ask: a bucket that fills with time, and gives one for each request. And how often the log says
//! what others can cause as often as they like.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
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

/// Wrong keys that an address may send at once, and how long it is until it may send one more.
const WRONG_KEYS: f64 = 10.0;
const NEXT_WRONG_KEY: Duration = Duration::from_secs(6);
/// Addresses whose wrong keys are counted.
const MAX_PEERS: usize = 4096;

/// Wrong keys, by who sends them: an address of IPv4, or the 64 bits of IPv6 that one network has.
#[derive(Debug, Default)]
pub struct WrongKeys {
    /// What is left, and when it was looked at last.
    left: Mutex<HashMap<Option<IpAddr>, (f64, Instant)>>,
}

/// The network that an address stands for.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

fn left_at(now: Instant, (left, looked_at): (f64, Instant)) -> f64 {
    let passed = now.saturating_duration_since(looked_at).as_secs_f64();
    (left + passed / NEXT_WRONG_KEY.as_secs_f64()).min(WRONG_KEYS)
}

impl WrongKeys {
    /// Counts one, or says how long it will be until another one is looked at.
    pub fn count(&self, peer: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let mut of_peers = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peer.map(network);
        if of_peers.len() >= MAX_PEERS && !of_peers.contains_key(&peer) {
            of_peers.retain(|_, state| left_at(now, *state) < WRONG_KEYS);
            // Where all are busy, the one that has sent the fewest is forgotten.
            let most = |a: &f64, b: &f64| a.total_cmp(b);
            let fewest = of_peers.iter().map(|(peer, state)| (*peer, left_at(now, *state)));
            let fewest = fewest.max_by(|(_, a), (_, b)| most(a, b)).filter(|_| of_peers.len() >= MAX_PEERS);
            fewest.and_then(|(peer, _)| of_peers.remove(&peer));
        }
        let state = of_peers.entry(peer).or_insert((WRONG_KEYS, now));
        let left = left_at(now, *state);
        *state = (left, now.max(state.1));
        if left < 1.0 {
            return Err(NEXT_WRONG_KEY.mul_f64(1.0 - left));
        }
        state.0 = left - 1.0;
        Ok(())
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

    #[test]
    fn wrong_keys_are_slowed_by_address_and_the_others_do_not_feel_it() {
        let (wrong, begun) = (WrongKeys::default(), Instant::now());
        let count = |peer: &str, s: u64| {
            let peer = Some(peer.parse().expect("an address"));
            wrong.count(peer, begun + Duration::from_secs(s)).map_err(|wait| wait.as_secs_f64().round() as u64)
        };
        assert!((0..10).all(|_| count("192.0.2.1", 0).is_ok()));
        assert_eq!((count("192.0.2.1", 0), count("192.0.2.1", 2)), (Err(6), Err(4)));
        assert_eq!(count("::ffff:192.0.2.1", 2), Err(4), "the same address");
        assert_eq!((count("192.0.2.2", 2), count("192.0.2.1", 6), count("192.0.2.1", 6)), (Ok(()), Ok(()), Err(6)));
        assert!((0..10).all(|i| count(&format!("2001:db8::{i}"), 0).is_ok()));
        assert_eq!((count("2001:db8::ffff", 0), count("2001:db8:0:1::1", 0)), (Err(6), Ok(())), "one network");
        assert!((0..10).all(|_| count("192.0.2.1", 1000).is_ok()), "and then it may again");
    }

    #[test]
    fn those_who_send_most_are_remembered_however_many_there_are() {
        let (wrong, now) = (WrongKeys::default(), Instant::now());
        let peer = |i: u32| Some(IpAddr::from(std::net::Ipv4Addr::from(i)));
        assert!((0..11).filter(|_| wrong.count(peer(0), now).is_ok()).count() == 10);
        for i in 1..20_000 {
            assert!(wrong.count(peer(i), now).is_ok());
        }
        assert_eq!(wrong.left.lock().expect("no panic").len(), MAX_PEERS);
        assert!(wrong.count(peer(0), now).is_err());
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
