"""An extension of Jupyter Server that tells a browser about the pools, for the status item in JupyterLab.

    GET  <base_url>/runtimed/pools     the result of pool.status
    GET  <base_url>/runtimed/watch     a WebSocket: {"pools": [...]} or {"error": {...}}, now and after each change
    GET  <base_url>/runtimed/leases    who uses which environment: {"leases": [...]}
    GET  <base_url>/runtimed/log       the last lines of the daemon's log: {"log": "..."}
    POST <base_url>/runtimed/release   {"env": ID}: gives back an environment that nobody uses
    POST <base_url>/runtimed/retry     has pools that fail try again now
    POST <base_url>/runtimed/start     starts a daemon, if none runs

What fails is 503 with {"error": {"kind", "message", "hint"}}. All need the login (cookie or token), for POST with
Jupyter's XSRF token, and the authorization of Jupyter's own pages, for the resource "runtimed".

The watch is a WebSocket because a browser opens only six connections to a server for all its tabs: a stream of
Server-Sent Events would take one for each tab, and the sixth JupyterLab would hang. WebSockets have a limit of their
own.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import subprocess
from collections.abc import Awaitable, Iterator
from typing import Any, Optional

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from runtimed_client import AsyncClient, ConnectError, RuntimedError
from runtimed_client._start import NO_WINDOW, Starter, find_runt
from tornado import web
from tornado.ioloop import PeriodicCallback
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .idle import PERIOD, Idle, now
from .kernelspecs import KernelSpecsHandler
from .leases import Listed, is_unused, kernel_of, leased, memory

RESOURCE = "runtimed"  # what an authorizer of Jupyter Server is asked about
FIRST_PAUSE, LAST_PAUSE = 0.5, 5.0  # seconds until the next try if no daemon answers
PING = 30.0  # seconds
LINES, MOST, LOG_TIME = 200, 1 << 20, 10.0  # of the log, and bytes of them; seconds to read them
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


async def tell_leases(kernels: Any, sessions: Any, idle: Idle) -> dict[str, Any]:
    """Who uses which environment, since when, and with how much memory."""
    envs = await leased()
    used = await asyncio.to_thread(memory, envs)
    running = {session["kernel"]["id"]: session for session in await sessions.list_sessions()}

    def tell(env: Listed) -> dict[str, Any]:
        lease, kernel = env["lease"], kernel_of(env, kernels)
        session, since = running.get(kernel, {}), idle.since(kernel) if kernel else None
        return {
            **{name: env[name] for name in ("id", "pool", "project")},
            **{name: lease.get(name) for name in ("label", "owner_pid", "since", "kept_until", "where")},
            "unused": is_unused(env),
            "memory_bytes": used.get(env["id"]),
            "kernel": kernel
            and {
                "id": kernel,
                "session": session.get("id"),
                "path": session.get("path"),
                # How long it has run nothing while no front-end was connected; null: one is, or something runs.
                "idle_ms": since and int((now() - since).total_seconds() * 1000),
            },
        }

    return {"leases": [tell(env) for env in envs]}


async def release(id: object) -> dict[str, Any]:
    """Give an environment back. One that is in use would stay on the disk, and its user would lose it at a restart."""
    env = next((env for env in await leased() if env["id"] == id), None)
    if env and not is_unused(env):
        message = f"{id} is in use by process {env['lease']['owner_pid']}"
        raise RuntimedError(message, kind="in_use", hint=f"end that first; by force: runt pool release {id}")
    if env:
        async with AsyncClient() as client:
            await client.release(env["id"])
    return {}


async def retry() -> dict[str, Any]:
    """A reload ends the pauses after failed builds, and unlike a flush leaves what is ready."""
    async with AsyncClient() as client:
        return await client.call("daemon.reload")


async def start() -> dict[str, Any]:
    """Somebody asks for it, so it does not matter whether kernels may start one."""
    try:
        async with AsyncClient() as client:
            await client.info()
    except ConnectError as error:
        if error.kind != "unreachable":
            raise
        await asyncio.to_thread(Starter(True, None, None).start, error)
    return {}


def read_log() -> dict[str, Any]:
    """What `runt daemon logs` says, which hides passwords, and knows where the log is."""
    runt = find_runt()
    if not runt:
        raise RuntimedError(
            "there is no runt that could read the log", kind="no_runt", hint="runtimed-client[bin] has it"
        )
    command = [runt, "daemon", "logs", "--lines", str(LINES)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LOG_TIME, creationflags=NO_WINDOW
        )
    except subprocess.TimeoutExpired as error:
        why = f"runt did not answer within {LOG_TIME:.0f} s"
        raise RuntimedError(why, kind="no_log", hint="try: runt daemon logs") from error
    except OSError as error:
        raise RuntimedError(f"the log cannot be read: {error}", kind="no_log", hint="try: runt daemon logs") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").splitlines()
        message, hint = (
            " ".join(line.split(f"runt: {what}: ", 1)[1] for line in said if line.startswith(f"runt: {what}: "))
            for what in ("error", "hint")
        )
        raise RuntimedError(message or f"runt ended with {done.returncode}", kind="no_log", hint=hint)
    return {"log": done.stdout[-MOST:].decode(errors="replace")}


class Handler(APIHandler):
    """Answers with what is asked for, or says in plain words why not."""

    auth_resource = RESOURCE

    async def answer(self, asked: Awaitable[dict[str, Any]]) -> None:
        try:
            answer = await asked
        except RuntimedError as error:
            self.set_status(503)
            answer = failure(error)
        self.finish(json.dumps(answer))


class PoolsHandler(Handler):
    """The pools, once."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        async with AsyncClient() as client:
            await self.answer(client.call("pool.status"))


class LeasesHandler(Handler):
    """Who uses what."""

    _track_activity = False  # a popup that was left open asks again and again

    def initialize(self, idle: Idle) -> None:
        self._idle = idle

    @web.authenticated
    @authorized
    async def get(self) -> None:
        await self.answer(tell_leases(self.kernel_manager, self.session_manager, self._idle))


class LogHandler(Handler):
    """The end of the daemon's log."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        await self.answer(asyncio.to_thread(read_log))


class ActionHandler(Handler):
    """What a person may do about a pool."""

    @web.authenticated
    @authorized
    async def post(self, action: str) -> None:
        if action == "release":
            try:
                body = self.get_json_body()
            except UnicodeDecodeError as error:
                raise web.HTTPError(400, "the body is not UTF-8") from error
            await self.answer(release(body.get("env") if isinstance(body, dict) else None))
        else:
            await self.answer(retry() if action == "retry" else start())


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
    settings, watcher = app.web_app.settings, Watcher(app.log)
    idle = Idle(settings["kernel_manager"], settings["session_manager"], app.log)

    def at(path: str) -> str:
        return url_path_join(settings["base_url"], "runtimed", path)

    app.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(settings["base_url"], "api", "kernelspecs"), KernelSpecsHandler),
            (at("pools"), PoolsHandler),
            (at("watch"), WatchHandler, {"watcher": watcher}),
            (at("leases"), LeasesHandler, {"idle": idle}),
            (at("log"), LogHandler),
            (at("(release|retry|start)"), ActionHandler),
        ],
    )
    app.io_loop.add_callback(PeriodicCallback(idle.look, PERIOD * 1000).start)
