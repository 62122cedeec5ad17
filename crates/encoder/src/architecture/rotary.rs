//! Rotary positions (Su et al. 2021): the numbers i and i + D/2 of a head D wide are turned by position · frequency(i).

/// `1 / base^(2i/D)` for each pair of a head's numbers.
pub(crate) fn inverse_frequencies(head_width: usize, base: f64) -> Vec<f32> {
    let frequency = |i: usize| 1.0 / base.powf((2 * i) as f64 / head_width as f64);
    (0..head_width / 2).map(|i| frequency(i) as f32).collect()
}
