//! The angles that rotary positions turn by.

/// Cosines and sines of each position, rows of half a head.
pub(crate) struct Angles {
    pub cosines: Vec<f32>,
    pub sines: Vec<f32>,
    /// Half of a head's own width.
    pub half: usize,
}

impl Angles {
    pub fn new(frequencies: &[f32], positions: usize) -> Self {
        // The product is rounded to f32 as PyTorch rounds it: far out, that is what both are equal by.
        let angles = (0..positions).flat_map(|at| frequencies.iter().map(move |f| f64::from(at as f32 * f)));
        let (sines, cosines) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Self { cosines, sines, half: frequencies.len() }
    }
}
