"""Replays testdata/wire/server.jsonl against a real daemon, and lets the clients talk to it."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from listening import WINDOWS
from wire import Vector, matches, text, vectors

from runtimed_client import AsyncClient, Client, RPCError


def replies(data: bytes, framing: str) -> Iterator[str]:
    if framing == "lines":
        yield from (line for line in data.decode().split("\n") if line)
        return
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n"))
        length = int(fields["Content-Length"])
        assert len(data) >= length, "the last message is cut"
        yield data[:length].decode()
        data = data[length:]


def is_reply(want: Vector, got: Any, raw: str) -> bool:
    """`raw` is the text that holds the reply: an id has to come back as it was written."""
    if "batch" in want:
        return isinstance(got, list) and all_there(want["batch"], [(one, raw) for one in got])
    id = text(want["id"])
    return matches({**want, "id": json.loads(id)}, got) and f'"id":{id}' in raw


def all_there(wanted: list[Vector], came: list[tuple[Any, str]]) -> bool:
    """Whether each wanted reply is there and no other, in any order."""
    left = list(came)
    for want in wanted:
        found = next((reply for reply in left if is_reply(want, *reply)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


@pytest.mark.skipif(WINDOWS, reason="a pipe cannot end in one direction; rpc/server replays these")
@pytest.mark.parametrize("vector", vectors("server.jsonl"))
def test_daemon(daemon: str, vector: Vector) -> None:
    data = bytes.fromhex(vector["send_hex"]) if "send_hex" in vector else text(vector["send"]).encode()

    def send() -> None:
        with suppress(OSError):  # it may end the connection before everything is said
            conn.sendall(data)
            if not vector.get("closes"):
                conn.shutdown(socket.SHUT_WR)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as conn, ThreadPoolExecutor(1) as threads:
        conn.settimeout(20)
        conn.connect(daemon)
        threads.submit(send)
        got = b"".join(iter(lambda: conn.recv(1 << 16), b""))
    came = [(json.loads(raw), raw) for raw in replies(got, vector["framing"])]
    came = [(got, raw) for got, raw in came if isinstance(got, list) or got.get("method") != "$/progress"]
    assert all_there(vector["expect"], came), came


def test_client(daemon: str) -> None:
    with Client(daemon) as c:
        info = c.info()
        assert info.socket == daemon
        assert (info.started_by, info.replaced) == ("hand", False)
        assert all(map(os.path.isabs, (info.program, info.log)))
        assert [(pool.state, pool.tool) for pool in c.status().pools] == [("off", None), ("off", None)]
        assert next(iter(c.watch())) == c.status()
        for _ in range(2):
            with pytest.raises(RPCError) as caught:
                c.acquire("uv", wait=5)
            assert (caught.value.kind, caught.value.code) == ("pool_off", -32007)
        with pytest.raises(RPCError) as caught:
            c.adopt("uv-00000000", 1)
        assert caught.value.kind == "unknown_env"


def test_async_client(daemon: str) -> None:
    async def main() -> None:
        async with AsyncClient(daemon) as c:
            assert (await c.info()).socket == daemon
            async for status in c.watch():
                assert status == await c.status()
                break
            with pytest.raises(RPCError) as caught:
                await c.acquire("nope")
            assert caught.value.data["pools"] == ["uv", "conda"]

    asyncio.run(main())
