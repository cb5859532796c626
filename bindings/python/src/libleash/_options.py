"""The settings of a connection, as Python has them."""

from __future__ import annotations

import ctypes
import math
import os
from ctypes import byref, c_char_p, c_size_t, c_void_p
from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Mapping, Optional, Sequence, TypedDict, Union

from . import _abi, _json
from ._errors import ConnectError, ConnectTimeout, InvalidError, SpawnError, from_status
from ._library import check, last_error, milliseconds, quick, wait

PathLike = Union[str, "os.PathLike[str]"]

Protocol = Literal["jsonrpc", "mcp", "acp", "lsp", "bare"]

PROTOCOLS: Dict[str, int] = {
    name[len("LEASH_PROTOCOL_") :].lower(): value
    for name, value in _abi.ENUMS["leash_protocol"].items()
}
STDERR = {"discard": 0, "events": 1, "inherit": 2}


class FewNeed(TypedDict, total=False):
    """Parameters of a client that few need, for type checkers: `Options` has the defaults."""

    ca_file: Optional[PathLike]
    cert_file: Optional[PathLike]
    key_file: Optional[PathLike]
    stderr: Literal["discard", "events", "inherit"]
    max_message: Optional[int]
    queue_events: Optional[int]
    queue_bytes: Optional[int]
    send_bytes: Optional[int]
    exit_after: Optional[float]
    kill_after: Optional[float]
    ping_every: Optional[float]
    cork: bool


class Parameters(FewNeed, total=False):
    """All parameters of a client but `argv`, for those who pass them on."""

    url: Optional[str]
    environment: Optional[str]
    config: Optional[PathLike]
    env: Optional[Mapping[str, Optional[str]]]
    inherit_env: bool
    cwd: Optional[PathLike]
    headers: Optional[Mapping[str, str]]
    token: Optional[str]
    protocol: Protocol
    timeout: Optional[float]
    connect_timeout: Optional[float]
    raw: bool


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
        check_argv(self.argv)
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
        texts = {
            key: path(value, name_of(key)) for key, value in paths.items() if value is not None
        }
        if self.url is not None:
            texts[_abi.LEASH_OPT_URL] = self.url
        if self.token is not None:
            texts[_abi.LEASH_OPT_BEARER] = self.token
        return texts

    def lists(self) -> Dict[int, List[str]]:
        lists = {}
        for name in self.env or ():
            if not text(name, "the name of a variable") or "=" in name:
                raise InvalidError("the name of a variable is not empty and has no =")
        for name in self.headers or ():
            if not text(name, "the name of a header") or ":" in name:
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
            _abi.LEASH_OPT_CORK: int(bool(self.cork)),
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
        for key, number in numbers.items():
            if not isinstance(number, (int, type(None))):
                raise TypeError(f"{name_of(key)} must be an int, not {type(number).__name__}")
        for key, seconds in times.items():
            if seconds is not None:
                if check_timeout(seconds, name_of(key)) == math.inf:
                    raise InvalidError(f"{name_of(key)} cannot be without a limit")
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
                config = (
                    None if self.config is None else text(path(self.config, "config"), "config")
                )
                name = None if self.environment is None else text(self.environment, "environment")
                status = wait.connect_env(config, name, opts, limit, byref(connection))
            else:
                items = None if self.argv is None else [path(item, "argv") for item in self.argv]
                argv = None if items is None else array(items, "argv")
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
            check_option(key, quick.opts_set_str(opts, key, text(value, name_of(key))))
        for key, number in self.numbers().items():
            check_option(key, quick.opts_set_int(opts, key, number))
        for key, items in self.lists().items():
            encoded = array(items, name_of(key))
            check_option(key, quick.opts_set_list(opts, key, encoded, len(items)))


def environments(config: Optional[PathLike] = None) -> Any:
    """What a codex environments.toml holds, without its secrets: `{"default": id or None,
    "environments": [{"id", "kind", "connect_timeout_sec", "initialize_timeout_sec"}]}`.

    Without a file it is what CODEX_EXEC_SERVER_URL names. Connects to nothing. InvalidError."""
    file = None if config is None else text(path(config, "config"), "config")
    length = c_size_t()
    capacity = 4096
    while True:
        buffer = ctypes.create_string_buffer(capacity)
        status = wait.env_list(file, buffer, capacity, byref(length))
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


def name_of(key: int) -> str:
    """What an option is called as a parameter."""
    name = next(name for name, value in _abi.ENUMS["leash_opt"].items() if value == key)
    name = name[len("LEASH_OPT_") :].lower()
    return {"bearer": "token", "env_clear": "inherit_env"}.get(name, name)


def check_option(key: int, status: int) -> None:
    if status < 0:
        raise from_status(status, f"{name_of(key)}: {last_error()}")


def check_argv(argv: object) -> None:
    if isinstance(argv, (str, bytes, os.PathLike)):
        raise InvalidError("argv is a list of strings, not a command line")


def check_timeout(timeout: float, what: str = "timeout") -> float:
    try:
        is_time = timeout >= 0
    except TypeError:
        kind = type(timeout).__name__
        raise TypeError(f"{what} must be a number of seconds, not {kind}") from None
    # NaN is no time, either.
    if not is_time:
        raise InvalidError(f"{what} must be a number of seconds, not negative")
    return timeout


def path(value: object, what: str) -> str:
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise TypeError(f"{what}: a str or a path is wanted, not {type(found).__name__}")
    return found


def text(value: str, what: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    encoded = value.encode("utf-8", "surrogatepass")
    if b"\0" in encoded:
        raise InvalidError(f"{what} contains a NUL")
    return encoded


def array(items: Any, what: str) -> "ctypes.Array[c_char_p]":
    encoded = [text(item, what) for item in items]
    return (c_char_p * (len(encoded) + 1))(*encoded, None)


def choose(table: Mapping[str, int], name: str, what: str) -> int:
    if not isinstance(name, str) or name not in table:
        raise InvalidError(f"{what} must be one of: {', '.join(table)}")
    return table[name]
