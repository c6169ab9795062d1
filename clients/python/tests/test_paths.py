"""Replays testdata/wire/paths.jsonl."""

import os

import pytest
from wire import Vector, text, vectors

from runtimed_client import ConnectError, socket_path


@pytest.mark.parametrize("vector", vectors("paths.jsonl"))
def test_path(vector: Vector) -> None:
    env = {name: text(value) for name, value in vector["env"].items()}
    platform = "win32" if vector["platform"] == "windows" else vector["platform"]
    if "path" in vector:
        assert socket_path(platform, env) == text(vector["path"])
        return
    with pytest.raises(ConnectError) as caught:
        socket_path(platform, env)
    assert caught.value.kind == "unreachable"
    for part in (vector["error"]["names"], *vector["error"].get("contains", [])):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["RUNTIMED_SOCKET", "HOME"])
def test_a_path_that_is_not_utf8_is_refused(name: str) -> None:
    with pytest.raises(ConnectError, match=r"\\xe9.*which is not UTF-8") as caught:
        socket_path("linux", {name: os.fsdecode(b"/tmp/\xe9/s")})
    str(caught.value).encode()  # it can be printed
