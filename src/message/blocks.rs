//! JSON text in blocks of 64 bytes: where in a block something is, as a word
//! with a bit for each byte, the first in the lowest.

use wide::u8x64;

/// As many bytes as one word has bits.
pub const BLOCK: usize = 64;

/// The block that `text` begins with; what is missing at its end are blanks,
/// in `padded`.
#[inline(always)]
pub fn first<'a>(text: &'a [u8], padded: &'a mut [u8; BLOCK]) -> &'a [u8; BLOCK] {
    text.first_chunk().unwrap_or_else(|| {
        *padded = [b' '; BLOCK];
        padded[..text.len()].copy_from_slice(text);
        padded
    })
}

/// The bytes of a block.
#[derive(Clone, Copy)]
pub struct Block(u8x64);

impl Block {
    #[inline(always)]
    pub fn new(bytes: &[u8; BLOCK]) -> Self {
        Self(u8x64::new(*bytes))
    }

    #[inline(always)]
    pub fn equal(self, byte: u8) -> u64 {
        self.0.simd_eq(u8x64::splat(byte)).to_bitmask()
    }

    #[inline(always)]
    pub fn is_ascii(self) -> bool {
        // A vector has any where it has the highest bit of a byte.
        !self.0.any()
    }

    #[inline(always)]
    pub fn controls(self) -> u64 {
        self.0.min(u8x64::splat(0x1F)).simd_eq(self.0).to_bitmask()
    }

    /// The brackets of both kinds.
    #[inline(always)]
    pub fn brackets(self) -> u64 {
        let folded = self.folded();
        (folded.simd_eq(u8x64::splat(b'{')) | folded.simd_eq(u8x64::splat(b'}'))).to_bitmask()
    }

    /// Those of them that open one.
    #[inline(always)]
    pub fn opens(self) -> u64 {
        Self(self.folded()).equal(b'{')
    }

    /// One bit tells each brace from its bracket.
    #[inline(always)]
    fn folded(self) -> u8x64 {
        self.0 | u8x64::splat(0x20)
    }
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
    pub fn quoted(&mut self, block: Block) -> Quoted {
        let escaped = self.escaped(block.equal(b'\\'));
        let quotes = block.equal(b'"') & !escaped;
        // Each bit becomes the parity of the quotes up to it.
        let mut inside = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        if self.is_inside {
            inside = !inside;
        }
        self.is_inside = inside >> 63 == 1;
        Quoted { inside, quotes, escaped }
    }

    #[inline(always)]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let first = u64::from(self.is_escaped);
        // In a run of backslashes every other one counts. A subtraction borrows
        // through each run, and turns around the bits of an alternating pattern
        // that are in it: which ones it leaves tells where the run began.
        const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
        let free = backslashes & !first;
        let turns = (free << 1 | ODD).wrapping_sub(free) ^ ODD;
        self.is_escaped = (turns & backslashes) >> 63 == 1;
        turns ^ (backslashes | first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn blocks_see_the_strings_that_bytes_see(
            text in "([\"\\\\a]{0,9}|\\\\{60,70}|a{60,70}){0,9}",
        ) {
            let mut strings = Strings::default();
            let mut padded = [0; BLOCK];
            let (mut is_inside, mut is_escaped) = (false, false);
            for part in text.as_bytes().chunks(BLOCK) {
                let Quoted { inside, quotes, escaped } =
                    strings.quoted(Block::new(first(part, &mut padded)));
                for (place, byte) in part.iter().enumerate() {
                    let is_quote = *byte == b'"' && !is_escaped;
                    is_inside ^= is_quote;
                    let found = [inside, quotes, escaped].map(|bits| bits >> place & 1 == 1);
                    proptest::prop_assert_eq!(found, [is_inside, is_quote, is_escaped]);
                    is_escaped = *byte == b'\\' && !is_escaped;
                }
            }
        }
    }

    #[test]
    fn a_block_knows_what_each_byte_is() {
        for byte in 0..=u8::MAX {
            let block = Block::new(&[byte; BLOCK]);
            let all = |found: bool| if found { !0 } else { 0 };
            assert_eq!(block.equal(b':'), all(byte == b':'));
            assert_eq!(block.controls(), all(byte < b' '));
            assert_eq!(block.brackets(), all(b"[]{}".contains(&byte)));
            assert_eq!(block.opens(), all(b"[{".contains(&byte)));
            assert_eq!(block.is_ascii(), byte.is_ascii());
        }
    }
}
