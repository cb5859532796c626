//! A message is what serde_json makes of it, wherever serde_json reads it at
//! all; its parts are the peer's bytes; and what is no message comes back. And
//! what a host may send is what serde_json takes.

use std::fmt;

use leash::framing::Piece;
use leash::message::{Begun, Frame, Json, Kind, Parsed, Payload, Terminated, parse};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub fn run(data: &[u8]) {
    // serde_json does not look at text that nobody wants.
    let text = std::str::from_utf8(data).ok();
    let is_json = text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    assert_eq!(Json::value(data, "it").is_ok(), is_json);
    let parsed = parse(data.into());
    compare_arriving(&parsed, data);
    if let Some(expected) = Expected::of(data) {
        return compare(&parsed, &expected, data);
    }
    // Not JSON: what is inside of a payload may be wrong all the same.
    match parsed {
        Parsed::One(frame) => check_parts(frame, data),
        Parsed::Batch(batch) => batch.for_each(|part| match part {
            Parsed::One(frame) => check_parts(frame, data),
            Parsed::Noise(noise) => assert!(holds(data, &noise.0)),
            Parsed::Batch(_) => panic!("a batch in a batch"),
        }),
        Parsed::Noise(noise) => assert_eq!(noise.0, data),
    }
}

/// It is the same when a part of it has been looked at before.
fn compare_arriving(whole: &Parsed, data: &[u8]) {
    let [half, more] = [data.len() / 2, data.len() / 4 * 3];
    let mut begun = Begun::new(&data[..half]);
    begun.look(&data[..half]);
    begun.look(&data[..more]);
    match (begun.parse(Piece::Message(data.into())), whole) {
        (Parsed::One(frame), Parsed::One(whole)) => {
            assert_eq!(frame.kind(), whole.kind());
            let Parsed::One(whole) = parse(data.into()) else { unreachable!("it was one") };
            let [arrived, whole] = [frame, whole].map(Frame::open);
            let bytes = |part: Option<Terminated<'_>>| part.map(|part| part.bytes().to_vec());
            assert_eq!(bytes(arrived.json()), bytes(whole.json()));
            assert_eq!(bytes(arrived.method()), bytes(whole.method()));
            assert_eq!(bytes(arrived.peer_id()), bytes(whole.peer_id()));
            assert_eq!(bytes(arrived.error_message()), bytes(whole.error_message()));
            assert_eq!(arrived.error_code(), whole.error_code());
        }
        (Parsed::Batch(arrived), Parsed::Batch(_)) => {
            let Parsed::Batch(whole) = parse(data.into()) else { unreachable!("it was one") };
            assert_eq!(arrived.count(), whole.count());
        }
        (Parsed::Noise(noise), Parsed::Noise(_)) => assert_eq!(noise.0, data),
        (parsed, whole) => panic!("{parsed:?} instead of {whole:?}"),
    }
}

/// What a document should be taken for.
#[derive(Debug)]
pub enum Expected<'a> {
    One(Message<'a>),
    Batch(Vec<Result<Message<'a>, &'a str>>),
    Noise,
}

/// One message.
#[derive(Debug)]
pub struct Message<'a> {
    kind: Kind,
    method: Option<String>,
    /// `Some(None)`: there is one, and what C cannot hold is in it.
    error_message: Option<Option<String>>,
    error_code: Option<i64>,
    json: Option<&'a str>,
    peer_id: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// `None` when it is not JSON text.
    pub fn of(data: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        serde_json::from_str::<&RawValue>(text).ok()?;
        if let Some(parts) = elements(text) {
            let parts: Vec<_> =
                parts.into_iter().map(|part| Message::of(part).ok_or(part)).collect();
            let is_batch = parts.iter().any(Result::is_ok);
            return Some(if is_batch { Self::Batch(parts) } else { Self::Noise });
        }
        Some(Message::of(text).map_or(Self::Noise, Self::One))
    }
}

impl<'a> Message<'a> {
    /// `None` when it is not JSON-RPC.
    fn of(text: &'a str) -> Option<Self> {
        let members = Members::of(text)?;
        let member = |name| members.get(name);
        let (id, method, params, result, error) = (
            member("id")?,
            member("method")?,
            member("params")?,
            member("result")?,
            member("error")?,
        );
        let error = error.filter(|error| *error != "null");
        let none = Self {
            kind: Kind::Notification,
            method: None,
            error_message: None,
            error_code: None,
            json: None,
            peer_id: None,
        };
        if let Some(method) = method {
            if !method.starts_with('"') || result.is_some() || error.is_some() {
                return None;
            }
            if id.is_some_and(|id| id.starts_with(['{', '[', 't', 'f'])) {
                return None;
            }
            let kind = if id.is_some() { Kind::Request } else { Kind::Notification };
            return Some(Self { kind, method: plain(method), json: params, peer_id: id, ..none });
        }
        let ours = |id: &str| id.parse::<i64>().ok().filter(|n| *n > 0 && n.to_string() == id);
        let id = id.and_then(ours);
        let Some(error) = error else {
            return Some(Self { kind: Kind::Result(id), json: Some(result?), ..none });
        };
        let failure = Self { kind: Kind::Failure(id), ..none };
        let parts = Members::of(error).and_then(|members| {
            Some((members.get("code")?, members.get("message")?, members.get("data")?))
        });
        let Some((code, message, data)) = parts else {
            return Some(Self { json: Some(error), ..failure });
        };
        Some(Self {
            error_code: code.and_then(|code| code.parse().ok()),
            error_message: message.filter(|message| message.starts_with('"')).map(plain),
            json: data,
            ..failure
        })
    }
}

