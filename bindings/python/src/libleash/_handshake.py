"""The greetings of the protocols: `initialize`, and the notification that ends it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from ._async import AsyncClient
from ._client import Client
from ._library import version
from ._options import Parameters, PathLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What is sent with `initialize`, and the notification after it with its params.
_Greeting = Tuple[Dict[str, Any], Optional[str], Any]


def _greetings() -> Dict[str, Callable[[], _Greeting]]:
    me = {"name": "libleash", "version": version}
    return {
        "bare": lambda: ({"clientName": "libleash"}, "initialized", None),
        "mcp": lambda: (
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": me},
            "notifications/initialized",
            None,
        ),
        "acp": lambda: ({"protocolVersion": 1, "clientCapabilities": {}}, None, None),
        "lsp": lambda: (
            {"processId": os.getpid(), "rootUri": None, "capabilities": {}, "clientInfo": me},
            "initialized",
            {},
        ),
        "jsonrpc": lambda: ({}, "initialized", None),
    }


def _greeting(protocol: str, initialize: Optional[Mapping[str, Any]]) -> _Greeting:
    params, after, after_params = _greetings()[protocol]()
    return {**params, **(initialize or {})}, after, after_params


def connect(
    argv: Optional[Sequence[PathLike]] = None,
    *,
    initialize: Optional[Mapping[str, Any]] = None,
    on_request: Optional[Mapping[str, Callable[..., Any]]] = None,
    on_notification: Optional[Mapping[str, Callable[..., Any]]] = None,
    **options: Unpack[Parameters],
) -> Client:
    """A `Client` that has shaken hands as its protocol wants: its `initialize_result` is what the
    server said.

    Parameters are those of `Client`. `initialize` adds to what is sent by default, and wins. Some
    servers send requests early: `on_request` and `on_notification` have handlers by method. When
    the handshake fails nothing is left running. Errors are those of `Client`, and of its `call`:
    `connect_timeout` is for the start (ConnectTimeout), `timeout` for the answer (CallTimeout).
    """
    client = Client(argv, **options)
    try:
        _register(client, on_request, on_notification)
        params, after, after_params = _greeting(client._options.protocol, initialize)
        client.initialize_result = client.call("initialize", params, raw=False)
        if after is not None:
            client.notify(after, after_params)
    except BaseException:
        client.close()
        raise
    return client


async def connect_async(
    argv: Optional[Sequence[PathLike]] = None,
    *,
    initialize: Optional[Mapping[str, Any]] = None,
    on_request: Optional[Mapping[str, Callable[..., Any]]] = None,
    on_notification: Optional[Mapping[str, Callable[..., Any]]] = None,
    **options: Unpack[Parameters],
) -> AsyncClient:
    """As `connect`, for asyncio: `async with await connect_async([...], protocol="mcp")`."""
    client = AsyncClient(argv, **options)
    _register(client, on_request, on_notification)
    await client.open()
    try:
        params, after, after_params = _greeting(client._options.protocol, initialize)
        client.initialize_result = await client.call("initialize", params, raw=False)
        if after is not None:
            client.notify(after, after_params)
    except BaseException:
        await client.close()
        raise
    return client


def _register(
    client: Any,
    on_request: Optional[Mapping[str, Callable[..., Any]]],
    on_notification: Optional[Mapping[str, Callable[..., Any]]],
) -> None:
    for method, handler in (on_request or {}).items():
        client.on_request(method, handler)
    for method, handler in (on_notification or {}).items():
        client.on_notification(method, handler)
