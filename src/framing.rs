//! Where one message ends and the next begins. Bytes in any portions give the
//! same messages, and no more than one message over the limit is ever held.

use std::borrow::Cow;
use std::collections::TryReserveError;

use memchr::memchr;
use wide::u8x32;

use crate::error::{Code, Error, Result};
use crate::spare;

/// How messages follow each other on a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One message a line; 0x0A ends it. (MCP stdio transport, ACP, codex.)
    Lines,
    /// A header block with `Content-Length`, then that many bytes.
    /// (Language Server Protocol, "Base Protocol".)
    ContentLength,
}

/// What lay between two ends. A small one is still where it arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole message, perhaps not a good one.
    Message(Cow<'a, [u8]>),
    /// Bytes outside of any message.
    Noise(Cow<'a, [u8]>),
}

impl Piece<'_> {
    /// How many bytes it has.
    #[inline(always)]
    pub fn size(&self) -> usize {
        let (Self::Message(bytes) | Self::Noise(bytes)) = self;
        bytes.len()
    }
}

/// Where a piece is: so many bytes, and how many to move past.
struct Cut {
    is_noise: bool,
    length: usize,
    after: usize,
}

/// A read asks for this much; an idle decoder keeps no more.
const CHUNK: usize = 64 * 1024;

/// A message at least this long takes the buffer with it instead of a copy. One
/// that is at most [`spare::SMALL`] is left to whoever has memory to keep it.
const HAND_OVER: usize = CHUNK / 2;

/// As many bytes as are searched for a line's end at once.
const LANES: usize = 32;

/// So many times, one by one.
const NEAR: usize = 4;

/// A message that has outgrown its buffer may take a spare one so many times as
/// large as it needs at least. If that is far too large, it is copied out of it.
const OUTGROWN: usize = 8;

/// Headers of one message may take this much.
const HEADERS_MAX: usize = 8 * 1024;

/// Cuts a byte stream into messages.
///
/// Append what arrives to [`Decoder::room`], then call [`Decoder::next_piece`] until
/// it says `None`.
pub struct Decoder {
    buffer: Vec<u8>,
    /// `buffer[..start]` has been given out.
    start: usize,
    /// `buffer[start..start + searched]` holds no newline.
    searched: usize,
    /// The length of the last large message: the next one is often like it.
    usual: usize,
    max: usize,
    state: State,
}

enum State {
    Line,
    /// Between messages, where a header may begin.
    Between,
    /// In a header block, of which `size` bytes have been read.
    Headers {
        size: usize,
        length: Option<usize>,
    },
    Body {
        length: usize,
    },
}

impl Decoder {
    /// A decoder that refuses messages over `max` bytes.
    pub fn new(framing: Framing, max: usize) -> Self {
        let state = match framing {
            Framing::Lines => State::Line,
            Framing::ContentLength => State::Between,
        };
        Self { buffer: Vec::new(), start: 0, searched: 0, usual: 0, max, state }
    }

