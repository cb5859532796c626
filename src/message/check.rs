//! JSON that the host hands us. Unlike what a peer sends, all of it is checked:
//! the host shall hear of a mistake at once, and from us.

use memchr::memchr2;
use serde::de::IgnoredAny;

use super::scan;
use crate::error::{Code, Error, Result};

/// A JSON text (RFC 8259).
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    text: &'a [u8],
    /// Whether CR or LF stands between its tokens.
    has_breaks: bool,
}

impl<'a> Json<'a> {
    /// Check the params of a request or notification: an array or an object.
    pub fn params(text: &'a [u8]) -> Result<Self> {
        let json = Self::value(text, "params")?;
        match text.trim_ascii_start().first() {
            Some(b'[' | b'{') => Ok(json),
            _ => Err(Error::new(Code::Invalid, "params must be a JSON array or object")),
        }
    }

    /// Check any value, the `what` of a message.
    pub fn value(text: &'a [u8], what: &str) -> Result<Self> {
        match Checker::run(text) {
            Some(has_breaks) if scan::is_text(text) => Ok(Self { text, has_breaks }),
            _ => Self::value_slowly(text, what),
        }
    }

    /// The same by serde_json, which says what is wrong, and knows any depth.
    #[cold]
    fn value_slowly(text: &'a [u8], what: &str) -> Result<Self> {
        let utf8 = std::str::from_utf8(text)
            .map_err(|_| Error::new(Code::Invalid, format!("{what} is not UTF-8")))?;
        if utf8.trim_ascii().is_empty() {
            let help = "is empty; pass NULL to leave it out";
            return Err(Error::new(Code::Invalid, format!("{what} {help}")));
        }
        // Its errors name a place and a rule, never the text.
        serde_json::from_str::<IgnoredAny>(utf8)
            .map_err(|e| Error::new(Code::Invalid, format!("{what} is not JSON: {e}")))?;
        Ok(Self { text, has_breaks: memchr2(b'\r', b'\n', text).is_some() })
    }

    /// Its text.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// Whether CR or LF stands between its tokens: in a string it cannot.
    pub fn has_breaks(self) -> bool {
        self.has_breaks
    }
}

/// Checks the grammar of RFC 8259 in one pass, down to 64 levels.
struct Checker<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// Whether each open bracket is an object's, the innermost in the lowest bit.
    objects: u64,
    has_breaks: bool,
}

impl<'a> Checker<'a> {
    const DEPTH_MAX: u32 = 64;

    /// Whether there are breaks; `None`: it is not JSON, or too deep.
    fn run(text: &'a [u8]) -> Option<bool> {
        let mut checker = Self { text, at: 0, depth: 0, objects: 0, has_breaks: false };
        while checker.value()? && checker.ends()? {}
        (checker.at == text.len()).then_some(checker.has_breaks)
    }

    /// Move past a value, or past the beginning of one up to its first element.
    /// Whether the value is at its end.
    fn value(&mut self) -> Option<bool> {
        loop {
            match self.token()? {
                b'{' => {
                    self.open(true)?;
                    if !self.closes(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(false)?;
                    if !self.closes(b']') {
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                _ => self.number()?,
            }
            return Some(true);
        }
    }

    /// Move past what follows a value: whether there is another one.
    fn ends(&mut self) -> Option<bool> {
        loop {
            self.blanks();
            if self.depth == 0 {
                return Some(false);
            }
            let is_object = self.objects & 1 == 1;
            match (self.token()?, is_object) {
                (b',', true) => {
                    self.name()?;
                    return Some(true);
                }
                (b',', false) => return Some(true),
                (b'}', true) | (b']', false) => self.close(),
                _ => return None,
            }
        }
    }

    fn open(&mut self, is_object: bool) -> Option<()> {
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
        (self.depth <= Self::DEPTH_MAX).then_some(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    /// Close the bracket that was just opened, if it has nothing in it.
    fn closes(&mut self, bracket: u8) -> bool {
        self.blanks();
        let is_empty = self.text.get(self.at) == Some(&bracket);
        if is_empty {
            self.at += 1;
            self.close();
        }
        is_empty
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Option<()> {
        if self.token()? != b'"' {
            return None;
        }
        self.string()?;
        (self.token()? == b':').then_some(())
    }

    /// The rest of a string.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += scan::plain_length(&self.text[self.at..])?;
            let rest = &self.text[self.at..];
            match rest[0] {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += scan::escape_length(rest)?,
                _ => return None,
            }
        }
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        let is_ahead = self.text[self.at..].starts_with(rest);
        self.at += rest.len();
        is_ahead.then_some(())
    }

    /// The rest of a number.
    fn number(&mut self) -> Option<()> {
        let start = self.at - 1;
        self.at = start + scan::number_length(&self.text[start..])?;
        Some(())
    }

    fn blanks(&mut self) {
        while let Some(blank @ (b' ' | b'\t' | b'\r' | b'\n')) = self.text.get(self.at) {
            self.has_breaks |= matches!(blank, b'\r' | b'\n');
            self.at += 1;
        }
    }

    /// The next byte that is no blank.
    fn token(&mut self) -> Option<u8> {
        self.blanks();
        self.next()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<IgnoredAny>(text).is_ok()
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
            let found = Checker::run(text.as_bytes()).is_some();
            prop_assert_eq!(found, is_json(text.as_bytes()), "{}", text);
        }

        #[test]
        fn any_bytes_are_checked_as_serde_json_does(bytes: Vec<u8>) {
            prop_assert_eq!(Json::value(&bytes, "it").is_ok(), is_json(&bytes));
        }
    }
}
