"""Constants and signatures of include/leash.h. Made by tools/abi.py; do not edit."""

from __future__ import annotations

import sys
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any, Dict, Tuple

LEASH_NUL = 2 * sys.maxsize + 1
LEASH_NONE = -(2**63)
LEASH_VERSION_NUMBER = 256
LEASH_ABI = 0

# enum leash_code
LEASH_OK = 0
LEASH_E_INVALID = -1
LEASH_E_UNSUPPORTED = -2
LEASH_E_CONNECT = -3
LEASH_E_TIMEOUT = -4
LEASH_E_CANCELLED = -5
LEASH_E_CLOSED = -6
LEASH_E_RPC = -7
LEASH_E_PROTOCOL = -8
LEASH_E_TOO_BIG = -9
LEASH_E_FULL = -10
LEASH_E_INTERRUPTED = -11
LEASH_E_STATE = -12
LEASH_E_FORKED = -13
LEASH_E_INTERNAL = -14
LEASH_E_NO_MEMORY = -15
LEASH_E_LEFT = -16

# enum leash_opt
LEASH_OPT_URL = 1
LEASH_OPT_BEARER = 2
LEASH_OPT_CA_FILE = 3
LEASH_OPT_CERT_FILE = 4
LEASH_OPT_KEY_FILE = 5
LEASH_OPT_CWD = 6
LEASH_OPT_HEADERS = 20
LEASH_OPT_ENV = 21
LEASH_OPT_PROTOCOL = 40
LEASH_OPT_ENV_CLEAR = 41
LEASH_OPT_STDERR = 42
LEASH_OPT_MAX_MESSAGE = 43
LEASH_OPT_QUEUE_EVENTS = 44
LEASH_OPT_QUEUE_BYTES = 45
LEASH_OPT_SEND_BYTES = 46
LEASH_OPT_EXIT_AFTER = 47
LEASH_OPT_KILL_AFTER = 48
LEASH_OPT_PING_EVERY = 49
LEASH_OPT_CORK = 50

# enum leash_protocol
LEASH_PROTOCOL_JSONRPC = 0
LEASH_PROTOCOL_MCP = 1
LEASH_PROTOCOL_ACP = 2
LEASH_PROTOCOL_LSP = 3
LEASH_PROTOCOL_BARE = 4

# enum leash_kind
LEASH_EVENT_OPEN = 1
LEASH_EVENT_RESPONSE = 2
LEASH_EVENT_NOTIFY = 3
LEASH_EVENT_REQUEST = 4
LEASH_EVENT_STDERR = 5
LEASH_EVENT_NOISE = 6
LEASH_EVENT_CLOSED = 7

# enum leash_stage
LEASH_STAGE_EXITED = 0
LEASH_STAGE_TERM = 1
LEASH_STAGE_KILL = 2

# enum leash_field
LEASH_INT_STATUS = 1
LEASH_INT_CALL = 2
LEASH_INT_TAG = 3
LEASH_INT_SEQ = 4
LEASH_INT_RPC_CODE = 5
LEASH_INT_EXIT_CODE = 6
LEASH_INT_EXIT_SIGNAL = 7
LEASH_INT_DROPPED = 8
LEASH_INT_STAGE = 9
LEASH_INT_KILLED = 10
LEASH_INT_CLOSE_CODE = 11
LEASH_INT_LEFT = 12
LEASH_INT_DISCARDED = 13
LEASH_INT_OS_ERROR = 14
LEASH_INT_PID = 20
LEASH_INT_QUEUED = 21
LEASH_INT_PENDING = 22
LEASH_STR_METHOD = 40
LEASH_STR_JSON = 41
LEASH_STR_TEXT = 42
LEASH_STR_PEER_ID = 43

