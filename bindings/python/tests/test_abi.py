"""Nothing of the header is kept by hand: what is written from it is what is there."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from libleash import _abi, _errors, _events, _library, _options

TOOL = Path(__file__).resolve().parents[1] / "tools" / "abi.py"


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("abi_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


abi = load_tool()
needs_header = pytest.mark.skipif(not abi.HEADER.exists(), reason="not in the source tree")


@pytest.fixture
def header() -> str:
    text: str = abi.HEADER.read_text(encoding="utf-8")
    return text


@needs_header
def test_the_committed_module_is_the_generated_one(header: str) -> None:
    committed = Path(str(_abi.__file__)).read_text(encoding="utf-8")
    assert committed == abi.generate(header), "refresh it: bindings/python/tools/abi.py --write"


@needs_header
def test_every_constant_has_the_header_s_value(header: str) -> None:
    names = {name for enum in abi.enums(header).values() for name in enum}
    # A second look, which knows less of C and so cannot miss the same things.
    words = {word for word in abi.code(header).replace("(", " ").split() if word.isupper()}
    declared = {word for word in words if word.startswith("LEASH_")} - {"LEASH_H"}
    assert declared == names | set(abi.macros(header))
    for enum, members in abi.enums(header).items():
        assert _abi.ENUMS[enum] == members
        for name, value in members.items():
            assert getattr(_abi, name) == value


@needs_header
def test_a_c_compiler_says_the_same(header: str, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("SKIPPED: no C compiler")
    names = [name for enum in _abi.ENUMS.values() for name in enum] + list(abi.macros(header))
    lines = "".join(f'printf("{name} %lld\\n", (long long){name});' for name in names)
    source = tmp_path / "constants.c"
    source.write_text(f"#include <leash.h>\n#include <stdio.h>\nint main(void) {{{lines}}}\n")
    program = tmp_path / "constants"
    include = f"-I{abi.HEADER.parent}"
    subprocess.run([compiler, include, str(source), "-o", str(program)], check=True)
    out = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    said = dict(line.split() for line in out.splitlines())
    assert len(said) == len(names)
    for name, value in said.items():
        assert ctypes.c_int64(getattr(_abi, name)).value == int(value), name


@needs_header
def test_every_function_has_the_header_s_types(header: str) -> None:
    functions = abi.functions(header)
    # No declaration was overlooked by the parser.
    assert set(functions) == {
        line.split("(")[0].split()[-1].lstrip("*")
        for line in abi.code(header).splitlines()
        if "leash_" in line and "(" in line
    }
    for name, (restype, argtypes) in functions.items():
        for library in (_library.wait, _library.quick):
            function = getattr(library, name[len("leash_") :])
            assert function.restype is ctype(restype), name
            assert list(function.argtypes) == [ctype(t) for t in argtypes], name


def ctype(name: str) -> Any:
    if name == "None":
        return None
    if name == "POINTER(c_char_p)":
        return ctypes.POINTER(ctypes.c_char_p)
    return getattr(ctypes, name)


def test_every_code_has_its_exception() -> None:
    # These are not raised as such: success, an answer with an error in it, and
    # a wait that goes on.
    special = {_abi.LEASH_OK, _abi.LEASH_E_RPC, _abi.LEASH_E_INTERRUPTED}
    assert set(_errors.CLASSES) == set(_abi.ENUMS["leash_code"].values()) - special
    for status, kind in _errors.CLASSES.items():
        assert kind.status == status


def test_every_kind_option_and_protocol_is_known() -> None:
    assert set(_events._KINDS) == set(_abi.ENUMS["leash_kind"].values())
    assert {stage.value for stage in _events.Stage} == set(_abi.ENUMS["leash_stage"].values())
    assert list(_options.PROTOCOLS) == ["jsonrpc", "mcp", "acp", "lsp", "bare"]
    every = _options.Options(
        argv=["x"], cwd="/", ca_file="a", cert_file="b", key_file="c", token="t", env={"A": "b"},
        headers={"A": "b"}, max_message=1, queue_events=1, queue_bytes=1, send_bytes=1,
        exit_after=1, kill_after=1, ping_every=1,
    )  # fmt: skip
    url = _options.Options(url="ws://x")
    keys = {*every.texts(), *every.lists(), *every.numbers(), *url.texts()}
    assert keys == set(_abi.ENUMS["leash_opt"].values())


def test_another_abi_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASH_LIBRARY", str(tmp_path / "libleash.so"))
    with pytest.raises(ImportError, match="LEASH_LIBRARY"):
        _library._load()
    monkeypatch.setenv("LEASH_LIBRARY", _library.path)
    monkeypatch.setattr(_abi, "LEASH_ABI", 99)
    with pytest.raises(ImportError, match="its ABI is 0, not 99"):
        _library._load()


def test_the_library_is_looked_for_where_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASH_LIBRARY", "/some/where.so")
    assert list(_library.candidates()) == ["/some/where.so"]
    monkeypatch.delenv("LEASH_LIBRARY")
    names = list(_library.candidates())
    assert f"libleash.so.{_abi.LEASH_ABI}" in names
