//! Numbers in the order of what they are, an integer beside a decimal too.

use std::fmt;

/// An integer of 64 bits or an `f64` that is a number. It compares as it was written: 2⁵³ + 1 is more than 2⁵³, and 1
/// is 1.0.
///
/// In order of the nearest `f64`, and of how far the integer is from it: rounding never turns two numbers around, so
/// this is the order of the numbers themselves. Ten bytes, since a filter's index holds one of each time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(2))]
pub struct Number {
    /// The nearest `f64`, as an integer of the same order.
    nearest: u64,
    /// What is to be added to it: at most 1 024, half of the gap between two `f64` below 2⁶⁴.
    rest: i16,
}

/// The sign of an `f64`.
const SIGN: u64 = 1 << 63;

impl Number {
    fn integer(integer: i128) -> Self {
        let nearest = integer as f64;
        Self { rest: (integer - nearest as i128) as i16, ..Self::from(nearest) }
    }
}

impl Number {
    /// The nearest `f64`.
    fn decimal(self) -> f64 {
        let nearest = self.nearest;
        f64::from_bits(if nearest & SIGN == 0 { !nearest } else { nearest & !SIGN })
    }

    /// As JSON: an integer where it is one.
    pub fn to_json(self) -> serde_json::Value {
        let decimal = self.decimal();
        if decimal.fract() == 0.0 && decimal.abs() < 2f64.powi(65) {
            let integer = decimal as i128 + i128::from(self.rest);
            if let Ok(integer) = i64::try_from(integer) {
                return integer.into();
            }
            if let Ok(integer) = u64::try_from(integer) {
                return integer.into();
            }
        }
        decimal.into()
    }
}

impl From<f64> for Number {
    fn from(decimal: f64) -> Self {
        // Adding zero makes −0 and 0 one number.
        let bits = (decimal + 0.0).to_bits();
        Self { nearest: if bits & SIGN == 0 { bits | SIGN } else { !bits }, rest: 0 }
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Self {
        Self::integer(integer.into())
    }
}

impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        Self::integer(integer.into())
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Self::from(integer),
            (None, Some(integer)) => Self::from(integer),
            (None, None) => Self::from(number.as_f64().unwrap_or(f64::NAN)),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let nearest = f64::from_bits(if self.nearest & SIGN == 0 { !self.nearest } else { self.nearest ^ SIGN });
        match self.rest {
            0 => write!(f, "{nearest}"),
            rest => write!(f, "{}", nearest as i128 + i128::from(rest)),
        }
    }
}
