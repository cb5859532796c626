"""The settings of a connection, as Python has them."""

from __future__ import annotations

import ctypes
import math
import os
from ctypes import byref, c_char_p, c_size_t, c_void_p
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from . import _abi, _json
from ._errors import ConnectError, ConnectTimeout, InvalidError, SpawnError, from_status
from ._library import check, last_error, milliseconds, quick, wait

PathLike = Union[str, "os.PathLike[str]"]

PROTOCOLS: Dict[str, int] = {
    name[len("LEASH_PROTOCOL_") :].lower(): value
    for name, value in _abi.ENUMS["leash_protocol"].items()
}
STDERR = {"discard": 0, "events": 1, "inherit": 2}


@dataclass
class Options:
    """Everything that a connection is made from. `repr` shows no secrets."""

    argv: Optional[Sequence[PathLike]] = field(default=None, repr=False)
    url: Optional[str] = field(default=None, repr=False)
    environment: Optional[str] = None
    config: Optional[PathLike] = None
    env: Optional[Mapping[str, Optional[str]]] = field(default=None, repr=False)
    inherit_env: bool = True
    cwd: Optional[PathLike] = None
    headers: Optional[Mapping[str, str]] = field(default=None, repr=False)
    token: Optional[str] = field(default=None, repr=False)
    ca_file: Optional[PathLike] = None
    cert_file: Optional[PathLike] = None
    key_file: Optional[PathLike] = None
    protocol: str = "jsonrpc"
    stderr: str = "events"
    max_message: Optional[int] = None
    queue_events: Optional[int] = None
    queue_bytes: Optional[int] = None
    send_bytes: Optional[int] = None
    exit_after: Optional[float] = None
    kill_after: Optional[float] = None
    ping_every: Optional[float] = None
    cork: bool = False

    def __post_init__(self) -> None:
        ways = [self.argv is not None, self.url is not None, self.is_environment()]
        if sum(ways) != 1:
            raise InvalidError("give one of argv, url, or environment and config")
        if isinstance(self.argv, (str, bytes)):
            raise InvalidError("argv is a list of strings, not a command line")
        choose(PROTOCOLS, self.protocol, "protocol")
        choose(STDERR, self.stderr, "stderr")

    def is_environment(self) -> bool:
        return self.environment is not None or self.config is not None

    def texts(self) -> Dict[int, str]:
        paths = {
            _abi.LEASH_OPT_CA_FILE: self.ca_file,
            _abi.LEASH_OPT_CERT_FILE: self.cert_file,
            _abi.LEASH_OPT_KEY_FILE: self.key_file,
            _abi.LEASH_OPT_CWD: self.cwd,
        }
        texts = {key: os.fspath(path) for key, path in paths.items() if path is not None}
        if self.url is not None:
            texts[_abi.LEASH_OPT_URL] = self.url
        if self.token is not None:
            texts[_abi.LEASH_OPT_BEARER] = self.token
        return texts

    def lists(self) -> Dict[int, List[str]]:
        lists = {}
        for name in self.env or ():
            if not name or "=" in name:
                raise InvalidError("the name of a variable is not empty and has no =")
        for name in self.headers or ():
            if not name or ":" in name:
                raise InvalidError("the name of a header is not empty and has no colon")
        if self.env:
            lists[_abi.LEASH_OPT_ENV] = [
                name if value is None else f"{name}={value}" for name, value in self.env.items()
            ]
        if self.headers:
            lists[_abi.LEASH_OPT_HEADERS] = [
                f"{name}: {value}" for name, value in self.headers.items()
            ]
        return lists

    def numbers(self) -> Dict[int, int]:
        numbers = {
            _abi.LEASH_OPT_PROTOCOL: PROTOCOLS[self.protocol],
            _abi.LEASH_OPT_STDERR: STDERR[self.stderr],
            _abi.LEASH_OPT_ENV_CLEAR: int(not self.inherit_env),
            _abi.LEASH_OPT_CORK: int(self.cork),
            _abi.LEASH_OPT_MAX_MESSAGE: self.max_message,
            _abi.LEASH_OPT_QUEUE_EVENTS: self.queue_events,
            _abi.LEASH_OPT_QUEUE_BYTES: self.queue_bytes,
            _abi.LEASH_OPT_SEND_BYTES: self.send_bytes,
        }
        times = {
            _abi.LEASH_OPT_EXIT_AFTER: self.exit_after,
            _abi.LEASH_OPT_KILL_AFTER: self.kill_after,
            _abi.LEASH_OPT_PING_EVERY: self.ping_every,
        }
        for key, seconds in times.items():
            if seconds is not None:
                if not 0 <= seconds < math.inf:
                    raise InvalidError("a time is a number of seconds, not negative")
                numbers[key] = milliseconds(seconds)
        return {key: value for key, value in numbers.items() if value is not None}

    def connect(self, timeout: Optional[float]) -> int:
        """A `leash_conn *`. None: what the environments file says, else no limit."""
        limit = -1 if timeout is None else milliseconds(timeout)
        connection = c_void_p()
        opts = quick.opts_new()
        if opts is None:
            raise from_status(_abi.LEASH_E_FORKED, last_error())
        try:
            self._apply(opts)
            if self.is_environment():
                config = None if self.config is None else text(os.fspath(self.config), "config")
                name = None if self.environment is None else text(self.environment, "environment")
                status = wait.connect_env(config, name, opts, limit, byref(connection))
            else:
                argv = None if self.argv is None else array(map(os.fspath, self.argv), "argv")
                status = wait.connect(argv, opts, limit, byref(connection))
        finally:
            quick.opts_free(opts)
        if status == _abi.LEASH_E_CONNECT and self.argv is not None:
            raise SpawnError(last_error(), errno=quick.last_os_error())
        if status == _abi.LEASH_E_CONNECT:
            raise ConnectError(last_error(), errno=quick.last_os_error())
        if status == _abi.LEASH_E_TIMEOUT:
            raise ConnectTimeout(last_error())
        check(status)
        assert connection.value is not None
        return connection.value

    def _apply(self, opts: int) -> None:
        for key, value in self.texts().items():
            check(quick.opts_set_str(opts, key, text(value, "an option")))
        for key, number in self.numbers().items():
            check(quick.opts_set_int(opts, key, number))
        for key, items in self.lists().items():
            check(quick.opts_set_list(opts, key, array(items, "a list"), len(items)))


