//! Finding the parts of a message without building JSON values.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use memchr::{memchr, memchr2};

use super::Shape;
use super::blocks::{self, BLOCK, Block, Strings};
use crate::sys::vectors::{self, Machine, Portable, Work};

/// Where a part is: `bytes[start..end]`. Inside a frame there is always a byte
/// at `end`: a value is followed by a comma, a brace or white space, and the
/// content of a string by its quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A string that the host will see as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// What is between its quotes.
    pub content: Span,
    /// Whether nothing in it is escaped.
    pub is_plain: bool,
}

/// The members of a message's envelope, each as raw JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub id: Option<Span>,
    pub method: Option<Span>,
    pub params: Option<Span>,
    pub result: Option<Span>,
    pub error: Option<Span>,
    /// How much of the message is known to be text: [`is_text`] need not look
    /// at it. Some of a large one only, and nothing of a small one.
    pub plain: usize,
}

/// The members of an error object.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorParts {
    pub code: Option<Span>,
    pub message: Option<Span>,
    pub data: Option<Span>,
}

/// Whether it can be JSON text at all: UTF-8 without a raw NUL.
pub fn is_text(bytes: &[u8]) -> bool {
    // Most JSON is ASCII, and one look at it is enough. What follows the ASCII
    // does not begin inside of a character.
    let rest = &bytes[plain_prefix(Portable, bytes)..];
    is_short_and_plain(rest)
        || (memchr(0, rest).is_none() && simdutf8::basic::from_utf8(rest).is_ok())
}

/// Whether the bytes are fewer than a block has, and are ASCII without NUL.
fn is_short_and_plain(bytes: &[u8]) -> bool {
    if bytes.len() >= BLOCK {
        return false;
    }
    let is_plain = |part: &[u8; TINY]| Block::new(Portable, part).is_text();
    match bytes.last_chunk() {
        Some(end) => bytes.as_chunks().0.iter().chain([end]).all(is_plain),
        None => bytes.iter().all(|b| (1..0x80).contains(b)),
    }
}

/// How many bytes, in whole blocks, are ASCII without NUL.
#[inline(always)]
fn plain_prefix(machine: impl Machine<BLOCK>, bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks();
    blocks.iter().take_while(|block| Block::new(machine, block).is_text()).count() * BLOCK
}

/// As many bytes as a vector has, and up to which a plain loop is faster than
/// anything that has to be set up.
pub const TINY: usize = 16;

/// Up to here an object or array is looked at one vector at a time: a small one
/// needs no wide block.
const NEAR: usize = 64;

/// What does not fit into the cache is gone through in portions that do, so
/// that all looks at it cost one way to the memory; and the next one is fetched
/// meanwhile.
pub const PORTION: usize = 4096;

/// Whether the text can be a batch.
pub fn is_array(bytes: &[u8]) -> bool {
    Scanner::at_start(bytes).next() == Some(b'[')
}

/// The way through the elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct Elements {
    /// Where the next one begins.
    at: usize,
}

impl Elements {
    /// Those of `bytes`; `None` when it is not a whole array, or an empty one, or
    /// `is_wanted` is true of none of them.
    pub fn find(bytes: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let mut scanner = Scanner::at_start(bytes);
        scanner.eat(b'[')?;
        let all = Self { at: scanner.at };
        let (mut ahead, mut has_wanted) = (Some(all), false);
        while let Some(here) = ahead {
            let (element, rest) = here.next(bytes)?;
            has_wanted = has_wanted || is_wanted(&bytes[element.range()]);
            scanner.at = element.end;
            ahead = rest;
        }
        scanner.eat(b']')?;
        (has_wanted && scanner.at_end()).then_some(all)
    }

    /// The next one, and the way through those behind it, if there are any.
    pub fn next(self, bytes: &[u8]) -> Option<(Span, Option<Self>)> {
        let mut scanner = Scanner::at(bytes, self.at);
        let element = scanner.value()?;
        match scanner.next()? {
            b',' => Some((element, Some(Self { at: scanner.at }))),
            b']' => Some((element, None)),
            _ => None,
        }
    }
}

