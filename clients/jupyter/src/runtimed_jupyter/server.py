"""An extension of Jupyter Server that tells a browser about the pools, for the status item in JupyterLab.

    GET <base_url>/runtimed/pools    the result of pool.status, or 503 with {"error": {...}} if no daemon answers
    GET <base_url>/runtimed/watch    a WebSocket: {"pools": [...]} or {"error": {...}}, now and after each change

Both need the login (cookie or token) and the authorization of Jupyter's own pages, for the resource "runtimed".

It is a WebSocket because a browser opens only six connections to a server for all its tabs: a stream of Server-Sent
Events would take one for each tab, and the sixth JupyterLab would hang. WebSockets have a limit of their own.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any, Optional

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from runtimed_client import AsyncClient, RuntimedError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .kernelspecs import KernelSpecsHandler

RESOURCE = "runtimed"  # what an authorizer of Jupyter Server is asked about
FIRST_PAUSE, LAST_PAUSE = 0.5, 5.0  # seconds until the next try if no daemon answers
PING = 30.0  # seconds
HINT = "see the log of Jupyter's server"


def failure(error: RuntimedError) -> dict[str, Any]:
    """What a browser gets to know of an error."""
    return {"error": {"kind": error.kind, "message": error.message, "hint": error.hint}}


class Watcher:
    """One watch of the daemon for all browsers, open while somebody looks. It starts no daemon."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._looking = 0
        self._task: Optional[asyncio.Task[None]] = None
        self._state: Optional[str] = None
        self._changed = asyncio.Event()

    @property
    def on(self) -> bool:
        return self._task is not None

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Keeps the watch open."""
        self._looking += 1
        if self._task is None:
            self._changed = asyncio.Event()  # it belongs to this loop
            self._task = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                self._task.cancel()
                self._task = self._state = None

    async def after(self, seen: Optional[str]) -> str:
        """The newest state, as JSON, once it is not `seen`. A slow browser skips the states in between."""
        while self._state is None or self._state == seen:
            await self._changed.wait()
        return self._state

    def _tell(self, state: dict[str, Any]) -> None:
        self._state = json.dumps(state)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch(self) -> None:
        pause = 0.0
        while True:
            try:
                async with AsyncClient() as client:
                    await client.info()  # it refuses a daemon of another protocol
                    statuses = client.watch()
                    try:
                        async for status in statuses:
                            self._tell(dataclasses.asdict(status))
                            pause = 0.0
                            await asyncio.sleep(0)  # without end of changes, Jupyter must still go on
                    finally:
                        await statuses.aclose()
            except RuntimedError as error:
                self._log.debug("The pools of runtimed cannot be watched: %s", error)
                if pause or error.kind != "closed":  # the next try says why the daemon hung up
                    self._tell(failure(error))
            except Exception as error:  # a bug here must not leave browsers with an old state
                self._log.exception("The pools of runtimed cannot be watched")
                self._tell(
                    {"error": {"kind": "internal", "message": f"The pools cannot be watched: {error!r}", "hint": HINT}}
                )
                pause = max(pause, FIRST_PAUSE)
            await asyncio.sleep(pause)
            pause = min(max(FIRST_PAUSE, 2 * pause), LAST_PAUSE)


class PoolsHandler(APIHandler):
    """The pools, once."""

    auth_resource = RESOURCE

    @web.authenticated
    @authorized
    async def get(self) -> None:
        try:
            async with AsyncClient() as client:
                answer = await client.call("pool.status")
        except RuntimedError as error:
            self.set_status(503)
            answer = failure(error)
        self.finish(json.dumps(answer))


class WatchHandler(JupyterHandler, WebSocketHandler):
    """The pools, now and after each change."""

    auth_resource = RESOURCE
    _following: Optional["asyncio.Task[None]"] = None

    @property
    def ping_interval(self) -> float:
        """Seconds. It finds a browser that vanished, and shows a proxy that the connection is in use."""
        return float(self.settings.get("websocket_ping_interval") or PING)

    def initialize(self, watcher: Watcher) -> None:
        self._watcher = watcher

    @authorized
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        self._following = asyncio.ensure_future(self._follow())

    def on_message(self, message: object) -> None:
        """A browser has nothing to say."""

    def on_close(self) -> None:
        if self._following:
            self._following.cancel()

    async def _follow(self) -> None:
        state = None
        with self._watcher.looking(), contextlib.suppress(WebSocketClosedError):
            while True:
                state = await self._watcher.after(state)
                await self.write_message(state)


def _load_jupyter_server_extension(app: Any) -> None:
    if app.jpserver_extensions.get("runtimed_client.server") is False:  # its name when it was a part of runtimed-client
        return
    base, watcher = app.web_app.settings["base_url"], Watcher(app.log)
    app.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "api", "kernelspecs"), KernelSpecsHandler),
            (url_path_join(base, "runtimed", "pools"), PoolsHandler),
            (url_path_join(base, "runtimed", "watch"), WatchHandler, {"watcher": watcher}),
        ],
    )
