//! What instructions without a memory compute: a warp's 32 values at once.

use half::f16;

/// A register of the 32 threads of a warp: values of 64 bits, of which an instruction uses those of its type.
pub type Lanes = [u64; 32];

/// An instruction of up to three operands.
pub type Operation = fn(&Lanes, &Lanes, &Lanes) -> Lanes;

fn f(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

fn b(x: f32) -> u64 {
    u64::from(x.to_bits())
}

/// A product and a sum with one rounding, but for a rare one in the last bit.
fn fma(x: u64, y: u64, z: u64) -> f64 {
    f64::from(f(x)) * f64::from(f(y)) + f64::from(f(z))
}

fn toward_minus_infinity(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

fn bits_inserted(insert: u64, into: u64, at: u64, count: u64) -> u64 {
    let mask = if count >= 64 { u64::MAX } else { (1 << count) - 1 } << at;
    (into & !mask) | ((insert << at) & mask)
}

fn permuted(a: u64, c: u64, selectors: u64) -> u64 {
    let bytes = (a & 0xffff_ffff) | c << 32;
    (0..4).fold(0, |all, i| {
        let selector = selectors >> (4 * i) & 0xf;
        let byte = bytes >> (8 * (selector & 7)) & 0xff;
        let byte = if selector & 8 == 0 { byte } else { 0xff * (byte >> 7) };
        all | byte << (8 * i)
    })
}

fn dot(a: u64, c: u64, sum: u64) -> u64 {
    let byte = |x: u64, i: u64| (x >> (8 * i)) as i8 as i32;
    let products = (0..4).fold(0i32, |all, i| all + byte(a, i) * byte(c, i));
    u64::from((sum as i32).wrapping_add(products) as u32)
}

macro_rules! lanes {
    (|$x:ident, $y:ident, $z:ident| $value:expr) => {{
        fn operation(x: &Lanes, y: &Lanes, z: &Lanes) -> Lanes {
            let mut out = [0; 32];
            for i in 0..32 {
                let ($x, $y, $z) = (x[i], y[i], z[i]);
                out[i] = $value;
            }
            out
        }
        operation as Operation
    }};
    (|$x:ident, $y:ident| $value:expr) => {
        lanes!(|$x, $y, _z| $value)
    };
    (|$x:ident| $value:expr) => {
        lanes!(|$x, _y, _z| $value)
    };
}

/// `setp` of two integers by a type.
macro_rules! compare {
    ($compare:expr, $type:ty) => {
        match $compare {
            "eq" => lanes!(|x, y| u64::from(x as $type == y as $type)),
            "ne" => lanes!(|x, y| u64::from(x as $type != y as $type)),
            "lt" | "lo" => lanes!(|x, y| u64::from((x as $type) < y as $type)),
            "le" | "ls" => lanes!(|x, y| u64::from(x as $type <= y as $type)),
            "gt" | "hi" => lanes!(|x, y| u64::from(x as $type > y as $type)),
            "ge" | "hs" => lanes!(|x, y| u64::from(x as $type >= y as $type)),
            _ => return None,
        }
    };
}

#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "a number that is none is neither less nor more")]
fn compared(compare: &str, of: &str) -> Option<Operation> {
    Some(match (of, compare) {
        ("f32", "eq") => lanes!(|x, y| u64::from(f(x) == f(y))),
        ("f32", "ne") => lanes!(|x, y| u64::from(f(x) < f(y) || f(x) > f(y))),
        ("f32", "lt") => lanes!(|x, y| u64::from(f(x) < f(y))),
        ("f32", "le") => lanes!(|x, y| u64::from(f(x) <= f(y))),
        ("f32", "gt") => lanes!(|x, y| u64::from(f(x) > f(y))),
        ("f32", "ge") => lanes!(|x, y| u64::from(f(x) >= f(y))),
        ("f32", "equ") => lanes!(|x, y| u64::from(!(f(x) < f(y) || f(x) > f(y)))),
        ("f32", "neu") => lanes!(|x, y| u64::from(f(x) != f(y))),
        ("f32", "ltu") => lanes!(|x, y| u64::from(!(f(x) >= f(y)))),
        ("f32", "leu") => lanes!(|x, y| u64::from(!(f(x) > f(y)))),
        ("f32", "gtu") => lanes!(|x, y| u64::from(!(f(x) <= f(y)))),
        ("f32", "geu") => lanes!(|x, y| u64::from(!(f(x) < f(y)))),
        ("f32", "nan") => lanes!(|x, y| u64::from(f(x).is_nan() || f(y).is_nan())),
        ("f32", "num") => lanes!(|x, y| u64::from(!f(x).is_nan() && !f(y).is_nan())),
        ("s32", _) => compare!(compare, i32),
        ("u32" | "b32", _) => compare!(compare, u32),
        ("s64", _) => compare!(compare, i64),
        ("u64" | "b64", _) => compare!(compare, u64),
        ("s16", _) => compare!(compare, i16),
        ("u16" | "b16", _) => compare!(compare, u16),
        _ => return None,
    })
}

fn converted(to: &str, from: &str, how: &[&str]) -> Option<Operation> {
    Some(match (to, from, how) {
        ("f32", "f16", []) => lanes!(|x| b(f16::from_bits(x as u16).to_f32())),
        ("f16", "f32", ["rn"]) => lanes!(|x| u64::from(f16::from_f32(f(x)).to_bits())),
        ("f32", "s32", ["rn"]) => lanes!(|x| b(x as i32 as f32)),
        ("f32", "u32", ["rn"]) => lanes!(|x| b(x as u32 as f32)),
        ("f32", "f32", ["rni"]) => lanes!(|x| b(f(x).round_ties_even())),
        ("f32", "f32", ["sat"]) => lanes!(|x| b(if f(x).is_nan() { 0.0 } else { f(x).clamp(0.0, 1.0) })),
        ("s32", "f32", ["rzi"]) => lanes!(|x| u64::from(f(x) as i32 as u32)),
        ("u32", "f32", ["rzi"]) => lanes!(|x| u64::from(f(x) as u32)),
        ("s32", "f32", ["rni"]) => lanes!(|x| u64::from(f(x).round_ties_even() as i32 as u32)),
        ("s64", "s32", []) => lanes!(|x| x as i32 as i64 as u64),
        ("u64" | "s64", "u32", []) => lanes!(|x| u64::from(x as u32)),
        ("u32" | "s32", "u64" | "s64", []) => lanes!(|x| u64::from(x as u32)),
        ("u16" | "s16", "u32" | "s32" | "u64", []) => lanes!(|x| u64::from(x as u16)),
        ("u32" | "u64", "u16", []) => lanes!(|x| u64::from(x as u16)),
        ("s32", "s16", []) => lanes!(|x| u64::from(x as i16 as i32 as u32)),
        ("s32", "s8", []) => lanes!(|x| u64::from(x as i8 as i32 as u32)),
        _ => return None,
    })
}

/// The operation of an opcode, by its parts: `["add", "s32"]`.
pub fn operation(parts: &[&str]) -> Option<Operation> {
    Some(match parts {
        ["mov", "b16" | "u16" | "s16"] => lanes!(|x| u64::from(x as u16)),
        ["mov", "b32" | "u32" | "s32" | "f32"] => lanes!(|x| u64::from(x as u32)),
        ["mov", "b64" | "u64" | "s64" | "pred"] | ["cvta", "to", "global" | "shared", "u64"] => lanes!(|x| x),
        ["add", "s32" | "u32"] => lanes!(|x, y| u64::from((x as u32).wrapping_add(y as u32))),
        ["add", "s64" | "u64"] => lanes!(|x, y| x.wrapping_add(y)),
        ["add", "s16" | "u16"] => lanes!(|x, y| u64::from((x as u16).wrapping_add(y as u16))),
        ["sub", "s32" | "u32"] => lanes!(|x, y| u64::from((x as u32).wrapping_sub(y as u32))),
        ["sub", "s64" | "u64"] => lanes!(|x, y| x.wrapping_sub(y)),
        ["mul", "lo", "s32" | "u32"] => lanes!(|x, y| u64::from((x as u32).wrapping_mul(y as u32))),
        ["mul", "lo", "s64" | "u64"] => lanes!(|x, y| x.wrapping_mul(y)),
        ["mul", "hi", "u32"] => lanes!(|x, y| (u64::from(x as u32) * u64::from(y as u32)) >> 32),
        ["mul", "hi", "s32"] => lanes!(|x, y| u64::from(((i64::from(x as i32) * i64::from(y as i32)) >> 32) as u32)),
        ["mul", "wide", "u32"] => lanes!(|x, y| u64::from(x as u32) * u64::from(y as u32)),
        ["mul", "wide", "s32"] => lanes!(|x, y| (i64::from(x as i32) * i64::from(y as i32)) as u64),
        ["mul", "wide", "u16"] => lanes!(|x, y| u64::from(x as u16) * u64::from(y as u16)),
        ["mad", "lo", "s32" | "u32"] => {
            lanes!(|x, y, z| u64::from((x as u32).wrapping_mul(y as u32).wrapping_add(z as u32)))
        }
        ["mad", "lo", "s64" | "u64"] => lanes!(|x, y, z| x.wrapping_mul(y).wrapping_add(z)),
        ["mad", "wide", "u32"] => lanes!(|x, y, z| (u64::from(x as u32) * u64::from(y as u32)).wrapping_add(z)),
        // What is divided by nought is all ones on a card.
        ["rem", "u32"] => lanes!(|x, y| u64::from((x as u32).checked_rem(y as u32).unwrap_or(u32::MAX))),
        ["rem", "u64"] => lanes!(|x, y| x.checked_rem(y).unwrap_or(u64::MAX)),
        ["div", "u32"] => lanes!(|x, y| u64::from((x as u32).checked_div(y as u32).unwrap_or(u32::MAX))),
        ["div", "u64"] => lanes!(|x, y| x.checked_div(y).unwrap_or(u64::MAX)),
        ["min", "u32"] => lanes!(|x, y| u64::from((x as u32).min(y as u32))),
        ["max", "u32"] => lanes!(|x, y| u64::from((x as u32).max(y as u32))),
        ["min", "s32"] => lanes!(|x, y| u64::from((x as i32).min(y as i32) as u32)),
        ["max", "s32"] => lanes!(|x, y| u64::from((x as i32).max(y as i32) as u32)),
        ["min", "u64"] => lanes!(|x, y| x.min(y)),
        ["max", "u64"] => lanes!(|x, y| x.max(y)),
        ["and", "b16" | "b32" | "b64" | "pred"] => lanes!(|x, y| x & y),
        ["or", "b16" | "b32" | "b64" | "pred"] => lanes!(|x, y| x | y),
        ["xor", "b16" | "b32" | "b64" | "pred"] => lanes!(|x, y| x ^ y),
        ["not", "b32"] => lanes!(|x| u64::from(!(x as u32))),
        ["not", "b64"] => lanes!(|x| !x),
        ["not", "pred"] => lanes!(|x| x ^ 1),
        ["shl", "b32"] => lanes!(|x, y| u64::from((x as u32).checked_shl(y as u32).unwrap_or(0))),
        ["shl", "b64"] => lanes!(|x, y| x.checked_shl(y as u32).unwrap_or(0)),
        ["shl", "b16"] => lanes!(|x, y| u64::from((x as u16).checked_shl(y as u32).unwrap_or(0))),
        ["shr", "u32" | "b32"] => lanes!(|x, y| u64::from((x as u32).checked_shr(y as u32).unwrap_or(0))),
        ["shr", "u64" | "b64"] => lanes!(|x, y| x.checked_shr(y as u32).unwrap_or(0)),
        ["shr", "s32"] => lanes!(|x, y| u64::from((x as i32 >> (y as u32).min(31)) as u32)),
        ["shr", "u16" | "b16"] => lanes!(|x, y| u64::from((x as u16).checked_shr(y as u32).unwrap_or(0))),
        ["bfi", "b32"] | ["bfi", "b64"] => return None,
        ["prmt", "b32"] => lanes!(|x, y, z| permuted(x, y, z)),
        ["dp4a", "s32", "s32"] => lanes!(|x, y, z| dot(x, y, z)),
        ["selp", "b32" | "f32" | "u32" | "s32"] => lanes!(|x, y, z| u64::from(if z == 0 { y } else { x } as u32)),
        ["selp", "b64" | "u64" | "s64" | "b16" | "u16"] => lanes!(|x, y, z| if z == 0 { y } else { x }),
        ["add", "f32"] | ["add", "rn", "f32"] => lanes!(|x, y| b(f(x) + f(y))),
        ["sub", "f32"] | ["sub", "rn", "f32"] => lanes!(|x, y| b(f(x) - f(y))),
        ["mul", "f32"] | ["mul", "rn", "f32"] => lanes!(|x, y| b(f(x) * f(y))),
        ["div", "rn", "f32"] => lanes!(|x, y| b(f(x) / f(y))),
        ["rcp", "rn", "f32"] => lanes!(|x| b(1.0 / f(x))),
        ["rcp", "approx", "ftz", "f32"] => lanes!(|x| b(flushed(1.0 / flushed(f(x))))),
        ["sqrt", "rn", "f32"] => lanes!(|x| b(f(x).sqrt())),
        ["fma", "rn", "f32"] => lanes!(|x, y, z| b(fma(x, y, z) as f32)),
        ["fma", "rm", "f32"] => lanes!(|x, y, z| b(toward_minus_infinity(fma(x, y, z)))),
        ["ex2", "approx", "f32"] => lanes!(|x| b(f(x).exp2())),
        ["ex2", "approx", "ftz", "f32"] => lanes!(|x| b(flushed(flushed(f(x)).exp2()))),
        ["min", "f32"] => lanes!(|x, y| b(f(x).min(f(y)))),
        ["max", "f32"] => lanes!(|x, y| b(f(x).max(f(y)))),
        ["neg", "f32"] => lanes!(|x| b(-f(x))),
        ["neg", "s32"] => lanes!(|x| u64::from((x as u32).wrapping_neg())),
        ["abs", "f32"] => lanes!(|x| b(f(x).abs())),
        // The sign is that of the first.
        ["copysign", "f32"] => lanes!(|x, y| b(f(y).copysign(f(x)))),
        ["setp", compare, of] => compared(compare, of)?,
        ["cvt", how @ .., to, from] => converted(to, from, how)?,
        _ => return None,
    })
}

/// `bfi`, which has four operands: of each thread `count` bits of `insert` go into `into` at `at`.
pub fn insert_bits(insert: &Lanes, into: &Lanes, at: u64, count: u64) -> Lanes {
    std::array::from_fn(|i| bits_inserted(insert[i], into[i], at, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(opcode: &str, x: u64, y: u64, z: u64) -> u64 {
        let parts: Vec<&str> = opcode.split('.').collect();
        operation(&parts).unwrap()(&[x; 32], &[y; 32], &[z; 32])[31]
    }

    #[test]
    fn instructions_are_those_of_the_manual() {
        assert_eq!(of("prmt.b32", 0x3322_1100, 0x7766_5544, 0x7531), 0x7755_3311);
        assert_eq!(of("prmt.b32", 0x80, 0, 0x8888), 0xffff_ffff);
        assert_eq!(of("dp4a.s32.s32", 0xff02_0304, 0x0101_0102, 5), 5 + 8 + 3 + 2 - 1);
        assert_eq!(of("mul.hi.s32", -7i32 as u32 as u64, 1 << 30, 0), 0xffff_fffe);
        assert_eq!(of("add.s16", 0x1_ffff, 2, 0), 1);
        assert_eq!(of("shl.b32", 1, 32, 0), 0);
        assert_eq!(of("shr.s32", 0x8000_0000, 40, 0), 0xffff_ffff);
        assert_eq!(f(of("copysign.f32", b(-2.0), b(3.0), 0)), -3.0);
        assert_eq!(of("setp.ltu.f32", b(f32::NAN), b(1.0), 0), 1);
        assert_eq!(of("setp.lt.f32", b(f32::NAN), b(1.0), 0), 0);
        assert_eq!(f(of("fma.rm.f32", b(0.75), b(1.0), b(12_582_913.0))), 12_582_913.0);
        assert_eq!(f(of("cvt.rni.f32.f32", b(2.5), 0, 0)), 2.0);
        assert_eq!(f(of("max.f32", b(f32::NAN), b(1.0), 0)), 1.0);
        assert_eq!(insert_bits(&[7; 32], &[0xff; 32], 32, 32)[0], 7 << 32 | 0xff);
        assert!(operation(&["tanh", "approx", "f32"]).is_none());
    }
}
