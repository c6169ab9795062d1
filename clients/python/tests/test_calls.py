"""Replays testdata/wire/client.jsonl."""

import asyncio
import contextlib
import errno
import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from listening import WINDOWS, listen, place, wake
from wire import Vector, matches, text, vectors

from runtimed_client import AsyncClient, Client, ConnectError, Env, RPCError, RuntimedError
from runtimed_client._values import Acquired
from runtimed_client._wire import ID, Connection


def reply_to(vector: Vector, id: int) -> Optional[bytes]:
    if "reply_hex" in vector:
        return bytes.fromhex(vector["reply_hex"]).replace(b"$ID", str(id).encode())
    return None if vector["reply"] is None else text(vector["reply"]).replace("$ID", str(id)).encode()


class Server:
    """Plays one vector: one connection, one request, one reply."""

    def __init__(self, path: str, vector: Vector) -> None:
        self.vector = vector
        self.request: Any = None
        self.listener = listen(path, 1)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.vector.get("close") or reply_to(self.vector, 0) is None:
            with contextlib.suppress(OSError):
                wake(self.listener)
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.listener.close()

    def serve(self) -> None:
        self.listener.settimeout(10)
        while self.closes():  # each time that the client asks again
            pass

    def closes(self) -> bool:
        """Serve one connection; whether it was closed without an answer and another may come."""
        try:
            conn, _ = self.listener.accept()
        except OSError:
            return False
        with conn, conn.makefile("rb") as lines:
            conn.settimeout(10)
            line = lines.readline()
            if not line:  # no client's
                return False
            self.request = json.loads(line)
            reply = reply_to(self.vector, self.request["id"])
            if reply is None:
                return True
            size = self.vector.get("chunk", len(reply) or 1)
            try:
                for start in range(0, len(reply), size):
                    conn.sendall(reply[start : start + size])
                if not self.vector.get("close"):
                    lines.read()  # until the client has done
            except OSError:
                pass  # it hung up on us
        return bool(self.vector.get("close"))


def wire(value: Any) -> Any:
    """A value of the client in wire names."""
    if isinstance(value, Acquired):
        members = asdict(value)
        return {**members, "env": members}
    if isinstance(value, Env):
        return {"env": asdict(value)}
    return {} if value is None else asdict(value)


def arguments(call: Vector, progress: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    args = dict(call["args"])
    method = call["method"]
    if method in ("release", "adopt"):
        return [args.pop("env"), *args.values()], {}
    if "wait_ms" in args:
        args["wait"] = args.pop("wait_ms") / 1000
    if "linger_ms" in args:
        args["linger"] = args.pop("linger_ms") / 1000
    if args.pop("progress", False):
        args["progress"] = lambda p: progress.append(asdict(p))
    return [], args


def perform(path: str, call: Vector, progress: list[Any]) -> Any:
    with Client(path, timeout=call.get("timeout_ms", 10_000) / 1000) as c:
        if call["method"] == "watch":
            watch = c.watch()
            return [wire(next(watch)) for _ in range(call["args"]["take"])]
        args, named = arguments(call, progress)
        return wire(getattr(c, call["method"])(*args, **named))


def perform_async(path: str, call: Vector, progress: list[Any]) -> Any:
    async def main() -> Any:
        async with AsyncClient(path, timeout=call.get("timeout_ms", 10_000) / 1000) as c:
            if call["method"] == "watch":
                watch = c.watch()
                return [wire(await watch.__anext__()) for _ in range(call["args"]["take"])]
            args, named = arguments(call, progress)
            return wire(await getattr(c, call["method"])(*args, **named))

    return asyncio.run(main())


def check_error(error: RuntimedError, want: Vector) -> None:
    assert type(error).__name__ == want["class"]
    assert error.kind == want.get("kind", error.kind)
    assert error.message == want.get("message", error.message)
    assert error.hint == want.get("hint", error.hint)
    if isinstance(error, RPCError):
        assert error.code == want.get("code", error.code)
        assert matches(want.get("data", {}), error.data)
    else:
        assert error.message


def here(request: Vector) -> Vector:
    """As it is sent from this folder: on Windows a path without a drive is on ours."""
    params = request.get("params", {})
    project = params.get("project")
    path = project["path"] if isinstance(project, dict) else project
    if not WINDOWS or not path or not path.startswith("/"):
        return request
    path = os.path.splitdrive(os.getcwd())[0] + path
    there = {**project, "path": path} if isinstance(project, dict) else path
    return {**request, "params": {**params, "project": there}}


@pytest.mark.parametrize("run", [perform, perform_async])
@pytest.mark.parametrize("vector", vectors("client.jsonl"))
def test_call(folder: Path, vector: Vector, run: Callable[[str, Vector, list[Any]], Any]) -> None:
    progress: list[Any] = []
    with Server(place(folder), vector) as server:
        if "error" in vector:
            with pytest.raises(RuntimedError) as caught:
                run(place(folder), vector["call"], progress)
            check_error(caught.value, vector["error"])
        else:
            got = run(place(folder), vector["call"], progress)
            assert matches(vector["result"], got), got
    assert matches(here(vector["request"]), server.request), server.request
    assert matches(vector.get("progress", []), progress), progress


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_however_the_bytes_arrive(size: int) -> None:
    """Every answer of the vectors once more, in pieces whose borders are certain."""
    for vector in (param.values[0] for param in vectors("client.jsonl")):
        reply = reply_to(vector, ID)
        if reply and len(reply) < 10_000 and "error" not in vector and not vector.get("close"):
            pieces = [reply[start : start + size] for start in range(0, len(reply), size)]
            assert answer(vector, pieces) == answer(vector, [reply])


def answer(vector: Vector, pieces: list[bytes]) -> dict[str, Any]:
    class Pieces:
        """A socket on which they arrive."""

        recv = staticmethod(lambda size, left=list(pieces): left.pop(0) if left else b"")
        send = staticmethod(len)

    conn = Connection(place(Path("/s")), vector["request"]["method"], {})
    conn.sock.close()
    conn.sock, conn._connected = Pieces, True
    while not conn.answers(conn.message()):
        pass
    return conn.answer


@pytest.mark.skipif(WINDOWS, reason="a pipe is a file only when it is connected")
def test_too_many_open_files_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    client = Client("/nowhere/s")
    monkeypatch.setattr("runtimed_client._wire.socket.socket", refuse)
    with pytest.raises(ConnectError, match="Too many open files") as caught:
        client.status()
    assert caught.value.kind == "closed"
