"""The extension of Jupyter Server: in a real server, with a daemon made of memory."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from fake import ENV, POOL, FakeDaemon, Peer, wait_until
from runtimed_client import AsyncClient
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect
from wire import SOURCES

from runtimed_jupyter.server import Watcher

FOLDER = Path(__file__).resolve().parents[1]
TOKEN = "secret"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the daemon's socket is, if there is a daemon."""
    return tmp_path_factory.mktemp("s")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[str]:
    """The URL of a server that was told of the extension by nothing but the file that the wheel has."""
    told = place / "config/jupyter_server_config.d/runtimed_jupyter.json"
    told.parent.mkdir(parents=True)
    shutil.copy(FOLDER / "server.json", told)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "RUNTIMED_"))}
    env |= {
        "HOME": str(place),
        "PATH": str(place / "bin"),  # where nothing is, unless a test puts it there
        "PYTHONPATH": os.pathsep.join(SOURCES),
        "RUNTIMED_SOCKET": str(place / "s"),
        "JUPYTER_TOKEN": TOKEN,
    }
    env |= {"JUPYTER_CONFIG_PATH": str(place / "config"), "JUPYTER_RUNTIME_DIR": str(place / "runtime")}
    with socket.socket() as free:  # told port 0, the Jupyter Server of Python 3.9 does not tell which it took
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a/b/"
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.base_url=/a/b/"]
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", *options]
    with open(place / "log", "w+") as log:
        process = subprocess.Popen(command, cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:

            def answers() -> bool:
                assert process.poll() is None, (place / "log").read_text()
                with contextlib.suppress(OSError):  # nobody listens yet
                    return bool(get(f"{url}api/status?token={TOKEN}"))
                return False

            wait_until(answers, 50)
            yield url
        finally:
            process.terminate()
            process.wait(20)
    said = (place / "log").read_text()
    assert "Traceback" not in said, said
    assert "Task was destroyed" not in said, said


@pytest.fixture
def daemon(place: Path) -> Iterator[FakeDaemon]:
    made = FakeDaemon(str(place / "s"))
    yield made
    made.stop()
    (place / "s").unlink()


def get(url: str, **headers: str) -> Any:
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        return json.load(answer)


async def connect(server: str, token: str = TOKEN, **headers: str) -> WebSocketClientConnection:
    url = server.replace("http:", "ws:") + "runtimed/watch" + (f"?token={token}" if token else "")
    return await websocket_connect(HTTPRequest(url, headers=headers, follow_redirects=False))


async def read(socket: WebSocketClientConnection) -> Any:
    said = await asyncio.wait_for(socket.read_message(), 30)
    assert said is not None, "it was closed"
    return json.loads(said)


def test_the_pools(server: str, daemon: FakeDaemon) -> None:
    assert get(server + "runtimed/pools", Authorization=f"token {TOKEN}") == {"pools": [POOL]}
    with pytest.raises(HTTPError) as caught:
        get(server + "runtimed/pools")
    assert caught.value.code == 403
    caught.value.close()


def test_no_daemon(server: str, place: Path) -> None:
    with pytest.raises(HTTPError) as caught:
        get(f"{server}runtimed/pools?token={TOKEN}")
    assert caught.value.code == 503
    error = json.load(caught.value)["error"]
    assert (error["kind"], error["hint"]) == ("unreachable", "start it with: runt daemon start")
    assert error["message"].startswith(f"no daemon can be reached at {place}/s: ")


def test_a_watch_asks_who_it_is(server: str, daemon: FakeDaemon) -> None:
    async def main() -> None:
        for headers in ({"token": ""}, {"token": "wrong"}):
            with pytest.raises(HTTPClientError) as caught:
                await connect(server, **headers)
            assert caught.value.code in (302, 403)  # 302 is to the login
        with pytest.raises(HTTPClientError) as caught:
            await connect(server, token="", Origin="http://elsewhere.example")
        assert caught.value.code in (302, 403)

    asyncio.run(main())
    assert not daemon.requests


LEASE: dict[str, Any] = {
    "owner_pid": os.getpid(),
    "alive": True,
    "label": "of a test",
    "session": "",
    "kept_until": None,
}
LEASED: dict[str, Any] = {**ENV, "size_bytes": 1, "lease": {**LEASE, "since": "2026-01-02T03:04:05Z"}}


def serve(daemon: FakeDaemon, env: dict[str, Any]) -> None:
    """Have it tell of one lease, and answer to what a person asks for."""
    answers: dict[str, Any] = {"env.list": {"envs": [env]}, "daemon.reload": {"changed": []}, "pool.release": {}}

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] in answers:
            peer.send({"id": request["id"], "result": answers[request["method"]]})
        return request["method"] in answers

    daemon.hook = hook


