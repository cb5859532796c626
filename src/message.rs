//! JSON-RPC messages as text. One pass over a frame finds the members of its
//! envelope; ids, params and results stay the bytes that the peer wrote.
//!
//! Checked: UTF-8, the grammar of the envelope, and of a payload the nesting
//! and the ends of its strings, so that its own end is certain. What is inside
//! a payload is the affair of the host's parser.

mod blocks;
mod check;
mod scan;
mod write;

pub use check::Json;
pub use write::{Outgoing, Protocol};

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use crate::framing::Piece;
use crate::spare::{self, Shelf};
use scan::{Elements, Members, Name, Span};

/// One message of the peer, as it came.
#[derive(Debug)]
pub struct Frame(Held);

/// A message, behind one pointer: on its way to the host it goes through many
/// hands. There until it is dropped.
#[derive(Debug)]
struct Held(Option<Box<Message>>);

#[derive(Debug)]
struct Message {
    bytes: Bytes,
    shape: Shape,
}

/// A small one costs no allocation of its own: often another thread frees it.
#[derive(Debug)]
enum Bytes {
    Small { length: u8, bytes: [u8; spare::SMALL] },
    Large(Vec<u8>),
}

const _: () = assert!(spare::SMALL <= u8::MAX as usize);

// Of small ones.
thread_local!(static SPARE: Shelf<Box<Message>> = const { Shelf::new() });

impl Held {
    #[inline(always)]
    fn new(bytes: Cow<'_, [u8]>, shape: Shape) -> Self {
        if bytes.len() <= spare::SMALL {
            return Self::small(&bytes, shape);
        }
        Self::large(bytes.into_owned(), shape)
    }

    #[inline(never)]
    fn large(bytes: Vec<u8>, shape: Shape) -> Self {
        Self(Some(Box::new(Message { bytes: Bytes::Large(bytes), shape })))
    }

    #[inline(always)]
    fn small(text: &[u8], shape: Shape) -> Self {
        let mut message = spare::take(&SPARE).unwrap_or_else(|| {
            let bytes = Bytes::Small { length: 0, bytes: [0; spare::SMALL] };
            Box::new(Message { bytes, shape })
        });
        message.shape = shape;
        if let Bytes::Small { length, bytes } = &mut message.bytes {
            *length = text.len() as u8;
            bytes[..text.len()].copy_from_slice(text);
        }
        Self(Some(message))
    }

    fn into_bytes(mut self) -> Vec<u8> {
        match &mut self.bytes {
            Bytes::Large(bytes) => std::mem::take(bytes),
            small => small.to_vec(),
        }
    }
}

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(mut message) = self.0.take() else { return };
        match &mut message.bytes {
            Bytes::Small { .. } => spare::put(&SPARE, message),
            Bytes::Large(bytes) => spare::keep(std::mem::take(bytes)),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small { length, bytes } => &bytes[..usize::from(*length)],
            Self::Large(bytes) => bytes,
        }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small { length, bytes } => &mut bytes[..usize::from(*length)],
            Self::Large(bytes) => bytes,
        }
    }
}

impl Deref for Held {
    type Target = Message;

    fn deref(&self) -> &Message {
        self.0.as_deref().expect("it was not dropped")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Message {
        self.0.as_deref_mut().expect("it was not dropped")
    }
}

/// One message of the peer, ready to be read by parts.
///
/// Each part ends in a NUL, put over the byte behind it: a comma, a brace or a
/// quote that nobody needs once its place is known.
#[derive(Debug)]
pub struct Payload(Held);

/// What a message is, and where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Request { id: Span, method: Name, params: Option<Span> },
    Notification { method: Name, params: Option<Span> },
    Result { id: Option<i64>, result: Span },
    Failure { id: Option<i64>, code: Option<i64>, message: Option<Name>, data: Option<Span> },
}

/// A message up to this size is first taken for a usual one, which is cheap even
/// when it is none.
const USUAL_MAX: usize = 4096;

