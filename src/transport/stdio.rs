//! A server's three pipes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use tokio::io::Interest;

use crate::error::{Code, Error, Result};
use crate::framing::{Decoder, Piece, between_characters, without_cr};
use crate::spare;
use crate::sys::{self, Fd, Watched};
use crate::trace::Trace;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes; or messages, of what had been read before.
    Some(usize),
    /// Nothing yet.
    Nothing,
    /// The end of the stream.
    End,
}

/// The server's stdout, cut into messages.
pub struct Reader {
    fd: Arc<Fd>,
    decoder: Decoder,
    pipe: Pipe,
    trace: Trace,
}

/// From here on a message is large.
pub const LARGE: usize = 256 * 1024;

/// How much a pipe holds at most.
pub const WIDEST: usize = 256 * 1024;

/// How much a pipe holds. It is wide only while a large message goes through:
/// an unprivileged user has few wide ones, and then only tiny ones. Wider than
/// this, the data would leave the cache on its way through.
#[derive(Default)]
struct Pipe {
    is_wide: bool,
}

impl Pipe {
    const NARROW: usize = 64 * 1024;

    /// Fit `fd` to a message of which `size` bytes are known.
    fn fit(&mut self, fd: &Fd, size: usize) {
        let wants_wide = size >= LARGE;
        if wants_wide != self.is_wide {
            let capacity = if wants_wide { WIDEST } else { Self::NARROW };
            // It cannot become narrow with more than that in it; the next
            // message tries again.
            let fits = sys::io::set_pipe_size(fd, capacity);
            self.is_wide = wants_wide || !fits;
        }
    }
}

impl Reader {
    /// Read `stdout`, which is non-blocking, by `decoder`.
    pub fn new(stdout: Arc<Fd>, decoder: Decoder, trace: Trace) -> Self {
        Self { fd: stdout, decoder, pipe: Pipe::default(), trace }
    }

    /// The descriptor, to be told when it is readable.
    pub fn descriptor(&self) -> Arc<Fd> {
        Arc::clone(&self.fd)
    }

    /// Read what is there, up to one portion. Never blocks.
    #[inline]
    pub fn fill(&mut self) -> Result<Filled> {
        self.pipe.fit(&self.fd, self.decoder.held());
        let room = self.decoder.room()?;
        Ok(filled(sys::io::read_append(&*self.fd, room)))
    }

    /// Nobody reads for a while: keep no memory that is not in use.
    pub fn rest(&mut self) {
        self.decoder.rest();
    }

    /// The next message that has been read whole.
    #[inline(always)]
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        let piece = self.decoder.next_piece()?;
        piece.iter().for_each(|piece| self.trace.received(piece));
        Ok(piece)
    }

    /// What has been read of the message ahead, which is not whole: the last
    /// [`Reader::next_piece`] said so.
    pub fn unfinished(&self) -> &[u8] {
        self.decoder.unfinished()
    }

    /// The stream has ended: what is left of an unfinished message.
    pub fn finish(&mut self) -> Result<Option<Piece<'_>>> {
        let piece = self.decoder.finish()?;
        piece.iter().for_each(|piece| self.trace.received(piece));
        Ok(piece)
    }

    /// How many bytes have been read and not given out.
    pub fn held(&self) -> usize {
        self.decoder.held()
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The server's stderr, cut into lines.
pub struct Lines {
    fd: Watched,
    buffer: Vec<u8>,
}

/// A longer line comes in pieces, none of them longer.
const LINE_MAX: usize = 16 * 1024;

impl Lines {
    /// Read `stderr`. Needs the runtime's context.
    pub fn new(stderr: Fd) -> io::Result<Self> {
        let fd = sys::watch(Arc::new(stderr), Interest::READABLE)?;
        Ok(Self { fd, buffer: Vec::new() })
    }

    /// Wait until there is something to read. Safe to cancel.
    pub async fn readable(&self) {
        // An error here means that the runtime is going away, and this task too.
        let _ = self.fd.readable().await.map(|mut guard| guard.retain_ready());
    }

    /// Read what is there, up to one portion, and give each whole line to
    /// `visit`; at the end also an unfinished one.
    pub fn read(&mut self, mut visit: impl FnMut(&[u8])) -> Filled {
        self.buffer.reserve(LINE_MAX);
        // Not by the readiness that is known: at the end it may not have been told.
        let filled = filled(sys::io::read_append(&**self.fd.get_ref(), &mut self.buffer));
        if filled == Filled::Nothing {
            sys::has_nothing_more(&self.fd);
        }
        let done = cut(&self.buffer, filled == Filled::End, &mut visit);
        self.buffer.drain(..done);
        filled
    }
}

/// Give to `visit` each whole line, and of the one behind them what will be a
/// piece whatever comes. How many bytes that were.
fn cut(bytes: &[u8], is_end: bool, mut visit: impl FnMut(&[u8])) -> usize {
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let last = cut_long(without_cr(&rest[..end]), &mut visit);
        visit(last);
        rest = &rest[end + 1..];
    }
    if is_end {
        let last = cut_long(rest, &mut visit);
        if !last.is_empty() {
            visit(last);
        }
        return bytes.len();
    }
    // A CR there may belong to the end of the line.
    let known = without_cr(rest);
    let done = known.len() - cut_long(known, visit).len();
    bytes.len() - rest.len() + done
}

