//! How much a GPU's memory holds at once: what did not fit is not tried again for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After how long more is tried again: what took the memory may have ended.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The most tokens that a pass may have.
pub(crate) struct Room {
    most: usize,
    /// What is known to be the most, and since when.
    known: Mutex<Option<(usize, Instant)>>,
}

impl Room {
    /// Room for a number of tokens, as long as nothing else is known.
    pub fn new(most: usize) -> Self {
        Self { most, known: Mutex::new(None) }
    }

    fn known(&self) -> MutexGuard<'_, Option<(usize, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tokens that are worth trying.
    pub fn tokens(&self) -> usize {
        match *self.known() {
            Some((tokens, since)) if since.elapsed() < TRY_AGAIN => tokens,
            _ => self.most,
        }
    }

    /// Remembers that there was no room. Memory is asked for in powers of two.
    pub fn was_too_small_for(&self, tokens: usize) {
        let most = tokens.next_power_of_two() / 2;
        tracing::warn!(tokens, most, "a batch does not fit the card's memory");
        *self.known() = Some((most, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_remembered_by_the_power_of_two_below() {
        let room = Room::new(16_384);
        assert_eq!(room.tokens(), 16_384);
        room.was_too_small_for(9000);
        assert_eq!(room.tokens(), 8192);
        room.was_too_small_for(8192);
        assert_eq!(room.tokens(), 4096);
        room.was_too_small_for(1);
        assert_eq!(room.tokens(), 0);
    }
}
