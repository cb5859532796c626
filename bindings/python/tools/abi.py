#!/usr/bin/env python3
"""Write src/libleash/_abi.py from include/leash.h.

    tools/abi.py            print it
    tools/abi.py --write    write it

The header is the one place where names, values and signatures are kept. A test
compares what this makes of it with the file that is committed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Dict, List, Tuple

PACKAGE = Path(__file__).resolve().parents[1]
HEADER = PACKAGE.parents[1] / "include" / "leash.h"
OUTPUT = PACKAGE / "src" / "libleash" / "_abi.py"

# What a parameter of this C type is to ctypes. Handles are void pointers: no
# function takes more than one kind of them, and ctypes converts those fastest.
PARAMETERS = {
    "int": "c_int",
    "int64_t": "c_int64",
    "size_t": "c_size_t",
    "const char *": "c_char_p",
    "const char *const *": "POINTER(c_char_p)",
    "char *": "c_void_p",
    "size_t *": "c_void_p",
    "int64_t *": "c_void_p",
    "uint32_t *": "c_void_p",
}
RESULTS = {"int": "c_int", "int64_t": "c_int64", "void": "None", "const char *": "c_char_p"}
MACROS = {"SIZE_MAX": "2 * sys.maxsize + 1", "INT64_MIN": "-(2**63)"}

Signature = Tuple[str, List[str]]


def code(header: str) -> str:
    """The header without comments and C++ brackets."""
    header = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    return re.sub(r"//[^\n]*", " ", header)


def macros(header: str) -> Dict[str, str]:
    found = re.findall(r"^#define (LEASH_[A-Z_]+) +(\S+)", code(header), flags=re.M)
    return {name: MACROS.get(value, value.rstrip("uU")) for name, value in found}


def enums(header: str) -> Dict[str, Dict[str, int]]:
    result: Dict[str, Dict[str, int]] = {}
    for name, body in re.findall(r"\benum (\w+) \{(.*?)\}", code(header), flags=re.S):
        members = re.findall(r"(LEASH_\w+) = (-?\d+)", body)
        result[name] = {member: int(value) for member, value in members}
    return result


def functions(header: str) -> Dict[str, Signature]:
    """Result and parameter types of each function, as ctypes names them."""
    pattern = r"^((?:const )?(?:struct )?\w+ \**)(leash_\w+)\(([^)]*)\);"
    result: Dict[str, Signature] = {}
    for returned, name, parameters in re.findall(pattern, code(header), flags=re.M):
        types = [c_type(p) for p in parameters.split(",") if p.strip() != "void"]
        arguments = [handle(t) or PARAMETERS[t] for t in types]
        returned = " ".join(returned.split())
        # Text that comes with its length is cut out by that length.
        is_sized = returned == "const char *" and "size_t *" in types
        restype = "c_void_p" if is_sized else handle(returned) or RESULTS[returned]
        result[name] = (restype, arguments)
    return result


def c_type(parameter: str) -> str:
    """`const char *method` without its name."""
    parameter = " ".join(parameter.split())
    return re.sub(r"\w+$", "", parameter).strip()


def handle(c: str) -> str:
    return "c_void_p" if re.fullmatch(r"(const )?struct leash_\w+ \*{1,2}", c) else ""


def generate(header: str) -> str:
    lines = [
        '"""Constants and signatures of include/leash.h. Made by tools/abi.py; do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "import sys",
        "from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p",
        "from typing import Any, Dict, Tuple",
        "",
    ]
    lines += [f"{name} = {value}" for name, value in macros(header).items()]
    for enum, members in enums(header).items():
        lines += ["", f"# enum {enum}"]
        lines += [f"{name} = {value}" for name, value in members.items()]
    lines += ["", "ENUMS: Dict[str, Dict[str, int]] = {"]
    for enum, members in enums(header).items():
        lines.append(f'    "{enum}": {{')
        lines += [f'        "{name}": {name},' for name in members]
        lines.append("    },")
    lines += ["}", "", "# name: (restype, argtypes)"]
    lines.append("FUNCTIONS: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {")
    for name, (result, arguments) in functions(header).items():
        comma = "," if len(arguments) == 1 else ""
        line = f'    "{name}": ({result}, ({", ".join(arguments)}{comma})),'
        if len(line) > 100:
            lines += [f'    "{name}": (', f"        {result},"]
            lines += [f"        ({', '.join(arguments)}{comma}),", "    ),"]
        else:
            lines.append(line)
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    text = generate(HEADER.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--write"]:
        OUTPUT.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