/// What a message is, for whoever has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The peer wants an answer.
    Request,
    /// The peer tells something.
    Notification,
    /// A call succeeded: the id, if it can be one of ours.
    Result(Option<i64>),
    /// A call failed: the id, if it can be one of ours.
    Failure(Option<i64>),
}

/// Text with a NUL behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminated<'a>(&'a [u8]);

impl<'a> Terminated<'a> {
    /// Wrap `bytes`, whose last byte is NUL.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.last() == Some(&0)).then_some(Self(bytes))
    }

    /// The text without its NUL.
    pub fn bytes(self) -> &'a [u8] {
        &self.0[..self.0.len() - 1]
    }

    /// The first byte; there is a NUL after the last one.
    pub fn as_ptr(self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// What a piece of the stream holds. A pointer and what it points to, so that it
/// goes from hand to hand in two registers.
#[derive(Debug)]
pub enum Parsed {
    /// One message.
    One(Frame),
    /// Several.
    Batch(Box<Batch>),
    /// Not JSON-RPC.
    Noise(Box<Noise>),
}

/// The messages of a batch, and what in it is none. They are found when they are
/// asked for: there can be millions.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    rest: Option<Elements>,
}

impl Iterator for Batch {
    type Item = Parsed;

    /// The next one: a message, or what is none.
    fn next(&mut self) -> Option<Parsed> {
        let (element, rest) = self.rest?.next(&self.bytes)?;
        self.rest = rest;
        let part = &self.bytes[element.range()];
        Some(match shape(part) {
            Some(shape) => Parsed::One(Frame(Held::new(part.into(), shape))),
            None => part.to_vec().into(),
        })
    }
}

/// Bytes that are no message.
#[derive(Debug)]
pub struct Noise(pub Vec<u8>);

impl From<Vec<u8>> for Parsed {
    fn from(noise: Vec<u8>) -> Self {
        Self::Noise(Box::new(Noise(noise)))
    }
}

impl Parsed {
    /// How many bytes it has.
    pub fn size(&self) -> usize {
        match self {
            Self::One(frame) => frame.0.bytes.len(),
            Self::Batch(batch) => batch.bytes.len(),
            Self::Noise(noise) => noise.0.len(),
        }
    }
}

impl From<Piece<'_>> for Parsed {
    fn from(piece: Piece<'_>) -> Self {
        match piece {
            Piece::Message(bytes) => match usual(&bytes) {
                Some(shape) => Self::One(Frame(Held::new(bytes, shape))),
                None => {
                    let members = scan::object(&bytes);
                    parsed(bytes, members)
                }
            },
            Piece::Noise(bytes) => bytes.into_owned().into(),
        }
    }
}

/// Read one message.
pub fn parse(bytes: Cow<'_, [u8]>) -> Parsed {
    Piece::Message(bytes).into()
}

/// What a message is that is written as most are.
// All that they need is in one place, and what others need is in no way of it.
#[inline(always)]
fn usual(bytes: &[u8]) -> Option<Shape> {
    if bytes.len() > USUAL_MAX {
        return None;
    }
    scan::usual(bytes).filter(|_| scan::is_text(bytes))
}

/// What a text is that has these members, if it is an object.
#[inline(never)]
fn parsed(bytes: Cow<'_, [u8]>, members: Option<Members>) -> Parsed {
    let found = members.and_then(|members| Some((Shape::of(&bytes, &members)?, members.plain)));
    match found {
        Some((shape, plain)) if scan::is_text(&bytes[plain..]) => {
            Parsed::One(Frame(Held::new(bytes, shape)))
        }
        None if scan::is_array(&bytes) && scan::is_text(&bytes) => batch(bytes),
        _ => bytes.into_owned().into(),
    }
}

/// A large message that is still arriving. What has come is looked at while it is
/// in the cache: later it would have to be fetched again, which takes longer than
/// the look.
///
/// `None`: nothing is won by that.
pub struct Begun(Option<scan::Begun>);