/// The members of an object, in order, with their names as plain text.
struct Members<'a>(Vec<(Option<String>, &'a str)>);

impl<'a> Members<'a> {
    /// `None` when the text is no object.
    fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of `name`, if it is there; `None` when it is there twice.
    fn get(&self, name: &str) -> Option<Option<&'a str>> {
        let mut found = self.0.iter().filter(|(key, _)| key.as_deref() == Some(name));
        let first = found.next().map(|(_, value)| *value);
        found.next().is_none().then_some(first)
    }
}

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'a> Visitor<'a> for Collect {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((plain(key.get()), value.get()));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Collect)
    }
}

fn elements(text: &str) -> Option<Vec<&str>> {
    let parts = serde_json::from_str::<Vec<&RawValue>>(text).ok()?;
    Some(parts.into_iter().map(RawValue::get).collect())
}

/// A string as C gets it; `None` for half of a surrogate pair, which serde_json
/// does not decode.
fn plain(quoted: &str) -> Option<String> {
    let text: String = serde_json::from_str(quoted).ok()?;
    Some(text.replace('\0', "\u{FFFD}"))
}

fn compare(parsed: &Parsed, expected: &Expected<'_>, data: &[u8]) {
    match (parsed, expected) {
        (Parsed::Noise(noise), Expected::Noise) => assert_eq!(noise.0, data),
        (Parsed::One(_), Expected::One(expected)) => {
            let Parsed::One(frame) = parse(data.into()) else { unreachable!("it was one") };
            compare_one(frame, expected);
        }
        (Parsed::Batch(_), Expected::Batch(expected)) => {
            let Parsed::Batch(batch) = parse(data.into()) else { unreachable!("it was one") };
            let parts: Vec<_> = batch.collect();
            assert_eq!(parts.len(), expected.len());
            for (part, expected) in parts.into_iter().zip(expected) {
                match (part, expected) {
                    (Parsed::One(frame), Ok(expected)) => compare_one(frame, expected),
                    (Parsed::Noise(noise), Err(text)) => assert_eq!(noise.0, text.as_bytes()),
                    (part, expected) => panic!("{part:?} instead of {expected:?}"),
                }
            }
        }
        (parsed, expected) => panic!("{parsed:?} instead of {expected:?}"),
    }
}

fn compare_one(frame: Frame, expected: &Message<'_>) {
    assert_eq!(frame.kind(), expected.kind);
    let payload = frame.open();
    assert_eq!(text(payload.json()), expected.json);
    assert_eq!(text(payload.peer_id()), expected.peer_id);
    assert_eq!(payload.error_code(), expected.error_code);
    let is_call = matches!(expected.kind, Kind::Request | Kind::Notification);
    assert_eq!(payload.method().is_some(), is_call);
    if expected.method.is_some() {
        assert_eq!(text(payload.method()), expected.method.as_deref());
    }
    assert_eq!(payload.error_message().is_some(), expected.error_message.is_some());
    if let Some(Some(message)) = &expected.error_message {
        assert_eq!(text(payload.error_message()), Some(&**message));
    }
}

fn text<'a>(part: Option<leash::message::Terminated<'a>>) -> Option<&'a str> {
    part.map(|part| std::str::from_utf8(part.bytes()).expect("a frame is UTF-8"))
}

/// Parts of whatever was taken for a message: the peer's bytes.
fn check_parts(frame: Frame, data: &[u8]) {
    let payload: Payload = frame.open();
    for raw in [payload.json(), payload.peer_id()] {
        assert!(text(raw).is_none_or(|part| !part.is_empty() && holds(data, part.as_bytes())));
    }
    // It goes back to the peer as it is.
    let is_json = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
    assert!(text(payload.peer_id()).is_none_or(is_json));
    for plain in [payload.method(), payload.error_message()] {
        assert!(text(plain).is_none_or(|text| !text.contains('\0')));
    }
}

fn holds(data: &[u8], part: &[u8]) -> bool {
    part.is_empty() || data.windows(part.len()).any(|window| window == part)
}