/// A result or a notification as nearly every peer writes them, with nothing
/// else in it and no blank; `None`: see [`object`].
#[inline(always)]
pub fn usual(bytes: &[u8]) -> Option<Shape> {
    let mut scanner = Scanner::at(bytes, 0);
    if !scanner.skip(br#"{"jsonrpc":"2.0","#) && !scanner.skip(b"{") {
        return None;
    }
    if scanner.skip(br#""id":"#) {
        let id = Some(scanner.own_id()?);
        scanner.skip(br#","result":"#).then_some(())?;
        return Some(Shape::Result { id, result: scanner.last_value()? });
    }
    scanner.skip(br#""method":""#).then_some(())?;
    let method = scanner.plain_string()?;
    scanner.skip(br#","params":"#).then_some(())?;
    let params = Some(scanner.last_value()?);
    Some(Shape::Notification { method: Name { content: method, is_plain: true }, params })
}

/// The envelope of a whole message; `None` when it is not an object, or when a
/// member of the envelope is there twice, so that nobody can say which counts.
pub fn object(bytes: &[u8]) -> Option<Members> {
    let mut scanner = Scanner::at_start(bytes);
    let mut members = Members::default();
    // As nearly every peer begins.
    let has_begun = scanner.skip(br#"{"jsonrpc":"2.0","#);
    scanner.envelope(has_begun, &mut members)?;
    members.plain = scanner.plain;
    scanner.at_end().then_some(members)
}

impl Members {
    fn add(&mut self, name: EnvelopeName, value: Span) -> Option<()> {
        let slot = match name {
            EnvelopeName::Id => &mut self.id,
            EnvelopeName::Method => &mut self.method,
            EnvelopeName::Params => &mut self.params,
            EnvelopeName::Result => &mut self.result,
            EnvelopeName::Error => &mut self.error,
            EnvelopeName::Other => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }
}

/// What is known of a message that has not arrived whole: all up to a place within
/// the first of its values that is long.
pub struct Begun {
    /// Those before it.
    members: Members,
    /// What it is.
    name: EnvelopeName,
    start: usize,
    /// Up to here it has been looked at.
    at: usize,
    inside: Inside,
}

/// What that value is.
enum Inside {
    String,
    Nested(Strings, Brackets),
    /// It has ended.
    Behind,
    /// It cannot end any more.
    Wrong,
}

impl Begun {
    /// Look for that value, which does not end in the `head` of a message; `None`:
    /// there is none, or no message.
    pub fn find(head: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::at_start(head);
        let mut members = Members::default();
        scanner.eat(b'{')?;
        loop {
            let name = scanner.envelope_name()?;
            scanner.blanks();
            let start = scanner.at;
            let Some(value) = scanner.value() else {
                let (at, inside) = match head.get(start)? {
                    b'"' => (start + 1, Inside::String),
                    b'{' | b'[' => (start, Inside::Nested(Strings::default(), Brackets::default())),
                    _ => return None,
                };
                return Some(Self { members, name, start, at, inside });
            };
            members.add(name, value)?;
            scanner.eat(b',')?;
        }
    }

    /// Look at what has arrived of it meanwhile: `bytes` is all that there is of the
    /// message.
    pub fn look(&mut self, bytes: &[u8]) {
        // The last block may go on.
        let blocks = bytes.len().saturating_sub(self.at) / BLOCK;
        self.go_on(bytes, self.at + blocks * BLOCK);
    }

    fn go_on(&mut self, bytes: &[u8], limit: usize) {
        let plain = self.members.plain;
        let mut scanner = Scanner { bytes, at: self.at, plain, is_near: true };
        let has_ended = match &mut self.inside {
            Inside::String => Some(scanner.string_end()),
            Inside::Nested(strings, open) => {
                vectors::widest(Close { scanner: &mut scanner, limit, strings, open })
            }
            Inside::Behind | Inside::Wrong => return,
        };
        (self.at, self.members.plain) = (scanner.at, scanner.plain);
        match has_ended {
            Some(true) => self.inside = Inside::Behind,
            Some(false) => {}
            None => self.inside = Inside::Wrong,
        }
    }

    /// [`object`], now that it is whole.
    pub fn object(mut self, bytes: &[u8]) -> Option<Members> {
        self.go_on(bytes, usize::MAX);
        let Inside::Behind = self.inside else { return None };
        let mut members = self.members;
        let mut scanner = Scanner { plain: members.plain, ..Scanner::at(bytes, self.at) };
        members.add(self.name, Span { start: self.start, end: self.at })?;
        match scanner.next()? {
            b',' => scanner.envelope(true, &mut members)?,
            b'}' => {}
            _ => return None,
        }
        members.plain = scanner.plain;
        scanner.at_end().then_some(members)
    }
}

/// The name of a member of the envelope.
#[derive(Clone, Copy)]
enum EnvelopeName {
    Id,
    Method,
    Params,
    Result,
    Error,
    Other,
}

/// The parts of an error object; `None` when it is something else.
pub fn error(bytes: &[u8], error: Span) -> Option<ErrorParts> {
    let mut scanner = Scanner::at(&bytes[..error.end], error.start);
    let mut parts = ErrorParts::default();
    scanner.members(false, Scanner::key, |key, value| {
        let slot = match &*key {
            b"code" => &mut parts.code,
            b"message" => &mut parts.message,
            b"data" => &mut parts.data,
            _ => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    })?;
    Some(parts)
}

/// The content of a string value, between its quotes; `None` when it is not a
/// string by the grammar of RFC 8259, section 7.
pub fn string(bytes: &[u8], value: Span) -> Option<Name> {
    let content = bytes[value.range()].strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_plain = plain_length(&bytes[value.start + 1..value.end])? == content.len();
    let is_good = is_plain || (content.iter().all(|b| *b >= 0x20) && escapes_are_good(content));
    let content = Span { start: value.start + 1, end: value.end - 1 };
    is_good.then_some(Name { content, is_plain })
}

/// Whether a string is its own JSON form: nothing in it is special.
pub fn is_plain(text: &[u8]) -> bool {
    let is_plain = |part: &[u8; TINY]| Block::new(Portable, part).is_plain();
    match text.last_chunk() {
        Some(end) => text.as_chunks().0.iter().chain([end]).all(is_plain),
        None => !text.iter().any(is_special),
    }
}

/// How much of a string comes before a quote, a backslash or a control
/// character; `None`: all of it, so it has no end.
#[inline]
pub fn plain_length(text: &[u8]) -> Option<usize> {
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let is_plain = |block: &&[u8; BLOCK]| Block::new(Portable, block).is_plain();
    let passed = blocks.iter().take_while(is_plain).count() * BLOCK;
    let (parts, rest) = text[passed..].as_chunks::<TINY>();
    for (index, part) in parts.iter().enumerate() {
        let special = Block::new(Portable, part).specials();
        if special != 0 {
            return Some(passed + index * TINY + special.trailing_zeros() as usize);
        }
    }
    Some(text.len() - rest.len() + rest.iter().position(is_special)?)
}

/// Whether a byte is no plain part of a string.
fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn escapes_are_good(mut content: &[u8]) -> bool {
    while let Some(escape) = memchr(b'\\', content) {
        content = &content[escape..];
        let Some(length) = escape_length(content) else { return false };
        content = &content[length..];
    }
    true
}

/// The length of the escape that `text` begins with, by RFC 8259, section 7.
pub fn escape_length(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => hex(text).map(|_| 6),
        _ => None,
    }
}

/// Whether a value may be the id of a request: a string, a number or null. The
/// reply has it as it is, so it must be good.
pub fn is_id(bytes: &[u8], value: Span) -> bool {
    match bytes[value.start] {
        b'"' => string(bytes, value).is_some(),
        first => matches!(first, b'-' | b'0'..=b'9' | b'n'),
    }
}

/// A number as our ids are written: no sign, no leading zero, not 0.
pub fn positive(digits: &[u8]) -> Option<i64> {
    if !digits.first().is_some_and(|first| (b'1'..=b'9').contains(first)) {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A number without fraction or exponent that fits.
pub fn integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Put a string into its plain form, in place, where it is never longer. What
/// cannot be text for C, a NUL or half of a surrogate pair, becomes U+FFFD.
pub fn unescape(bytes: &mut [u8], name: &mut Name) {
    if !std::mem::replace(&mut name.is_plain, true) {
        unescape_content(bytes, &mut name.content);
    }
}

fn unescape_content(bytes: &mut [u8], content: &mut Span) {
    let Some(first) = memchr(b'\\', &bytes[content.range()]) else { return };
    let (mut from, mut to) = (content.start + first, content.start + first);
    while from < content.end {
        if bytes[from] != b'\\' {
            bytes[to] = bytes[from];
            (from, to) = (from + 1, to + 1);
            continue;
        }
        let (plain, used) = escape(&bytes[from..content.end]);
        let mut utf8 = [0; 4];
        let utf8 = plain.encode_utf8(&mut utf8).as_bytes();
        bytes[to..to + utf8.len()].copy_from_slice(utf8);
        (from, to) = (from + used, to + utf8.len());
    }
    content.end = to;
}

/// The character that a good escape stands for, and the escape's length.
fn escape(text: &[u8]) -> (char, usize) {
    let short = match text[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        itself => char::from(itself),
    };
    (short, 2)
}

fn unicode_escape(text: &[u8]) -> (char, usize) {
    let first = hex(text).unwrap_or(0);
    if let (0xD800..0xDC00, Some(second @ 0xDC00..0xE000)) = (first, text.get(6..).and_then(hex)) {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).filter(|c| *c != '\0').unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// The value of the `\uXXXX` that `text` begins with.
fn hex(text: &[u8]) -> Option<u32> {
    let digits = text.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |n, digit| Some(n * 16 + char::from(*digit).to_digit(16)?))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// So much from the beginning is known to be ASCII without NUL.
    plain: usize,
    /// Whether it is in the cache: it has just arrived, so that strings need not be
    /// fetched ahead.
    is_near: bool,
}

impl<'a> Scanner<'a> {
    /// Some servers begin their output with a byte order mark: RFC 8259,
    /// section 8.1, lets a parser ignore it.
    fn at_start(bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self::at(bytes, at)
    }

    fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, plain: 0, is_near: false }
    }

    /// The members of the envelope, or its other ones if it `has_begun`.
    #[inline(never)]
    fn envelope(&mut self, has_begun: bool, members: &mut Members) -> Option<()> {
        self.members(has_begun, Self::envelope_name, |name, value| members.add(name, value))
    }

    /// Each member of the object ahead, or its other ones if it `has_begun`, the
    /// name read by `name`, which reads the colon, too. Ends early when `visit`
    /// says `None`.
    fn members<N>(
        &mut self,
        has_begun: bool,
        name: impl Fn(&mut Self) -> Option<N>,
        mut visit: impl FnMut(N, Span) -> Option<()>,
    ) -> Option<()> {
        if !has_begun {
            self.eat(b'{')?;
            if self.eat(b'}').is_some() {
                return Some(());
            }
        }
        loop {
            let name = name(self)?;
            visit(name, self.value()?)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// The number ahead, if it is as our ids are written and surely fits.
    #[inline(always)]
    fn own_id(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        let limit = self.at + DIGITS_MAX;
        let mut id = 0;
        while let digit @ 0..=9 = self.bytes.get(self.at)?.wrapping_sub(b'0') {
            id = 10 * id + i64::from(digit);
            self.at += 1;
            if id == 0 || self.at == limit {
                return None;
            }
        }
        (id > 0).then_some(id)
    }

    /// The value that is all there is before the last brace.
    #[inline(always)]
    fn last_value(&mut self) -> Option<Span> {
        let start = self.at;
        let end = self.bytes.strip_suffix(b"}")?.len();
        let is_whole = match self.bytes.get(start..end)? {
            // Many answers say no more than that all went well.
            b"{}" | b"[]" => true,
            [b'{' | b'[', ..] if end - start <= BLOCK => self.is_nested(start, end),
            [b'{' | b'[', ..] => self.nested()?.end == end,
            [b'"', ..] => self.quoted()?.end == end,
            scalar => scalar_length(scalar)? == scalar.len(),
        };
        is_whole.then_some(Span { start, end })
    }

    /// Whether a text that fits into a block is one object or array, as
    /// [`Scanner::nested`] has it. `false` for one with an escape, too, and
    /// for one without the head of a message before it.
    #[inline(always)]
    fn is_nested(&self, start: usize, end: usize) -> bool {
        let length = end - start;
        // The first of the vectors that end with the text begins before it: the
        // bits of what is there are shifted away.
        let vectors = length.div_ceil(TINY);
        let Some(from) = end.checked_sub(vectors * TINY) else { return false };
        let (parts, _) = self.bytes[from..end].as_chunks::<TINY>();
        let (mut quotes, mut brackets, mut backslashes) = (0, 0, 0);
        for part in parts.iter().rev() {
            let block = Block::new(Portable, part);
            quotes = quotes << TINY | block.equal(b'"');
            brackets = brackets << TINY | block.brackets();
            backslashes = backslashes << TINY | block.equal(b'\\');
        }
        let before = vectors * TINY - length;
        if backslashes >> before != 0 {
            return false;
        }
        let inside = Machine::<TINY>::parities(Portable, quotes >> before);
        let mut brackets = brackets >> before & !inside;
        let text = &self.bytes[start..end];
        if brackets == 1 | 1 << (length - 1) {
            // ] is [ and 2, and } is { and 2.
            return text[length - 1] == text[0] + 2;
        }
        let mut open = Brackets::default();
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match open.follow(text[place]) {
                Some(true) => return place + 1 == length,
                Some(false) => {}
                None => return false,
            }
        }
        false
    }

    /// The content of the string whose quote has been read, if nothing in it is
    /// escaped. Moves past its end.
    #[inline(always)]
    fn plain_string(&mut self) -> Option<Span> {
        let start = self.at;
        let end = start + plain_length(&self.bytes[start..])?;
        self.at = end + 1;
        (self.bytes[end] == b'"').then_some(Span { start, end })
    }

    /// The name of a member of the envelope, with its colon.
    #[inline(always)]
    fn envelope_name(&mut self) -> Option<EnvelopeName> {
        // As nearly every peer writes them, so that most are known by one
        // comparison each.
        Some(if self.skip(br#""jsonrpc":"#) {
            EnvelopeName::Other
        } else if self.skip(br#""id":"#) {
            EnvelopeName::Id
        } else if self.skip(br#""result":"#) {
            EnvelopeName::Result
        } else if self.skip(br#""method":"#) {
            EnvelopeName::Method
        } else if self.skip(br#""params":"#) {
            EnvelopeName::Params
        } else {
            match &*self.key()? {
                b"id" => EnvelopeName::Id,
                b"method" => EnvelopeName::Method,
                b"params" => EnvelopeName::Params,
                b"result" => EnvelopeName::Result,
                b"error" => EnvelopeName::Error,
                _ => EnvelopeName::Other,
            }
        })
    }

    /// The name of a member, in its plain form, with its colon.
    fn key(&mut self) -> Option<Cow<'a, [u8]>> {
        let name = self.name()?;
        self.eat(b':')?;
        Some(name)
    }

    fn name(&mut self) -> Option<Cow<'a, [u8]>> {
        self.eat(b'"')?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(is_special)?;
        if rest[length] == b'"' {
            self.at += length + 1;
            return Some(rest[..length].into());
        }
        self.escaped_name().map(Cow::Owned)
    }

    /// The rare name that has an escape in it. Its quote has been read.
    fn escaped_name(&mut self) -> Option<Vec<u8>> {
        self.at -= 1;
        let value = self.quoted()?;
        let mut plain = self.bytes[string(self.bytes, value)?.content.range()].to_vec();
        let mut content = Span { start: 0, end: plain.len() };
        unescape_content(&mut plain, &mut content);
        plain.truncate(content.end);
        Some(plain)
    }

    /// The value ahead.
    fn value(&mut self) -> Option<Span> {
        self.blanks();
        match self.bytes.get(self.at)? {
            b'"' => self.quoted(),
            b'{' | b'[' => self.nested(),
            _ => self.scalar(),
        }
    }

    /// The string ahead, with its quotes.
    fn quoted(&mut self) -> Option<Span> {
        let start = self.at;
        if *self.bytes.get(start)? != b'"' {
            return None;
        }
        self.at += 1;
        self.string_end().then_some(Span { start, end: self.at })
    }

    /// The object or array ahead, by its brackets and strings alone.
    #[inline(never)]
    fn nested(&mut self) -> Option<Span> {
        let start = self.at;
        // Many answers say no more than that all went well.
        if self.skip(b"{}") || self.skip(b"[]") {
            return Some(Span { start, end: self.at });
        }
        let (mut strings, mut open) = Default::default();
        if !self.close::<TINY>(Portable, start + NEAR, &mut strings, &mut open)? {
            let (strings, open) = (&mut strings, &mut open);
            vectors::widest(Close { scanner: self, limit: usize::MAX, strings, open })?;
        }
        Some(Span { start, end: self.at })
    }

    /// Move past the closing quote of the string ahead. `false`: it has not come
    /// yet, and with more of the text the same can go on from here.
    fn string_end(&mut self) -> bool {
        while let Some(byte) = self.quote_or_backslash() {
            if byte == b'"' {
                self.at += 1;
                return true;
            }
            self.at += 2;
        }
        false
    }

    /// Move to the next quote or backslash, or to the end.
    fn quote_or_backslash(&mut self) -> Option<u8> {
        // Nothing is ahead when a backslash was the last byte.
        let text = self.bytes.get(self.at..)?;
        let Some(near) = text.first_chunk() else {
            let place = text.iter().position(|b| matches!(b, b'"' | b'\\'));
            self.at += place.unwrap_or(text.len());
            return Some(text[place?]);
        };
        let near = Block::new::<TINY>(Portable, near);
        let found = near.equal(b'"') | near.equal(b'\\');
        if found == 0 {
            self.at += TINY;
            return self.far_quote_or_backslash();
        }
        let place = found.trailing_zeros() as usize;
        self.at += place;
        Some(text[place])
    }

    fn far_quote_or_backslash(&mut self) -> Option<u8> {
        let mut size = NEAR;
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            let (portion, behind) = rest.split_at(rest.len().min(size));
            let mut passed = 0;
            if size == PORTION {
                if !self.is_near {
                    vectors::prefetch(&behind[..behind.len().min(PORTION)]);
                }
                passed = self.pass_plain(portion);
            }
            if let Some(place) = memchr2(b'"', b'\\', &portion[passed..]) {
                self.at += passed + place;
                return Some(self.bytes[self.at]);
            }
            self.at += portion.len();
            self.look_up_to(self.at);
            size = PORTION;
        }
    }

    /// See how much of a string, in whole blocks, is ASCII in which nothing is
    /// special: one look for all, at what is most of a long string.
    #[inline(never)]
    fn pass_plain(&mut self, string: &[u8]) -> usize {
        let passed = vectors::widest(PlainString(string));
        if is_short_and_plain(&self.bytes[self.plain..self.at]) {
            self.plain = self.at + passed;
        }
        passed
    }

    /// Move on, in blocks, until the last of the `open` brackets is closed. Whether
    /// it was before `limit`; if not, the same can go on from there.
    #[inline(always)]
    fn close<const SIZE: usize>(
        &mut self,
        machine: impl Machine<SIZE>,
        limit: usize,
        strings: &mut Strings,
        open: &mut Brackets,
    ) -> Option<bool> {
        let mut padded = [0; SIZE];
        let mut at = self.at;
        let mut next_look = at + PORTION;
        while at < limit {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            if SIZE == BLOCK {
                vectors::prefetch(rest.get(PORTION..PORTION + 1).unwrap_or_default());
            }
            let text = blocks::first(rest, &mut padded);
            let block = Block::new(machine, text);
            let mut brackets = block.brackets() & !strings.quoted(machine, block).inside;
            while brackets != 0 {
                let place = brackets.trailing_zeros() as usize;
                if open.follow(text[place])? {
                    self.at = at + place + 1;
                    return Some(true);
                }
                brackets &= brackets - 1;
            }
            at += SIZE;
            if at >= next_look {
                self.look_up_to(at);
                next_look = at + PORTION;
            }
        }
        self.at = at;
        Some(false)
    }

    /// See whether more of the message is text, while it is in the cache. What
    /// is not ASCII ends that.
    #[inline(never)]
    fn look_up_to(&mut self, end: usize) {
        let ahead = self.bytes.get(self.plain..end).unwrap_or_default();
        self.plain += vectors::widest(PlainPrefix(ahead));
    }

    /// The number, true, false or null ahead.
    fn scalar(&mut self) -> Option<Span> {
        let start = self.at;
        let length = self.bytes[start..]
            .iter()
            .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'))
            .unwrap_or(self.bytes.len() - start);
        self.at += length;
        let good = scalar_length(&self.bytes[start..self.at]) == Some(length);
        good.then_some(Span { start, end: self.at })
    }

    /// Move past `text`, if that is what is ahead.
    #[inline(always)]
    fn skip<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        let is_ahead = self.bytes[self.at..].first_chunk() == Some(text);
        self.at += if is_ahead { N } else { 0 };
        is_ahead
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        self.blanks();
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (*self.bytes.get(self.at)? == byte).then(|| self.at += 1)
    }

    fn at_end(&mut self) -> bool {
        self.blanks();
        self.at == self.bytes.len()
    }
}

/// [`Scanner::close`] by the widest vectors.
struct Close<'a, 'b> {
    scanner: &'a mut Scanner<'b>,
    limit: usize,
    strings: &'a mut Strings,
    open: &'a mut Brackets,
}

impl Work for Close<'_, '_> {
    type Output = Option<bool>;

    #[inline(always)]
    fn run(self, machine: impl Machine<BLOCK>) -> Option<bool> {
        // In registers meanwhile.
        let (mut strings, mut open) = (mem::take(self.strings), mem::take(self.open));
        let has_closed = self.scanner.close(machine, self.limit, &mut strings, &mut open);
        (*self.strings, *self.open) = (strings, open);
        has_closed
    }
}

/// [`Scanner::pass_plain`].
struct PlainString<'a>(&'a [u8]);

impl Work for PlainString<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self, machine: impl Machine<BLOCK>) -> usize {
        let (blocks, _) = self.0.as_chunks();
        let is_plain = |block: &&[u8; BLOCK]| Block::new(machine, block).is_plain_text();
        blocks.iter().take_while(is_plain).count() * BLOCK
    }
}

