//! JSON that the host hands us. Unlike what a peer sends, all of it is checked:
//! the host shall hear of a mistake at once, and from us.

use serde::de::IgnoredAny;

use super::blocks::{self, BLOCK, Block, Quoted, Strings};
use super::scan::{self, Brackets, PORTION, TINY};
use crate::error::{Code, Error, Result};
use crate::sys::vectors::{self, Machine, Vector, Work};

/// A JSON text (RFC 8259).
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    text: &'a [u8],
    breaks: Breaks,
}

/// Whether CR or LF stands between the tokens of a text. A word of its own: a
/// byte has padding behind it, which is copied, too, in the slowest of ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Breaks {
    Absent,
    Present,
}

impl<'a> Json<'a> {
    /// Check the params of a request or notification: an array or an object.
    #[inline(always)]
    pub fn params(text: &'a [u8]) -> Result<Self> {
        let json = Self::value(text, "params")?;
        match text.trim_ascii_start().first() {
            Some(b'[' | b'{') => Ok(json),
            _ => Err(Error::new(Code::Invalid, "params must be a JSON array or object")),
        }
    }

    /// Check any value, the `what` of a message.
    #[inline(always)]
    pub fn value(text: &'a [u8], what: &str) -> Result<Self> {
        let has_breaks = if text.len() < TINY { check_tiny(text) } else { check(text) };
        let has_breaks = match has_breaks {
            Some(has_breaks) => has_breaks,
            None => Self::check_slowly(text, what)?,
        };
        let breaks = if has_breaks { Breaks::Present } else { Breaks::Absent };
        Ok(Self { text, breaks })
    }

    /// The same by serde_json alone, which says what is wrong.
    #[cold]
    fn check_slowly(text: &[u8], what: &str) -> Result<bool> {
        if std::str::from_utf8(text).is_err() {
            return Err(Error::new(Code::Invalid, format!("{what} is not UTF-8")));
        }
        if text.trim_ascii().is_empty() {
            let help = "is empty; pass NULL to leave it out";
            return Err(Error::new(Code::Invalid, format!("{what} {help}")));
        }
        // Its errors name a place and a rule, never the text.
        ignore(text).map_err(|e| Error::new(Code::Invalid, format!("{what} is not JSON: {e}")))?;
        Ok(has_breaks(text))
    }

    /// Its text.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// Whether CR or LF stands between its tokens: in a string it cannot.
    pub fn has_breaks(self) -> bool {
        self.breaks == Breaks::Present
    }
}

fn ignore(text: &[u8]) -> serde_json::Result<IgnoredAny> {
    serde_json::from_slice(text)
}

fn has_breaks(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Check the grammar of a text for which a block is too much, token by token.
/// Whether there are breaks; `None`: it is not JSON, or not ASCII.
// Alone, so that all of it stays in registers.
#[inline(never)]
fn check_tiny(text: &[u8]) -> Option<bool> {
    let mut tokens = Tiny { rest: text, has_breaks: false };
    // The open brackets, the last in the lowest bit: 1 is an object.
    const NONE: u64 = 0b10;
    let mut open = NONE;
    loop {
        let byte = tokens.next()?;
        let mut has_ended = true;
        match byte {
            b'[' | b'{' => {
                open = open << 1 | u64::from(byte == b'{');
                tokens.pass(1);
                has_ended = matches!(tokens.next()?, b']' | b'}');
            }
            b'"' => tokens.pass(string_length(tokens.rest)?),
            _ => tokens.pass(scan::scalar_length(tokens.rest)?),
        }
        while has_ended && open != NONE {
            let end = if open & 1 == 1 { b'}' } else { b']' };
            match tokens.next()? {
                b',' => has_ended = false,
                byte if byte == end => open >>= 1,
                _ => return None,
            }
            tokens.pass(1);
        }
        if has_ended {
            return tokens.next().is_none().then_some(tokens.has_breaks);
        }
        if open & 1 == 1 {
            tokens.name()?;
        }
    }
}

/// What is left of a text.
struct Tiny<'a> {
    rest: &'a [u8],
    has_breaks: bool,
}

impl Tiny<'_> {
    /// The first byte that is no white space.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.rest.first()? {
                b' ' | b'\t' => {}
                b'\r' | b'\n' => self.has_breaks = true,
                byte => return Some(*byte),
            }
            self.pass(1);
        }
    }

    #[inline(always)]
    fn pass(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }

    /// Move past the name of a member and its colon.
    fn name(&mut self) -> Option<()> {
        (self.next()? == b'"').then_some(())?;
        self.pass(string_length(self.rest)?);
        (self.next()? == b':').then(|| self.pass(1))
    }
}

