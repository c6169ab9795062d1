"""Warm Python environments from the runtimed daemon.

    with Client() as c:
        with c.acquire("uv", wait=30) as env:
            subprocess.run([env.python, "-c", "import ipykernel"], env=env.environ())

AsyncClient is the same for asyncio. Every error is a RuntimedError.
"""

from ._async import AsyncClient, AsyncLease
from ._client import Client, Lease
from ._errors import ConnectError, ProtocolError, RequestTimeout, RPCError, RuntimedError
from ._values import Env, Info, Package, PoolError, PoolStatus, Progress, Status, Tool
from ._wire import VERSION as __version__
from ._wire import socket_path

__all__ = [
    "AsyncClient",
    "AsyncLease",
    "Client",
    "ConnectError",
    "Env",
    "Info",
    "Lease",
    "Package",
    "PoolError",
    "PoolStatus",
    "Progress",
    "ProtocolError",
    "RPCError",
    "RequestTimeout",
    "RuntimedError",
    "Status",
    "Tool",
    "__version__",
    "socket_path",
]
