"""Client(autostart=True): what it starts, when it does not, and what it says when that fails."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest
from fake import INFO, FakeDaemon, Peer, wait_until
from wire import REPOSITORY

from runtimed_client import AsyncClient, Client, ConnectError, Info, ProtocolError
from runtimed_client._start import find_runt

Ask = Callable[..., Info]


def ask(*args: Any, **named: Any) -> Info:
    with Client(*args, **named) as c:
        return c.info()


def ask_async(*args: Any, **named: Any) -> Info:
    async def main() -> Info:
        async with AsyncClient(*args, **named) as c:
            return await c.info()

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [ask, ask_async])


@pytest.fixture(autouse=True)
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and nothing on PATH: this machine may have a runt in /usr/bin."""
    for name in [name for name in os.environ if name.startswith(("RUNTIMED_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", "/nowhere")
    return folder


def script(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{lines}\n")
    path.chmod(0o755)
    return path


def noting(folder: Path, then: str = "") -> Path:
    """A runt that notes how it was called."""
    return script(folder / "runt", f'echo "$@ $RUNTIMED_SOCKET $(cat | wc -c)" >> "{folder}/calls"\n{then}')


def failure(ask: Ask, *args: Any, **named: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        ask(*args, **named)
    return caught.value


def is_gone(c: Client) -> bool:
    try:
        c.info()  # a daemon that stops may answer once more
    except ConnectError as error:
        return error.kind == "unreachable"
    return False


# ---- which runt


def test_where_runt_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_runt() is None
    local = script(folder / ".local/bin/runt", "")
    assert find_runt() == str(local)
    monkeypatch.chdir(script(folder / "here/runt", "").parent)
    (folder / "data").mkdir()
    (folder / "data/runt").touch()  # no program
    (folder / "folders/runt").mkdir(parents=True)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", f"{folder}/data", f"{folder}/folders", f"{folder}/path"]))
    assert find_runt() == str(local)
    assert find_runt() != str(script(folder / "path/runt", ""))
    assert find_runt() == str(folder / "path/runt")


def test_the_runt_of_a_virtual_environment_goes_before_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=150)
    monkeypatch.setenv("PATH", str(script(folder / "path/runt", "").parent))
    code = "from runtimed_client._start import find_runt; print(find_runt())"

    def found() -> str:
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "clients/python/src")}
        command = [str(folder / "venv/bin/python"), "-c", code]
        return subprocess.check_output(command, env=env, text=True, timeout=150).strip()

    assert found() == str(folder / "path/runt")
    own = script(folder / "venv/bin/runt", "")
    assert found() == str(own)


@both
def test_how_runt_is_called(folder: Path, ask: Ask) -> None:
    runt = noting(folder)
    error = failure(ask, folder / "s", autostart=True, runt=runt)
    assert error.kind == "unreachable"
    assert error.hint == "start it with: runt daemon start"  # this one said that it had
    failure(ask, autostart=True, runt=str(runt))
    given, usual = (folder / "calls").read_text().splitlines()
    assert given.split() == ["daemon", "start", "--auto", str(folder / "s"), "0"]
    assert usual.split() == ["daemon", "start", "--auto", "0"]


# ---- when nothing is started


@both
def test_nothing_is_started_unasked(folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    noting(folder)
    monkeypatch.setenv("PATH", str(folder))
    assert failure(ask).kind == "unreachable"
    monkeypatch.setenv("RUNTIMED_NO_START", "1")
    error = failure(ask, autostart=True)
    assert error.hint == "start it with: runt daemon start"
    assert not (folder / "calls").exists()
    monkeypatch.setenv("RUNTIMED_NO_START", "")
    failure(ask, autostart=True)
    assert (folder / "calls").exists()


@both
@pytest.mark.parametrize("other", [{"name": "other"}, {"protocol": 0}, {"protocol": 2}, None])
def test_nothing_is_started_where_somebody_listens(fake: FakeDaemon, folder: Path, ask: Ask, other: Any) -> None:
    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if other is None:
            peer.hang_up()
        else:
            peer.send({"id": request["id"], "result": {**INFO, **other}})
        return True

    fake.hook = hook
    with pytest.raises(ProtocolError if other else ConnectError) as caught:
        ask(fake.path, autostart=True, runt=noting(folder))
    assert caught.value.kind != "unreachable"
    assert not (folder / "calls").exists()


def test_only_the_first_call_starts_one(fake: FakeDaemon, folder: Path) -> None:
    with Client(fake.path, autostart=True, runt=noting(folder)) as c:
        c.status()
        assert fake.methods() == ["daemon.info", "pool.status"]
        fake.stop()
        for _ in range(2):
            assert failure(lambda: c.info()).kind in ("closed", "unreachable")
    assert not (folder / "calls").exists()


# ---- when it fails


@both
def test_there_is_no_runt(folder: Path, ask: Ask) -> None:
    error = failure(ask, autostart=True)
    assert error.kind == "unreachable"
    assert str(folder / ".cache/runt/runtimed.sock") in error.message
    assert "no runt beside this Python, on PATH or in ~/.local/bin" in error.message
    assert error.hint
    assert "install runtimed" in error.hint
    error = failure(ask, autostart=True, runt=folder / "nothing")
    assert f"{folder}/nothing cannot be run: No such file" in error.message


@both
def test_runt_says_why_it_failed(folder: Path, ask: Ask) -> None:
    text = 30 * "noise\n" + "runt: error: the disk is full\nrunt: hint: empty it\n"
    error = failure(ask, autostart=True, runt=script(folder / "runt", f"echo '{text}' >&2; exit 1"))
    assert error.kind == "unreachable"
    assert "starting one failed: noise\n" in error.message
    assert error.message.endswith("\nthe disk is full")
    assert error.message.count("noise") == 18
    assert error.hint == "empty it"
    error = failure(ask, autostart=True, runt=script(folder / "runt", "exit 3"))
    assert error.message.endswith("/runt ended with 3")
    runt = script(folder / "runt", "head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 1")
    error = failure(ask, autostart=True, runt=runt)
    assert 10_000 < len(error.message) < 20_000


@both
def test_runt_hangs(folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimed_client._start.START_TIME", 0.2)
    error = failure(ask, autostart=True, runt=script(folder / "runt", "exec sleep 30"))
    assert "did not end within" in error.message


# ---- the real ones


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runt and runtimed: that of RUNTIMED_BIN, else both are built."""
    given = Path(os.environ.get("RUNTIMED_BIN", "")).parent
    if (given / "runt").is_file():
        return given
    built = tmp_path_factory.mktemp("bin")
    subprocess.run(["go", "build", "-o", f"{built}/", "./cmd/..."], cwd=REPOSITORY, check=True, timeout=600)
    return built


@pytest.fixture
def stopped(programs: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home in which no daemon runs, and none is left."""
    monkeypatch.setenv("PATH", str(programs))
    for name in ("UV", "CONDA"):
        monkeypatch.setenv(f"RUNTIMED_{name}_POOL_SIZE", "0")
    yield home
    wait_until(lambda: len(daemons(home)) <= 1, 60)  # one that came too late has yet to see that, and would take over
    subprocess.run([programs / "runt", "daemon", "stop"], check=True, capture_output=True, timeout=30)


def daemons(home: Path) -> list[str]:
    """The processes of runtimed in that home, where /proc tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            auto = b"\0run\0--auto" in (process / "cmdline").read_bytes()
            if auto and f"HOME={home}\0".encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


# A starter that has to wait for two busy cores may say so after 10 s.
@pytest.mark.timeout(120)
def test_fifty_clients_start_one_daemon(stopped: Path) -> None:
    with ThreadPoolExecutor(50) as threads:
        infos = list(threads.map(lambda _: ask(timeout=30, autostart=True), range(50)))
    assert len({info.pid for info in infos}) == 1
    assert {info.started_by for info in infos} == {"command"}


@pytest.mark.timeout(120)
def test_fifty_tasks_of_one_client_start_one_daemon(stopped: Path) -> None:
    async def main() -> set[int]:
        async with AsyncClient(stopped / "s", timeout=30, autostart=True) as c:
            return {info.pid for info in await asyncio.gather(*(c.info() for _ in range(50)))}

    os.environ["RUNTIMED_SOCKET"] = str(stopped / "s")  # for the stop; monkeypatch has it removed, since it deleted it
    assert len(asyncio.run(main())) == 1


def test_the_daemon_outlives_who_started_it(stopped: Path) -> None:
    code = "from runtimed_client import Client; print(Client(autostart=True).info().pid)"
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "clients/python/src")}
    command = [sys.executable, "-X", "dev", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    info = ask()
    assert info.pid == int(done.stdout)
    assert os.getsid(info.pid) == info.pid
    assert os.path.realpath(f"/proc/{info.pid}/fd/0") == os.devnull or sys.platform != "linux"
    with Client() as c:
        c.call("daemon.shutdown")
        wait_until(lambda: is_gone(c))
