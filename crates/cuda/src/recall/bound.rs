//! Questions as a scan takes them, and how far its scores may be off.

use half::f16;

/// The largest number that two signed bytes make: 127 · 256 + 127.
const MOST_OF_TWO_BYTES: f32 = 32_639.0;
/// Sums that are not of a number of the question, for which rounding is allowed for: those between lanes.
const OTHER_SUMS: usize = 64;

/// What a scan for a question says, times `unit`, is exceeded by no score by more than `slack`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    /// What the scan itself multiplies by: products of codes, and errors of rows.
    pub step: f32,
    pub length: f32,
    pub unit: f32,
    pub slack: f32,
}

/// A question in two bytes a number, all high ones first: those of `scan_codes`. No row is longer than `longest`.
pub(crate) fn in_two_bytes(question: &[f32], longest: f32, bytes: &mut [u32]) -> Bound {
    bytes.fill(0);
    let low = bytes.len() / 2;
    let most = question.iter().fold(0f32, |most, x| most.max(x.abs()));
    let step = most / MOST_OF_TWO_BYTES;
    let rounded = |(i, x): (usize, &f32)| {
        let whole = (x / step).round().clamp(-MOST_OF_TWO_BYTES, MOST_OF_TWO_BYTES) as i32;
        let high = (whole + 128) >> 8;
        bytes[i / 4] |= u32::from(high as u8) << (i % 4 * 8);
        bytes[low + i / 4] |= u32::from((whole - high * 256) as u8) << (i % 4 * 8);
        f64::from(*x) - f64::from(step) * f64::from(whole)
    };
    let errors: Vec<f64> = question.iter().enumerate().map(rounded).collect();
    Bound { step, ..bound(question, &errors, longest) }
}

/// A question in 16-bit numbers, two in each of `pairs`: those of `scan_many`. No row is longer than `longest`.
pub(crate) fn in_half(question: &[f32], longest: f32, pairs: &mut [u32]) -> Bound {
    pairs.fill(0);
    let most = question.iter().fold(0f32, |most, x| most.max(x.abs()));
    // A power of two, so that it rounds nothing, and what is small is not too small for 16 bits.
    let unit = match f32::from_bits(most.to_bits() & 0x7f80_0000) {
        0.0 => 1.0,
        unit => unit,
    };
    let rounded = |(i, x): (usize, &f32)| {
        let narrow = f16::from_f32(x / unit);
        pairs[i / 2] |= u32::from(narrow.to_bits()) << (i % 2 * 16);
        f64::from(*x) - f64::from(unit) * narrow.to_f64()
    };
    let errors: Vec<f64> = question.iter().enumerate().map(rounded).collect();
    Bound { unit, ..bound(question, &errors, longest) }
}

fn bound(question: &[f32], errors: &[f64], longest: f32) -> Bound {
    let length = question.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let error = errors.iter().map(|e| e.powi(2)).sum::<f64>().sqrt();
    // Sums in f32 are wrong by at most a share of 2^-24 for each term, and those of tensor cores, which cut off
    // instead of rounding, by 2^-23. There is a sum in the scan and one in the scores that it is held against; this
    // is more than both.
    let share = (question.len() + OTHER_SUMS) as f64 * 0.5f64.powi(21);
    let slack = f64::from(longest) * (error + share * (length + error));
    Bound { step: 1.0, length: ((length + error) * 1.0001) as f32, unit: 1.0, slack: (slack * 1.0001) as f32 }
}

impl Bound {
    /// No score of those that the scan says this of is larger.
    pub fn most(&self, said: f32) -> f64 {
        f64::from(said) * f64::from(self.unit) + f64::from(self.slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::numbers;
    use proptest::prelude::*;

    fn length(x: impl Iterator<Item = f64>) -> f64 {
        x.map(|x| x * x).sum::<f64>().sqrt()
    }

    proptest! {
        /// What either form leaves of a question is within what it says of scores.
        #[test]
        fn no_score_is_further_off_than_is_said(seed: u64, count in 1usize..100, size in 1e-20f32..1e15) {
            let question: Vec<f32> = numbers(seed, count, 1.0).into_iter().map(|x| x * size).collect();
            let width = count.next_multiple_of(32);
            let mut bytes = vec![7; width / 2];
            let bound = in_two_bytes(&question, 1.0, &mut bytes);
            let byte = |at: usize| i32::from((bytes[at / 4] >> (at % 4 * 8)) as i8);
            let of_bytes: Vec<f64> =
                (0..width).map(|i| f64::from(bound.step) * f64::from(byte(i) * 256 + byte(width + i))).collect();
            let mut pairs = vec![7; width / 2];
            let half = in_half(&question, 1.0, &mut pairs);
            let number = |i: usize| f16::from_bits((pairs[i / 2] >> (i % 2 * 16)) as u16).to_f64();
            let of_half: Vec<f64> = (0..width).map(|i| f64::from(half.unit) * number(i)).collect();
            for (known, bound) in [(of_bytes, bound), (of_half, half)] {
                let error = length((0..width).map(|i| question.get(i).map_or(0.0, |x| f64::from(*x)) - known[i]));
                let whole = length(question.iter().map(|x| f64::from(*x)));
                prop_assert!(error <= f64::from(bound.slack) && error <= 1e-3 * whole, "{} {:?}", error, bound);
                prop_assert!(length(known.into_iter()) <= f64::from(bound.length));
            }
        }
    }

    #[test]
    fn nothing_is_certain_of_numbers_that_are_none() {
        let mut place = vec![0; 16];
        for bound in [in_two_bytes(&[f32::INFINITY, 1.0], 1.0, &mut place), in_half(&[f32::NAN, 1.0], 1.0, &mut place)]
        {
            assert!(!bound.most(0.0).is_finite(), "{bound:?}");
        }
    }
}
