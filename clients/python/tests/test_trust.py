"""Whose daemon a client talks to: its own user's, or root's."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, cast

import pytest

from runtimed_client import AsyncClient, Client, ConnectError, _wire

NOBODY = 65534
LISTENS = """
    import os, socket, sys
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(9)
    print("listens", flush=True)
    sent = []
    while True:
        peer, _ = listener.accept()
        sent.append(len(peer.recv(100)))
        print(sent[-1], flush=True)
"""


@pytest.fixture
def stranger(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another user's program at folder/x/s, which says how much it is sent."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        assert not os.environ.get("CI"), "only root can listen as another user"
        pytest.skip("only root can listen as another user")
    folder.chmod(0o711)
    (folder / "x").mkdir()
    os.chown(folder / "x", NOBODY, NOBODY)
    command = [sys.executable, "-S", "-c", textwrap.dedent(LISTENS), str(folder / "x/s"), str(NOBODY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "listens\n"
        yield process
        process.kill()


def info(path: Path, **options: Any) -> None:
    with Client(path, **options) as client:
        client.info()


def info_async(path: Path, **options: Any) -> None:
    async def main() -> None:
        async with AsyncClient(path, **options) as client:
            await client.info()

    asyncio.run(main())


def watch(path: Path, **options: Any) -> None:
    with Client(path) as client:
        next(client.watch())


@pytest.mark.parametrize("ask", [info, info_async, watch])
def test_a_daemon_of_another_user_is_refused_before_a_word(
    stranger: "subprocess.Popen[str]", folder: Path, ask: Callable[..., None]
) -> None:
    runt = folder / "runt"
    runt.write_text(f"#!/bin/sh\ntouch {folder}/started\n")
    runt.chmod(0o755)
    with pytest.raises(ConnectError) as caught:
        ask(folder / "x/s", autostart=True, runt=runt)
    assert caught.value.kind == "untrusted"
    assert f"{folder}/x/s belongs to another user (uid {NOBODY})" in caught.value.message
    assert "RUNTIMED_SOCKET" in (caught.value.hint or "")
    assert stranger.stdout
    assert stranger.stdout.readline() == "0\n"  # bytes it was sent
    assert not (folder / "started").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no user namespaces")
def test_a_user_whom_the_namespace_does_not_know_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        getsockopt = staticmethod(lambda *option: struct.pack("iII", 1, 0xFFFF_FFFE, 1))

    assert _wire.is_mapped(os.geteuid())
    assert not _wire.is_mapped(1 << 32)
    monkeypatch.setattr("os.geteuid", lambda: 0xFFFF_FFFE)
    monkeypatch.setattr("runtimed_client._wire.is_mapped", lambda uid: True)
    assert _wire.untrusted_peer(cast(socket.socket, Socket)) is None
    monkeypatch.setattr("runtimed_client._wire.is_mapped", lambda uid: False)
    assert "outside this user namespace" in (_wire.untrusted_peer(cast(socket.socket, Socket)) or "")
