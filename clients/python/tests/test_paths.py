"""Replays testdata/wire/paths.jsonl."""

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