impl Begun {
    /// Here the value begins that is looked at.
    const HEAD: usize = 4096;

    /// Begin to look at a message of which `bytes` have come.
    pub fn new(bytes: &[u8]) -> Self {
        Self(scan::Begun::find(&bytes[..bytes.len().min(Self::HEAD)]))
    }

    /// Look at what has come meanwhile: `bytes` is all that there is of the message.
    pub fn look(&mut self, bytes: &[u8]) {
        if let Self(Some(begun)) = self {
            begun.look(bytes);
        }
    }

    /// Read it, now that `piece` is all of it. The same comes of it as without this.
    pub fn parse(self, piece: Piece<'_>) -> Parsed {
        match (self, piece) {
            (Self(Some(begun)), Piece::Message(bytes)) => {
                let members = begun.object(&bytes);
                parsed(bytes, members)
            }
            (_, piece) => piece.into(),
        }
    }
}

/// The messages of a batch. An array without any message in it is none.
fn batch(bytes: Cow<'_, [u8]>) -> Parsed {
    match Elements::find(&bytes, |part| shape(part).is_some()) {
        Some(elements) => {
            Parsed::Batch(Box::new(Batch { bytes: bytes.into_owned(), rest: Some(elements) }))
        }
        None => bytes.into_owned().into(),
    }
}

/// What a part of a batch is.
fn shape(part: &[u8]) -> Option<Shape> {
    Shape::of(part, &scan::object(part)?)
}

impl Shape {
    /// What the members make, by section 4 and 5 of the JSON-RPC 2.0
    /// specification. An error that is null counts as absent, as JSON-RPC 1.0
    /// peers write it.
    fn of(bytes: &[u8], members: &Members) -> Option<Self> {
        let Members { id, method, params, result, error, .. } = *members;
        let error = error.filter(|error| &bytes[error.range()] != b"null");
        if let Some(method) = method {
            let method = scan::string(bytes, method)?;
            return match id {
                _ if result.is_some() || error.is_some() => None,
                None => Some(Self::Notification { method, params }),
                Some(id) if scan::is_id(bytes, id) => Some(Self::Request { id, method, params }),
                Some(_) => None,
            };
        }
        let id = id.and_then(|id| scan::positive(&bytes[id.range()]));
        match (result, error) {
            (_, Some(error)) => Some(Self::failure(bytes, id, error)),
            (Some(result), None) => Some(Self::Result { id, result }),
            (None, None) => None,
        }
    }

    /// An error should be an object with code, message and data. Whatever else
    /// it is becomes the data: the call must end all the same.
    fn failure(bytes: &[u8], id: Option<i64>, error: Span) -> Self {
        match scan::error(bytes, error) {
            Some(parts) => Self::Failure {
                id,
                code: parts.code.and_then(|code| scan::integer(&bytes[code.range()])),
                message: parts.message.and_then(|message| scan::string(bytes, message)),
                data: parts.data,
            },
            None => Self::Failure { id, code: None, message: None, data: Some(error) },
        }
    }

    /// The parts that are raw JSON.
    fn values(&self) -> impl Iterator<Item = Span> {
        let (id, json) = match *self {
            Self::Request { id, params, .. } => (Some(id), params),
            Self::Notification { params, .. } => (None, params),
            Self::Result { result, .. } => (None, Some(result)),
            Self::Failure { data, .. } => (None, data),
        };
        id.into_iter().chain(json)
    }

    /// The part that is a string.
    fn text(&mut self) -> Option<&mut Name> {
        match self {
            Self::Request { method, .. } | Self::Notification { method, .. } => Some(method),
            Self::Failure { message, .. } => message.as_mut(),
            Self::Result { .. } => None,
        }
    }
}

