//! The numbers of the C API.

use crate::connection::{Field, IntField, Kind, TextField};
use crate::error::Code;
use crate::options::{IntKey, ListKey, TextKey};

/// The version of this header: 0xMMmmpp.
pub const LEASH_VERSION_NUMBER: u32 = 0x00_01_00;

/// The version of the ABI; it equals the number in `libleash.so.N`.
pub const LEASH_ABI: u32 = 0;

/// Length of NUL-terminated text: SIZE_MAX.
pub const LEASH_NUL: usize = usize::MAX;

/// "This field is absent": INT64_MIN.
pub const LEASH_NONE: i64 = i64::MIN;

/// What a function returns. Values are never reused. New ones may appear: keep a default case.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_code {
    /// Success.
    LEASH_OK = 0,
    /// Bad pointer, option, length, UTF-8 or JSON. The text says which.
    LEASH_E_INVALID = -1,
    /// Option or field unknown to this build.
    LEASH_E_UNSUPPORTED = -2,
    /// Spawn, DNS, TCP, TLS or upgrade failed.
    LEASH_E_CONNECT = -3,
    /// The time is over.
    LEASH_E_TIMEOUT = -4,
    /// leash_cancel ended the call.
    LEASH_E_CANCELLED = -5,
    /// The connection has ended.
    LEASH_E_CLOSED = -6,
    /// The peer answered with a JSON-RPC error.
    LEASH_E_RPC = -7,
    /// The peer broke framing or JSON-RPC beyond repair.
    LEASH_E_PROTOCOL = -8,
    /// Over LEASH_OPT_MAX_MESSAGE; if incoming, the connection closes.
    LEASH_E_TOO_BIG = -9,
    /// The send buffer is full, or see leash_call.
    LEASH_E_FULL = -10,
    /// A signal handler ran, or leash_wake was called.
    LEASH_E_INTERRUPTED = -11,
    /// Already answered, already claimed, already finished.
    LEASH_E_STATE = -12,
    /// This process is a forked copy of the host.
    LEASH_E_FORKED = -13,
    /// A bug in libleash; the connection is closed.
    LEASH_E_INTERNAL = -14,
    /// Memory for a message, or a descriptor to wait on, could not be had.
    LEASH_E_NO_MEMORY = -15,
    /// Torn down, but LEASH_INT_LEFT processes may not be killed.
    LEASH_E_LEFT = -16,
}

/// Keys of leash_opts_set_str (1 to 19), leash_opts_set_list (20 to 39) and
/// leash_opts_set_int (from 40).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_opt {
    /// ws:// or wss://; needs argv == NULL. Secret but for scheme, host and port. ASCII (a
    /// host of other letters in punycode), no fragment, and no user info: LEASH_OPT_BEARER or
    /// LEASH_OPT_HEADERS carry that. Checked by leash_connect.
    LEASH_OPT_URL = 1,
    /// Sent as "Authorization: Bearer ..." (RFC 6750), also over ws://, where everyone on the
    /// way can read it; secret.
    LEASH_OPT_BEARER = 2,
    /// PEM file of root certificates, for wss://; default: the system's, else built-in ones.
    /// A server's own self-signed certificate may be one, unless it is a CA's (CA:TRUE).
    LEASH_OPT_CA_FILE = 3,
    /// PEM file of the client certificate chain, for wss://; needs LEASH_OPT_KEY_FILE.
    LEASH_OPT_CERT_FILE = 4,
    /// PEM file of the client key, not encrypted.
    LEASH_OPT_KEY_FILE = 5,
    /// The server's working directory; default: the host's.
    LEASH_OPT_CWD = 6,
    /// "Name: value" each, for a URL; values are secret. No Origin is sent unless given. What
    /// the handshake sends by itself is refused: Host, Connection, Upgrade, Sec-WebSocket-*,
    /// Content-Length, Transfer-Encoding; and Authorization beside LEASH_OPT_BEARER.
    LEASH_OPT_HEADERS = 20,
    /// "NAME=value" over the inherited set, "NAME" removes; secret.
    LEASH_OPT_ENV = 21,
    /// One of enum leash_protocol; default LEASH_PROTOCOL_JSONRPC.
    LEASH_OPT_PROTOCOL = 40,
    /// 1: do not inherit the environment; default 0.
    LEASH_OPT_ENV_CLEAR = 41,
    /// 0 discard, 1 events (default), 2 inherit the host's stderr.
    LEASH_OPT_STDERR = 42,
    /// Bytes of one message, both ways; default 64 MiB.
    LEASH_OPT_MAX_MESSAGE = 43,
    /// Unread NOTIFY, REQUEST and NOISE before reading stops; default 4096. STDERR has
    /// the room that those leave: its oldest lines go first and are counted in
    /// LEASH_INT_DROPPED, and it never stops reading.
    LEASH_OPT_QUEUE_EVENTS = 44,
    /// The same in bytes, default 64 MiB; an empty queue takes one message of any allowed
    /// size. OPEN, CLOSED and the RESPONSE of each pending call always have a place.
    LEASH_OPT_QUEUE_BYTES = 45,
    /// Unsent output in bytes; default 64 MiB. Replies and cancels that the library sends
    /// by itself have a reserve.
    LEASH_OPT_SEND_BYTES = 46,
    /// Milliseconds from leash_close to SIGTERM (sending what is queued and a WebSocket
    /// close count); default 2000.
    LEASH_OPT_EXIT_AFTER = 47,
    /// Milliseconds from SIGTERM to SIGKILL; default 2000.
    LEASH_OPT_KILL_AFTER = 48,
    /// Milliseconds between WebSocket pings; default 0, off: a client ping confuses some
    /// servers. When the peer sends nothing at all for two periods after a ping, the
    /// connection ends. Pings of the peer are answered, except while a full queue has stopped
    /// reading; our own clock stops then.
    LEASH_OPT_PING_EVERY = 49,
    /// 1: submits and notifies are collected until leash_flush, leash_poll, leash_wait,
    /// leash_call, a reply, or 64 KiB; default 0.
    LEASH_OPT_CORK = 50,
}