def post(url: str, body: object, **headers: str) -> Any:
    request = Request(url, json.dumps(body).encode(), headers, method="POST")
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def refused(url: str, body: object, **headers: str) -> Any:
    """The error of what was asked for."""
    with pytest.raises(HTTPError) as caught:
        post(url, body, **headers) if body is not None else get(url, **headers)
    with caught.value as answer:
        return {"code": answer.code, **json.load(answer).get("error", {})}


def test_who_uses_what(server: str, daemon: FakeDaemon) -> None:
    serve(daemon, LEASED)
    (lease,) = get(f"{server}runtimed/leases?token={TOKEN}")["leases"]
    assert lease.pop("memory_bytes", 0) > 1e6 or sys.platform != "linux"  # of this process
    assert lease == {
        **{"id": ENV["id"], "pool": "uv", "project": None, "kernel": None, "unused": False},
        **{"label": "of a test", "owner_pid": os.getpid(), "since": "2026-01-02T03:04:05Z"},
        **{"kept_until": None, "where": None},
    }


def test_a_person_acts(server: str, daemon: FakeDaemon) -> None:
    serve(daemon, {**LEASED, "lease": {**LEASED["lease"], "alive": False}})
    login = {"Authorization": f"token {TOKEN}"}
    assert post(server + "runtimed/retry", {}, **login) == {"changed": []}
    assert post(server + "runtimed/start", {}, **login) == {}  # it runs
    assert post(server + "runtimed/release", {"env": ENV["id"]}, **login) == {}
    assert daemon.methods() == ["daemon.reload", "daemon.info", "env.list", "pool.release"]
    assert post(server + "runtimed/release", {"env": "uv-gone"}, **login) == {}
    odd_ones: list[Any] = [[], None, {"env": ["uv"]}]
    for odd in odd_ones:
        assert post(server + "runtimed/release", odd, **login) == {}
    assert set(daemon.methods()[4:]) == {"env.list"}


@pytest.mark.parametrize("lease", [{"alive": True}, {"alive": False, "where": "in another PID namespace"}])
def test_what_may_be_in_use_is_not_released(server: str, daemon: FakeDaemon, lease: dict[str, Any]) -> None:
    serve(daemon, {**LEASED, "lease": {**LEASED["lease"], **lease}})
    told = refused(server + "runtimed/release", {"env": ENV["id"]}, Authorization=f"token {TOKEN}")
    assert told["message"] == f"{ENV['id']} is in use by process {os.getpid()}"
    assert told["hint"] == f"end that first; by force: runt pool release {ENV['id']}"
    assert daemon.methods() == ["env.list"]


def test_acting_needs_the_login_and_the_xsrf_token(server: str, daemon: FakeDaemon) -> None:
    serve(daemon, LEASED)
    jar = CookieJar()
    page = build_opener(HTTPCookieProcessor(jar))
    page.open(f"{server}login?token={TOKEN}", timeout=30).close()
    cookies = {cookie.name: str(cookie.value) for cookie in jar}
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    for action in ("retry", "start", "release"):
        assert refused(f"{server}runtimed/{action}", {})["code"] == 403
        assert refused(f"{server}runtimed/{action}", {}, Cookie=cookie)["code"] == 403
    for what in ("leases", "log"):
        assert refused(f"{server}runtimed/{what}", None)["code"] == 403
    assert not daemon.requests
    xsrf = {"Cookie": cookie, "X-XSRFToken": cookies["_xsrf"]}
    assert post(server + "runtimed/retry", {}, **xsrf) == {"changed": []}


def test_what_cannot_be_done_is_told_in_plain_words(server: str, place: Path) -> None:
    """There is no daemon, and no runt either."""
    login = {"Authorization": f"token {TOKEN}"}
    for action in ("retry", "release"):
        told = refused(f"{server}runtimed/{action}", {"env": "uv-1"}, **login)
        assert (told["code"], told["kind"]) == (503, "unreachable")
        assert told["hint"] == "start it with: runt daemon start"
    told = refused(server + "runtimed/start", {}, **login)
    assert "there is no runt beside this Python, on PATH or in ~/.local/bin" in told["message"]
    told = refused(server + "runtimed/log", None, **login)
    assert (told["message"], told["hint"]) == (
        "there is no runt that could read the log",
        "runtimed-client[bin] has it",
    )


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('echo "$@"', {"log": "daemon logs --lines 200\n"}),
        (
            "echo 'runt: error: there is no log yet' >&2; echo 'runt: hint: start it' >&2; exit 1",
            ("there is no log yet", "start it"),
        ),
        ("exit 3", ("runt ended with 3", "")),
    ],
)
def test_the_log_is_what_runt_says(server: str, place: Path, script: str, told: Any) -> None:
    runt = place / "bin/runt"
    runt.parent.mkdir(exist_ok=True)
    runt.write_text(f"#!/bin/sh\n{script}\n")
    runt.chmod(0o755)
    try:
        login = {"Authorization": f"token {TOKEN}"}
        if isinstance(told, dict):
            assert get(server + "runtimed/log", **login) == told
        else:
            error = refused(server + "runtimed/log", None, **login)
            assert (error["message"], error["hint"]) == told
    finally:
        runt.unlink()


