"""JSON in and out: orjson when it is there, else json, with the same results."""

from __future__ import annotations

import json
from typing import Any, Callable, Optional

from ._errors import ProtocolError

#: JSON text that is sent as it is, or anything that can be made JSON.
Json = Any

_dump_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_dump_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_load_text = json.JSONDecoder(parse_constant=_no_constant).decode


def _dumps(value: Json) -> bytes:
    try:
        return _dump_text(value).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: JSON can say it, UTF-8 cannot.
        return _dump_ascii(value).encode()


def _loads(text: bytes) -> Any:
    return _load_text(text.decode())


dumps: Callable[[Json], bytes] = _dumps
loads: Callable[[bytes], Any] = _loads

try:
    import orjson
except ImportError:
    pass
else:
    # All digits are 0 in it, and all else is a blank: in a large text a hundred times faster to
    # search than by an expression.
    _shape = bytes(ord("0") if chr(byte) in "0123456789" else ord(" ") for byte in range(256))

    def _has_long_number(text: bytes) -> bool:
        """Whether there may be an integer over 64 bits, of which orjson makes a float."""
        return b"0" * 19 in text.translate(_shape)

    _options = (
        orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_PASSTHROUGH_SUBCLASS
    )

    def _fast_dumps(value: Json) -> bytes:
        try:
            encoded: bytes = orjson.dumps(value, option=_options)
        except TypeError:
            # Integers over 64 bits, subclasses, keys that are numbers, lone surrogates.
            return _dumps(value)
        # It may have been a NaN, which is an error.
        return _dumps(value) if b"null" in encoded else encoded

    def _fast_loads(text: bytes) -> Any:
        if _has_long_number(text):
            return _loads(text)
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            # Escapes of lone surrogates.
            return _loads(text)

    dumps = _fast_dumps
    loads = _fast_loads


def params_of(params: Json) -> Optional[bytes]:
    """What goes out as params: bytes as they are, None as nothing."""
    if params is None or type(params) is bytes:
        return params
    if isinstance(params, str):
        raise TypeError("params must be a mapping, a sequence, or JSON text as bytes; not a str")
    return value_of(params)


def value_of(value: Json) -> bytes:
    """Any value as JSON text; bytes are JSON text already."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return dumps(value)


def parse(text: Optional[bytes]) -> Any:
    """What the peer sent. The library has not looked inside of it: it may be no JSON."""
    if text is None:
        return None
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the peer sent a payload that is not JSON: {error}") from None
