//! Vectors of bytes, as wide as this processor has them.

use wide::u8x16;

/// Bytes that are looked at together. What is asked of each is answered in its
/// place, by a byte of ones or of zeros.
pub trait Vector: Copy {
    /// Which of them are `byte`.
    fn equal(self, byte: u8) -> Self;
    /// Which of them are no larger than `byte`.
    fn at_most(self, byte: u8) -> Self;
    /// The bits of both.
    fn or(self, other: Self) -> Self;
    /// Each with these bits, too.
    fn with(self, bits: u8) -> Self;
    /// The highest bit of each, the first in the lowest.
    fn bits(self) -> u64;
    /// Whether the highest bit of any is set.
    #[inline(always)]
    fn any(self) -> bool {
        self.bits() != 0
    }
}

/// A processor that can look at `SIZE` bytes together.
pub trait Machine<const SIZE: usize>: Copy {
    /// These bytes.
    type Block: Vector;
    /// Take them from memory.
    fn load(self, bytes: &[u8; SIZE]) -> Self::Block;
    /// Each bit becomes the parity of those up to it.
    #[inline(always)]
    fn parities(self, mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }
}

/// What any processor can do that this library is built for.
#[derive(Clone, Copy)]
pub struct Portable;

/// Something to do that wide vectors make faster. All of `run` must be inlined:
/// it is translated once for each kind of processor.
pub trait Work {
    /// What comes of it.
    type Output;
    /// Do it.
    fn run(self, machine: impl Machine<64>) -> Self::Output;
}

/// Do `work` by the widest vectors that there are.
#[inline(always)]
pub fn widest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(machine) = x86::Avx2::here() {
        return machine.run(work);
    }
    work.run(Portable)
}

/// Have `bytes` brought into the cache. By itself a processor looks ahead no
/// further than to the end of a page.
#[inline(always)]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(bytes);
    let _ = bytes;
}

impl Vector for u8x16 {
    #[inline(always)]
    fn equal(self, byte: u8) -> Self {
        self.simd_eq(Self::splat(byte))
    }

    #[inline(always)]
    fn at_most(self, byte: u8) -> Self {
        self.min(Self::splat(byte)).simd_eq(self)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self | other
    }

    #[inline(always)]
    fn with(self, bits: u8) -> Self {
        self | Self::splat(bits)
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bitmask().into()
    }
}

impl<V: Vector, const N: usize> Vector for [V; N] {
    #[inline(always)]
    fn equal(self, byte: u8) -> Self {
        self.map(|part| part.equal(byte))
    }

    #[inline(always)]
    fn at_most(self, byte: u8) -> Self {
        self.map(|part| part.at_most(byte))
    }

    #[inline(always)]
    fn or(mut self, other: Self) -> Self {
        self.iter_mut().zip(other).for_each(|(part, other)| *part = part.or(other));
        self
    }

    #[inline(always)]
    fn with(self, bits: u8) -> Self {
        self.map(|part| part.with(bits))
    }

    #[inline(always)]
    fn bits(self) -> u64 {
        let lanes = size_of::<V>();
        self.iter().rev().fold(0, |bits, part| bits << lanes | part.bits())
    }

    #[inline(always)]
    fn any(self) -> bool {
        self.into_iter().reduce(V::or).is_some_and(V::any)
    }
}

impl Machine<16> for Portable {
    type Block = u8x16;

    #[inline(always)]
    fn load(self, bytes: &[u8; 16]) -> u8x16 {
        u8x16::new(*bytes)
    }
}

impl Machine<64> for Portable {
    type Block = [u8x16; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> Self::Block {
        let (parts, _) = bytes.as_chunks();
        [parts[0], parts[1], parts[2], parts[3]].map(u8x16::new)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Machine, Vector, Work};

    /// A processor with AVX2 and the instructions for bits that came with it.
    /// There is one only where that is so.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    /// 32 bytes, loaded by an [`Avx2`].
    #[derive(Clone, Copy)]
    pub struct Bytes(__m256i);

    impl Avx2 {
        /// Whether this is one.
        #[inline(never)]
        pub fn here() -> Option<Self> {
            let is_it = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("pclmulqdq");
            is_it.then_some(Self(()))
        }

        #[inline(always)]
        pub fn run<W: Work>(self, work: W) -> W::Output {
            // SAFETY: it has these instructions, or there were no `self`.
            unsafe { run(self, work) }
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq")]
    fn run<W: Work>(machine: Avx2, work: W) -> W::Output {
        work.run(machine)
    }

    impl Machine<64> for Avx2 {
        type Block = [Bytes; 2];

        #[inline(always)]
        fn load(self, bytes: &[u8; 64]) -> Self::Block {
            let (halves, _) = bytes.as_chunks::<32>();
            // SAFETY: `self` has AVX2. There are 32 bytes in a half, and they
            // need not be aligned.
            [&halves[0], &halves[1]]
                .map(|half| Bytes(unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }))
        }

        #[inline(always)]
        fn parities(self, bits: u64) -> u64 {
            // A product without carries, by a word of ones.
            // SAFETY: `self` has PCLMULQDQ.
            let product = unsafe {
                let bits = _mm_set_epi64x(0, bits as i64);
                _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1)))
            };
            product as u64
        }
    }

    // Each of these is about vectors that an `Avx2` has loaded, or that were made
    // from such.
    impl Vector for Bytes {
        #[inline(always)]
        fn equal(self, byte: u8) -> Self {
            // SAFETY: there is AVX2, or there were no `self`.
            Self(unsafe { _mm256_cmpeq_epi8(self.0, _mm256_set1_epi8(byte as i8)) })
        }

        #[inline(always)]
        fn at_most(self, byte: u8) -> Self {
            // SAFETY: as in `equal`.
            Self(unsafe {
                _mm256_cmpeq_epi8(_mm256_min_epu8(self.0, _mm256_set1_epi8(byte as i8)), self.0)
            })
        }

        #[inline(always)]
        fn or(self, other: Self) -> Self {
            // SAFETY: as in `equal`.
            Self(unsafe { _mm256_or_si256(self.0, other.0) })
        }

        #[inline(always)]
        fn with(self, bits: u8) -> Self {
            // SAFETY: as in `equal`.
            Self(unsafe { _mm256_or_si256(self.0, _mm256_set1_epi8(bits as i8)) })
        }

        #[inline(always)]
        fn bits(self) -> u64 {
            // SAFETY: as in `equal`.
            u64::from(unsafe { _mm256_movemask_epi8(self.0) } as u32)
        }
    }

    #[inline(always)]
    pub fn prefetch(bytes: &[u8]) {
        for line in bytes.chunks(64) {
            // SAFETY: a hint, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
}