/// The length of the string that `text` begins with, if it is ASCII.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += scan::escape_length(&text[at..])?,
            b' '..=0x7F => at += 1,
            _ => return None,
        }
    }
}

/// Checks the grammar of RFC 8259, a block at a time.
///
/// Nearly all of it is about neighbours, and those are compared for a whole block
/// at once: behind a value comes a comma or a bracket that closes, and so on.
/// Only brackets, numbers, literals and escapes are looked at one by one.
#[derive(Default)]
struct Checker {
    strings: Strings,
    /// Whether the block before ended in a number or a literal.
    is_in_scalar: bool,
    values: Behind,
    opens: Behind,
    commas: Behind,
    names: Behind,
    open: Brackets,
    has_breaks: bool,
    /// Whether there is more than ASCII, of which not all is UTF-8.
    has_more: bool,
}

/// What is where in a block.
struct Tokens {
    /// With their quotes.
    strings: u64,
    first_quotes: u64,
    last_quotes: u64,
    /// Numbers, literals, and what cannot be anything.
    scalars: u64,
    scalar_starts: u64,
    brackets: u64,
    opens: u64,
    commas: u64,
    colons: u64,
    /// White space, and other control characters outside of strings.
    blanks: u64,
}

/// Check the grammar of a text. Whether there are breaks; `None`: it is not JSON.
#[inline(never)]
fn check(text: &[u8]) -> Option<bool> {
    vectors::widest(Check(text))
}

struct Check<'a>(&'a [u8]);

impl Work for Check<'_> {
    type Output = Option<bool>;

    #[inline(always)]
    fn run(self, machine: impl Machine<BLOCK>) -> Option<bool> {
        let Self(text) = self;
        let mut checker = Checker::default();
        let mut padded = [0; BLOCK];
        let mut at = 0;
        while at < text.len() {
            let bytes = blocks::first(&text[at..], &mut padded);
            let is_long_string = checker.block(machine, text, at, bytes)?;
            at += BLOCK;
            if is_long_string {
                at += checker.skip(machine, text.get(at..)?);
            }
        }
        let is_whole = checker.values.is_ahead && checker.open.is_empty();
        let is_good = is_whole && (!checker.has_more || scan::is_text(text));
        is_good.then_some(checker.has_breaks)
    }
}

impl Checker {
    /// How many bytes of a string are plain: of interest is only its end.
    #[inline(always)]
    fn skip(&mut self, machine: impl Machine<BLOCK>, string: &[u8]) -> usize {
        let (blocks, _) = string.as_chunks::<BLOCK>();
        let mut passed = 0;
        for portion in blocks.chunks(PORTION / BLOCK) {
            let behind = blocks.get(passed + portion.len()..).unwrap_or_default();
            vectors::prefetch(behind[..behind.len().min(portion.len())].as_flattened());
            for bytes in portion {
                let block = Block::new(machine, bytes);
                if !block.is_plain() {
                    return passed * BLOCK;
                }
                self.has_more |= !block.is_ascii();
                passed += 1;
            }
        }
        passed * BLOCK
    }

    /// Go through the block of `text` that begins at `at`. Whether all of it is
    /// in one string, without an escape that the next block ends.
    #[inline(always)]
    fn block(
        &mut self,
        machine: impl Machine<BLOCK>,
        text: &[u8],
        at: usize,
        bytes: &[u8; BLOCK],
    ) -> Option<bool> {
        let block = Block::new(machine, bytes);
        self.has_more |= !block.is_ascii();
        let quoted = self.strings.quoted(machine, block);
        let controls = block.controls();
        let tokens = self.tokens(block, &quoted, controls);
        let wrong = self.neighbours(&tokens)?;
        if controls & tokens.strings != 0 || !self.controls_are_good(block, controls) {
            return None;
        }
        self.brackets(bytes, tokens.brackets, &wrong)?;
        check_scalars(&text[at..], tokens.scalar_starts)?;
        // A quote or a backslash behind a backslash is right in any case.
        let plain = !block.equal(b'"') & !block.equal(b'\\');
        check_escapes(text, at, quoted.escaped & plain)?;
        Some(quoted.inside == !0 && !self.strings.is_escaped)
    }