/// Give to `visit` all pieces of a line but the last one, which is left: it is not
/// empty unless the line is. What comes later changes none of those given.
fn cut_long(mut line: &[u8], mut visit: impl FnMut(&[u8])) -> &[u8] {
    while line.len() > LINE_MAX {
        let (piece, behind) = line.split_at(between_characters(line, LINE_MAX));
        visit(piece);
        line = behind;
    }
    line
}

/// What a read found. A broken descriptor is an ended stream.
fn filled(attempt: io::Result<usize>) -> Filled {
    match attempt {
        Ok(0) => Filled::End,
        Ok(n) => Filled::Some(n),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Filled::Nothing,
        Err(_) => Filled::End,
    }
}

/// The server's stdin: what has not been written yet, and where it goes.
///
/// Written by whoever sends, one at a time: what others send meanwhile, and what
/// does not fit at once, is kept.
pub struct Sink {
    fd: Option<Arc<Fd>>,
    backlog: VecDeque<Chunk>,
    /// Of the backlog and of what somebody is writing.
    unsent: usize,
    is_writing: bool,
    pipe: Pipe,
}

/// Some output that waits.
struct Chunk {
    bytes: Vec<u8>,
    written: usize,
}

/// The right to write, and what to write. It goes back to the sink
/// ([`Sink::wrote`]), which need not be locked in between.
pub struct Writing<'a> {
    fd: Arc<Fd>,
    what: What<'a>,
}

enum What<'a> {
    /// A message where it was made, and room to keep it.
    Message(&'a [&'a [u8]; 3], Vec<u8>),
    /// The first of the backlog.
    Chunk(Chunk),
}

/// The right to write a message whose bytes stay where they are, and how much
/// is written. It goes back to the sink, too ([`Sink::end`]).
pub struct Rest {
    fd: Arc<Fd>,
    written: usize,
    room: Vec<u8>,
    /// Whether the server has closed its stdin.
    is_broken: bool,
}

/// Small messages share chunks of this size.
const CHUNK: usize = 16 * 1024;

impl Writing<'_> {
    /// Write as much as fits. Never blocks.
    #[inline(always)]
    pub fn write(&self) -> io::Result<usize> {
        match &self.what {
            // Most messages are in one piece.
            What::Message([whole, [], []], _) => write(&self.fd, &[IoSlice::new(whole)]),
            What::Message(parts, _) => write(&self.fd, &parts.map(IoSlice::new)),
            What::Chunk(Chunk { bytes, written }) => {
                write(&self.fd, &[IoSlice::new(&bytes[*written..])])
            }
        }
    }
}