/// [`plain_prefix`].
struct PlainPrefix<'a>(&'a [u8]);

impl Work for PlainPrefix<'_> {
    type Output = usize;

    #[inline(always)]
    fn run(self, machine: impl Machine<BLOCK>) -> usize {
        plain_prefix(machine, self.0)
    }
}

/// The length of the number, true, false or null that `text` begins with.
#[inline]
pub fn scalar_length(text: &[u8]) -> Option<usize> {
    // Many have one digit.
    if let [b'0'..=b'9', b',' | b'}' | b']', ..] = text {
        return Some(1);
    }
    longer_scalar_length(text)
}

fn longer_scalar_length(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b't' => text.starts_with(b"true").then_some(4),
        b'f' => text.starts_with(b"false").then_some(5),
        b'n' => text.starts_with(b"null").then_some(4),
        _ => number_length(text),
    }
}

/// The length of the number that `text` begins with, by RFC 8259, section 6.
pub fn number_length(text: &[u8]) -> Option<usize> {
    let mut at = usize::from(text.first() == Some(&b'-'));
    match text.get(at)? {
        b'0' => at += 1,
        _ => at += digits(&text[at..])?,
    }
    if text.get(at) == Some(&b'.') {
        at += 1 + digits(&text[at + 1..])?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at += digits(&text[at..])?;
    }
    Some(at)
}