    /// Where to append what arrives; it has spare capacity. Grows with what
    /// has arrived, never with what the peer says will come.
    #[inline]
    pub fn room(&mut self) -> Result<&mut Vec<u8>> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        // What the last large message has left is for another one.
        let largest = if self.buffer.is_empty() { CHUNK } else { spare::MIN };
        if self.buffer.len() < CHUNK / 2 && self.buffer.capacity() > largest {
            let rest = copy(&self.buffer)?;
            spare::keep(std::mem::replace(&mut self.buffer, rest));
        }
        if self.buffer.capacity() - self.buffer.len() < CHUNK / 2 {
            self.grow().map_err(|_| no_memory())?;
        }
        Ok(&mut self.buffer)
    }

    fn grow(&mut self) -> std::result::Result<(), TryReserveError> {
        let least = CHUNK.max(2 * self.buffer.capacity());
        // A message that has filled a buffer is large, and most likely as the last
        // one was. Before that, most are small.
        let likely = if self.held() < CHUNK / 2 { 0 } else { self.usual + CHUNK };
        let (size, spare) = match likely {
            _ if likely < least => (least, spare::large(least..=OUTGROWN * least)),
            _ if likely <= 2 * least => (likely, spare::large(likely..=2 * likely)),
            _ => {
                let spare = spare::large(likely..=2 * likely);
                (least, spare.or_else(|| spare::large(least..=OUTGROWN * least)))
            }
        };
        if let Some(mut larger) = spare {
            larger.extend_from_slice(&self.buffer);
            spare::keep(std::mem::replace(&mut self.buffer, larger));
            return Ok(());
        }
        self.buffer.try_reserve_exact(roomy(size) - self.buffer.len())
    }

    /// The next whole piece, if it is there.
    ///
    /// `TooBig`: a message or line is over the limit. `Protocol`: a bad header
    /// block. After an error the stream cannot go on.
    #[inline(always)]
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        let Some(Cut { is_noise, length, after }) = self.cut()? else { return Ok(None) };
        let bytes = self.take(length, after)?;
        Ok(Some(if is_noise { Piece::Noise(bytes) } else { Piece::Message(bytes) }))
    }

    #[inline(always)]
    fn cut(&mut self) -> Result<Option<Cut>> {
        if !matches!(self.state, State::Line) {
            return self.cut_by_headers();
        }
        loop {
            let Some((length, after)) = self.line(self.max)? else { return Ok(None) };
            if length > 0 {
                return Ok(Some(Cut { is_noise: false, length, after }));
            }
            self.skip(after);
        }
    }

    #[inline(never)]
    fn cut_by_headers(&mut self) -> Result<Option<Cut>> {
        loop {
            let max = match self.state {
                State::Line | State::Between => self.max,
                State::Headers { .. } => HEADERS_MAX,
                State::Body { length } => return Ok(self.body(length)),
            };
            let Some((length, after)) = self.line(max)? else { return Ok(None) };
            if let State::Headers { size, length: known } = self.state {
                self.state = self.header(length, size + after, known)?;
                self.skip(after);
            } else if Header::known(self.ahead(length)) {
                self.state = State::Headers { size: 0, length: None };
            } else if length > 0 {
                return Ok(Some(Cut { is_noise: true, length, after }));
            } else {
                self.skip(after);
            }
        }
    }

    fn body(&mut self, length: usize) -> Option<Cut> {
        let has_arrived = self.held() >= length;
        has_arrived.then(|| {
            self.state = State::Between;
            Cut { is_noise: false, length, after: length }
        })
    }

    /// What has arrived of the message ahead, which is not whole: the last
    /// [`Decoder::next_piece`] said so.
    pub fn unfinished(&self) -> &[u8] {
        match self.state {
            State::Line | State::Body { .. } => self.ahead(self.held()),
            State::Between | State::Headers { .. } => &[],
        }
    }

    /// The stream has ended: what is left of an unfinished piece.
    pub fn finish(&mut self) -> Result<Option<Piece<'_>>> {
        let rest = self.held();
        if rest == 0 {
            return Ok(None);
        }
        let lines = matches!(self.state, State::Line);
        let line = if lines { without_cr(self.ahead(rest)).len() } else { rest };
        if lines && line > self.max {
            return Err(too_big(self.max));
        }
        let rest = self.take(line, rest)?;
        Ok(Some(if lines { Piece::Message(rest) } else { Piece::Noise(rest) }))
    }

    /// Give memory back that holds nothing.
    pub fn rest(&mut self) {
        if self.held() == 0 {
            spare::keep(std::mem::take(&mut self.buffer));
            (self.start, self.searched) = (0, 0);
        }
    }

    /// How many bytes have arrived and were not given out.
    #[inline(always)]
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Length of the line ahead, without and with its end; `None` when the end
    /// has not arrived.
    #[inline(always)]
    fn line(&mut self, max: usize) -> Result<Option<(usize, usize)>> {
        let from = self.start + self.searched;
        let Some(newline) = newline(&self.buffer[from..]) else {
            self.searched = self.held();
            // One more, for the CR of an end that is about to arrive.
            return if self.searched > max.saturating_add(1) {
                Err(self.too_long(max))
            } else {
                Ok(None)
            };
        };
        let newline = self.searched + newline;
        let line = without_cr(self.ahead(newline)).len();
        if line > max {
            return Err(self.too_long(max));
        }
        // Where to search from if this line is not consumed at once.
        self.searched = newline;
        Ok(Some((line, newline + 1)))
    }

    fn too_long(&self, max: usize) -> Error {
        match self.state {
            State::Headers { .. } => protocol("its header block is over 8 KiB"),
            _ => too_big(max),
        }
    }

    /// One line of a header block: what comes after it.
    fn header(&self, line: usize, size: usize, length: Option<usize>) -> Result<State> {
        if size > HEADERS_MAX {
            return Err(protocol("its header block is over 8 KiB"));
        }
        let length = match Header::parse(self.ahead(line)) {
            Header::End => {
                let length = length.ok_or_else(|| protocol("a message has no Content-Length"))?;
                return Ok(State::Body { length });
            }
            Header::Length(None) => return Err(protocol("a Content-Length is not a number")),
            Header::Length(Some(new)) if length.is_some_and(|old| old != new) => {
                return Err(protocol("a message has two Content-Lengths"));
            }
            Header::Length(Some(new)) if new > self.max => return Err(too_big(self.max)),
            Header::Length(new) => new,
            Header::Other => length,
            Header::Broken => return Err(protocol("a header has no colon")),
        };
        Ok(State::Headers { size, length })
    }

    #[inline(always)]
    fn ahead(&self, length: usize) -> &[u8] {
        &self.buffer[self.start..self.start + length]
    }

    #[inline(always)]
    fn skip(&mut self, length: usize) {
        self.start += length;
        self.searched = 0;
    }

    /// Give out `length` bytes and move past `after`.
    #[inline(always)]
    fn take(&mut self, length: usize, after: usize) -> Result<Cow<'_, [u8]>> {
        if length > spare::SMALL {
            return self.take_owned(length, after).map(Cow::Owned);
        }
        let start = self.start;
        self.skip(after);
        Ok(self.buffer[start..start + length].into())
    }

    fn take_owned(&mut self, length: usize, after: usize) -> Result<Vec<u8>> {
        let start = self.start;
        if length >= HAND_OVER {
            self.usual = length;
        }
        // A spare buffer may be far too large, for as long as the host has it.
        let fits = || self.buffer.capacity() <= 2 * (length + CHUNK);
        if start == 0 && length >= HAND_OVER && fits() {
            let rest = copy(&self.buffer[after..])?;
            let mut whole = std::mem::replace(&mut self.buffer, rest);
            whole.truncate(length);
            self.searched = 0;
            return Ok(whole);
        }
        self.skip(after);
        copy(&self.buffer[start..start + length])
    }
}

