//! Bytes in any portions give the pieces that a reader of the whole stream
//! finds, and then the same error.

use leash::error::Code;
use leash::framing::{Decoder, Framing, Piece};

use super::Program;

/// Headers of one message may take this much.
const HEADERS_MAX: usize = 8 * 1024;

#[derive(Debug, PartialEq)]
enum Found {
    Message(Vec<u8>),
    Noise(Vec<u8>),
    Error(Code),
}

/// One byte for the framing, one for the limit, eight for the portions, and the
/// stream.
pub fn run(data: &[u8]) {
    let mut program = Program::new(data);
    let lines = program.byte().is_multiple_of(2);
    let max = match program.byte() {
        0 => usize::MAX,
        255 => 10_000,
        max => usize::from(max),
    };
    let portions = program.bytes(8);
    let stream = program.rest();
    let expected = if lines { lines_of(stream, max) } else { bodies_of(stream, max) };
    let framing = if lines { Framing::Lines } else { Framing::ContentLength };
    // Bytes one by one take long where there are many.
    let singly = (stream.len() <= 256).then_some(&[1][..]);
    for portions in [&[][..], portions].into_iter().chain(singly) {
        let found = decode(framing, max, stream, portions);
        assert_eq!(found, expected, "{framing:?}, at most {max}, in portions {portions:?}");
    }
}

/// The library's way; portions are repeated, and none is all at once.
fn decode(framing: Framing, max: usize, stream: &[u8], portions: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut decoder = Decoder::new(framing, max);
    let sizes = portions.iter().map(|size| usize::from(*size).max(1)).cycle();
    let mut sizes = sizes.chain(std::iter::repeat(stream.len().max(1)));
    let mut rest = stream;
    let mut feed = || -> leash::error::Result<()> {
        while !rest.is_empty() {
            let (portion, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            rest = later;
            decoder.room()?.extend_from_slice(portion);
            while let Some(piece) = decoder.next_piece()? {
                found.push(piece.into());
            }
        }
        found.extend(decoder.finish()?.map(Found::from));
        Ok(())
    };
    if let Err(error) = feed() {
        found.push(Found::Error(error.code()));
    }
    found
}

impl From<Piece<'_>> for Found {
    fn from(piece: Piece<'_>) -> Self {
        match piece {
            Piece::Message(bytes) => Self::Message(bytes.into_owned()),
            Piece::Noise(bytes) => Self::Noise(bytes.into_owned()),
        }
    }
}

/// What comes before the first newline, without a CR, and what after it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((chomp(&bytes[..end]), &bytes[end + 1..]))
}

fn chomp(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn lines_of(mut rest: &[u8], max: usize) -> Vec<Found> {
    let mut found = Vec::new();
    while let Some((line, after)) = cut(rest) {
        if line.len() > max {
            found.push(Found::Error(Code::TooBig));
            return found;
        }
        if !line.is_empty() {
            found.push(Found::Message(line.to_vec()));
        }
        rest = after;
    }
    if chomp(rest).len() > max {
        found.push(Found::Error(Code::TooBig));
    } else if !rest.is_empty() {
        found.push(Found::Message(chomp(rest).to_vec()));
    }
    found
}

fn bodies_of(mut rest: &[u8], max: usize) -> Vec<Found> {
    let mut found = Vec::new();
    while let Some((line, after)) = cut(rest) {
        if line.len() > max {
            found.push(Found::Error(Code::TooBig));
            return found;
        }
        if begins_headers(line) {
            match body_of(rest, max) {
                Body::Whole(body, after) => {
                    found.push(Found::Message(body.to_vec()));
                    rest = after;
                }
                Body::Unfinished(left) => {
                    found.extend((!left.is_empty()).then(|| Found::Noise(left.to_vec())));
                    return found;
                }
                Body::Bad(code) => {
                    found.push(Found::Error(code));
                    return found;
                }
            }
            continue;
        }
        if !line.is_empty() {
            found.push(Found::Noise(line.to_vec()));
        }
        rest = after;
    }
    if rest.len() > max.saturating_add(1) {
        found.push(Found::Error(Code::TooBig));
    } else if !rest.is_empty() {
        found.push(Found::Noise(rest.to_vec()));
    }
    found
}

fn begins_headers(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    line.starts_with("content-length:") || line.starts_with("content-type:")
}

enum Body<'a> {
    Whole(&'a [u8], &'a [u8]),
    /// What of it was not understood yet.
    Unfinished(&'a [u8]),
    Bad(Code),
}

/// A header block and its body.
fn body_of(block: &[u8], max: usize) -> Body<'_> {
    let (mut rest, mut length) = (block, None);
    loop {
        let Some((line, after)) = cut(rest) else {
            if rest.len() > HEADERS_MAX + 1 {
                return Body::Bad(Code::Protocol);
            }
            return Body::Unfinished(rest);
        };
        if line.len() > HEADERS_MAX || block.len() - after.len() > HEADERS_MAX {
            return Body::Bad(Code::Protocol);
        }
        rest = after;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Body::Bad(Code::Protocol);
        };
        if !line[..colon].eq_ignore_ascii_case(b"content-length") {
            continue;
        }
        let value = String::from_utf8_lossy(&line[colon + 1..]);
        let value = value.trim_matches([' ', '\t', '\r', '\u{c}']);
        if value.is_empty() || !value.bytes().all(|digit| digit.is_ascii_digit()) {
            return Body::Bad(Code::Protocol);
        }
        // What does not fit is as good as the largest that does.
        let value = value.parse::<usize>().unwrap_or(usize::MAX);
        if length.is_some_and(|other| other != value) {
            return Body::Bad(Code::Protocol);
        }
        if value > max {
            return Body::Bad(Code::TooBig);
        }
        length = Some(value);
    }
    match length {
        None => Body::Bad(Code::Protocol),
        Some(length) if rest.len() < length => Body::Unfinished(rest),
        Some(length) => Body::Whole(&rest[..length], &rest[length..]),
    }
}