ENUMS: Dict[str, Dict[str, int]] = {
    "leash_code": {
        "LEASH_OK": LEASH_OK,
        "LEASH_E_INVALID": LEASH_E_INVALID,
        "LEASH_E_UNSUPPORTED": LEASH_E_UNSUPPORTED,
        "LEASH_E_CONNECT": LEASH_E_CONNECT,
        "LEASH_E_TIMEOUT": LEASH_E_TIMEOUT,
        "LEASH_E_CANCELLED": LEASH_E_CANCELLED,
        "LEASH_E_CLOSED": LEASH_E_CLOSED,
        "LEASH_E_RPC": LEASH_E_RPC,
        "LEASH_E_PROTOCOL": LEASH_E_PROTOCOL,
        "LEASH_E_TOO_BIG": LEASH_E_TOO_BIG,
        "LEASH_E_FULL": LEASH_E_FULL,
        "LEASH_E_INTERRUPTED": LEASH_E_INTERRUPTED,
        "LEASH_E_STATE": LEASH_E_STATE,
        "LEASH_E_FORKED": LEASH_E_FORKED,
        "LEASH_E_INTERNAL": LEASH_E_INTERNAL,
        "LEASH_E_NO_MEMORY": LEASH_E_NO_MEMORY,
        "LEASH_E_LEFT": LEASH_E_LEFT,
    },
    "leash_opt": {
        "LEASH_OPT_URL": LEASH_OPT_URL,
        "LEASH_OPT_BEARER": LEASH_OPT_BEARER,
        "LEASH_OPT_CA_FILE": LEASH_OPT_CA_FILE,
        "LEASH_OPT_CERT_FILE": LEASH_OPT_CERT_FILE,
        "LEASH_OPT_KEY_FILE": LEASH_OPT_KEY_FILE,
        "LEASH_OPT_CWD": LEASH_OPT_CWD,
        "LEASH_OPT_HEADERS": LEASH_OPT_HEADERS,
        "LEASH_OPT_ENV": LEASH_OPT_ENV,
        "LEASH_OPT_PROTOCOL": LEASH_OPT_PROTOCOL,
        "LEASH_OPT_ENV_CLEAR": LEASH_OPT_ENV_CLEAR,
        "LEASH_OPT_STDERR": LEASH_OPT_STDERR,
        "LEASH_OPT_MAX_MESSAGE": LEASH_OPT_MAX_MESSAGE,
        "LEASH_OPT_QUEUE_EVENTS": LEASH_OPT_QUEUE_EVENTS,
        "LEASH_OPT_QUEUE_BYTES": LEASH_OPT_QUEUE_BYTES,
        "LEASH_OPT_SEND_BYTES": LEASH_OPT_SEND_BYTES,
        "LEASH_OPT_EXIT_AFTER": LEASH_OPT_EXIT_AFTER,
        "LEASH_OPT_KILL_AFTER": LEASH_OPT_KILL_AFTER,
        "LEASH_OPT_PING_EVERY": LEASH_OPT_PING_EVERY,
        "LEASH_OPT_CORK": LEASH_OPT_CORK,
    },
    "leash_protocol": {
        "LEASH_PROTOCOL_JSONRPC": LEASH_PROTOCOL_JSONRPC,
        "LEASH_PROTOCOL_MCP": LEASH_PROTOCOL_MCP,
        "LEASH_PROTOCOL_ACP": LEASH_PROTOCOL_ACP,
        "LEASH_PROTOCOL_LSP": LEASH_PROTOCOL_LSP,
        "LEASH_PROTOCOL_BARE": LEASH_PROTOCOL_BARE,
    },
    "leash_kind": {
        "LEASH_EVENT_OPEN": LEASH_EVENT_OPEN,
        "LEASH_EVENT_RESPONSE": LEASH_EVENT_RESPONSE,
        "LEASH_EVENT_NOTIFY": LEASH_EVENT_NOTIFY,
        "LEASH_EVENT_REQUEST": LEASH_EVENT_REQUEST,
        "LEASH_EVENT_STDERR": LEASH_EVENT_STDERR,
        "LEASH_EVENT_NOISE": LEASH_EVENT_NOISE,
        "LEASH_EVENT_CLOSED": LEASH_EVENT_CLOSED,
    },
    "leash_stage": {
        "LEASH_STAGE_EXITED": LEASH_STAGE_EXITED,
        "LEASH_STAGE_TERM": LEASH_STAGE_TERM,
        "LEASH_STAGE_KILL": LEASH_STAGE_KILL,
    },
    "leash_field": {
        "LEASH_INT_STATUS": LEASH_INT_STATUS,
        "LEASH_INT_CALL": LEASH_INT_CALL,
        "LEASH_INT_TAG": LEASH_INT_TAG,
        "LEASH_INT_SEQ": LEASH_INT_SEQ,
        "LEASH_INT_RPC_CODE": LEASH_INT_RPC_CODE,
        "LEASH_INT_EXIT_CODE": LEASH_INT_EXIT_CODE,
        "LEASH_INT_EXIT_SIGNAL": LEASH_INT_EXIT_SIGNAL,
        "LEASH_INT_DROPPED": LEASH_INT_DROPPED,
        "LEASH_INT_STAGE": LEASH_INT_STAGE,
        "LEASH_INT_KILLED": LEASH_INT_KILLED,
        "LEASH_INT_CLOSE_CODE": LEASH_INT_CLOSE_CODE,
        "LEASH_INT_LEFT": LEASH_INT_LEFT,
        "LEASH_INT_DISCARDED": LEASH_INT_DISCARDED,
        "LEASH_INT_OS_ERROR": LEASH_INT_OS_ERROR,
        "LEASH_INT_PID": LEASH_INT_PID,
        "LEASH_INT_QUEUED": LEASH_INT_QUEUED,
        "LEASH_INT_PENDING": LEASH_INT_PENDING,
        "LEASH_STR_METHOD": LEASH_STR_METHOD,
        "LEASH_STR_JSON": LEASH_STR_JSON,
        "LEASH_STR_TEXT": LEASH_STR_TEXT,
        "LEASH_STR_PEER_ID": LEASH_STR_PEER_ID,
    },
}