impl Frame {
    /// What it is.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        match self.0.shape {
            Shape::Request { .. } => Kind::Request,
            Shape::Notification { .. } => Kind::Notification,
            Shape::Result { id, .. } => Kind::Result(id),
            Shape::Failure { id, .. } => Kind::Failure(id),
        }
    }

    /// Make its parts readable.
    #[inline(always)]
    pub fn open(self) -> Payload {
        let Self(mut held) = self;
        let Message { bytes, shape } = &mut *held;
        let bytes = &mut **bytes;
        shape.values().for_each(|value| bytes[value.end] = 0);
        if let Some(text) = shape.text() {
            scan::unescape(bytes, text);
            bytes[text.content.end] = 0;
        }
        Payload(held)
    }

    /// Its bytes as they came.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl Payload {
    /// The method of a request or notification.
    pub fn method(&self) -> Option<Terminated<'_>> {
        match self.0.shape {
            Shape::Request { method, .. } | Shape::Notification { method, .. } => {
                self.part(Some(method.content))
            }
            _ => None,
        }
    }

    /// The params, result, or data of an error: raw JSON.
    #[inline]
    pub fn json(&self) -> Option<Terminated<'_>> {
        self.part(match self.0.shape {
            Shape::Request { params, .. } | Shape::Notification { params, .. } => params,
            Shape::Result { result, .. } => Some(result),
            Shape::Failure { data, .. } => data,
        })
    }

    /// The message of an error.
    pub fn error_message(&self) -> Option<Terminated<'_>> {
        match self.0.shape {
            Shape::Failure { message, .. } => self.part(message.map(|message| message.content)),
            _ => None,
        }
    }

    /// The code of an error.
    pub fn error_code(&self) -> Option<i64> {
        match self.0.shape {
            Shape::Failure { code, .. } => code,
            _ => None,
        }
    }

    /// The id of a request: raw JSON.
    pub fn peer_id(&self) -> Option<Terminated<'_>> {
        match self.0.shape {
            Shape::Request { id, .. } => self.part(Some(id)),
            _ => None,
        }
    }

    /// How much memory it holds.
    #[inline(always)]
    pub fn size(&self) -> usize {
        self.0.bytes.len()
    }

    fn part(&self, span: Option<Span>) -> Option<Terminated<'_>> {
        let span = span?;
        Terminated::new(&self.0.bytes[span.start..=span.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Frame {
        match parse(text.as_bytes().into()) {
            Parsed::One(frame) => frame,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn is_noise(text: &str) -> bool {
        matches!(parse(text.as_bytes().into()), Parsed::Noise(noise) if noise.0 == text.as_bytes())
    }

    fn show(part: Option<Terminated<'_>>) -> Option<&str> {
        part.map(|part| std::str::from_utf8(part.bytes()).unwrap())
    }

    /// Parse it as it is parsed when it arrives in portions of that size.
    fn parse_arriving(bytes: Vec<u8>, portion: usize) -> Parsed {
        let mut begun = Begun::new(&bytes[..portion]);
        assert!(begun.0.is_some());
        for end in (portion..bytes.len()).step_by(portion) {
            begun.look(&bytes[..end]);
        }
        begun.parse(Piece::Message(bytes.into()))
    }

    /// A large message is looked at in portions, on the way through its values, and
    /// as it arrives.
    #[test]
    fn text_is_text_at_every_place_of_a_large_message() {
        let values = ["x".repeat(150_000), "x\\n".repeat(50_000), "x\",[{}],\"".repeat(15_000)];
        for value in values {
            let good = format!(r#"{{"id":1,"result":["{value}","{value}"],"a":"b"}}"#).into_bytes();
            assert!(matches!(parse(good.as_slice().into()), Parsed::One(_)));
            let places = (1..9).flat_map(|n| [n << 15, (n << 15) + 20, (n << 15) + 79]);
            for place in places.chain([40, 41, good.len() - 20]) {
                let Some(place) = (place..good.len()).find(|at| good[*at] == b'x') else {
                    continue;
                };
                for (bad, is_text) in [(&b"\xC3\xA9"[..], true), (b"\xC3", false), (b"\0", false)] {
                    let bytes = [&good[..place], bad, &good[place..]].concat();
                    let arrived = parse_arriving(bytes.clone(), 60_000);
                    for parsed in [parse(bytes.into()), arrived] {
                        assert_eq!(matches!(parsed, Parsed::One(_)), is_text, "{place} {bad:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_message_is_the_same_however_it_arrives() {
        let many = r#"[{"a":["b","\"]"]}],"#.repeat(20_000);
        let text = "x\u{e9}\\\\".repeat(50_000);
        for (params, is_good) in [
            (format!("[{many}1]"), true),
            (format!("{{\"x\":\"{text}\"}}"), true),
            (format!("[{many}1}}"), false),
            (format!("[{many}]]"), false),
            (format!("[\"{text}]"), false),
        ] {
            let bytes = format!(r#"{{"method":"m","params":{params},"x":1}}"#).into_bytes();
            for portion in [4096, 65_536, 65_537] {
                match parse_arriving(bytes.clone(), portion) {
                    Parsed::One(frame) if is_good => {
                        assert_eq!(show(frame.open().json()), Some(&*params));
                    }
                    Parsed::Noise(noise) if !is_good => assert_eq!(noise.0, bytes),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_result_comes_byte_for_byte() {
        let json = r#"{"x":1.0,"y":12345678901234567890,"z":"\u00e9", "x":[ {} ,"]"]}"#;
        let frame = one(&format!(r#" {{ "result" : {json} , "id" : 7 }} "#));
        assert_eq!(frame.kind(), Kind::Result(Some(7)));
        assert_eq!(show(frame.open().json()), Some(json));
    }

    #[test]
    fn a_request_gives_its_id_as_raw_json() {
        for id in ["0", "-1", "1.5e3", "\"a\\n\"", "null", "99999999999999999999"] {
            let payload = {
                let frame = one(&format!(r#"{{"id":{id},"method":"a\/b","params":[1]}}"#));
                assert_eq!(frame.kind(), Kind::Request);
                frame.open()
            };
            assert_eq!(show(payload.peer_id()), Some(id));
            assert_eq!(show(payload.method()), Some("a/b"));
            assert_eq!(show(payload.json()), Some("[1]"));
        }
    }

    #[test]
    fn an_error_gives_code_message_and_data() {
        let payload =
            one(r#"{"id":1,"error":{"code":-32000,"message":"\"no\"","data":{"a":1}}}"#).open();
        assert_eq!(payload.error_code(), Some(-32000));
        assert_eq!(show(payload.error_message()), Some("\"no\""));
        assert_eq!(show(payload.json()), Some(r#"{"a":1}"#));
    }

    #[test]
    fn an_odd_error_still_ends_its_call() {
        for (error, data) in [("\"no\"", "\"no\""), ("[1]", "[1]"), ("7", "7")] {
            let frame = one(&format!(r#"{{"id":1,"error":{error},"result":null}}"#));
            assert_eq!(frame.kind(), Kind::Failure(Some(1)));
            let payload = frame.open();
            assert_eq!((payload.error_code(), show(payload.json())), (None, Some(data)));
        }
        assert_eq!(one(r#"{"id":1,"error":null,"result":2}"#).kind(), Kind::Result(Some(1)));
    }

    #[test]
    fn only_our_own_way_to_write_an_id_is_ours() {
        for id in ["0", "-1", "01", "1.0", "1e0", "\"1\"", "null", "9223372036854775808", "[1]"] {
            let text = format!(r#"{{"id":{id},"result":1}}"#);
            assert!(
                !matches!(parse(text.as_bytes().into()), Parsed::One(f) if f.kind() != Kind::Result(None))
            );
        }
        assert_eq!(one(r#"{"result":1}"#).kind(), Kind::Result(None));
    }

    #[test]
    fn what_is_not_json_rpc_is_noise_as_it_came() {
        for text in [
            "",
            " ",
            "banner",
            "1",
            "\"x\"",
            "null",
            "[]",
            "[1,{}]",
            "{}",
            "{\"id\":1}",
            "{\"method\":1}",
            r#"{"method":"a","result":1}"#,
            r#"{"id":1,"id":2,"result":1}"#,
            r#"{"id":{},"method":"a"}"#,
            r#"{"id":1,"result":1}}"#,
            r#"{"id":1,"result":1"#,
            r#"{"id":1,"result":[}]}"#,
            r#"{"id":1,"result":}"#,
            r#"{"id":1,"result":tru}"#,
            r#"{"id":1,"result":"a}"#,
            r#"{"id":1 "result":1}"#,
            r#"{id:1,"result":1}"#,
            r#"{"id":1,"result":1,}"#,
            r#"{"method":"\x"}"#,
            "{\"method\":\"a\n\"}",
            "[1,2",
            "{\"id\":1,\"result\":\"\0\"}",
        ] {
            assert!(is_noise(text), "{text}");
        }
        assert!(matches!(parse(b"{\"id\":1,\"result\":\"\xff\"}"[..].into()), Parsed::Noise(_)));
    }

    #[test]
    fn a_batch_is_taken_apart() {
        let Parsed::Batch(batch) = parse(br#" [{"id":1,"result":2},3,{"method":"m"}] "#[..].into())
        else {
            panic!()
        };
        let kinds: Vec<_> = batch
            .map(|part| match part {
                Parsed::One(frame) => Ok(frame.kind()),
                other => Err(other.size()),
            })
            .collect();
        assert_eq!(kinds, [Ok(Kind::Result(Some(1))), Err(1), Ok(Kind::Notification)]);
        for text in
            ["[]", "[1]", r#"[{"method":"m"},]"#, r#"[{"method":"m"}]]"#, r#"[[{"method":"m"}]]"#]
        {
            assert!(is_noise(text), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_obstacle() {
        assert_eq!(one("\u{FEFF}{\"method\":\"m\"}").kind(), Kind::Notification);
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let frame = one(&format!(r#"{{"id":1,"result":{deep}}}"#));
        assert_eq!(show(frame.open().json()), Some(&*deep));
        assert!(is_noise(&deep));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            parse(bytes.into());
        }

        #[test]
        fn nearly_json_is_read_without_a_panic(
            tokens in proptest::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"id\""),
                Just("\"method\""), Just("\"result\""), Just("\"error\""), Just("\"m\\u0000\""),
                Just("1"), Just("null"), Just("\\"), Just("\""), Just("{\"code\":1}"),
            ], 0..24),
        ) {
            let text = tokens.concat();
            match parse(text.as_bytes().into()) {
                Parsed::One(frame) => { frame.open().json(); }
                Parsed::Batch(batch) => assert!(batch.map(|part| part.size()).sum::<usize>() > 0),
                Parsed::Noise(noise) => prop_assert_eq!(noise.0, text.into_bytes()),
            }
        }

        #[test]
        fn json_values_are_found_where_serde_json_finds_them(
            value in arbitrary_json(), id in 1i64..i64::MAX, pad in "[ \t]{0,3}",
        ) {
            let frame = one(&format!(r#"{{"jsonrpc":"2.0",{pad}"id":{id},"x":{value},"result":{value}{pad}}}"#));
            prop_assert_eq!(frame.kind(), Kind::Result(Some(id)));
            let payload = frame.open();
            prop_assert_eq!(show(payload.json()), Some(&*value));
        }
    }

    fn arbitrary_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| serde_json::to_string(&n).unwrap()),
            ".*".prop_map(|s| serde_json::to_string(&s).unwrap()),
            Just("null".to_owned()),
        ];
        leaf.prop_recursive(6, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                proptest::collection::vec((".*", inner), 0..6).prop_map(|members| {
                    let member = |(k, v): (String, String)| format!("{}:{v}", serde_json::json!(k));
                    format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }
}