    #[inline(always)]
    fn tokens(&mut self, block: Block<impl Vector>, quoted: &Quoted, controls: u64) -> Tokens {
        let Quoted { inside, quotes, .. } = *quoted;
        let strings = inside | quotes;
        let brackets = block.brackets() & !inside;
        let [commas, colons] = [b',', b':'].map(|byte| block.equal(byte) & !inside);
        let blanks = (block.equal(b' ') | controls) & !strings;
        let scalars = !(strings | brackets | commas | colons | blanks);
        let scalar_starts = scalars & !(scalars << 1 | u64::from(self.is_in_scalar));
        self.is_in_scalar = scalars >> 63 == 1;
        Tokens {
            strings,
            first_quotes: quotes & inside,
            last_quotes: quotes & !inside,
            scalars,
            scalar_starts,
            brackets,
            opens: block.opens() & brackets,
            commas,
            colons,
            blanks,
        }
    }

    /// Check what stands behind what. `None`: it is wrong anywhere.
    #[inline(always)]
    fn neighbours(&mut self, tokens: &Tokens) -> Option<Wrong> {
        let Tokens { strings, first_quotes, opens, commas, colons, blanks, .. } = *tokens;
        let closes = tokens.brackets & !opens;
        let starts = first_quotes | opens | tokens.scalar_starts;
        let ends = tokens.last_quotes | closes | tokens.scalars;
        let after_value = self.values.find(ends, blanks);
        let after_open = self.opens.find(opens, blanks);
        let after_comma = self.commas.find(commas, blanks);
        // In an object such a string is a name; in an array it may be none.
        let names = first_quotes & (after_open | after_comma);
        let after_name = self.names.find(names, strings | blanks);
        let wrong = starts & after_value
            | commas & !after_value
            | closes & !(after_value | after_open)
            | colons & !after_name;
        (wrong == 0).then_some(Wrong {
            outside: commas,
            in_arrays: colons,
            in_objects: (after_open | after_comma) & !(first_quotes | closes)
                | after_name & !colons,
        })
    }

    /// Go through the brackets of a block. `None`: there is a wrong one, or
    /// something that must not be where it is.
    #[inline(always)]
    fn brackets(&mut self, bytes: &[u8], mut brackets: u64, wrong: &Wrong) -> Option<()> {
        let mut ahead = !0;
        while brackets != 0 {
            // Up to the bracket and with it.
            let here = brackets ^ (brackets - 1);
            if wrong.here(&self.open) & ahead & here != 0 {
                return None;
            }
            self.open.follow(bytes[brackets.trailing_zeros() as usize])?;
            ahead = !here;
            brackets &= brackets - 1;
        }
        (wrong.here(&self.open) & ahead == 0).then_some(())
    }

    /// Whether `controls`, none of them in a string, are white space.
    #[inline(always)]
    fn controls_are_good(&mut self, block: Block<impl Vector>, controls: u64) -> bool {
        if controls == 0 {
            return true;
        }
        let breaks = block.equal(b'\r') | block.equal(b'\n');
        self.has_breaks |= breaks != 0;
        controls == breaks | block.equal(b'\t')
    }
}

/// What must not be in a block, by what it would be in: commas outside of
/// brackets; colons in an array; in an object a member without a name, or a name
/// without a colon.
struct Wrong {
    outside: u64,
    in_arrays: u64,
    in_objects: u64,
}

impl Wrong {
    #[inline(always)]
    fn here(&self, open: &Brackets) -> u64 {
        match open.innermost() {
            None => self.outside,
            Some(false) => self.in_arrays,
            Some(true) => self.in_objects,
        }
    }
}

/// Finds what stands behind something, from block to block.
#[derive(Default)]
struct Behind {
    /// Whether it is still ahead.
    is_ahead: bool,
}

impl Behind {
    /// The first byte behind each of `bits` that is not in `gaps`.
    #[inline(always)]
    fn find(&mut self, bits: u64, gaps: u64) -> u64 {
        // A sum carries through each gap that it begins with.
        let (sum, is_beyond) = gaps.overflowing_add(bits << 1 | u64::from(self.is_ahead));
        self.is_ahead = is_beyond || bits >> 63 == 1;
        sum & !gaps
    }
}

/// Check the numbers and literals that begin at `starts`.
#[inline(always)]
fn check_scalars(text: &[u8], mut starts: u64) -> Option<()> {
    while starts != 0 {
        let scalar = &text[starts.trailing_zeros() as usize..];
        let length = scan::scalar_length(scalar)?;
        match scalar.get(length) {
            None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') => {}
            Some(_) => return None,
        }
        starts &= starts - 1;
    }
    Some(())
}