/// How many digits `text` begins with, if any.
fn digits(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    while let Some(eight) = text[length..].first_chunk() {
        // Digits become 0 to 9. The highest bit of a byte then tells the first
        // one that is none; behind it there may be a carry, which is no matter.
        let values = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
        let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
        if others != 0 {
            length += others.trailing_zeros() as usize / 8;
            return (length > 0).then_some(length);
        }
        length += 8;
    }
    length += text[length..].iter().take_while(|b| b.is_ascii_digit()).count();
    (length > 0).then_some(length)
}

/// The open brackets, one bit each: any depth, and no recursion.
pub struct Brackets {
    /// The innermost ones, the last in the lowest bit, behind a bit that is
    /// always set. Without any it is alone.
    near: u64,
    /// The others, in groups as full as they can be.
    far: Vec<u64>,
}

impl Default for Brackets {
    fn default() -> Self {
        Self { near: 1, far: Vec::new() }
    }
}

impl Brackets {
    /// Go through one bracket. Whether it closed the first one; `None`: it
    /// closes none, or one of the other kind.
    #[inline(always)]
    pub fn follow(&mut self, bracket: u8) -> Option<bool> {
        // The bits in which they differ: [ is 5B, ] is 5D, { is 7B, } is 7D.
        let is_object = u64::from(bracket >> 5 & 1);
        if bracket & 2 != 0 {
            self.push(is_object);
            return Some(false);
        }
        if (self.near ^ is_object) & 1 != 0 {
            return None;
        }
        self.near >>= 1;
        if self.near <= 1 { self.far_end() } else { Some(false) }
    }

