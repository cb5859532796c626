"""With orjson or without: the same values."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Iterator

import pytest
from libleash import ProtocolError, _json


@pytest.fixture(params=["json", "orjson"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    if request.param == "orjson":
        pytest.importorskip("orjson", reason="SKIPPED orjson: not installed")
    else:
        monkeypatch.setitem(sys.modules, "orjson", None)
    yield importlib.reload(_json)
    monkeypatch.undo()
    importlib.reload(_json)


VALUES: Any = [
    None, True, 0, -1, 2**63 - 1, 2**64, 10**40, -(2**70), 0.1, 1e300, 5e-324, "",
    "ä\u2028\x00\x1f", "\ud800", "\U0001f600",
    [], {}, {"a": {"b": [1, {"c": None}]}}, ["9" * 30],
]  # fmt: skip


def test_values_come_back_as_they_were(codec: ModuleType) -> None:
    for value in VALUES:
        text = codec.value_of(value)
        text.decode("utf-8")
        assert codec.parse(text) == value and type(codec.parse(text)) is type(value)
    assert codec.value_of({1: 2, None: (3,)}) == b'{"1":2,"null":[3]}'
    assert codec.value_of(bytearray(b"[1.10]")) == b"[1.10]"


def test_what_has_no_json_is_refused(codec: ModuleType) -> None:
    for value in (object(), {1j: 2}, b"x"[0:0].__class__, {"a": object()}):
        with pytest.raises(TypeError):
            codec.value_of(value)
    with pytest.raises(TypeError, match="not a str"):
        codec.params_of("text")


def test_no_number_is_rounded(codec: ModuleType) -> None:
    for digits in ("9223372036854775808", "18446744073709551616", "1" + "0" * 400):
        for text in (f"[{digits}]", f"[-{digits}]"):
            assert codec.parse(text.encode()) == [int(text[1:-1])]


def test_what_is_no_json_is_told(codec: ModuleType) -> None:
    for text in (b"", b"{", b"[1,]", b"NaN", b"[Infinity]", b"'a'", b"\xff", b"[" * 100_000):
        with pytest.raises(ProtocolError):
            codec.parse(text)
