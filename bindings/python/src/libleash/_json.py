"""JSON in and out: orjson when it is there, else json, with the same results."""

from __future__ import annotations

import json
import json.encoder
from typing import Any, Callable, Optional

from ._errors import ProtocolError

#: JSON text that is sent as it is, or anything that can be made JSON.
Json = Any

_dump_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _encode_once() -> Callable[[Json, int], Any]:
    """What `_encoder.encode` makes anew for each value, at the price of a small value's encoding.

    Where this Python has no such thing, or another one, it is made anew.
    """
    try:
        once: Callable[[Json, int], Any] = getattr(json.encoder, "c_make_encoder")(
            None, _encoder.default, json.encoder.encode_basestring, None, ":", ",",
            False, False, False,
        )  # fmt: skip
        if "".join(once({"a": [1, "b"]}, 0)) == '{"a":[1,"b"]}':
            return once
    except (AttributeError, TypeError):
        pass
    return lambda value, _: _encoder.encode(value)


_encode = _encode_once()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
_scan: Callable[[str, int], Any] = getattr(_decoder, "scan_once")


def _dumps(value: Json) -> bytes:
    try:
        try:
            return "".join(_encode(value, 0)).encode()
        except RecursionError:
            # It may be a circle, of which only this one knows to speak.
            return _encoder.encode(value).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: JSON can say it, UTF-8 cannot.
        return _dump_ascii(value).encode()


def _loads(text: bytes) -> Any:
    words = text.decode()
    try:
        # Without the two expressions by which `decode` looks for blanks.
        value, end = _scan(words, 0)
    except StopIteration:
        return _decoder.decode(words)
    return value if end == len(words) else _decoder.decode(words)


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
    kind = type(params)
    if kind is dict or kind is list:
        return dumps(params)
    if params is None or kind is bytes:
        return params  # type: ignore[no-any-return]
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
