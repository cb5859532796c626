//! Messages that we send.

use std::borrow::Cow;
use std::fmt::Write as _;

use memchr::memchr2;
use serde::de::IgnoredAny;

use crate::error::{Code, Error, Result};
use crate::framing::Framing;

/// How the peer wants to be spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    pub fn framing(self) -> Framing {
        match self {
            Self::Lsp => Framing::ContentLength,
            Self::JsonRpc | Self::Mcp | Self::Acp | Self::Bare => Framing::Lines,
        }
    }

    /// What every message begins with.
    fn opening(self) -> &'static str {
        match self {
            Self::Bare => "{",
            Self::JsonRpc | Self::Mcp | Self::Acp | Self::Lsp => r#"{"jsonrpc":"2.0","#,
        }
    }

    /// Checked JSON as it may stand in a message: where a newline ends a
    /// message, there is none in it.
    pub fn wire(self, json: &[u8]) -> Cow<'_, [u8]> {
        match self.framing() {
            Framing::Lines => one_line(json),
            Framing::ContentLength => json.into(),
        }
    }

    /// The notification that gives up a call, where the protocol has one: a
    /// server that does not know it may fall silent.
    pub fn cancel(self, id: i64) -> Option<Outgoing<'static>> {
        let (method, member) = match self {
            Self::JsonRpc | Self::Bare => return None,
            Self::Mcp => ("notifications/cancelled", "requestId"),
            Self::Acp => ("$/cancel_request", "requestId"),
            Self::Lsp => ("$/cancelRequest", "id"),
        };
        let params = format!(r#"{{"{member}":{id}}}"#);
        Some(Outgoing::new(self, format!(r#""method":"{method}","params":{params}"#), None))
    }
}

/// A message to send: what is before the host's JSON, that JSON, and the end.
pub struct Outgoing<'a> {
    head: String,
    body: Option<Cow<'a, [u8]>>,
    tail: &'static str,
    framing: Framing,
}

impl<'a> Outgoing<'a> {
    /// A request. `params` went through [`Protocol::wire`].
    pub fn request(
        protocol: Protocol,
        id: i64,
        method: &str,
        params: Option<Cow<'a, [u8]>>,
    ) -> Self {
        let head = format!(r#""id":{id},"method":{}"#, quoted(method));
        Self::with(protocol, head, "params", params)
    }

    /// A notification. `params` went through [`Protocol::wire`].
    pub fn notification(protocol: Protocol, method: &str, params: Option<Cow<'a, [u8]>>) -> Self {
        Self::with(protocol, format!(r#""method":{}"#, quoted(method)), "params", params)
    }

    /// The answer to a request of the peer. `result` went
    /// through [`Protocol::wire`].
    pub fn reply(protocol: Protocol, peer_id: &str, result: Option<Cow<'a, [u8]>>) -> Self {
        let result = result.unwrap_or(Cow::Borrowed(b"null"));
        Self::with(protocol, format!(r#""id":{peer_id}"#), "result", Some(result))
    }

    /// The refusal of a request of the peer. `data` went through
    /// [`Protocol::wire`].
    pub fn refusal(
        protocol: Protocol,
        peer_id: &str,
        code: i64,
        message: &str,
        data: Option<Cow<'a, [u8]>>,
    ) -> Self {
        let message = quoted(message);
        let head = format!(r#""id":{peer_id},"error":{{"code":{code},"message":{message}"#);
        Self { tail: "}}", ..Self::with(protocol, head, "data", data) }
    }

    fn with(protocol: Protocol, mut head: String, name: &str, body: Option<Cow<'a, [u8]>>) -> Self {
        if body.is_some() {
            let _ = write!(head, r#","{name}":"#);
        }
        Self::new(protocol, head, body)
    }

    fn new(protocol: Protocol, head: String, body: Option<Cow<'a, [u8]>>) -> Self {
        let framing = protocol.framing();
        Self { head: format!("{}{head}", protocol.opening()), body, tail: "}", framing }
    }

    /// Its length, without framing.
    pub fn len(&self) -> usize {
        self.head.len() + self.body().len() + self.tail.len()
    }

    fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// The message alone, in parts, for a transport that keeps messages apart.
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.head.as_bytes(), self.body(), self.tail.as_bytes()]
    }

    /// What goes on a byte stream, in parts.
    pub fn framed(&self) -> Framed<'_> {
        let (header, end) = match self.framing {
            Framing::Lines => (String::new(), "\n"),
            Framing::ContentLength => (format!("Content-Length: {}\r\n\r\n", self.len()), ""),
        };
        Framed { header, message: self, end }
    }
}

/// A message and its framing.
pub struct Framed<'a> {
    header: String,
    message: &'a Outgoing<'a>,
    end: &'static str,
}

impl Framed<'_> {
    /// The parts to write, one after the other.
    pub fn parts(&self) -> [&[u8]; 5] {
        let Outgoing { head, tail, .. } = self.message;
        [
            self.header.as_bytes(),
            head.as_bytes(),
            self.message.body(),
            tail.as_bytes(),
            self.end.as_bytes(),
        ]
    }
}

/// In checked JSON, CR and LF can only stand between tokens.
fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', json).is_none() {
        return json.into();
    }
    json.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Check JSON that the host hands us as params: an array or an object.
pub fn check_params(json: &[u8]) -> Result<()> {
    check_value(json, "params")?;
    match json.trim_ascii_start().first() {
        Some(b'[' | b'{') => Ok(()),
        _ => Err(Error::new(Code::Invalid, "params must be a JSON array or object")),
    }
}

/// Check JSON that the host hands us as `what`.
pub fn check_value(json: &[u8], what: &str) -> Result<()> {
    let text = std::str::from_utf8(json)
        .map_err(|_| Error::new(Code::Invalid, format!("{what} is not UTF-8")))?;
    if text.trim_ascii().is_empty() {
        let help = "is empty; pass NULL to leave it out";
        return Err(Error::new(Code::Invalid, format!("{what} {help}")));
    }
    // Its errors name a place and a rule, never the text.
    serde_json::from_str::<IgnoredAny>(text)
        .map(drop)
        .map_err(|e| Error::new(Code::Invalid, format!("{what} is not JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &Outgoing<'_>) -> String {
        String::from_utf8(message.framed().parts().concat()).unwrap()
    }

    #[test]
    fn each_protocol_has_its_framing_and_members() {
        let request = |protocol: Protocol| {
            let params = Some(protocol.wire(b"{\"a\":\r\n1}"));
            text(&Outgoing::request(protocol, 1, "m", params))
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
    fn replies_echo_the_id_and_close_every_brace() {
        let protocol = Protocol::Bare;
        assert_eq!(
            text(&Outgoing::reply(protocol, "\"a\"", None)),
            "{\"id\":\"a\",\"result\":null}\n"
        );
        assert_eq!(
            text(&Outgoing::refusal(protocol, "0", -1, "n\"o", Some(Cow::Borrowed(b"[]")))),
            "{\"id\":0,\"error\":{\"code\":-1,\"message\":\"n\\\"o\",\"data\":[]}}\n"
        );
        assert_eq!(
            text(&Outgoing::refusal(protocol, "0", -1, "no", None)),
            "{\"id\":0,\"error\":{\"code\":-1,\"message\":\"no\"}}\n"
        );
    }

    #[test]
    fn cancel_is_sent_only_where_it_is_known() {
        let cancel = |protocol: Protocol| protocol.cancel(7).map(|message| text(&message));
        assert_eq!(cancel(Protocol::JsonRpc), None);
        assert_eq!(cancel(Protocol::Bare), None);
        assert!(cancel(Protocol::Mcp).unwrap().contains(r#""params":{"requestId":7}}"#));
        assert!(
            cancel(Protocol::Acp)
                .unwrap()
                .contains(r#"$/cancel_request","params":{"requestId":7}"#)
        );
        assert!(cancel(Protocol::Lsp).unwrap().ends_with(r#"$/cancelRequest","params":{"id":7}}"#));
    }

    #[test]
    fn params_must_be_an_array_or_an_object() {
        for good in ["[]", " {} ", "[1,{\"a\":\"\\u0000\"}]"] {
            assert!(check_params(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "1", "null", "\"a\"", "{", "[1,]", "[]x", "{a:1}", "[\"\n\"]", "[01]"]
        {
            assert_eq!(check_params(bad.as_bytes()).unwrap_err().code(), Code::Invalid, "{bad}");
        }
        assert!(check_params(b"[\"\xff\"]").is_err() && check_params(b"[]\0").is_err());
    }
}
