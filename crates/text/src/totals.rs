//! Statistics of a part of the text index, which add up.

/// Texts and terms counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Texts.
    pub texts: u64,
    /// Their terms, stop words not counted.
    pub terms: u64,
}