def watched(daemon: FakeDaemon) -> list[Peer]:
    """Those of its connections on which the pools are watched."""
    peers: list[Peer] = []

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] == "pool.watch":
            peers.append(peer)
        return False

    daemon.hook = hook
    return peers


def test_browsers_share_one_watch(server: str, daemon: FakeDaemon) -> None:
    peers = watched(daemon)

    async def main() -> None:
        one, other = await connect(server), await connect(server)
        assert await read(one) == await read(other) == {"pools": [POOL]}
        (peer,) = peers
        changed = {**POOL, "available": 1, "warming": 2, "state": "warming"}
        peer.send({"method": "pool.changed", "params": {"pool": changed}})
        assert await read(one) == await read(other) == {"pools": [changed]}
        one.close()
        peer.send({"method": "pool.changed", "params": {"pool": POOL}})
        assert await read(other) == {"pools": [POOL]}
        assert not peer.gone.is_set()
        other.close()
        assert await asyncio.to_thread(peer.gone.wait, 30)  # nobody looks, so nothing is watched

    asyncio.run(main())


def test_the_daemon_goes_and_comes(server: str, place: Path) -> None:
    async def main() -> None:
        socket = await connect(server)
        assert (await read(socket))["error"]["kind"] == "unreachable"
        for _ in range(2):
            daemon = FakeDaemon(str(place / "s"))
            peers = watched(daemon)
            try:
                while "error" in (said := await read(socket)):  # in other words, as the socket comes and goes
                    pass
                assert said == {"pools": [POOL]}
                assert len(peers) == 1
            finally:
                await asyncio.to_thread(daemon.stop)
                (place / "s").unlink()
            assert (await read(socket))["error"]["kind"] == "unreachable"
        socket.close()

    asyncio.run(main())


def test_nothing_runs_while_nobody_looks(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    peers = watched(fake)

    async def main() -> None:
        watcher = Watcher(logging.getLogger())
        for times in (1, 2):
            with watcher.looking(), watcher.looking():
                assert json.loads(await watcher.after(None)) == {"pools": [POOL]}
                assert len(peers) == times
            assert not watcher.on
            assert await asyncio.to_thread(peers[-1].gone.wait, 30)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_what_is_no_daemon_of_ours_is_told(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        peer.send({"id": request["id"], "result": {"name": "other"}})
        return True

    fake.hook = hook

    async def main() -> None:
        watcher = Watcher(logging.getLogger())
        with watcher.looking():
            began = time.monotonic()
            assert json.loads(await watcher.after(None))["error"]["kind"] == "protocol"
            assert time.monotonic() - began < 30

    asyncio.run(main())


def test_changes_without_end_leave_jupyter_its_turn(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    enough = threading.Event()

    def flood(peer: Peer) -> None:
        changes = [{"method": "pool.changed", "params": {"pool": POOL}}] * 2000
        with contextlib.suppress(OSError):
            while not enough.is_set():
                peer.send(*changes)

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] != "pool.watch":
            return False
        peer.send({"id": request["id"], "result": {"pools": [POOL]}})
        threading.Thread(target=flood, args=(peer,)).start()
        return True

    fake.hook = hook
    timer = threading.Timer(20, enough.set)
    timer.start()

    async def main() -> None:
        watcher = Watcher(logging.getLogger())
        with watcher.looking():
            await watcher.after(None)
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not enough.is_set()

    try:
        asyncio.run(main())
    finally:
        timer.cancel()
        enough.set()


def test_a_fault_of_ours_is_told_and_tried_again(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    faults: list[BaseException] = [ValueError("of ours")]

    def client() -> AsyncClient:
        if faults:
            raise faults.pop()
        return AsyncClient()

    monkeypatch.setattr("runtimed_jupyter.server.AsyncClient", client)

    async def main() -> None:
        watcher = Watcher(logging.getLogger())
        with watcher.looking():
            told = await watcher.after(None)
            assert json.loads(told)["error"]["kind"] == "internal"
            assert json.loads(await watcher.after(told)) == {"pools": [POOL]}

    asyncio.run(main())
    assert "of ours" in caplog.text
