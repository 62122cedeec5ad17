//! The 16-bit numbers that a GPU computes with.

use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Which 16-bit numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Half {
    /// IEEE's: 11 bits of precision, up to 65 504.
    #[default]
    F16,
    /// 8 bits of precision, the range of f32.
    Bf16,
}

/// A 16-bit number in Rust.
pub trait Number: DeviceRepr + ValidAsZeroBits + Copy + Send + Sync + 'static {
    /// Which it is.
    const HALF: Half;
    /// The nearest one.
    fn from_f32(x: f32) -> Self;
    /// Its value.
    fn to_f32(self) -> f32;
    /// The values of as many as there are, many at once where the processor can.
    fn to_f32s(from: &[Self], to: &mut [f32]);
}

impl Number for f16 {
    const HALF: Half = Half::F16;

    fn from_f32(x: f32) -> Self {
        f16::from_f32(x)
    }

    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    fn to_f32s(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}

impl Number for bf16 {
    const HALF: Half = Half::Bf16;

    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x)
    }

    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }

    fn to_f32s(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}