    /// The last of the near ones was closed, or the bit before them is gone: there
    /// was none. [`Brackets::follow`], then.
    #[cold]
    fn far_end(&mut self) -> Option<bool> {
        (self.near == 1).then_some(())?;
        self.near = self.far.pop().unwrap_or(1);
        Some(self.is_empty())
    }

    /// Whether the innermost one is an object; `None`: there is none.
    #[inline(always)]
    pub fn innermost(&self) -> Option<bool> {
        (!self.is_empty()).then_some(self.near & 1 == 1)
    }

    pub fn is_empty(&self) -> bool {
        self.near == 1
    }

    #[inline(always)]
    fn push(&mut self, is_object: u64) {
        if self.near >> 63 == 1 {
            // By value, or a compiler keeps all of `self` in memory.
            self.far = with(mem::take(&mut self.far), self.near);
            self.near = 1;
        }
        self.near = self.near << 1 | is_object;
    }
}

#[cold]
fn with(mut far: Vec<u64>, near: u64) -> Vec<u64> {
    far.push(near);
    far
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_remember_their_kind_at_any_depth() {
        for depth in [1, 62, 63, 64, 65, 125, 126, 127, 128, 1000] {
            let is_object = |n: usize| n.is_multiple_of(3);
            let bracket = |n: usize, kinds: [u8; 2]| kinds[usize::from(is_object(n))];
            let mut open = Brackets::default();
            assert!((0..depth).all(|n| open.follow(bracket(n, *b"[{")) == Some(false)));
            for n in (0..depth).rev() {
                assert_eq!(open.innermost(), Some(is_object(n)), "{depth}");
                assert_eq!(open.follow(bracket(n, *b"]}")), Some(n == 0), "{depth}");
            }
            assert!(open.is_empty() && open.innermost().is_none());
        }
    }

    #[test]
    fn a_bracket_of_the_other_kind_closes_nothing() {
        for text in ["]", "}", "[}", "{]", "[]]", "{}}", "[[]}"] {
            let mut open = Brackets::default();
            let last = text.bytes().map(|bracket| open.follow(bracket)).last();
            assert_eq!(last, Some(None), "{text}");
        }
    }

    /// What [`Scanner::nested`] has to find, byte by byte.
    fn nested_end_slowly(bytes: &[u8]) -> Option<usize> {
        let mut open = Brackets::default();
        let mut at = 0;
        loop {
            match *bytes.get(at)? {
                b'"' => {
                    let mut scanner = Scanner::at(bytes, at + 1);
                    scanner.string_end().then_some(())?;
                    at = scanner.at - 1;
                }
                bracket @ (b'{' | b'[' | b'}' | b']') if open.follow(bracket)? => {
                    return Some(at + 1);
                }
                _ => {}
            }
            at += 1;
        }
    }

    proptest::proptest! {
        #[test]
        fn blocks_find_what_bytes_find(
            text in "[\\[\\]][ a\\[\\]{}]{0,80}(\"([a\\[}]|\\\\[\\\\\"u]){0,70}\"[ \\[\\]{}]{0,60}){0,6}",
        ) {
            let bytes = text.as_bytes();
            let slow = nested_end_slowly(bytes);
            for limit in [0, 16, 64, 65, 128] {
                let mut scanner = Scanner::at_start(bytes);
                let (mut strings, mut open) = Default::default();
                let near = scanner.close::<TINY>(Portable, limit, &mut strings, &mut open);
                let found = near.and_then(|near| {
                    Some(near || scanner.close::<BLOCK>(Portable, usize::MAX, &mut strings, &mut open)?)
                });
                proptest::prop_assert_eq!(found.map(|_| scanner.at), slow);
            }
            let start = Span { start: 0, end: slow.unwrap_or(0) };
            let mut scanner = Scanner::at_start(bytes);
            proptest::prop_assert_eq!(scanner.nested(), slow.map(|_| start));
        }
    }

    proptest::proptest! {
        /// Whatever of it has come when it is looked at.
        #[test]
        fn a_message_that_arrives_is_what_it_is_as_a_whole(
            before in "(\"(id|method|params|x)\":(1|\"a\"|\\[\\]|\\{\"b\":2\\}),){0,2}",
            value in "(\"([a\u{e9}\\[}]|\\\\[\\\\\"u]|a{64}){0,70}\"?|[\\[{][ a\\[\\]{}]{0,80}(\"([a\\[}]|\\\\[\\\\\"u]){0,70}\"[ \\[\\]{}]{0,60}){0,6}[\\]}]{0,3})",
            after in "(,\"(id|result|x)\":(1|\"a\"|\\[\\]|\"c)){0,2}[}\\]]?\r?",
            mut cuts in proptest::collection::vec(0usize..9000, 1..9),
        ) {
            let text = format!("{{{before}\"result\":{value}{after}");
            let bytes = text.as_bytes();
            cuts.iter_mut().for_each(|cut| *cut %= bytes.len() + 1);
            cuts.sort_unstable();
            let Some(mut begun) = Begun::find(&bytes[..cuts[0]]) else { return Ok(()) };
            // The end of a line can be known before it is there.
            let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            cuts.iter().for_each(|cut| begun.look(&bytes[..*cut]));
            let (found, whole) = (begun.object(line), object(line));
            let seen = found.map_or(0, |members| members.plain);
            proptest::prop_assert!(bytes[..seen].iter().all(|byte| (1..0x80).contains(byte)));
            let known = |members: Members| Members { plain: 0, ..members };
            proptest::prop_assert_eq!(found.map(known), whole.map(known));
        }
    }

    proptest::proptest! {
        #[test]
        fn text_is_utf8_without_nul(
            parts in proptest::collection::vec(proptest::prop_oneof![
                proptest::strategy::Just(b"0123456789".to_vec()),
                proptest::strategy::Just("\u{e9}\u{1F600}".as_bytes().to_vec()),
                proptest::strategy::Just(vec![b'x'; 61]),
                proptest::strategy::Just(vec![0]),
                proptest::strategy::Just(vec![0xE9]),
            ], 0..8),
        ) {
            let bytes = parts.concat();
            let expected = std::str::from_utf8(&bytes).is_ok() && !bytes.contains(&0);
            proptest::prop_assert_eq!(is_text(&bytes), expected);
        }
    }

    /// The short way to see a message and the long one must say the same, and
    /// the short one must be taken.
    #[test]
    fn usual_messages_are_seen_as_others_are() {
        const ALPHABET: &[u8] = b"{}[]\"\\,1:";
        const LENGTH_MAX: u32 = 5;
        let letter =
            |n: usize, place: u32| ALPHABET[n / ALPHABET.len().pow(place) % ALPHABET.len()];
        let values = (0..=LENGTH_MAX).flat_map(|length| {
            let word = move |n| (0..length).map(|place| letter(n, place)).collect::<Vec<_>>();
            (0..ALPHABET.len().pow(length)).map(word)
        });
        for value in values {
            for head in [&br#"{"id":1,"result":"#[..], br#"{"method":"m","params":"#] {
                let text = [head, &value, b"}"].concat();
                let slow = object(&text).and_then(|members| Shape::of(&text, &members));
                let found = usual(&text);
                assert!(found.is_none() || found == slow, "{:?}", text.escape_ascii());
                let mut scanner = Scanner::at(&text, head.len());
                let is_value = scanner.value().is_some_and(|span| span.end == text.len() - 1);
                let has_escape = value.contains(&b'\\');
                assert!(found.is_some() || !is_value || has_escape, "{:?}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.0", "-1.5e+10", "1E2", "12345678901234567890"] {
            assert_eq!(number_length(good.as_bytes()), Some(good.len()), "{good}");
        }
        for bad in ["", "-", "+1", "01", "1.", ".1", "1e", "1e+", "0x1", "NaN", "1 2", "--1"] {
            assert_ne!(number_length(bad.as_bytes()), Some(bad.len()), "{bad}");
        }
    }

    #[test]
    fn strings_follow_the_grammar() {
        let good = |text: &str| {
            let text = format!("\"{text}\"");
            string(text.as_bytes(), Span { start: 0, end: text.len() }).is_some()
        };
        assert!(good("") && good(r#"a\"\\\/\b\f\n\r\t\u00e9"#) && good("\u{7f}\u{2028}"));
        for bad in [r"\x", r"\u12", r"\u12g4", r"\", "\n", "\u{1f}"] {
            assert!(!good(bad), "{bad}");
        }
    }

    #[test]
    fn an_id_can_go_back_as_it_is() {
        let is_id = |text: &str| is_id(text.as_bytes(), Span { start: 0, end: text.len() });
        assert!([r#""""#, r#""a \"\u00e9""#, "-1.5e3", "null"].into_iter().all(is_id));
        for bad in [r#""a\qb""#, "\"a\tb\"", "\"a\nb\"", "{}", "[1]", "true"] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn escapes_become_text_in_place() {
        for (raw, plain) in [
            (r"plain", "plain"),
            (r"a\/b\n\t\\", "a/b\n\t\\"),
            (r"\u00e9\ud83d\ude00!", "\u{e9}\u{1F600}!"),
            (r"\ud83d \ude00", "\u{FFFD} \u{FFFD}"),
            (r"\u0000", "\u{FFFD}"),
        ] {
            let mut bytes = raw.as_bytes().to_vec();
            let mut span = Span { start: 0, end: bytes.len() };
            unescape_content(&mut bytes, &mut span);
            assert_eq!(std::str::from_utf8(&bytes[span.range()]).unwrap(), plain, "{raw}");
        }
    }
}
