//! JSON text in blocks of vectors: where in a block something is, as a word with
//! a bit for each byte, the first in the lowest.

use wide::u8x16;

/// As many bytes as one vector has.
pub const LANES: usize = 16;

/// The vectors of a wide block, which has as many bytes as a word has bits.
pub const WIDE: usize = 4;

/// As many bytes as a wide block has.
pub const BLOCK: usize = WIDE * LANES;

/// The text of a block.
pub type Bytes<const VECTORS: usize> = [[u8; LANES]; VECTORS];

/// The block that `text` begins with; what is missing at its end are blanks,
/// in `padded`.
#[inline(always)]
pub fn first<'a, const VECTORS: usize>(
    text: &'a [u8],
    padded: &'a mut Bytes<VECTORS>,
) -> &'a Bytes<VECTORS> {
    let (whole, _) = text.as_chunks();
    whole.first_chunk().unwrap_or_else(|| {
        *padded = [[b' '; LANES]; VECTORS];
        padded.as_flattened_mut()[..text.len()].copy_from_slice(text);
        padded
    })
}

/// The bytes of a block of at most [`WIDE`] vectors.
#[derive(Clone, Copy)]
pub struct Block<const VECTORS: usize>([u8x16; VECTORS]);

impl<const VECTORS: usize> Block<VECTORS> {
    #[inline(always)]
    pub fn new(bytes: &Bytes<VECTORS>) -> Self {
        Self(bytes.map(u8x16::new))
    }

    /// Where `is` says so.
    #[inline(always)]
    fn mask(self, is: impl Fn(u8x16) -> u8x16) -> u64 {
        let masks = self.0.iter().rev().map(|vector| is(*vector).to_bitmask());
        masks.fold(0, |mask, bits| mask << LANES | u64::from(bits))
    }

    #[inline(always)]
    pub fn equal(self, byte: u8) -> u64 {
        self.mask(|vector| vector.simd_eq(u8x16::splat(byte)))
    }

    #[inline(always)]
    pub fn is_ascii(self) -> bool {
        // The bit mask of a vector is made of the highest bits of its bytes.
        self.0.iter().fold(u8x16::splat(0), |all, vector| all | *vector).to_bitmask() == 0
    }

    #[inline(always)]
    pub fn controls(self) -> u64 {
        self.mask(|vector| vector.min(u8x16::splat(0x1F)).simd_eq(vector))
    }

    /// The brackets of both kinds.
    #[inline(always)]
    pub fn brackets(self) -> u64 {
        self.mask(|vector| {
            let folded = folded(vector);
            folded.simd_eq(u8x16::splat(b'{')) | folded.simd_eq(u8x16::splat(b'}'))
        })
    }

    /// Those of them that open one.
    #[inline(always)]
    pub fn opens(self) -> u64 {
        self.mask(|vector| folded(vector).simd_eq(u8x16::splat(b'{')))
    }
}

/// One bit tells each brace from its bracket.
#[inline(always)]
fn folded(vector: u8x16) -> u8x16 {
    vector | u8x16::splat(0x20)
}

/// Whether the text is inside of a string, from block to block.
#[derive(Default)]
pub struct Strings {
    is_inside: bool,
    /// Whether the block before ended in a backslash that counts.
    pub is_escaped: bool,
}

/// The strings of a block.
pub struct Quoted {
    /// What is inside, or opens one: all but the quotes that close.
    pub inside: u64,
    /// The quotes that open or close one.
    pub quotes: u64,
    /// What stands behind a backslash that counts. Outside of strings there is
    /// none in good JSON, and in bad JSON it does not matter.
    pub escaped: u64,
}

impl Strings {
    #[inline(always)]
    pub fn quoted<const VECTORS: usize>(&mut self, block: Block<VECTORS>) -> Quoted {
        let last = VECTORS * LANES - 1;
        let escaped = self.escaped(block.equal(b'\\'), last);
        let quotes = block.equal(b'"') & !escaped;
        let mut inside = parity(quotes);
        if self.is_inside {
            inside = !inside;
        }
        self.is_inside = inside >> last & 1 == 1;
        Quoted { inside, quotes, escaped }
    }

    #[inline(always)]
    fn escaped(&mut self, backslashes: u64, last: usize) -> u64 {
        let first = u64::from(self.is_escaped);
        // In a run of backslashes every other one counts. A subtraction borrows
        // through each run, and turns around the bits of an alternating pattern
        // that are in it: which ones it leaves tells where the run began.
        const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let free = backslashes & !first;
        let turns = (free << 1 | ODD).wrapping_sub(free) ^ ODD;
        self.is_escaped = (turns & backslashes) >> last & 1 == 1;
        turns ^ (backslashes | first)
    }
}

/// Each bit becomes the parity of the bits up to it: between quotes it is set.
#[inline(always)]
pub fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the blocks of a text say of its strings must be what its bytes say.
    fn check_strings<const VECTORS: usize>(text: &str) {
        let mut strings = Strings::default();
        let mut padded = [[0; LANES]; VECTORS];
        let (mut is_inside, mut is_escaped) = (false, false);
        for part in text.as_bytes().chunks(VECTORS * LANES) {
            let Quoted { inside, quotes, escaped } =
                strings.quoted(Block::new(first(part, &mut padded)));
            for (place, byte) in part.iter().enumerate() {
                let is_quote = *byte == b'"' && !is_escaped;
                is_inside ^= is_quote;
                let found = [inside, quotes, escaped].map(|bits| bits >> place & 1 == 1);
                assert_eq!(found, [is_inside, is_quote, is_escaped]);
                is_escaped = *byte == b'\\' && !is_escaped;
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn blocks_see_the_strings_that_bytes_see(
            text in "([\"\\\\a]{0,9}|\\\\{60,70}|a{60,70}|\\\\{12,20}|a{12,20}){0,9}",
        ) {
            check_strings::<1>(&text);
            check_strings::<WIDE>(&text);
        }
    }

    #[test]
    fn a_block_knows_what_each_byte_is() {
        for byte in 0..=u8::MAX {
            let block = Block::new(&[[byte; LANES]; WIDE]);
            let all = |found: bool| if found { !0 } else { 0 };
            assert_eq!(block.equal(b':'), all(byte == b':'));
            assert_eq!(block.controls(), all(byte < b' '));
            assert_eq!(block.brackets(), all(b"[]{}".contains(&byte)));
            assert_eq!(block.opens(), all(b"[{".contains(&byte)));
            assert_eq!(block.is_ascii(), byte.is_ascii());
        }
    }
}