/// Sets framing over stdio, the "jsonrpc" member sent, and the cancel notification sent.
/// Messages without "jsonrpc" are always accepted. Over WebSocket one text message is one
/// JSON-RPC message, whatever the protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_protocol {
    /// JSON-RPC 2.0, newline-delimited, "jsonrpc":"2.0"; a cancel sends nothing.
    LEASH_PROTOCOL_JSONRPC = 0,
    /// Model Context Protocol: the same, and notifications/cancelled.
    LEASH_PROTOCOL_MCP = 1,
    /// Agent Client Protocol: the same, and $/cancel_request.
    LEASH_PROTOCOL_ACP = 2,
    /// Language Server Protocol: Content-Length framing; $/cancelRequest.
    LEASH_PROTOCOL_LSP = 3,
    /// No "jsonrpc" member, a cancel sends nothing: codex exec-server and app-server,
    /// Chrome DevTools.
    LEASH_PROTOCOL_BARE = 4,
}

/// What an event is. Free events of a kind that you do not know.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_kind {
    /// The transport is up.
    LEASH_EVENT_OPEN = 1,
    /// A leash_submit ended: STATUS, CALL, TAG, JSON.
    LEASH_EVENT_RESPONSE = 2,
    /// A notification: METHOD, JSON.
    LEASH_EVENT_NOTIFY = 3,
    /// A request: METHOD, JSON, PEER_ID; you owe a reply.
    LEASH_EVENT_REQUEST = 4,
    /// TEXT: one line of stderr without its newline, invalid UTF-8 replaced. A line over
    /// 16 KiB comes in pieces. DROPPED.
    LEASH_EVENT_STDERR = 5,
    /// TEXT: the first 4 KiB of a stdout line or message that is not JSON-RPC (binary
    /// messages too), or of an answer that no call waits for. A broken Content-Length or
    /// WebSocket frame is LEASH_E_PROTOCOL instead.
    LEASH_EVENT_NOISE = 6,
    /// Always last: STATUS (0 only after leash_close), TEXT, EXIT_CODE, EXIT_SIGNAL, STAGE,
    /// KILLED, LEFT, DISCARDED, DROPPED, OS_ERROR; for WebSocket CLOSE_CODE.
    LEASH_EVENT_CLOSED = 7,
}

/// How far a teardown had to go (LEASH_INT_STAGE).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_stage {
    /// No process needed a signal.
    LEASH_STAGE_EXITED = 0,
    /// Some needed SIGTERM.
    LEASH_STAGE_TERM = 1,
    /// Some needed SIGKILL.
    LEASH_STAGE_KILL = 2,
}

/// Fields of events and connections.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum leash_field {
    /// Event: 0, or the leash_code that ended the call or connection.
    LEASH_INT_STATUS = 1,
    /// Event: id from leash_submit.
    LEASH_INT_CALL = 2,
    /// Event: what leash_submit was given.
    LEASH_INT_TAG = 3,
    /// Event: arrival number on this connection, from 1.
    LEASH_INT_SEQ = 4,
    /// Event: the JSON-RPC error code when STATUS is LEASH_E_RPC; absent if the peer gave none.
    LEASH_INT_RPC_CODE = 5,
    /// Event: exit status of the server that was started.
    LEASH_INT_EXIT_CODE = 6,
    /// Event: signal that ended it.
    LEASH_INT_EXIT_SIGNAL = 7,
    /// Event: stderr lines lost just before this one.
    LEASH_INT_DROPPED = 8,
    /// Event: enum leash_stage.
    LEASH_INT_STAGE = 9,
    /// Event: processes that were still alive when SIGKILL was sent.
    LEASH_INT_KILLED = 10,
    /// Event: the code of the peer's WebSocket close (RFC 6455, section 7.4), 1005 when it had
    /// none, 1006 when none came; absent when the connection never opened.
    LEASH_INT_CLOSE_CODE = 11,
    /// Event: processes that could not be killed.
    LEASH_INT_LEFT = 12,
    /// Event: bytes read during teardown, past the queue's limits.
    LEASH_INT_DISCARDED = 13,
    /// Event: errno behind the end (ENOENT, ECONNREFUSED, ...), also when it never opened;
    /// absent when there is none.
    LEASH_INT_OS_ERROR = 14,
    /// Connection: process id of the server; also its process-group id.
    LEASH_INT_PID = 20,
    /// Connection: events waiting.
    LEASH_INT_QUEUED = 21,
    /// Connection: calls without a response.
    LEASH_INT_PENDING = 22,
    /// Event: method of a request or notification.
    LEASH_STR_METHOD = 40,
    /// Event: params, result, or error data.
    LEASH_STR_JSON = 41,
    /// Event: line, error message, or why the connection ended.
    LEASH_STR_TEXT = 42,
    /// Event: the peer's id as raw JSON.
    LEASH_STR_PEER_ID = 43,
}

