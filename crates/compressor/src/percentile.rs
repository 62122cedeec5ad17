//! numpy's percentile, in the arithmetic that numpy would use.

/// A number as the package computes with it: numpy's single precision, until a Python float (a forced 1.0, a dropped
/// 0.0) joins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Single(f32),
    Double(f64),
}

impl Number {
    pub fn value(self) -> f64 {
        match self {
            Self::Single(x) => f64::from(x),
            Self::Double(x) => x,
        }
    }
}

/// `np.percentile(values, q)` with linear interpolation. An array of single precision only is interpolated in single
/// precision. `None` for an empty array or a `q` outside 0–100, where numpy raises.
pub(crate) fn percentile(values: &[Number], q: i64) -> Option<f64> {
    if values.is_empty() || !(0..=100).contains(&q) {
        return None;
    }
    let single = values.iter().all(|v| matches!(v, Number::Single(_)));
    let mut sorted: Vec<f64> = values.iter().map(|v| v.value()).collect();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() - 1) as f64 * (q as f64 / 100.0);
    let below = index.floor();
    let (low, high) = (sorted[below as usize], sorted[(below as usize + 1).min(sorted.len() - 1)]);
    let weight = index - below;
    Some(if single {
        let (low, high) = (low as f32, high as f32);
        let step = high - low;
        f64::from(if weight >= 0.5 { high - step * (1.0 - weight) as f32 } else { low + step * weight as f32 })
    } else {
        let step = high - low;
        if weight >= 0.5 { high - step * (1.0 - weight) } else { low + step * weight }
    })
}

/// `int(100 * reduce_rate + 1)`: the percentile below which a word goes.
pub(crate) fn token_percentile(reduce_rate: f64) -> i64 {
    (100.0 * reduce_rate + 1.0) as i64
}

/// `int(100 * reduce_rate)`: the one that tells what stands between two forced tokens.
pub(crate) fn drop_percentile(reduce_rate: f64) -> i64 {
    (100.0 * reduce_rate) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubles(values: &[f64]) -> Vec<Number> {
        values.iter().map(|&v| Number::Double(v)).collect()
    }

    #[test]
    fn it_interpolates_as_numpy_does() {
        // np.percentile([1, 2, 3, 4], q)
        for (q, want) in [(0, 1.0), (50, 2.5), (75, 3.25), (51, 2.530_000_000_000_000_2), (100, 4.0)] {
            assert_eq!(percentile(&doubles(&[3.0, 1.0, 4.0, 2.0]), q), Some(want));
        }
        // np.percentile(np.array([.1, .2, .3], np.float32), 68)
        let singles = [0.1, 0.2, 0.3].map(Number::Single);
        assert_eq!(percentile(&singles, 68), Some(f64::from(0.236_f32)));
    }

    #[test]
    fn where_numpy_raises_there_is_none() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&doubles(&[1.0]), 101), None);
        assert_eq!(percentile(&doubles(&[1.0]), -1), None);
    }

    #[test]
    fn rates_become_percentiles_by_truncation() {
        for (rate, token, drop) in
            [(0.33, 68, 67), (0.55, 45, 44), (0.66, 35, 34), (0.7, 31, 30), (0.9, 10, 9), (0.95, 6, 5)]
        {
            let reduce: f64 = 1.0 - rate;
            assert_eq!((token_percentile(reduce), drop_percentile(reduce)), (token, drop), "rate {rate}");
        }
    }

    proptest! {
        #[test]
        fn it_lies_between_the_least_and_the_most_and_rises_with_q(
            values in prop::collection::vec(0f32..1.0, 1..40),
            q in 0i64..100,
        ) {
            let numbers: Vec<Number> = values.iter().map(|&v| Number::Single(v)).collect();
            let this = percentile(&numbers, q).expect("a value");
            let next = percentile(&numbers, q + 1).expect("a value");
            prop_assert!(this <= next + 1e-7);
            prop_assert!(values.iter().any(|&v| f64::from(v) <= this + 1e-7));
            prop_assert!(values.iter().any(|&v| f64::from(v) >= this - 1e-7));
        }
    }
}