/// One line of a header block.
enum Header {
    Length(Option<usize>),
    Other,
    End,
    Broken,
}

impl Header {
    /// Whether a line between messages begins a header block.
    fn known(line: &[u8]) -> bool {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        name.len() < line.len()
            && [&b"content-length"[..], b"content-type"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
    }

    fn parse(line: &[u8]) -> Self {
        if line.is_empty() {
            return Self::End;
        }
        let Some(colon) = memchr(b':', line) else { return Self::Broken };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !name.eq_ignore_ascii_case(b"content-length") {
            return Self::Other;
        }
        Self::Length(decimal(value.trim_ascii()))
    }
}

/// Digits only: no sign, no blank. Saturates, so that it can be compared.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0usize, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(n.saturating_mul(10).saturating_add(digit))
    })
}

/// Where the first newline is. Most lines are so short that it costs more to
/// begin a long search than to end it.
#[inline(always)]
fn newline(bytes: &[u8]) -> Option<usize> {
    let found = |part: &[u8; LANES]| {
        let found = u8x32::new(*part).simd_eq(u8x32::splat(b'\n')).to_bitmask();
        (found != 0).then(|| found.trailing_zeros() as usize)
    };
    let (parts, _) = bytes.as_chunks();
    for (index, part) in parts.iter().take(NEAR).enumerate() {
        if let Some(place) = found(part) {
            return Some(index * LANES + place);
        }
    }
    match bytes.last_chunk() {
        // There is none before it.
        Some(last) if parts.len() < NEAR => Some(bytes.len() - LANES + found(last)?),
        _ => {
            let searched = LANES * parts.len().min(NEAR);
            Some(searched + memchr(b'\n', &bytes[searched..])?)
        }
    }
}

