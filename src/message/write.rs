//! Messages that we send.

use std::borrow::Cow;

use super::check::Json;
use super::scan;
use crate::framing::Framing;

/// How the peer wants to be spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// JSON-RPC 2.0, a message a line.
    #[default]
    JsonRpc,
    /// Model Context Protocol.
    Mcp,
    /// Agent Client Protocol.
    Acp,
    /// Language Server Protocol.
    Lsp,
    /// No `jsonrpc` member: codex, Chrome DevTools.
    Bare,
}

impl Protocol {
    /// How its messages follow each other on a byte stream.
    #[doc(hidden)]
    pub fn framing(self) -> Framing {
        match self {
            Self::Lsp => Framing::ContentLength,
            Self::JsonRpc | Self::Mcp | Self::Acp | Self::Bare => Framing::Lines,
        }
    }

    /// JSON as it may stand in a message: where a newline ends a message, there
    /// is none in it.
    fn wire(self, json: Json<'_>) -> Cow<'_, [u8]> {
        match self.framing() {
            Framing::Lines if json.has_breaks() => one_line(json.text()).into(),
            Framing::Lines | Framing::ContentLength => json.text().into(),
        }
    }
}

/// A message to send, with its framing.
///
/// Its text is made in a buffer that the sender keeps for that; only a large
/// payload stays where the host has it.
pub struct Outgoing<'a> {
    /// It begins at `start`.
    text: Vec<u8>,
    start: usize,
    payload: Option<Cow<'a, [u8]>>,
    tail: &'static str,
    /// Of the message, without framing.
    length: usize,
}

/// A payload up to this size is copied behind its head: cheaper than to tell
/// the kernel of two places.
const COPIED_MAX: usize = 4096;

impl<'a> Outgoing<'a> {
    /// A request.
    pub fn request(
        buffer: Vec<u8>,
        protocol: Protocol,
        id: i64,
        method: &str,
        params: Option<Json<'a>>,
    ) -> Self {
        Self::named(buffer, protocol, Some(id), method, params)
    }

    /// A notification.
    pub fn notification(
        buffer: Vec<u8>,
        protocol: Protocol,
        method: &str,
        params: Option<Json<'a>>,
    ) -> Self {
        Self::named(buffer, protocol, None, method, params)
    }

