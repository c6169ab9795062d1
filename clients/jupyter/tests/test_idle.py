"""Kernels of closed notebooks: which of them Jupyter's server ends, and which it never does."""

import asyncio
import datetime
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional, cast
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from fake import ENV, POOL, FakeDaemon, Peer, wait_until
from fixtures import running
from jupyter_client.session import Session
from jupyter_server.gateway.managers import GatewayKernelManager
from lab import built
from runtimed_client import Client
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect
from wire import SOURCES

from runtimed_jupyter.idle import Idle
from runtimed_jupyter.leases import kernel_of

pytestmark = pytest.mark.timeout(600)
FOLDER = Path(__file__).resolve().parents[1]
TOKEN = "secret"
EIGHT_HOURS = 8 * 3600 * 1000
SESSION = "jupyter /r/kernel-a.json"


class Kernels(dict[str, Any]):
    """A kernel manager and a session manager of memory, with one kernel of `runt kernel`: "a"."""

    def __init__(self, **model: Any) -> None:
        self.model = {"connections": 0, "execution_state": "idle", **model}
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=9)
        argv = ["/bin/runt", "kernel", "-f", "{connection_file}"]
        spec, provisioner = SimpleNamespace(argv=argv), SimpleNamespace(pid=4242)
        kernel = SimpleNamespace(last_activity=old, kernel_spec=spec, provisioner=provisioner)
        kernel.connection_file = "/r/kernel-a.json"
        super().__init__(a=kernel)
        self.sessions: list[dict[str, Any]] = [{"id": "s", "path": "a.ipynb", "kernel": {"id": "a"}}]

    def list_kernel_ids(self) -> list[str]:
        return list(self)

    def get_kernel(self, id: str) -> Any:
        return self[id]

    def kernel_model(self, id: str) -> dict[str, Any]:
        return self.model

    async def shutdown_kernel(self, id: str) -> None:
        del self[id]

    async def list_sessions(self) -> list[Any]:
        return [session for session in self.sessions if session["kernel"]["id"] in self]

    async def delete_session(self, id: str) -> None:
        await self.shutdown_kernel(next(one["kernel"]["id"] for one in self.sessions if one["id"] == id))
        self.sessions = []


def lease(session: str = SESSION, owner: int = 4242, pool: str = "uv") -> dict[str, Any]:
    held = {"owner_pid": owner, "alive": True, "label": "a.ipynb", "session": session}
    return {
        **ENV,
        "pool": pool,
        "size_bytes": 1,
        "lease": {**held, "since": "2026-01-02T03:04:05Z", "kept_until": None},
    }


def serve(fake: FakeDaemon, *envs: dict[str, Any], idle_ms: int = EIGHT_HOURS) -> None:
    """Have it tell these leases, in pools that allow so much."""
    answers: dict[str, Any] = {"pool.status": {"pools": [{**POOL, "idle_ms": idle_ms}, {**POOL, "name": "kept"}]}}
    answers["env.list"] = {"envs": list(envs)}

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] in answers:
            peer.send({"id": request["id"], "result": answers[request["method"]]})
        return request["method"] in answers

    fake.hook = hook


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "list[datetime.timedelta]":
    """How far the clock is ahead."""
    ahead = [datetime.timedelta()]

    def now() -> datetime.datetime:
        return datetime.datetime.now(datetime.timezone.utc) + ahead[0]

    monkeypatch.setattr("runtimed_jupyter.idle.now", now)
    monkeypatch.setattr("runtimed_jupyter.idle.monotonic", lambda: time.monotonic() + ahead[0].total_seconds())
    return ahead


def looks(kernels: Kernels, clock: "list[datetime.timedelta]", *hours: float) -> Idle:
    """Looks at the kernels now, and then each time so many hours later."""
    idle = Idle(kernels, kernels, logging.getLogger())

    async def main() -> None:
        await idle.look()
        for more in hours:
            clock[0] += datetime.timedelta(hours=more)
            await idle.look()

    asyncio.run(main())
    return idle


