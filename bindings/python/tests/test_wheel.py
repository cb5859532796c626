"""The wheel: built by the one command of the README, installed where nothing else is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any, List

import libleash
import pytest
from conftest import ROOT

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "-q"]
    # With the library that is tested, not another build.
    env = {**os.environ, "LEASH_LIBRARY": os.path.abspath(libleash.library_path)}
    done = subprocess.run(
        [*command, "-w", str(folder), str(PACKAGE)], env=env, capture_output=True, text=True
    )
    if done.returncode and "No module named pip" in done.stderr:
        pytest.skip("SKIPPED pip: python3 -m ensurepip")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_is_for_any_python_on_this_platform(wheel: Path) -> None:
    pattern = r"libleash-[\d.]+-py3-none-(manylinux_2_\d+|linux)_\w+\.whl"
    assert re.fullmatch(pattern, wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
    assert f"Version: {libleash.__version__}\n" in text
    assert "Requires-Dist: orjson; extra" in text and text.count("Requires-Dist") == 1
    assert {"libleash/libleash.so", "libleash/py.typed", "libleash/_abi.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE-MIT") for name in names)


def test_it_works_in_an_empty_environment(wheel: Path, demo: List[str], tmp_path: Any) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LEASH_LIBRARY")}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(str(python), "-m", "pip", "install", "-q", "--no-index", "--no-deps", str(wheel))
    code = """if True:
    import sys, libleash
    with libleash.Client(sys.argv[1:]) as client:
        print(client.call("echo", [1]), libleash.library_path)
    """
    said, path = run(str(python), "-c", code, *demo).split(maxsplit=1)
    assert said == "[1]" and str(tmp_path / "venv") in path
    assert "usage: python -m libleash" in run(str(python), "-m", "libleash", "--help")
    run(str(python), "-m", "pip", "check")


@pytest.mark.skipif(not (ROOT / "Cargo.toml").exists(), reason="not in the source tree")
def test_the_version_is_that_of_the_library() -> None:
    found = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), flags=re.M)
    assert found is not None and found.group(1) == libleash.__version__