def environments(config: Optional[PathLike] = None) -> Any:
    """What a codex environments.toml holds, without its secrets: `{"default": id or None,
    "environments": [{"id", "kind", "connect_timeout_sec", "initialize_timeout_sec"}]}`.

    Without a file it is what CODEX_EXEC_SERVER_URL names. Connects to nothing. InvalidError."""
    path = None if config is None else text(os.fspath(config), "config")
    length = c_size_t()
    capacity = 4096
    while True:
        buffer = ctypes.create_string_buffer(capacity)
        status = wait.env_list(path, buffer, capacity, byref(length))
        if status != _abi.LEASH_E_TOO_BIG or length.value < capacity:
            check(status)
            return _json.parse(buffer.raw[: length.value])
        capacity = length.value + 1


def environment_timeout(options: Options) -> Optional[float]:
    """How long the file says that connecting may take."""
    known = environments(options.config)
    name = options.environment or known.get("default")
    for environment in known["environments"]:
        if environment["id"] == name:
            return float(environment["connect_timeout_sec"])
    return None


def text(value: str, what: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    if b"\0" in encoded:
        raise InvalidError(f"{what} contains a NUL")
    return encoded


def array(items: Any, what: str) -> "ctypes.Array[c_char_p]":
    encoded = [text(item, what) for item in items]
    return (c_char_p * (len(encoded) + 1))(*encoded, None)


def choose(table: Mapping[str, int], name: str, what: str) -> int:
    try:
        return table[name]
    except KeyError:
        raise InvalidError(f"{what} must be one of: {', '.join(table)}") from None