/// Write as much as fits, which may be nothing.
fn write(fd: &Arc<Fd>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    match sys::io::write_quietly(&**fd, parts) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

impl Rest {
    /// Write as much as fits of the message in these `parts`. How much has been
    /// written just now; 0 when the server has closed its stdin, too. Never
    /// blocks.
    pub fn write(&mut self, parts: [&[u8]; 3]) -> usize {
        let written = write(&self.fd, &behind(parts, self.written).map(IoSlice::new));
        self.is_broken = written.is_err();
        let n = written.unwrap_or(0);
        self.written += n;
        n
    }

    /// Whether there is nothing more to do: all is written, or never will be.
    pub fn is_over(&self, parts: [&[u8]; 3]) -> bool {
        self.is_broken || self.written == length(parts)
    }
}

impl AsFd for Rest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Sink {
    /// A sink that writes to `stdin`.
    pub fn new(stdin: Fd) -> Self {
        Self {
            fd: Some(Arc::new(stdin)),
            backlog: VecDeque::new(),
            unsent: 0,
            is_writing: false,
            pipe: Pipe::default(),
        }
    }

    /// How many bytes are not known to be written.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Whether somebody is writing.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Whether the server's stdin is still open, as far as is known.
    pub fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// The descriptor, to learn when there is room again. It must be given
    /// back (dropped) for stdin to close.
    pub fn descriptor(&self) -> Option<Arc<Fd>> {
        self.fd.clone()
    }

    /// Begin to send one message, given in parts. `None`: it was kept, behind
    /// what was sent before.
    ///
    /// `NoMemory`: nothing was sent. `Closed`: the server has closed its stdin.
    #[inline(always)]
    pub fn send<'a>(&mut self, parts: &'a [&'a [u8]; 3]) -> Result<Option<Writing<'a>>> {
        if self.unsent > 0 {
            return self.hold(*parts).map(|()| None);
        }
        let (fd, room) = self.begin(length(*parts))?;
        Ok(Some(Writing { fd, what: What::Message(parts, room) }))
    }

    /// Begin to send one message that stays with the caller. `None`: not now,
    /// since something else was sent before. Errors as for [`Sink::send`].
    pub fn lend(&mut self, parts: [&[u8]; 3]) -> Result<Option<Rest>> {
        if self.unsent > 0 {
            return Ok(None);
        }
        let (fd, room) = self.begin(length(parts))?;
        Ok(Some(Rest { fd, written: 0, room, is_broken: false }))
    }

    /// Begin to write a message of that length.
    #[inline(always)]
    fn begin(&mut self, length: usize) -> Result<(Arc<Fd>, Vec<u8>)> {
        let Some(fd) = &self.fd else { return Err(closed()) };
        // The memory for the rest must be certain before the first byte goes.
        let room = if length > CHUNK { room(length)? } else { Vec::new() };
        self.pipe.fit(fd, length);
        self.unsent = length;
        self.is_writing = true;
        Ok((Arc::clone(fd), room))
    }

    /// Keep one message for later.
    pub fn hold(&mut self, parts: [&[u8]; 3]) -> Result<()> {
        if self.fd.is_none() {
            return Err(closed());
        }
        let length = length(parts);
        let fits = |chunk: &&mut Chunk| chunk.bytes.capacity() - chunk.bytes.len() >= length;
        if let Some(chunk) = self.backlog.back_mut().filter(fits) {
            append(&mut chunk.bytes, parts);
        } else {
            let mut bytes = room(length.max(CHUNK))?;
            append(&mut bytes, parts);
            self.backlog.push_back(Chunk { bytes, written: 0 });
        }
        self.unsent += length;
        Ok(())
    }

    /// Begin to write what is kept, as [`Sink::resume`] does.
    ///
    /// `Closed`: the server has closed its stdin.
    pub fn flush(&mut self) -> Result<Option<Writing<'static>>> {
        if self.is_open() { Ok(self.resume()) } else { Err(closed()) }
    }

    /// Begin to write what is kept. `None`: nothing is, or somebody writes.
    pub fn resume(&mut self) -> Option<Writing<'static>> {
        let fd = self.fd.as_ref().filter(|_| !self.is_writing)?;
        let chunk = self.backlog.pop_front()?;
        self.is_writing = true;
        Some(Writing { fd: Arc::clone(fd), what: What::Chunk(chunk) })
    }

    /// Take back what was being written. Whether all of it went.
    ///
    /// `Closed`: the server has closed its stdin; or we have.
    #[inline(always)]
    pub fn wrote(&mut self, writing: Writing<'_>, written: io::Result<usize>) -> Result<bool> {
        self.is_writing = false;
        let n = match written {
            _ if self.fd.is_none() => return Err(closed()),
            Ok(n) => n,
            Err(_) => {
                self.close();
                return Err(closed());
            }
        };
        self.unsent -= n;
        let rest = match writing.what {
            What::Message(parts, mut bytes) => {
                if n < length(*parts) {
                    append(&mut bytes, behind(*parts, n));
                }
                Chunk { bytes, written: 0 }
            }
            What::Chunk(Chunk { bytes, written }) => Chunk { bytes, written: written + n },
        };
        let is_all = rest.written == rest.bytes.len();
        if is_all {
            spare::keep(rest.bytes);
        } else {
            self.backlog.push_front(rest);
        }
        Ok(is_all)
    }

    /// Some of the rest of a message was written.
    pub fn wrote_some(&mut self, n: usize) {
        // Nothing is unsent any more where it was closed.
        self.unsent = self.unsent.saturating_sub(n);
    }

    /// Take back the rest of a message in these `parts`, and keep what of it is
    /// not written.
    pub fn end(&mut self, rest: Rest, parts: [&[u8]; 3]) {
        let Rest { written, room: mut bytes, is_broken, .. } = rest;
        self.is_writing = false;
        if is_broken {
            return self.close();
        }
        if self.is_open() && written < length(parts) {
            append(&mut bytes, behind(parts, written));
            self.backlog.push_front(Chunk { bytes, written: 0 });
        } else {
            spare::keep(bytes);
        }
    }

    /// Close stdin; what was not written is gone.
    pub fn close(&mut self) {
        self.fd = None;
        self.backlog = VecDeque::new();
        self.unsent = 0;
    }
}

