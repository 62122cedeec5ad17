//! Tokens of a day.

use jiff::civil::Date;
use std::sync::{Mutex, PoisonError};

/// How many tokens are left today, in UTC.
pub struct Budget {
    per_day: u64,
    used: Mutex<(Date, u64)>,
}

fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date()
}

impl Budget {
    /// So many tokens a day; any number for 0.
    pub fn new(per_day: u64) -> Self {
        Self { per_day, used: Mutex::new((today(), 0)) }
    }

    /// Whether there are any left. The last answer may take more than there were.
    pub fn has_left(&self) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.per_day == 0 || used.0 != today() || used.1 < self.per_day
    }

    /// Takes tokens off.
    pub fn spend(&self, tokens: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let today = today();
        if used.0 != today {
            *used = (today, 0);
        }
        used.1 += tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_so_many_tokens_and_the_next_one_as_many_again() {
        let budget = Budget::new(100);
        budget.spend(99);
        assert!(budget.has_left());
        budget.spend(50);
        assert!(!budget.has_left());
        budget.used.lock().expect("no panic").0 = today().yesterday().expect("a day");
        assert!(budget.has_left(), "that was yesterday");
        budget.spend(1);
        assert!(budget.has_left());
        assert!(Budget::new(0).has_left());
    }
}
