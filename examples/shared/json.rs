//! The parts of one JSON-RPC message, as the bytes that the peer wrote: what a
//! server echoes must not lose a digit.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// The members of a message that matter, raw.
#[derive(Default)]
pub struct Message<'a> {
    pub jsonrpc: bool,
    pub id: Option<&'a str>,
    pub method: Option<String>,
    pub params: Option<&'a str>,
    pub result: Option<&'a str>,
    pub error: Option<&'a str>,
}

/// Why a line is not a message.
#[derive(Debug, PartialEq)]
pub enum Bad {
    /// Not JSON at all.
    Json,
    /// JSON, but not an object: a batch, for instance.
    Message,
}

impl<'a> Message<'a> {
    pub fn parse(line: &'a [u8]) -> Result<Self, Bad> {
        let text = std::str::from_utf8(line).map_err(|_| Bad::Json)?;
        // Numbers beyond f64 are no reason to refuse: IgnoredAny checks the
        // grammar only.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| Bad::Json)?;
        let mut rest = text.trim_start().strip_prefix('{').ok_or(Bad::Message)?;
        let mut message = Message::default();
        while !rest.trim_start().starts_with('}') {
            let key: String = serde_json::from_str(next(&mut rest)).unwrap_or_default();
            let value = next(&mut rest);
            match key.as_str() {
                "jsonrpc" => message.jsonrpc = true,
                "id" => message.id = Some(value),
                "method" => message.method = serde_json::from_str(value).ok(),
                "params" => message.params = Some(value),
                "result" => message.result = Some(value),
                "error" => message.error = Some(value),
                _ => {}
            }
        }
        Ok(message)
    }
}

/// Cut one value, and the comma or colon after it, off text that is known to
/// be JSON.
fn next<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next();
    let (value, after) = text.split_at(values.byte_offset());
    *rest = after.trim_start().trim_start_matches([',', ':']);
    value
}