/// A line without the CR of its end.
#[inline(always)]
pub fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Where to cut text that is longer than `max`: the last place up to there that is not
/// inside of a character.
pub fn between_characters(text: &[u8], max: usize) -> usize {
    // A character has at most three bytes behind its first one.
    let begins = |at: &usize| text[*at] & 0xC0 != 0x80;
    (max.saturating_sub(3)..=max).rev().find(begins).unwrap_or(max)
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    // Into a large one such a message will be read one day, up to its end.
    let room = bytes.len() + if bytes.len() < spare::MIN { 0 } else { CHUNK };
    let mut copy = spare::large(room..=2 * room).unwrap_or_default();
    if copy.capacity() < room {
        copy.try_reserve_exact(roomy(room)).map_err(|_| no_memory())?;
    }
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// As much memory as is asked for when a message needs `size` bytes: for a large one
/// at most a quarter more, so that the next one fits, too, if it is a little longer.
fn roomy(size: usize) -> usize {
    if size < spare::MIN { size } else { size.next_multiple_of(size.next_power_of_two() / 8) }
}

fn no_memory() -> Error {
    Error::new(Code::NoMemory, "no memory for a message of the server")
}

fn too_big(max: usize) -> Error {
    Error::new(
        Code::TooBig,
        format!("a message of the server is over LEASH_OPT_MAX_MESSAGE ({max} bytes)"),
    )
}

fn protocol(what: &'static str) -> Error {
    Error::new(Code::Protocol, format!("the server broke Content-Length framing: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feed `bytes` in portions that end at `cuts`, to the end of the stream.
    fn decode(
        framing: Framing,
        max: usize,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<Piece<'static>>> {
        let mut decoder = Decoder::new(framing, max);
        let mut pieces = Vec::new();
        let mut from = 0;
        // What could be seen of the message ahead.
        let mut ahead = Vec::new();
        for to in cuts.iter().copied().chain([bytes.len()]) {
            decoder.room()?.extend_from_slice(&bytes[from..to]);
            from = to;
            while let Some(piece) = decoder.next_piece()? {
                let (Piece::Message(bytes) | Piece::Noise(bytes)) = &piece;
                assert!(bytes.starts_with(ahead.strip_suffix(b"\r").unwrap_or(&ahead)));
                ahead.clear();
                pieces.push(kept(piece));
            }
            ahead = decoder.unfinished().to_vec();
        }
        pieces.extend(decoder.finish()?.map(kept));
        Ok(pieces)
    }

    fn kept(piece: Piece<'_>) -> Piece<'static> {
        match piece {
            Piece::Message(bytes) => Piece::Message(bytes.into_owned().into()),
            Piece::Noise(bytes) => Piece::Noise(bytes.into_owned().into()),
        }
    }

    /// Its buffer is for the next large message, which may be another connection's.
    #[test]
    fn after_a_large_message_small_ones_need_no_large_buffer() {
        spare::watch_by(|| {});
        let mut decoder = Decoder::new(Framing::Lines, usize::MAX);
        let large = [vec![b'x'; 2 * spare::MIN], b"\n".to_vec()].concat();
        for portion in large.chunks(CHUNK / 2) {
            decoder.room().unwrap().extend_from_slice(portion);
        }
        let Ok(Some(Piece::Message(Cow::Owned(whole)))) = decoder.next_piece() else {
            panic!("not handed over");
        };
        spare::keep(whole);
        for _ in 0..3 {
            let room = decoder.room().unwrap();
            assert!(room.capacity() <= 2 * CHUNK, "{}", room.capacity());
            room.extend_from_slice(b"{}\n");
            assert!(decoder.next_piece().unwrap().is_some());
        }
    }

    fn message(text: &str) -> Piece<'_> {
        Piece::Message(text.as_bytes().into())
    }

    fn noise(text: &str) -> Piece<'_> {
        Piece::Noise(text.as_bytes().into())
    }

    fn code(framing: Framing, max: usize, bytes: &str) -> Code {
        decode(framing, max, bytes.as_bytes(), &[]).unwrap_err().code()
    }

    #[test]
    fn a_line_ends_at_0x0a_only() {
        let text = "{\"a\":\"\u{2028}\u{85}\"}\r\n\n\r\nnoise\n{";
        let pieces = decode(Framing::Lines, 99, text.as_bytes(), &[]).unwrap();
        assert_eq!(pieces, [message("{\"a\":\"\u{2028}\u{85}\"}"), message("noise"), message("{")]);
    }

    #[test]
    fn a_line_may_have_exactly_the_limit() {
        assert_eq!(
            decode(Framing::Lines, 3, b"abc\r\nab\n", &[]).unwrap(),
            [message("abc"), message("ab")]
        );
        assert_eq!(code(Framing::Lines, 3, "abcd\n"), Code::TooBig);
        assert_eq!(code(Framing::Lines, 3, "abcd"), Code::TooBig);
        assert_eq!(code(Framing::Lines, 3, "abcde"), Code::TooBig);
    }

    #[test]
    fn headers_are_read_whatever_their_case_and_order() {
        let text = "banner\r\n\r\ncontent-type: x\r\nX-Other: y\r\nCONTENT-LENGTH:2\r\n\r\n{}\
                    Content-Length: 3\n\n[1]trailing";
        let pieces = decode(Framing::ContentLength, 99, text.as_bytes(), &[]).unwrap();
        assert_eq!(pieces, [noise("banner"), message("{}"), message("[1]"), noise("trailing")]);
    }

    #[test]
    fn a_broken_header_block_ends_the_stream() {
        for text in [
            "Content-Length: x\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length:\r\n\r\n",
            "Content-Type: a\r\n\r\n{}",
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "Content-Length: 1\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(code(Framing::ContentLength, 99, text), Code::Protocol, "{text}");
        }
        let bomb = format!("Content-Length: 1\r\nX: {}\r\n\r\n", "x".repeat(HEADERS_MAX));
        assert_eq!(code(Framing::ContentLength, 99_999, &bomb), Code::Protocol);
        let long = "Content-Length: 99999999999999999999999999\r\n\r\n";
        assert_eq!(code(Framing::ContentLength, 99, long), Code::TooBig);
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut decoder = Decoder::new(Framing::ContentLength, usize::MAX);
        decoder.room().unwrap().extend_from_slice(b"Content-Length: 99999999999\r\n\r\n");
        assert_eq!(decoder.next_piece().unwrap(), None);
        assert!(decoder.room().unwrap().capacity() <= 2 * CHUNK);
    }

    #[test]
    fn a_large_message_is_handed_over_without_a_copy() {
        let mut decoder = Decoder::new(Framing::Lines, usize::MAX);
        let room = decoder.room().unwrap();
        room.resize(HAND_OVER, b'x');
        room.extend_from_slice(b"\nnext\n");
        let place = room.as_ptr();
        let Some(Piece::Message(large)) = decoder.next_piece().unwrap() else { panic!() };
        assert_eq!((large.as_ptr(), large.len()), (place, HAND_OVER));
        assert_eq!(decoder.next_piece().unwrap(), Some(message("next")));
    }

    proptest! {
        #[test]
        fn any_portions_give_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
            max in 1usize..60,
        ) {
            check_portions(Framing::Lines, max, &bytes, cuts)?;
        }

        #[test]
        fn any_portions_give_the_same_bodies(
            parts in proptest::collection::vec(prop_oneof![
                "Content-Length: [0-9]{1,2}\r?\n",
                "Content-Type: x\r\n",
                "\r\n",
                "\\{[a-z\n:]{0,20}\\}",
            ], 0..20),
            cuts in proptest::collection::vec(0usize..400, 0..20),
            max in 1usize..60,
        ) {
            check_portions(Framing::ContentLength, max, parts.concat().as_bytes(), cuts)?;
        }

        #[test]
        fn what_is_framed_comes_back(
            bodies in proptest::collection::vec(("[ -~\n\r]{0,9}", 0usize..20_000), 0..4),
        ) {
            let bodies: Vec<_> = bodies.iter().map(|(text, times)| text.repeat(*times)).collect();
            let bytes: String =
                bodies.iter().map(|b| format!("Content-Length: {}\r\n\r\n{b}", b.len())).collect();
            let pieces = decode(Framing::ContentLength, usize::MAX, bytes.as_bytes(), &[]).unwrap();
            prop_assert_eq!(pieces, bodies.iter().map(|b| message(b)).collect::<Vec<_>>());
        }
    }

    fn check_portions(
        framing: Framing,
        max: usize,
        bytes: &[u8],
        mut cuts: Vec<usize>,
    ) -> std::result::Result<(), TestCaseError> {
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.sort_unstable();
        let whole = decode(framing, max, bytes, &[]).map_err(|e| e.code());
        let portions = decode(framing, max, bytes, &cuts).map_err(|e| e.code());
        prop_assert_eq!(whole, portions);
        Ok(())
    }
}
