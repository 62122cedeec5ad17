//! How the states of a sequence's tokens make its vector.

use std::fmt;

/// What sentence-transformers calls a pooling mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all tokens.
    #[default]
    Mean,
    /// The state of the first token, `[CLS]`.
    Cls,
    /// The state of the last token.
    LastToken,
    /// Of each number, the largest among the tokens.
    Max,
}

impl Pooling {
    /// As text-embeddings-inference calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::LastToken => "last_token",
            Self::Max => "max",
        }
    }

    /// The vectors, `[sequences, width]`, of states, `[tokens, width]`.
    pub(crate) fn pool(self, states: &[f32], offsets: &[u32], width: usize, normalize: bool, out: &mut [f32]) {
        for (bounds, out) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
            let rows = &states[bounds[0] as usize * width..bounds[1] as usize * width];
            let mut all = rows.chunks_exact(width);
            match self {
                Self::Cls | Self::LastToken => {
                    let row = if self == Self::Cls { all.next() } else { all.next_back() };
                    match row {
                        Some(row) => out.copy_from_slice(row),
                        None => out.fill(0.0),
                    }
                }
                Self::Max => {
                    out.fill(f32::NEG_INFINITY);
                    all.for_each(|row| out.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(*x)));
                }
                Self::Mean => {
                    out.fill(0.0);
                    let share = 1.0 / all.len().max(1) as f32;
                    all.for_each(|row| out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * share));
                }
            }
            if normalize {
                to_unit_length(out);
            }
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Divides a vector by its length.
pub(crate) fn to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x /= length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_takes_its_tokens() {
        let states = [1.0, 8.0, 3.0, 2.0, 5.0, 5.0, 3.0, 4.0];
        let of = |pooling: Pooling, normalize| {
            let mut out = [9.0; 4];
            pooling.pool(&states, &[0, 3, 4], 2, normalize, &mut out);
            out
        };
        assert_eq!(of(Pooling::Mean, false), [3.0, 5.0, 3.0, 4.0]);
        assert_eq!(of(Pooling::Cls, false), [1.0, 8.0, 3.0, 4.0]);
        assert_eq!(of(Pooling::LastToken, false), [5.0, 5.0, 3.0, 4.0]);
        assert_eq!(of(Pooling::Max, false), [5.0, 8.0, 3.0, 4.0]);
        assert_eq!(of(Pooling::Max, true)[2..], [0.6, 0.8]);
    }
}