impl From<Code> for leash_code {
    fn from(code: Code) -> Self {
        match code {
            Code::Invalid => Self::LEASH_E_INVALID,
            Code::Unsupported => Self::LEASH_E_UNSUPPORTED,
            Code::Connect => Self::LEASH_E_CONNECT,
            Code::Timeout => Self::LEASH_E_TIMEOUT,
            Code::Cancelled => Self::LEASH_E_CANCELLED,
            Code::Closed => Self::LEASH_E_CLOSED,
            Code::Rpc => Self::LEASH_E_RPC,
            Code::Protocol => Self::LEASH_E_PROTOCOL,
            Code::TooBig => Self::LEASH_E_TOO_BIG,
            Code::Full => Self::LEASH_E_FULL,
            Code::Interrupted => Self::LEASH_E_INTERRUPTED,
            Code::State => Self::LEASH_E_STATE,
            Code::Forked => Self::LEASH_E_FORKED,
            Code::Internal => Self::LEASH_E_INTERNAL,
            Code::NoMemory => Self::LEASH_E_NO_MEMORY,
            Code::Left => Self::LEASH_E_LEFT,
        }
    }
}

impl From<Kind> for leash_kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Open => Self::LEASH_EVENT_OPEN,
            Kind::Response => Self::LEASH_EVENT_RESPONSE,
            Kind::Notification => Self::LEASH_EVENT_NOTIFY,
            Kind::Request => Self::LEASH_EVENT_REQUEST,
            Kind::Stderr => Self::LEASH_EVENT_STDERR,
            Kind::Noise => Self::LEASH_EVENT_NOISE,
            Kind::Closed => Self::LEASH_EVENT_CLOSED,
        }
    }
}

/// An option by its number.
pub(super) enum Key {
    Text(TextKey),
    List(ListKey),
    Int(IntKey),
}

impl Key {
    pub fn new(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Text(TextKey::Url),
            2 => Self::Text(TextKey::Bearer),
            3 => Self::Text(TextKey::CaFile),
            4 => Self::Text(TextKey::CertFile),
            5 => Self::Text(TextKey::KeyFile),
            6 => Self::Text(TextKey::Cwd),
            20 => Self::List(ListKey::Headers),
            21 => Self::List(ListKey::Env),
            40 => Self::Int(IntKey::Protocol),
            41 => Self::Int(IntKey::EnvClear),
            42 => Self::Int(IntKey::Stderr),
            43 => Self::Int(IntKey::MaxMessage),
            44 => Self::Int(IntKey::QueueEvents),
            45 => Self::Int(IntKey::QueueBytes),
            46 => Self::Int(IntKey::SendBytes),
            47 => Self::Int(IntKey::ExitAfter),
            48 => Self::Int(IntKey::KillAfter),
            49 => Self::Int(IntKey::PingEvery),
            50 => Self::Int(IntKey::Cork),
            _ => return None,
        })
    }
}

/// A number of an event, by the number of its field.
pub(super) enum EventInt {
    Status,
    Field(IntField),
}

impl EventInt {
    pub fn new(number: i32) -> Option<Self> {
        Some(Self::Field(match number {
            1 => return Some(Self::Status),
            2 => IntField::Call,
            3 => IntField::Tag,
            4 => IntField::Seq,
            5 => IntField::RpcCode,
            6 => IntField::ExitCode,
            7 => IntField::ExitSignal,
            8 => IntField::Dropped,
            9 => IntField::Stage,
            10 => IntField::Killed,
            11 => IntField::CloseCode,
            12 => IntField::Left,
            13 => IntField::Discarded,
            14 => IntField::OsError,
            _ => return None,
        }))
    }
}

/// A text of an event, by the number of its field.
pub(super) fn event_text(number: i32) -> Option<TextField> {
    Some(match number {
        40 => TextField::Method,
        41 => TextField::Json,
        42 => TextField::Text,
        43 => TextField::PeerId,
        _ => return None,
    })
}

/// A number of a connection, by the number of its field.
pub(super) fn conn_field(number: i32) -> Option<Field> {
    Some(match number {
        20 => Field::Pid,
        21 => Field::Queued,
        22 => Field::Pending,
        _ => return None,
    })
}