@pytest.fixture
def daemon(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    serve(fake, lease())
    return fake


def test_time_counts_from_when_the_notebook_was_closed(daemon: FakeDaemon, clock: "list[datetime.timedelta]") -> None:
    kernels = Kernels()
    idle = looks(kernels, clock, 7.9)  # it ran its last cell nine hours before
    assert kernels
    assert idle.since("a")
    looks(kernels, clock, 7.9, 0.2)
    assert not kernels
    assert kernels.sessions == []


def test_a_clock_that_is_set_and_a_machine_that_slept_end_nothing(
    daemon: FakeDaemon, clock: "list[datetime.timedelta]", monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = Kernels()
    monkeypatch.setattr("runtimed_jupyter.idle.monotonic", time.monotonic)
    looks(kernels, clock, 9)
    looks(kernels, clock, -9, 9)
    assert kernels


@pytest.mark.parametrize(
    ("envs", "ended"),
    [
        ([lease()], True),
        ([lease(SESSION + "#" + 26 * "A")], True),  # --on-restart fresh
        ([lease("")], False),
        ([lease("jupyter /r/kernel-b.json")], False),
        ([lease(pool="kept")], False),
        ([], False),
    ],
)
def test_only_a_kernel_with_a_lease_of_a_pool_that_says_so_is_ended(
    fake: FakeDaemon, daemon: FakeDaemon, clock: "list[datetime.timedelta]", envs: list[dict[str, Any]], ended: bool
) -> None:
    serve(fake, *envs)
    kernels = Kernels()
    looks(kernels, clock, 9)
    assert bool(kernels) is not ended


@pytest.mark.parametrize("model", [{"connections": 1}, {"execution_state": "busy"}, {"execution_state": "starting"}])
def test_nothing_that_runs_or_is_looked_at_is_ended(
    daemon: FakeDaemon, clock: "list[datetime.timedelta]", model: dict[str, Any]
) -> None:
    kernels = Kernels(**model)
    looks(kernels, clock, 9)
    assert kernels
    assert not daemon.requests
    kernels.model, kernels["b"] = Kernels().model, SimpleNamespace(**{**vars(kernels["a"]), "last_activity": None})
    looks(kernels, clock, 7)  # its time begins now
    assert kernels


def test_a_kernel_of_another_kernelspec_is_none_of_ours(daemon: FakeDaemon, clock: "list[datetime.timedelta]") -> None:
    kernels = Kernels()
    kernels["a"].kernel_spec.argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    looks(kernels, clock, 9)
    assert kernels
    assert not daemon.requests


def test_a_kernel_of_a_gateway_is_none_of_ours(daemon: FakeDaemon, clock: "list[datetime.timedelta]") -> None:
    """Its kernelspec is where the gateway is, so jupyter_client raises where it is asked for it here."""
    kernels, of_gateway = Kernels(), cast(Any, GatewayKernelManager)
    kernels["remote"] = of_gateway(kernel_name="none-of-this-machine")
    assert kernel_of(lease("jupyter /r/kernel-b.json"), kernels) is None
    looks(kernels, clock, 9)
    assert list(kernels) == ["remote"]


def test_by_default_and_without_a_daemon_none_is_ended(
    fake: FakeDaemon, daemon: FakeDaemon, clock: "list[datetime.timedelta]"
) -> None:
    kernels = Kernels()
    serve(fake, lease(), idle_ms=0)
    looks(kernels, clock, 1000)
    assert fake.methods() == ["pool.status"]
    fake.stop()
    looks(kernels, clock, 1000)
    assert kernels


def test_who_comes_back_at_the_last_moment_keeps_the_kernel(
    fake: FakeDaemon, daemon: FakeDaemon, clock: "list[datetime.timedelta]"
) -> None:
    kernels = Kernels()
    answer = fake.hook

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] == "env.list":
            kernels.model["connections"] = 1
        return bool(answer and answer(peer, request))

    fake.hook = hook
    looks(kernels, clock, 9)
    assert fake.methods()[-1] == "env.list"
    assert kernels


def test_one_that_cannot_be_ended_keeps_no_other(
    fake: FakeDaemon, daemon: FakeDaemon, clock: "list[datetime.timedelta]", caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Kernels):
        async def shutdown_kernel(self, id: str) -> None:
            if id == "a":
                raise RuntimeError("it is stuck")
            await super().shutdown_kernel(id)

    kernels = Stuck()
    kernels["b"] = SimpleNamespace(**{**vars(kernels["a"]), "connection_file": "/r/kernel-b.json"})
    serve(fake, lease(), {**lease("jupyter /r/kernel-b.json"), "id": "uv-00000002"})
    looks(kernels, clock, 9)
    assert list(kernels) == ["a"]
    assert "it is stuck" in caplog.text


class Server:
    """A real one, with kernels of a real daemon."""

    def __init__(self, base: Path, url: str) -> None:
        self.base, self.url = base, url

    def ask(self, path: str, body: Optional[dict[str, Any]] = None, method: Optional[str] = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Authorization": f"token {TOKEN}"}, method=method)
        with urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or "null")

    def kernelspec(self, name: str, argv: list[str], **metadata: Any) -> None:
        file = self.base / "share/kernels" / name / "kernel.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"argv": argv, "display_name": name, "language": "python", "metadata": metadata}))

    def notebook(self, kernel: str) -> str:
        """The id of the kernel of a new session."""
        path = f"{kernel}-{len(self.kernels())}.ipynb"
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": kernel}}
        return str(self.ask("api/sessions", body)["kernel"]["id"])

    def kernels(self) -> dict[str, Any]:
        return {kernel["id"]: kernel for kernel in self.ask("api/kernels")}

    async def connect(self, kernel: str) -> Any:
        url = self.url.replace("http:", "ws:") + f"api/kernels/{quote(kernel)}/channels?token={TOKEN}"
        return await websocket_connect(HTTPRequest(url), on_message_callback=lambda message: None)


@pytest.fixture
def server(wheel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")  # else Python sets LC_CTYPE for its children, and no standby is like them
    config = 'pools.uv.idle = "10s"\npools.kept = { kind = "uv", size = 1 }\n'
    with running(2, config) as path, socket.socket() as free:
        told = folder / "config/jupyter_server_config.d/runtimed_jupyter.json"
        told.parent.mkdir(parents=True)
        shutil.copy(FOLDER / "server.json", told)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "RUNTIMED_"))}
        env |= {
            **{"HOME": str(folder), "RUNTIMED_SOCKET": path, "RUNTIMED_NO_START": "1", "JUPYTER_TOKEN": TOKEN},
            "PYTHONPATH": os.pathsep.join([*SOURCES, str(wheel)]),
            **{"JUPYTER_PATH": str(folder / "share"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")},
            "JUPYTER_CONFIG_PATH": str(folder / "config"),
        }
        options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", *options]
        made = Server(folder, f"http://127.0.0.1:{port}/")
        with open(folder / "log", "w+") as log, pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUNTIMED_SOCKET", path)
            process = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:

                def answers() -> bool:
                    assert process.poll() is None, (folder / "log").read_text()
                    try:
                        return bool(made.ask("api/status"))
                    except OSError:
                        return False

                wait_until(answers, 60)
                yield made
            finally:
                process.terminate()
                process.wait(30)
        said = (folder / "log").read_text()
        assert "Traceback" not in said, said


def test_a_forgotten_kernel_ends_with_its_environment_and_no_other_does(server: Server, folder: Path) -> None:
    """The others are left for longer, but each lacks one thing."""
    programs = built(folder)
    launch = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    for pool in ("uv", "kept"):
        config = {"provisioner_name": "runtimed", "config": {"pool": pool}}
        server.kernelspec(f"provisioner-{pool}", ["python", *launch], kernel_provisioner=config)
    server.kernelspec("runt", [str(programs / "runt"), "kernel", "-f", "{connection_file}", "--pool", "uv", "--"])

    def leases() -> dict[str, str]:
        return {one["kernel"]["id"]: one["id"] for one in server.ask("runtimed/leases")["leases"] if one["kernel"]}

    async def until(condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(wait_until, condition, 150)

    async def visit(kernel: str) -> None:
        """Open the notebook, and close it once the kernel has answered."""
        connection = await server.connect(kernel)
        await until(lambda: server.kernels()[kernel]["execution_state"] == "idle")
        connection.close()

    async def main() -> None:
        with Client() as client, client.acquire("kept", wait=120) as env:
            server.kernelspec("plain", [env.python, *launch])
            plain, kept, busy, seen = map(server.notebook, ("plain", "provisioner-kept", "provisioner-uv", "runt"))
            looking = await server.connect(seen)
            for one in (plain, kept):
                await visit(one)
            asking = await server.connect(busy)
            endless = {"code": "import time\nwhile True: time.sleep(1)", "silent": False}
            request = {**Session().msg("execute_request", endless), "channel": "shell"}
            await asking.write_message(json.dumps(request, default=str))
            await until(lambda: server.kernels()[busy]["execution_state"] == "busy")
            asking.close()
            forgotten = list(map(server.notebook, ("provisioner-uv", "runt")))
            for one in forgotten:
                await visit(one)
            await until(lambda: leases().keys() == {kept, busy, seen, *forgotten})
            held = leases()
            await until(lambda: not server.kernels().keys() & set(forgotten))
            assert server.kernels().keys() == {plain, kept, busy, seen}
            assert {session["kernel"]["id"] for session in server.ask("api/sessions")} == {plain, kept, busy, seen}
            await until(lambda: leases() == {id: held[id] for id in (kept, busy, seen)})

            server.ask(f"api/kernels/{busy}/interrupt", {})
            looking.close()
            await until(lambda: server.kernels().keys() == {plain, kept})

    asyncio.run(main())


def test_a_kernel_whose_lease_the_standby_has_is_ours_too(server: Server, folder: Path) -> None:
    argv = [str(built(folder) / "runt"), "kernel", "-f", "{connection_file}", "--pool", "kept", "--on-restart", "fresh"]
    server.kernelspec("fresh", [*argv, "--"])
    server.kernelspec("keep", [*argv[:-2], "--"])

    async def until(condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(wait_until, condition, 150)

    def parent_of(pid: int) -> int:
        told = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], stdout=subprocess.PIPE, check=True)
        return int(told.stdout)

    def has_standby(client: Client) -> bool:
        standby = client.status()["kept"].standby
        return standby is not None and standby.ready == 1

    async def start(kernel: str) -> int:
        """Who started the process that has the lease."""
        connection = await server.connect(kernel)
        await until(lambda: bool(server.kernels()[kernel]["execution_state"] == "idle"))
        (lease,) = server.ask("runtimed/leases")["leases"]
        assert lease["kernel"]["id"] == kernel
        parent = parent_of(lease["owner_pid"])
        connection.close()
        server.ask(f"api/sessions/{lease['kernel']['session']}", method="DELETE")
        await until(lambda: not server.ask("runtimed/leases")["leases"])
        return parent

    async def main() -> None:
        with Client() as client:
            parents = []
            for name in ("keep", "keep", "fresh"):  # the first standby may have other variables
                await until(lambda: has_standby(client))
                parents.append(await start(server.notebook(name)))
            assert parents[1:] == [client.info().pid] * 2

    asyncio.run(main())