/// Check the escapes whose second bytes are `seconds`, from `at` on.
#[inline(always)]
fn check_escapes(text: &[u8], at: usize, mut seconds: u64) -> Option<()> {
    while seconds != 0 {
        let second = at + seconds.trailing_zeros() as usize;
        scan::escape_length(&text[second - 1..])?;
        seconds &= seconds - 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::vectors::Portable;
    use proptest::prelude::*;

    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<IgnoredAny>(text).is_ok()
    }

    /// What the widest vectors and those of any processor find.
    fn both(text: &[u8]) -> std::result::Result<Option<bool>, TestCaseError> {
        let found = check(text);
        prop_assert_eq!(Check(text).run(Portable), found);
        Ok(found)
    }

    #[test]
    fn params_must_be_an_array_or_an_object() {
        for good in ["[]", " {} ", "[1,{\"a\":\"\\u0000\"}]"] {
            assert!(Json::params(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "1", "null", "\"a\"", "{", "[1,]", "[]x", "{a:1}", "[\"\n\"]", "[01]"]
        {
            assert_eq!(Json::params(bad.as_bytes()).unwrap_err().code(), Code::Invalid, "{bad}");
        }
        assert!(Json::params(b"[\"\xff\"]").is_err() && Json::params(b"[]\0").is_err());
    }

    #[test]
    fn depth_is_no_limit() {
        for depth in [63, 64, 65, 100_000] {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert!(Json::params(deep.as_bytes()).is_ok());
            assert!(Json::params(&deep.as_bytes()[1..]).is_err());
        }
    }

    #[test]
    fn breaks_are_seen_between_tokens() {
        for (text, breaks) in
            [("[1,2]", false), ("[1,\n2]", true), ("\r[]", true), ("[\"\\n\"]", false)]
        {
            assert_eq!(Json::params(text.as_bytes()).unwrap().has_breaks(), breaks, "{text}");
        }
    }

    proptest! {
        /// What is accepted in one pass must be right; what is not costs time
        /// only, but good JSON should not have to pay it.
        #[test]
        fn one_pass_says_what_serde_json_says(
            tokens in proptest::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"a\""),
                Just("\"\\u00e9\\n\""), Just("\"0123456789abcdef\\\\\""), Just("\"\\x\""),
                Just("0"), Just("-12.5e+3"), Just("01"), Just("1."), Just("null"), Just("true"),
                Just("falsy"), Just(" "), Just("\n"), Just("\t"), Just("\\"), Just("\"\u{1}\""),
                Just("{\"a\":[1,2,{}],\"b\":{\"c\":[]}}"), Just("\"\u{e9}\""),
            ], 0..12),
        ) {
            let text = tokens.concat();
            let found = both(text.as_bytes())?.is_some();
            prop_assert_eq!(found, is_json(text.as_bytes()), "{}", text);
            let found = check_tiny(text.as_bytes()).is_some();
            prop_assert_eq!(found, text.is_ascii() && is_json(text.as_bytes()), "{}", text);
        }

        /// The same where the borders of blocks are anywhere: within strings,
        /// escapes, runs of backslashes, numbers, literals and blanks.
        #[test]
        fn borders_of_blocks_make_no_difference(
            before in " {0,130}",
            tokens in proptest::collection::vec(prop_oneof![
                8 => "\"([a,\\[\u{e9}]|\\\\[\\\\\"n/]|\\\\u00[eE]9){0,70}\"",
                8 => "\"a{0,150}(\\\\{0,70}|[\\\\][nux]|\\\\u00e9)a{0,150}\"",
                8 => "-?[0-9]{1,70}(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,9})?",
                8 => "true|false|null", 8 => "[ \n\t]{0,70}", 8 => "\\{\\}|\\[\\]",
                1 => "[\\[\\]{},:\"\\\\\u{1}]|nul|truer",
            ], 0..6),
            mistake in proptest::option::of((0usize..300, "[\\[\\]{},:\" \\\\0a\n]")),
        ) {
            for (open, separator, close) in [
                ("", "", ""), ("[", ",", "]"), ("[1, ", "\n,", ",{}]"), ("{\"a\":", ",\"b\" : ", "}"),
                ("{\"a\":0,\"b\" :[", ",", "]}"), ("{\"a\":[{\"a\":", "},{\"a\": ", "}], \"c\":{}}"),
            ] {
                let mut text = format!("{before}{open}{}{close}", tokens.join(separator));
                if let Some((place, byte)) = &mistake && text.is_char_boundary(*place) {
                    text.insert_str(*place, byte);
                }
                let bytes = text.as_bytes();
                let expected = is_json(bytes).then(|| has_breaks(bytes));
                prop_assert_eq!(both(bytes)?, expected, "{}", text);
                if text.is_ascii() {
                    prop_assert_eq!(check_tiny(bytes), expected, "{}", text);
                }
            }
        }

        #[test]
        fn any_bytes_are_checked_as_serde_json_does(bytes: Vec<u8>) {
            prop_assert_eq!(Json::value(&bytes, "it").is_ok(), is_json(&bytes));
        }
    }
}
