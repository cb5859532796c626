"""Drive a JSON-RPC server as a child process, and leave nothing running when you let go.

    import libleash

    with libleash.Client(["some-server"]) as client:
        print(client.call("add", [1, 2]))

`AsyncClient` is the same for asyncio; `connect` and `connect_async` do the handshake of MCP, LSP,
ACP and exec-server as well. `libleash.exec_server.ExecServer` runs commands through codex.
"""

from ._async import AsyncClient
from ._client import Call, Client
from ._errors import (
    CallCancelled,
    CallTimeout,
    ClosedError,
    CloseTimeout,
    ConnectError,
    ConnectTimeout,
    ForkedError,
    FullError,
    InternalError,
    InvalidError,
    LeashError,
    LeftError,
    NoMemoryError,
    ProtocolError,
    RpcError,
    SpawnError,
    StateError,
    TooBigError,
    UnsupportedError,
)
from ._events import (
    Closed,
    Event,
    Noise,
    Notification,
    Opened,
    Request,
    Stage,
    StderrLine,
)
from ._handshake import connect, connect_async
from ._library import path as library_path
from ._library import version as __version__
from ._options import environments

__all__ = [
    "AsyncClient",
    "Call",
    "CallCancelled",
    "CallTimeout",
    "Client",
    "CloseTimeout",
    "Closed",
    "ClosedError",
    "ConnectError",
    "ConnectTimeout",
    "Event",
    "ForkedError",
    "FullError",
    "InternalError",
    "InvalidError",
    "LeashError",
    "LeftError",
    "NoMemoryError",
    "Noise",
    "Notification",
    "Opened",
    "ProtocolError",
    "Request",
    "RpcError",
    "SpawnError",
    "Stage",
    "StateError",
    "StderrLine",
    "TooBigError",
    "UnsupportedError",
    "__version__",
    "connect",
    "connect_async",
    "environments",
    "library_path",
]
