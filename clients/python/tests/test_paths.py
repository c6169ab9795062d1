"""Replays testdata/wire/paths.jsonl."""

import os
import pwd
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from wire import Vector, text, vectors

from runtimed_client import ConnectError, socket_path


@pytest.mark.parametrize("vector", vectors("paths.jsonl"))
def test_path(vector: Vector) -> None:
    with tempfile.TemporaryDirectory(prefix="rtpy") as folder:  # a socket's path must be short
        replay(vector, os.path.realpath(folder))


def replay(vector: Vector, root: str) -> None:
    def here(value: Any) -> str:
        return text(value).replace("$ROOT", root).replace("$UID", str(os.geteuid()))

    env = {name: here(value) for name, value in vector["env"].items()}
    for folder in vector.get("folders", []):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    for at, to in vector.get("links", {}).items():
        os.symlink(here(to), f"{root}/{at}")
    mounts = f"{root}/mountinfo"
    if "mountinfo" in vector:  # else it cannot be read
        with open(mounts, "w", encoding="utf-8") as file:
            file.writelines(f"{here(line)}\n" for line in vector["mountinfo"])
    platform = "win32" if vector["platform"] == "windows" else vector["platform"]
    home = lambda: text(vector.get("home", ""))  # noqa: E731
    if "path" in vector:
        assert socket_path(platform, env, home, mounts) == here(vector["path"])
        return
    with pytest.raises(ConnectError) as caught:
        socket_path(platform, env, home, mounts)
    assert caught.value.kind == "unreachable"
    for part in (vector["error"]["names"], *vector["error"].get("contains", [])):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["RUNTIMED_SOCKET", "HOME"])
def test_a_path_that_is_not_utf8_is_refused(name: str) -> None:
    with pytest.raises(ConnectError, match=r"\\xe9.*which is not UTF-8") as caught:
        socket_path("linux", {name: os.fsdecode(b"/tmp/\xe9/s")})
    str(caught.value).encode()  # it can be printed


ASK = """
import os, sys
from runtimed_client import ConnectError, socket_path
from runtimed_client._start import find_runt
find_runt()  # reads files of Python that the other user may not be allowed to read
if len(sys.argv) > 1:
    os.setuid(int(sys.argv[1]))
try:
    print(socket_path("linux", os.environ))
except ConnectError as exc:
    print(exc.kind, exc.message, exc.hint)
find_runt()
"""


def asked(env: dict[str, str], *user: str) -> str:
    """What a process of its own says, with these variables and perhaps as another user."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{ASK}", *user]
    return subprocess.run(command, env=env, cwd="/", check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("env", [{}, {"HOME": ""}])
def test_without_home_it_is_what_the_user_database_has(env: dict[str, str]) -> None:
    home = pwd.getpwuid(os.geteuid()).pw_dir.rstrip("/")
    assert asked(env) == f"{home}/.cache/runt/runtimed.sock\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a user that no database has")
def test_a_user_that_no_database_has_is_told_to_set_home() -> None:
    says = "HOME is not set, and the user database has no home for this user"
    assert asked({}, "4000111") == f"unreachable {says} set it, or RUNTIMED_SOCKET\n"