/// Memory for `length` bytes.
fn room(length: usize) -> Result<Vec<u8>> {
    let mut room = spare::large(length..=2 * length).unwrap_or_default();
    room.try_reserve_exact(length).map_err(|_| no_memory())?;
    Ok(room)
}

fn length(parts: [&[u8]; 3]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// What comes behind the first `skipped` bytes.
fn behind(parts: [&[u8]; 3], mut skipped: usize) -> [&[u8]; 3] {
    parts.map(|part| {
        let from = skipped.min(part.len());
        skipped -= from;
        &part[from..]
    })
}

fn append(chunk: &mut Vec<u8>, [head, payload, tail]: [&[u8]; 3]) {
    chunk.extend_from_slice(head);
    // Most messages are in one piece.
    if !payload.is_empty() {
        chunk.extend_from_slice(payload);
    }
    if !tail.is_empty() {
        chunk.extend_from_slice(tail);
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the server has closed its stdin")
}

fn no_memory() -> Error {
    Error::new(Code::NoMemory, "no memory to keep the message until the server reads it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of stderr when it is read in portions that end at `ends`.
    fn lines(bytes: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let (mut buffer, mut from) = (Vec::new(), 0);
        for to in ends.iter().copied().chain([bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..to]);
            from = to;
            let done = cut(&buffer, false, |line| lines.push(line.to_vec()));
            buffer.drain(..done);
            assert!(buffer.len() <= LINE_MAX + 1);
        }
        cut(&buffer, true, |line| lines.push(line.to_vec()));
        lines
    }

    /// What each line should be, without regard to its length.
    fn whole_lines(text: &str) -> Vec<&str> {
        let lines = text.split_inclusive('\n');
        lines
            .map(|line| line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line))
            .collect()
    }

    /// Text with lines that are about as long as one or two pieces.
    fn text() -> impl Strategy<Value = String> {
        let letter = prop_oneof![Just("a"), Just("\u{e9}"), Just("\u{20ac}"), Just("\u{1f600}")];
        let long = (letter, 1..=2usize, 0..8usize).prop_map(|(letter, pieces, more)| {
            letter.repeat((pieces * LINE_MAX + more).saturating_sub(4) / letter.len())
        });
        let some = prop_oneof![Just("a"), Just("\u{20ac}"), Just("\r"), Just("\n"), Just("\r\n")];
        let part = prop_oneof![1 => long, 4 => some.prop_map(str::to_owned)];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_long_line_comes_in_pieces_that_are_text(
            text in text(),
            ends in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut ends: Vec<_> = ends.iter().map(|end| end.index(text.len() + 1)).collect();
            ends.sort_unstable();
            let pieces = lines(text.as_bytes(), &ends);
            prop_assert!(pieces == lines(text.as_bytes(), &[]), "the portions must not matter");
            let mut pieces = pieces.into_iter();
            for line in whole_lines(&text) {
                let mut joined = String::new();
                loop {
                    let piece = String::from_utf8(pieces.next().unwrap()).unwrap();
                    prop_assert!(piece.len() <= LINE_MAX && piece.is_empty() == line.is_empty());
                    joined.push_str(&piece);
                    if joined.len() == line.len() {
                        break;
                    }
                }
                prop_assert!(joined == line);
            }
            prop_assert_eq!(pieces.next(), None);
        }
    }
}
