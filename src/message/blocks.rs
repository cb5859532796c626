//! JSON text in blocks of vectors: where in a block something is, as a word with
//! a bit for each byte, the first in the lowest.

use crate::sys::vectors::{Machine, Vector};

/// As many bytes as a word has bits.
pub const BLOCK: usize = 64;

/// The block that `text` begins with; what is missing at its end are blanks,
/// in `padded`.
#[inline(always)]
pub fn first<'a, const SIZE: usize>(text: &'a [u8], padded: &'a mut [u8; SIZE]) -> &'a [u8; SIZE] {
    text.first_chunk().unwrap_or_else(|| {
        *padded = [b' '; SIZE];
        padded[..text.len()].copy_from_slice(text);
        padded
    })
}

/// The bytes of a block of at most [`BLOCK`].
#[derive(Clone, Copy)]
pub struct Block<V>(V);

impl<V: Vector> Block<V> {
    #[inline(always)]
    pub fn new<const SIZE: usize>(
        machine: impl Machine<SIZE, Block = V>,
        bytes: &[u8; SIZE],
    ) -> Self {
        Self(machine.load(bytes))
    }

    #[inline(always)]
    pub fn equal(self, byte: u8) -> u64 {
        self.0.equal(byte).bits()
    }

    #[inline(always)]
    pub fn is_ascii(self) -> bool {
        !self.0.any()
    }

    /// Whether it is ASCII without NUL.
    #[inline(always)]
    pub fn is_text(self) -> bool {
        !self.0.or(self.0.equal(0)).any()
    }

    /// Whether it can be within a string, and changes nothing there.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        !self.special().any()
    }

    /// The same of ASCII.
    #[inline(always)]
    pub fn is_plain_text(self) -> bool {
        !self.special().or(self.0).any()
    }

    /// The quotes, backslashes and control characters.
    #[inline(always)]
    pub fn specials(self) -> u64 {
        self.special().bits()
    }

    #[inline(always)]
    fn special(self) -> V {
        self.0.equal(b'"').or(self.0.equal(b'\\')).or(self.0.at_most(0x1F))
    }

    #[inline(always)]
    pub fn controls(self) -> u64 {
        self.0.at_most(0x1F).bits()
    }

    /// The brackets of both kinds.
    #[inline(always)]
    pub fn brackets(self) -> u64 {
        self.folded().equal(b'{').or(self.folded().equal(b'}')).bits()
    }

    /// Those of them that open one.
    #[inline(always)]
    pub fn opens(self) -> u64 {
        self.folded().equal(b'{').bits()
    }

    /// One bit tells each brace from its bracket.
    #[inline(always)]
    fn folded(self) -> V {
        self.0.with(0x20)
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
    pub fn quoted<const SIZE: usize, M: Machine<SIZE>>(
        &mut self,
        machine: M,
        block: Block<M::Block>,
    ) -> Quoted {
        let last = SIZE - 1;
        let escaped = self.escaped(block.equal(b'\\'), last);
        let quotes = block.equal(b'"') & !escaped;
        let mut inside = machine.parities(quotes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::vectors::{Portable, Work, widest};

    /// What the blocks of a text say of its strings must be what its bytes say.
    #[inline(always)]
    fn check_strings<const SIZE: usize>(machine: impl Machine<SIZE>, text: &str) {
        let mut strings = Strings::default();
        let mut padded = [0; SIZE];
        let (mut is_inside, mut is_escaped) = (false, false);
        for part in text.as_bytes().chunks(SIZE) {
            let Quoted { inside, quotes, escaped } =
                strings.quoted(machine, Block::new(machine, first(part, &mut padded)));
            for (place, byte) in part.iter().enumerate() {
                let is_quote = *byte == b'"' && !is_escaped;
                is_inside ^= is_quote;
                let found = [inside, quotes, escaped].map(|bits| bits >> place & 1 == 1);
                assert_eq!(found, [is_inside, is_quote, is_escaped]);
                is_escaped = *byte == b'\\' && !is_escaped;
            }
        }
    }

    struct CheckStrings<'a>(&'a str);

    impl Work for CheckStrings<'_> {
        type Output = ();

        fn run(self, machine: impl Machine<BLOCK>) {
            check_strings(machine, self.0);
        }
    }

    proptest::proptest! {
        #[test]
        fn blocks_see_the_strings_that_bytes_see(
            text in "([\"\\\\a]{0,9}|\\\\{60,70}|a{60,70}|\\\\{12,20}|a{12,20}){0,9}",
        ) {
            check_strings::<16>(Portable, &text);
            check_strings::<BLOCK>(Portable, &text);
            widest(CheckStrings(&text));
        }

        /// Portable vectors find the same, whatever is beside a byte.
        #[test]
        fn wide_vectors_see_what_others_see(bytes: [u8; BLOCK], byte: u8) {
            let bytes = bytes.map(|b| if b < 64 { byte } else { b });
            proptest::prop_assert_eq!(widest(Look(&bytes)), Look(&bytes).run(Portable));
        }
    }

    /// All that a block knows of its bytes.
    struct Look<'a>(&'a [u8; BLOCK]);

    impl Work for Look<'_> {
        type Output = ([u64; 6], [bool; 4]);

        fn run(self, machine: impl Machine<BLOCK>) -> Self::Output {
            let block = Block::new(machine, self.0);
            let found = [
                block.equal(b':'),
                block.equal(b'"'),
                block.specials(),
                block.controls(),
                block.brackets(),
                block.opens(),
            ];
            let is_plain = block.is_plain();
            (found, [block.is_ascii(), block.is_text(), is_plain, block.is_plain_text()])
        }
    }

    #[test]
    fn a_block_knows_what_each_byte_is() {
        for byte in 0..=u8::MAX {
            let block = [byte; BLOCK];
            let all = |found: bool| if found { !0 } else { 0 };
            let special = byte < b' ' || b"\"\\".contains(&byte);
            let found = [
                all(byte == b':'),
                all(byte == b'"'),
                all(special),
                all(byte < b' '),
                all(b"[]{}".contains(&byte)),
                all(b"[{".contains(&byte)),
            ];
            let is_ascii = byte.is_ascii();
            let kinds = [is_ascii, is_ascii && byte != 0, !special, is_ascii && !special];
            let expected = (found, kinds);
            assert_eq!(Look(&block).run(Portable), expected);
            assert_eq!(widest(Look(&block)), expected);
        }
    }
}
