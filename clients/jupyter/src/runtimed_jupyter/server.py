"""An extension of Jupyter Server for the status item in JupyterLab: what the pools are, and each change of theirs, for a browser.

    GET <base_url>/runtimed/pools    the result of pool.status; 503 with {"error": {...}} where no daemon answers
    GET <base_url>/runtimed/watch    a WebSocket: the same JSON, {"pools": [...]} or {"error": {...}}, now and after each change

Both ask for the login (cookie or token) and the authorization that Jupyter's own pages ask for, of the resource "runtimed".

A WebSocket, not Server-Sent Events: a browser has six connections to a server for all its tabs, and an event stream takes one for as
long as its tab is open, so that the sixth JupyterLab would hang. WebSockets have a limit of their own, and what does not let them
through lets no kernel through either.
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

RESOURCE = "runtimed"  # as an authorizer of Jupyter Server is asked
FIRST_PAUSE, LAST_PAUSE = 0.5, 5.0  # seconds until the next try where no daemon answers
PING = 30.0  # seconds
HINT = "see the log of Jupyter's server"


def failure(error: RuntimedError) -> dict[str, Any]:
    """What a browser is told of an error."""
    return {"error": {"kind": error.kind, "message": error.message, "hint": error.hint}}


class Watcher:
    """One watch of the daemon for all browsers. It is on while somebody is looking; it starts no daemon."""

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
        """Has after() work inside the with block."""
        self._looking += 1
        if self._task is None:
            self._changed = asyncio.Event()  # one that belongs to this loop
            self._task = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                self._task.cancel()
                self._task = self._state = None

    async def after(self, seen: Optional[str]) -> str:
        """The newest state, as JSON, once it is another than `seen`. What a slow browser was too late for it never gets."""
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
                    await client.info()  # a daemon of another protocol is told from one of ours
                    statuses = client.watch()
                    try:
                        async for status in statuses:
                            self._tell(dataclasses.asdict(status))
                            pause = 0.0
                            await asyncio.sleep(0)  # where changes never end, Jupyter shall go on too
                    finally:
                        await statuses.aclose()
            except RuntimedError as error:
                self._log.debug("The pools of runtimed cannot be watched: %s", error)
                if pause or error.kind != "closed":  # why the daemon hung up is what the next try says
                    self._tell(failure(error))
            except Exception as error:  # a fault of ours must not leave the browsers with what was true once
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
        """Seconds. A browser that is gone without a word is found out by this, and a proxy sees that the connection is in use."""
        return float(self.settings.get("websocket_ping_interval") or PING)

    def initialize(self, watcher: Watcher) -> None:
        self._watcher = watcher

    @authorized
    async def get(self, *args: Any, **kwargs: Any) -> None:
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        self._following = asyncio.ensure_future(self._follow())

    def on_message(self, message: object) -> None:
        """Nothing is expected from a browser."""

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
            (url_path_join(base, "runtimed", "pools"), PoolsHandler),
            (url_path_join(base, "runtimed", "watch"), WatchHandler, {"watcher": watcher}),
        ],
    )