    /// A request, or without an id a notification.
    fn named(
        buffer: Vec<u8>,
        protocol: Protocol,
        id: Option<i64>,
        method: &str,
        params: Option<Json<'a>>,
    ) -> Self {
        let mut text = Text::new(buffer, protocol);
        text.head(protocol);
        if let Some(id) = id {
            text.raw(r#""id":"#).integer(id).raw(",");
        }
        text.raw(r#""method":"#).quoted(method);
        text.end_with(r#","params":"#, params.map(|params| protocol.wire(params)), ONE)
    }

    /// The answer to a request of the peer.
    pub fn reply(protocol: Protocol, peer_id: &str, result: Option<Json<'a>>) -> Self {
        let mut text = Text::new(Vec::new(), protocol);
        text.head(protocol).raw(r#""id":"#).raw(peer_id);
        let result = result.map_or(Cow::Borrowed(&b"null"[..]), |result| protocol.wire(result));
        text.end_answer(r#","result":"#, Some(result), ONE)
    }

    /// The refusal of a request of the peer.
    pub fn refusal(
        protocol: Protocol,
        peer_id: &str,
        code: i64,
        message: &str,
        data: Option<Json<'a>>,
    ) -> Self {
        let mut text = Text::new(Vec::new(), protocol);
        text.head(protocol).raw(r#""id":"#).raw(peer_id).raw(r#","error":{"code":"#).integer(code);
        text.raw(r#","message":"#).quoted(message);
        text.end_answer(r#","data":"#, data.map(|data| protocol.wire(data)), TWO)
    }

    /// The notification that gives up the call `id`, where the protocol has
    /// one: a server that does not know it may fall silent.
    pub fn cancel(protocol: Protocol, id: i64) -> Option<Self> {
        let (method, member) = match protocol {
            Protocol::JsonRpc | Protocol::Bare => return None,
            Protocol::Mcp => ("notifications/cancelled", "requestId"),
            Protocol::Acp => ("$/cancel_request", "requestId"),
            Protocol::Lsp => ("$/cancelRequest", "id"),
        };
        let mut text = Text::new(Vec::new(), protocol);
        text.head(protocol).raw(r#""method":""#).raw(method).raw(r#"","params":{""#).raw(member);
        text.raw(r#"":"#).integer(id).raw("}");
        Some(text.end(ONE))
    }

    /// Its length, without framing.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What goes on a byte stream, one after the other.
    pub fn parts(&self) -> [&[u8]; 3] {
        [
            &self.text[self.start..],
            self.payload.as_deref().unwrap_or_default(),
            self.tail.as_bytes(),
        ]
    }

    /// The message alone, for a transport that keeps messages apart.
    pub fn unframed(&self) -> [&[u8]; 3] {
        let [head, payload, tail] = self.parts();
        let framing = head.len() + payload.len() + tail.len() - self.length;
        // Either a header is before the first brace, or a newline behind the
        // last one.
        if head.first() != Some(&b'{') {
            return [&head[framing..], payload, tail];
        }
        match tail.len() {
            0 => [&head[..head.len() - framing], payload, tail],
            length => [head, payload, &tail[..length - framing]],
        }
    }

    /// The buffer that it was made in.
    pub fn into_buffer(self) -> Vec<u8> {
        self.text
    }
}

/// A message in the making. Before it is room for a header.
struct Text {
    bytes: Vec<u8>,
    framing: Framing,
}

/// The braces that end a message.
#[derive(Clone, Copy)]
struct Braces {
    alone: &'static str,
    with_newline: &'static str,
}

const ONE: Braces = Braces { alone: "}", with_newline: "}\n" };
const TWO: Braces = Braces { alone: "}}", with_newline: "}}\n" };

impl Text {
    fn new(buffer: Vec<u8>, protocol: Protocol) -> Self {
        Self { bytes: buffer, framing: protocol.framing() }
    }

    /// Begin it. Apart from [`Text::new`], so that nothing is moved after it was
    /// written to.
    #[inline(always)]
    fn head(&mut self, protocol: Protocol) -> &mut Self {
        self.bytes.clear();
        if self.framing == Framing::ContentLength {
            self.bytes.resize(HEADER_MAX, b' ');
        }
        match protocol {
            Protocol::Bare => self.raw("{"),
            Protocol::JsonRpc | Protocol::Mcp | Protocol::Acp | Protocol::Lsp => {
                self.raw(r#"{"jsonrpc":"2.0","#)
            }
        }
    }

    // Inlined, so that a literal is a few instructions.
    #[inline(always)]
    fn raw(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn integer(&mut self, number: i64) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    #[inline]
    fn quoted(&mut self, text: &str) -> &mut Self {
        if scan::is_plain(text.as_bytes()) {
            return self.raw("\"").raw(text).raw("\"");
        }
        self.escaped(text)
    }

    #[cold]
    fn escaped(&mut self, text: &str) -> &mut Self {
        // Writing a string into memory cannot fail.
        let _ = serde_json::to_writer(&mut self.bytes, text);
        self
    }

    /// Add the payload behind `name`, if there is one, and end the message.
    #[inline(always)]
    fn end_with<'a>(
        mut self,
        name: &str,
        payload: Option<Cow<'a, [u8]>>,
        end: Braces,
    ) -> Outgoing<'a> {
        let Some(payload) = payload else { return self.end(end) };
        self.raw(name);
        if payload.len() > COPIED_MAX {
            return self.end_around(payload, end);
        }
        self.bytes.extend_from_slice(&payload);
        self.end(end)
    }

    /// The same, once for both kinds of answers.
    #[inline(never)]
    fn end_answer<'a>(
        self,
        name: &str,
        payload: Option<Cow<'a, [u8]>>,
        end: Braces,
    ) -> Outgoing<'a> {
        self.end_with(name, payload, end)
    }

    /// End the message, and frame it.
    #[inline(always)]
    fn end<'a>(mut self, end: Braces) -> Outgoing<'a> {
        let (start, length) = match self.framing {
            Framing::Lines => {
                let length = self.bytes.len() + end.alone.len();
                self.raw(end.with_newline);
                (0, length)
            }
            Framing::ContentLength => {
                self.raw(end.alone);
                let length = self.bytes.len() - HEADER_MAX;
                (self.header(length), length)
            }
        };
        Outgoing { text: self.bytes, start, payload: None, tail: "", length }
    }

    /// The same around a payload that stays where it is.
    fn end_around(mut self, payload: Cow<'_, [u8]>, end: Braces) -> Outgoing<'_> {
        let whole = self.bytes.len() + payload.len() + end.alone.len();
        let (start, length, tail) = match self.framing {
            Framing::Lines => (0, whole, end.with_newline),
            Framing::ContentLength => {
                let length = whole - HEADER_MAX;
                (self.header(length), length, end.alone)
            }
        };
        Outgoing { text: self.bytes, start, payload: Some(payload), tail, length }
    }

    /// Put the header of the framing before it. Where it begins.
    fn header(&mut self, length: usize) -> usize {
        let mut digits = itoa::Buffer::new();
        let mut end = HEADER_MAX;
        for part in ["\r\n\r\n", digits.format(length), "Content-Length: "] {
            let start = end - part.len();
            self.bytes[start..end].copy_from_slice(part.as_bytes());
            end = start;
        }
        end
    }
}

/// As long as a header can be: a length has at most 20 digits.
const HEADER_MAX: usize = "Content-Length: ".len() + 20 + "\r\n\r\n".len();

/// In JSON, CR and LF can only stand between tokens.
fn one_line(json: &[u8]) -> Vec<u8> {
    json.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    fn json(text: &str) -> Option<Json<'_>> {
        Some(Json::value(text.as_bytes(), "it").unwrap())
    }

    fn text(message: &Outgoing<'_>) -> String {
        String::from_utf8(message.parts().concat()).unwrap()
    }

    #[test]
    fn a_message_can_do_without_its_framing() {
        for protocol in [Protocol::JsonRpc, Protocol::Bare, Protocol::Lsp] {
            for size in [1, COPIED_MAX, COPIED_MAX + 1] {
                let data = format!("[{:?}]", "x".repeat(size));
                let params = || json(&data);
                let messages = [
                    Outgoing::request(Vec::new(), protocol, 1, "m", params()),
                    Outgoing::notification(Vec::new(), protocol, "m", None),
                    Outgoing::refusal(protocol, "1", 2, "no", params()),
                ];
                for message in messages {
                    let text = message.unframed().concat();
                    assert_eq!(text.len(), message.length());
                    assert!(serde_json::from_slice::<IgnoredAny>(&text).is_ok());
                    assert_eq!((text.first(), text.last()), (Some(&b'{'), Some(&b'}')));
                }
            }
        }
    }

    #[test]
    fn each_protocol_has_its_framing_and_members() {
        let request = |protocol: Protocol| {
            let params = json("{\"a\":\r\n1}");
            text(&Outgoing::request(vec![9], protocol, 1, "m", params))
        };
        let line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"a\":  1}}\n";
        for protocol in [Protocol::JsonRpc, Protocol::Mcp, Protocol::Acp] {
            assert_eq!(request(protocol), line);
        }
        assert_eq!(request(Protocol::Bare), "{\"id\":1,\"method\":\"m\",\"params\":{\"a\":  1}}\n");
        let body = line.trim_end().replace("  ", "\r\n");
        assert_eq!(request(Protocol::Lsp), format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    }

    #[test]
    fn a_large_payload_stays_where_it_is() {
        for protocol in [Protocol::Bare, Protocol::Lsp] {
            let params = format!("[\"{}\"]", "x".repeat(COPIED_MAX));
            let message = Outgoing::notification(Vec::new(), protocol, "m", json(&params));
            assert_eq!(message.parts()[1].as_ptr(), params.as_ptr());
            let whole = format!("{{\"method\":\"m\",\"params\":{params}}}");
            assert!(text(&message).trim_end().ends_with(&whole[1..]));
            let opening = if protocol == Protocol::Bare { 0 } else { r#""jsonrpc":"2.0","#.len() };
            assert_eq!(message.length(), whole.len() + opening);
        }
    }

    #[test]
    fn replies_echo_the_id_and_close_every_brace() {
        let protocol = Protocol::Bare;
        assert_eq!(
            text(&Outgoing::reply(protocol, "\"a\"", None)),
            "{\"id\":\"a\",\"result\":null}\n"
        );
        assert_eq!(
            text(&Outgoing::refusal(protocol, "0", -1, "n\"o", json("[]"))),
            "{\"id\":0,\"error\":{\"code\":-1,\"message\":\"n\\\"o\",\"data\":[]}}\n"
        );
        assert_eq!(
            text(&Outgoing::refusal(protocol, "0", -1, "no", None)),
            "{\"id\":0,\"error\":{\"code\":-1,\"message\":\"no\"}}\n"
        );
    }

    #[test]
    fn cancel_is_sent_only_where_it_is_known() {
        let cancel = |protocol| Outgoing::cancel(protocol, 7).map(|message| text(&message));
        assert_eq!(cancel(Protocol::JsonRpc), None);
        assert_eq!(cancel(Protocol::Bare), None);
        let mcp = r#""method":"notifications/cancelled","params":{"requestId":7}}"#;
        assert!(cancel(Protocol::Mcp).unwrap().trim_end().ends_with(mcp));
        let acp = r#""method":"$/cancel_request","params":{"requestId":7}}"#;
        assert!(cancel(Protocol::Acp).unwrap().trim_end().ends_with(acp));
        let lsp = r#""method":"$/cancelRequest","params":{"id":7}}"#;
        assert!(cancel(Protocol::Lsp).unwrap().ends_with(lsp));
    }
}
