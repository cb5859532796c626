"""The shared library: where it is, and its functions as ctypes calls them.

`wait` holds functions that give the GIL away, `quick` the same ones keeping it:
those that never block cost less there, and no other thread can take the GIL for
a switch interval in between.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import threading
from ctypes import byref, c_char_p, c_int, c_int64, c_uint32, c_void_p
from pathlib import Path
from typing import Any, Callable, Iterator, List

from . import _abi
from ._errors import LeashError, from_status

#: The file that is in use.
path: str

_FILE = "libleash.so"


def candidates() -> Iterator[str]:
    """Where the library may be, the first wins: LEASH_LIBRARY, the wheel's own, a
    development build of this source tree, the system's."""
    told = os.environ.get("LEASH_LIBRARY")
    if told:
        # What was asked for, or nothing.
        yield told
        return
    here = Path(__file__).resolve().parent
    yield from _existing([here / _FILE])
    # bindings/python/src/libleash, in the tree that has the library's sources.
    root = here.parents[3] if len(here.parents) > 3 else here
    if (root / "include" / "leash.h").exists():
        target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
        yield from _existing([target / "release" / _FILE, target / "debug" / _FILE])
    yield f"{_FILE}.{_abi.LEASH_ABI}"
    found = ctypes.util.find_library("leash")
    if found:
        yield found


def _existing(files: List[Path]) -> Iterator[str]:
    return (str(file) for file in files if file.exists())


class Functions:
    """The functions of the library, with the types that the header gives them."""

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, (restype, argtypes) in _abi.FUNCTIONS.items():
            function = getattr(library, name)
            function.restype = restype
            function.argtypes = argtypes
            setattr(self, name[len("leash_") :], function)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(name)


def _load() -> str:
    failures = []
    for candidate in candidates():
        try:
            library = ctypes.CDLL(candidate)
            abi = c_uint32()
            library.leash_version.restype = ctypes.c_char_p
            library.leash_version(None, byref(abi))
        except (OSError, AttributeError) as error:
            failures.append(f"{candidate}: {error}")
            continue
        if abi.value != _abi.LEASH_ABI:
            failures.append(f"{candidate}: its ABI is {abi.value}, not {_abi.LEASH_ABI}")
            continue
        return candidate
    raise ImportError(
        "libleash's shared library cannot be loaded (set LEASH_LIBRARY to its path): "
        + "; ".join(failures)
    )


path = _load()
_giving, _keeping = ctypes.CDLL(path), ctypes.PyDLL(path)
wait, quick = Functions(_giving), Functions(_keeping)


def _bare(library: ctypes.CDLL, name: str, result: Any) -> Callable[..., Any]:
    function = library[name]
    function.restype = result
    return function


# The functions of every call, without argument types: to convert arguments by them takes longer
# than the functions do. So whoever calls gives values of the C types; only what is an int in C
# may be one in Python.
submit_quick = _bare(_keeping, "leash_submit", c_int)
submit_large = _bare(_giving, "leash_submit", c_int)
wait_for = _bare(_giving, "leash_wait", c_int)
wait_at_once = _bare(_keeping, "leash_wait", c_int)
poll_at_once = _bare(_keeping, "leash_poll", c_int)
poll_for = _bare(_giving, "leash_poll", c_int)
event_kind = _bare(_keeping, "leash_event_kind", c_int)
event_int = _bare(_keeping, "leash_event_int", c_int64)
event_free = _bare(_keeping, "leash_event_free", None)
#: `leash_event_str` as bytes: each text ends in a NUL and has none inside.
event_bytes = _bare(_keeping, "leash_event_str", c_char_p)

#: Version of the library in use.
version: str = quick.version(None, None).decode()

# Runs Python's signal handlers when called on the main thread, and raises what
# they raise.
run_signal_handlers = ctypes.pythonapi.PyErr_CheckSignals

# A message up to this size is checked and copied in microseconds, so the GIL is
# kept; above, others may run meanwhile.
QUICK_MAX = 64 * 1024


def _method(function: Callable[..., Any]) -> Any:
    """A function of C as a method, without any code of Python around it."""
    make = ctypes.pythonapi.PyInstanceMethod_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object]
    return make(function)


class EventPointer(c_void_p):
    """The place for one event. Whatever interrupts us, it is freed with this.

    There is but one of each: a copy would free the event a second time.
    """

    # Code of Python would be where a signal handler runs, and what that raises in here is lost.
    __del__ = _method(event_free)

    def __copy__(self) -> "EventPointer":
        return self

    def __deepcopy__(self, memo: Any) -> "EventPointer":
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a request cannot be copied into another process: it is answered in this")


def failure(status: int) -> LeashError:
    """The exception for the failure that the calling thread has just seen."""
    return from_status(status, last_error())


def last_error() -> str:
    text: bytes = quick.last_error()
    return text.decode("utf-8", "replace")


def check(status: int) -> int:
    if status < 0:
        raise failure(status)
    return status


NOW = c_int64(0)
#: See `nap`.
NAP = 0.1
NAP_MS = c_int64(100)


def nap(left: float) -> float:
    """How long to wait at a stretch.

    A signal that comes just before a wait begins interrupts nothing. So the main thread,
    which runs Python's handlers, looks up now and then.
    """
    return min(left, NAP) if threading.get_ident() == threading.main_thread().ident else left


def milliseconds(seconds: float) -> int:
    """For the library: rounded up, and -1 for what never ends."""
    if seconds > 1e15:
        return -1
    if seconds <= 0:
        return 0
    return int(seconds * 1000.0 + 0.999)
