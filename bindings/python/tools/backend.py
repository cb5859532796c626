"""Builds the wheel (PEP 517): the Python files, and the shared library that cargo makes.

Only the standard library is needed, and cargo; or, with LEASH_LIBRARY, the library that is named.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parents[1]

Files = Iterator[Tuple[str, bytes]]


def build_wheel(
    wheel_directory: str,
    config_settings: Optional[Dict[str, Any]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    library = build_library()
    files = list(python_files())
    files.append(("libleash/libleash.so", library))
    return write_wheel(Path(wheel_directory), files, f"py3-none-{platform_tag(library)}")


def build_editable(
    wheel_directory: str,
    config_settings: Optional[Dict[str, Any]] = None,
    metadata_directory: Optional[str] = None,
) -> str:
    """For `pip install -e`: the sources where they are, with a development build."""
    path = f"{PACKAGE / 'src'}\n".encode()
    return write_wheel(Path(wheel_directory), [("libleash.pth", path)], "py3-none-any")


def build_sdist(sdist_directory: str, config_settings: Optional[Dict[str, Any]] = None) -> str:
    """The Python part alone: it finds the library on the system, or by LEASH_LIBRARY."""
    stem = f"libleash-{version()}"
    path = Path(sdist_directory) / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in ["pyproject.toml", "README.md", "src", "tools", "tests"]:
            archive.add(PACKAGE / name, f"{stem}/{name}", filter=_without_caches)
        info = tarfile.TarInfo(f"{stem}/PKG-INFO")
        text = metadata().encode()
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    return path.name


def _without_caches(info: tarfile.TarInfo) -> Optional[tarfile.TarInfo]:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return None if "__pycache__" in info.name or ".mypy_cache" in info.name else info


def build_library() -> bytes:
    told = os.environ.get("LEASH_LIBRARY")
    if told:
        return Path(told).read_bytes()
    manifest = ROOT / "Cargo.toml"
    if not manifest.exists():
        raise SystemExit("no sources of the library here: set LEASH_LIBRARY to a built one")
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--release", "--lib", "--manifest-path", str(manifest)]
    subprocess.run(command, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return (target / "release" / "libleash.so").read_bytes()


def python_files() -> Files:
    source = PACKAGE / "src"
    for path in sorted(source.rglob("*")):
        if path.suffix in (".py", ".typed"):
            yield path.relative_to(source).as_posix(), path.read_bytes()


def version() -> str:
    manifest = ROOT / "Cargo.toml"
    info = PACKAGE / "PKG-INFO"
    text, pattern = (
        (info.read_text(), r"^Version: (.+)$")
        if info.exists()
        else (manifest.read_text(), r'^version = "([^"]+)"')
    )
    found = re.search(pattern, text, flags=re.M)
    assert found is not None, "the version is told"
    return found.group(1)


def project(key: str) -> str:
    text = (PACKAGE / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf'^{key} = "([^"]+)"', text, flags=re.M)
    assert found is not None, f"pyproject.toml tells {key}"
    return found.group(1)


def metadata() -> str:
    lines = [
        "Metadata-Version: 2.4",
        "Name: libleash",
        f"Version: {version()}",
        f"Summary: {project('description')}",
        f"License-Expression: {project('license')}",
        f"Requires-Python: {project('requires-python')}",
        "Classifier: Typing :: Typed",
        "Classifier: Operating System :: POSIX :: Linux",
        "Provides-Extra: fast",
        "Requires-Dist: orjson; extra == 'fast'",
        "Description-Content-Type: text/markdown",
        "",
        (PACKAGE / "README.md").read_text(encoding="utf-8"),
    ]
    return "\n".join(lines)


def licences() -> Files:
    for name in ["LICENSE-MIT", "LICENSE-APACHE"]:
        if (ROOT / name).exists():
            yield name, (ROOT / name).read_bytes()


def platform_tag(library: bytes) -> str:
    """The oldest glibc that has the symbols which the library wants."""
    machine = platform.machine()
    versions = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)[.\0]", library)]
    if sys.platform != "linux" or not versions:
        return f"linux_{machine}"
    return f"manylinux_2_{max(17, *versions)}_{machine}"


def write_wheel(folder: Path, files: List[Tuple[str, bytes]], tag: str) -> str:
    info = f"libleash-{version()}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: libleash\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files = [
        *files,
        *((f"{info}/licenses/{name}", text) for name, text in licences()),
        (f"{info}/METADATA", metadata().encode()),
        (f"{info}/WHEEL", wheel.encode()),
    ]
    record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, data in files)
    files.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    path = folder / f"libleash-{version()}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            # The same bytes at any time: no dates.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path.name


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
