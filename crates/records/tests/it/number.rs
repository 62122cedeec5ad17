//! Numbers are ordered as what they are, integers among decimals too.

use membox_records::Number;
use proptest::prelude::*;
use std::cmp::Ordering;

/// A number in every form that it can be written in.
#[derive(Clone, Copy, Debug)]
enum Written {
    Signed(i64),
    Unsigned(u64),
    Decimal(f64),
}

impl Written {
    fn key(self) -> Number {
        match self {
            Self::Signed(n) => Number::from(n),
            Self::Unsigned(n) => Number::from(n),
            Self::Decimal(n) => Number::from(n),
        }
    }

    /// The whole part, which `i128` holds of all that is less than 2¹²⁶, and the sign of what is left.
    fn parts(self) -> (i128, f64) {
        match self {
            Self::Signed(n) => (n.into(), 0.0),
            Self::Unsigned(n) => (n.into(), 0.0),
            Self::Decimal(n) => (n.floor() as i128, n - n.floor()),
        }
    }
}

fn exactly(a: Written, b: Written) -> Ordering {
    match (a, b) {
        (Written::Decimal(a), Written::Decimal(b)) => a.partial_cmp(&b).expect("numbers"),
        _ => {
            let ((a, a_rest), (b, b_rest)) = (a.parts(), b.parts());
            a.cmp(&b).then(a_rest.partial_cmp(&b_rest).expect("numbers"))
        }
    }
}

fn written() -> impl Strategy<Value = Written> {
    // Where integers and decimals part, and around it.
    let edges =
        prop::sample::select(vec![0i128, 1 << 52, 1 << 53, 1 << 60, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]);
    let near = (edges, -1100i128..1100, any::<bool>(), 0u8..3).prop_map(|(edge, by, negative, form)| {
        let n = if negative { -(edge + by) } else { edge + by };
        match (form, i64::try_from(n), u64::try_from(n)) {
            (0, Ok(n), _) => Written::Signed(n),
            (1, _, Ok(n)) => Written::Unsigned(n),
            _ => Written::Decimal(n as f64),
        }
    });
    let finite = any::<f64>().prop_filter("finite", |n| n.is_finite());
    prop_oneof![
        4 => near,
        1 => any::<i64>().prop_map(Written::Signed),
        1 => any::<u64>().prop_map(Written::Unsigned),
        1 => finite.prop_map(Written::Decimal),
        1 => (-4000i32..4000).prop_map(|n| Written::Decimal(f64::from(n) / 8.0)),
        1 => (-500i64..500).prop_map(Written::Signed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn numbers_are_ordered_as_what_they_are(a in written(), b in written()) {
        prop_assert_eq!(a.key().cmp(&b.key()), exactly(a, b), "{:?} {:?}", a, b);
    }
}

#[test]
fn the_edges_keep_their_places() {
    let ordered = [
        Number::from(f64::MIN),
        Number::from(i64::MIN),
        Number::from(i64::MIN + 1),
        Number::from(-(1i64 << 53) - 1),
        Number::from(-(1i64 << 53)),
        Number::from(-0.5),
        Number::from(-0.0),
        Number::from(5e-324),
        Number::from(1u64 << 53),
        Number::from((1u64 << 53) + 1),
        Number::from(i64::MAX),
        Number::from(9_223_372_036_854_775_808.0),
        Number::from(u64::MAX),
        Number::from(18_446_744_073_709_551_616.0),
        Number::from(f64::MAX),
    ];
    assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:?}");
    assert_eq!((Number::from(-0.0), Number::from(1i64)), (Number::from(0u64), Number::from(1.0)));
    assert_eq!((size_of::<Number>(), format!("{:?}", Number::from(u64::MAX))), (10, u64::MAX.to_string()));
}
