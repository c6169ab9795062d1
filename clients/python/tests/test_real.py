"""Against a daemon with real environments."""

import asyncio
import os
import subprocess
import sys

import pytest
from fake import wait_until
from test_package import EXAMPLES, run_example

from runtimed_client import AsyncClient, Client, Env, RPCError

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def socket(filled: str) -> str:
    return filled


def check(env: Env) -> None:
    """The kernel's modules are there, and an activated child is at home in the environment."""
    command = [env.python, "-c", "import ipykernel, sys; print(sys.prefix)"]
    said = subprocess.check_output(command, env=env.environ(), text=True, timeout=60)
    assert os.path.realpath(said.strip()) == os.path.realpath(env.path)
    found = subprocess.check_output(["/bin/sh", "-c", "command -v python"], env=env.environ(), text=True, timeout=60)
    assert os.path.dirname(found.strip()) == env.path_prepend[0]
    assert env.variables["VIRTUAL_ENV"] == env.path


def leased(c: Client, env: Env) -> bool:
    return env.id in [one["id"] for one in c.call("env.list", {"state": "leased"})["envs"]]


def test_acquire_use_release(socket: str) -> None:
    with Client(socket) as c:
        assert c.info().socket == socket
        with c.acquire("uv", wait=120, label="test_real") as env:
            check(env)
            assert leased(c, env)
            tool = c.status()["uv"].tool
            assert tool
            assert tool.name == "uv"
            assert tool.why
            assert os.access(tool.path, os.X_OK)
        assert not leased(c, env)
        with pytest.raises(RPCError) as caught:
            c.release(env)
        assert caught.value.kind == "unknown_env"


def test_two_never_get_the_same(socket: str) -> None:
    with Client(socket) as c, c.acquire("uv", wait=120) as one, c.acquire("uv", wait=120) as other:
        assert one.id != other.id
        assert one.path != other.path


def test_the_same_key_gets_the_same(socket: str) -> None:
    with Client(socket) as c:
        params = {"pool": "uv", "wait_ms": 120_000, "key": f"test {os.getpid()}"}
        first, again = (c.call("pool.acquire", params, wait=120) for _ in range(2))
        assert first["env"]["id"] == again["env"]["id"]
        c.release(first["env"]["id"])


def test_a_lease_ends_with_the_process_that_adopted_it(socket: str) -> None:
    with Client(socket) as c:
        with c.acquire("uv", wait=120) as env:
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            c.adopt(env, child.pid)
        assert leased(c, env)
        child.communicate(b"\n", timeout=60)
        wait_until(lambda: not leased(c, env), 30)


def test_needs_are_added_to_what_the_pool_has(socket: str) -> None:
    script = "# /// script\n# dependencies = ['iniconfig']\n# requires-python = '>=3.9'\n# ///\n"
    with Client(socket) as c:
        file = "pip  # has the pool\n"
        with c.acquire("uv", wait=120, packages=["tabulate"], requirements=file, script=script) as env:
            check(env)
            assert env.source in ("extended", "built")  # as one was ready, or not
            assert env.needs == ("iniconfig", "pip", "tabulate")
            assert {"iniconfig", "tabulate"} <= {package.name for package in env.packages}
            added = ["iniconfig", "tabulate"] if env.source == "extended" else []
            assert [package.name for package in env.added] == added
            assert bool(env.added_ms) == bool(env.added)
            subprocess.run([env.python, "-c", "import iniconfig, tabulate"], check=True, timeout=60)
        with pytest.raises(RPCError) as caught:
            c.acquire("uv", wait=120, packages=["iniconfig==2.0.0", "iniconfig==1.1.1"])
        assert (caught.value.kind, caught.value.data["cause"]) == ("build_failed", "unsatisfiable")
        with pytest.raises(RPCError) as caught:
            c.acquire("uv", requirements="six\n-r more.txt\n")
        assert caught.value.data["param"] == "requirements"
        assert "older" not in str(caught.value.hint)


def test_a_session_goes_on_in_its_environment(socket: str) -> None:
    session = f"test {os.getpid()}"
    with Client(socket) as c:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        first = c.acquire("uv", wait=120, owner_pid=child.pid, session=session, linger=60)
        child.communicate(b"\n", timeout=60)
        with c.acquire("uv", wait=120, session=session, linger=60) as again:
            assert (again.id, again.source) == (first.id, "resumed")
        assert not leased(c, again)


def test_watch_sees_a_lease_come_and_go(socket: str) -> None:
    with Client(socket) as c:
        watch = c.watch()
        before = next(watch)["uv"].leased
        with c.acquire("uv", wait=120):
            assert any(status["uv"].leased > before for status in watch)
        assert any(status["uv"].leased <= before for status in watch)


def test_errors(socket: str) -> None:
    with Client(socket) as c:
        with pytest.raises(RPCError) as caught:
            c.acquire("no-such-pool")
        assert caught.value.kind == "unknown_pool"
        assert "uv" in caught.value.data["pools"]
        with pytest.raises(RPCError) as caught:
            c.acquire("uv", wait=-1)
        assert caught.value.data["param"] == "wait_ms"


def test_async(socket: str) -> None:
    async def main() -> None:
        async with AsyncClient(socket) as c:
            async with await c.acquire("uv", wait=120) as env:
                check(env)
            async for status in c.watch():
                assert status["uv"].kind == "uv"
                break

    asyncio.run(main(), debug=False)


@pytest.mark.parametrize("example", EXAMPLES)
def test_readme(socket: str, example: str) -> None:
    run_example(example, socket)
