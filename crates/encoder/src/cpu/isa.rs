//! Which vector instructions the kernels may use, found at run time.

/// An instruction level of the CPU. A value other than the portable one exists only where the CPU has the level: the
/// kernels rely on that, so the constructors here are the only way to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(pub(super) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// What the compiler was told to assume (x86-64-v3 in the default build: AVX2 and FMA).
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 and its VNNI dot products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// The best level this CPU has.
    pub fn detect() -> Self {
        *Self::available().last().expect("the portable level is always there")
    }

    /// Every level this CPU has, slowest first: tests and benches run all of them.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Isa(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            for (there, level) in
                [(avx2, Level::Avx2), (avx512, Level::Avx512), (avx512 && has!("avx512vnni"), Level::Avx512Vnni)]
            {
                if there {
                    levels.push(Isa(level));
                }
            }
        }
        levels
    }

    /// A short name for logs, `doctor` and benches.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512-vnni",
        }
    }
}

/// Compiles one safe function once for each instruction level and picks by the [`Isa`] that comes first in the call.
/// The body is written over [`Simd`](super::simd::Simd) and is given the level's implementation as `$simd`.
macro_rules! multiversion {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<const $g:ident: usize>)? ($simd:ident,
        $($arg:ident : $ty:ty),* $(,)? ) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<const $g: usize>)? (isa: $crate::cpu::isa::Isa, $($arg: $ty),*) {
            use $crate::cpu::simd;
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<S: simd::Simd, $(const $g: usize)?>($simd: S, $($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512 $(<const $g: usize>)? ($($arg: $ty),*) {
                    // SAFETY: this function is compiled for the level, and called only where it was found.
                    let simd = unsafe { simd::Avx512::new() };
                    body::<_, $($g)?>(simd, $($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2 $(<const $g: usize>)? ($($arg: $ty),*) {
                    // SAFETY: as above.
                    let simd = unsafe { simd::Avx2::new() };
                    body::<_, $($g)?>(simd, $($arg),*)
                }
                use $crate::cpu::isa::Level;
                match isa.0 {
                    // SAFETY: an `Isa` of this level exists only where the CPU was found to have these features.
                    Level::Avx512 | Level::Avx512Vnni => return unsafe { avx512 $(::<$g>)? ($($arg),*) },
                    // SAFETY: as above.
                    Level::Avx2 => return unsafe { avx2 $(::<$g>)? ($($arg),*) },
                    Level::Portable => {}
                }
            }
            let _ = isa;
            body::<_, $($g)?>(simd::Portable, $($arg),*)
        }
    };
}
pub(super) use multiversion;
