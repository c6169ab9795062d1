"""Warm Python environments from the runtimed daemon.

    with Client() as c:
        with c.acquire("uv", wait=30) as env:
            subprocess.run([env.python, "-c", "import ipykernel"], env=env.environ())

AsyncClient is the same for asyncio. Every error is a RuntimedError.
"""

from ._aio import AsyncClient, AsyncLease, Client, Lease
from ._errors import ConnectError, ProtocolError, RequestTimeout, RPCError, RuntimedError
from ._values import Env, Info, Package, PoolError, PoolStatus, Progress, Project, Standby, StandbyStatus, Status, Tool
from ._wire import __version__, socket_path

__all__ = ["AsyncClient", "AsyncLease", "Client", "Lease", "Standby", "StandbyStatus", "__version__", "socket_path"]
__all__ += ["ConnectError", "ProtocolError", "RPCError", "RequestTimeout", "RuntimedError"]
__all__ += ["Env", "Info", "Package", "PoolError", "PoolStatus", "Progress", "Project", "Status", "Tool"]