# name: (restype, argtypes)
FUNCTIONS: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "leash_version": (c_char_p, (c_void_p, c_void_p)),
    "leash_last_error": (c_char_p, ()),
    "leash_last_os_error": (c_int, ()),
    "leash_connect": (c_int, (POINTER(c_char_p), c_void_p, c_int64, c_void_p)),
    "leash_connect_env": (c_int, (c_char_p, c_char_p, c_void_p, c_int64, c_void_p)),
    "leash_env_list": (c_int, (c_char_p, c_void_p, c_size_t, c_void_p)),
    "leash_fd": (c_int, (c_void_p,)),
    "leash_poll": (c_int, (c_void_p, c_int64, c_void_p)),
    "leash_wake": (c_int, (c_void_p,)),
    "leash_submit": (c_int, (c_void_p, c_char_p, c_char_p, c_size_t, c_int64, c_int64, c_void_p)),
    "leash_wait": (c_int, (c_void_p, c_int64, c_int64, c_void_p)),
    "leash_call": (c_int, (c_void_p, c_char_p, c_char_p, c_size_t, c_int64, c_void_p)),
    "leash_cancel": (c_int, (c_void_p, c_int64)),
    "leash_notify": (c_int, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "leash_flush": (c_int, (c_void_p,)),
    "leash_conn_int": (c_int64, (c_void_p, c_int)),
    "leash_close": (c_int, (c_void_p, c_int64)),
    "leash_free": (None, (c_void_p,)),
    "leash_reply": (c_int, (c_void_p, c_char_p, c_size_t)),
    "leash_reply_error": (c_int, (c_void_p, c_int64, c_char_p, c_char_p, c_size_t)),
    "leash_event_kind": (c_int, (c_void_p,)),
    "leash_event_int": (c_int64, (c_void_p, c_int)),
    "leash_event_str": (c_void_p, (c_void_p, c_int, c_void_p)),
    "leash_event_free": (None, (c_void_p,)),
    "leash_opts_new": (c_void_p, ()),
    "leash_opts_free": (None, (c_void_p,)),
    "leash_opts_set_str": (c_int, (c_void_p, c_int, c_char_p)),
    "leash_opts_set_int": (c_int, (c_void_p, c_int, c_int64)),
    "leash_opts_set_list": (c_int, (c_void_p, c_int, POINTER(c_char_p), c_size_t)),
}
