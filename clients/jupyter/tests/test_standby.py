"""Standby kernels: what the provisioner makes of them, beside a plain kernel."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

import nbformat
import pytest
from fake import FakeDaemon, older, wait_until
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from kernels import ARGV, WAIT, client, env_of, of, owner, provisioner, run, spec, until_released
from nbclient import NotebookClient
from runtimed_client import Client
from wire import SOURCES

from runtimed_jupyter import RuntimedProvisioner
from runtimed_jupyter.running import Adopted

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("installed", "place"),
    pytest.mark.skipif(sys.platform == "win32", reason="there are no standbys on Windows"),
]


async def until_ready() -> None:
    """A standby waits for its order."""

    def ready() -> bool:
        status = c.status()["uv"].standby
        assert status
        return status.ready > 0

    with Client() as c:
        await asyncio.to_thread(wait_until, ready, WAIT)


async def started(adopted: bool = True, launch: Optional[dict[str, Any]] = None, **config: Any) -> AsyncKernelManager:
    """A kernel that was a standby, or a plain one although there is a standby."""
    await until_ready()
    km = AsyncKernelManager()
    km._kernel_spec = spec(wait=WAIT, **config)
    await km.start_kernel(**(launch or {}))
    assert is_adopted(km) == adopted
    return km


def is_adopted(km: AsyncKernelManager) -> bool:
    return isinstance(of(km).process, Adopted)


async def end(km: AsyncKernelManager) -> Optional[int]:
    """The kernel's exit code, once it has ended."""
    process: Any = of(km).process
    await asyncio.to_thread(wait_until, lambda: process.poll() is not None, 30)
    code: int = process.wait()
    return code


# ---- kernels


def test_a_standby_is_adopted(socket: str) -> None:
    async def main() -> None:
        more = "--IPKernelApp.capture_fd_output=False"
        km = await started(launch={"cwd": "/", "extra_arguments": [more]})
        env, pid = env_of(km), of(km).pid
        assert owner(env) == pid
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
            with Client() as c:
                assert await run(kc, "import os, sys; os.getppid()") == str(c.info().pid)
            assert await run(kc, "os.getpid(), os.getsid(0), os.getcwd()") == str((pid, pid, "/"))
            assert await run(kc, "os.environ['JPY_PARENT_PID']") == repr(str(os.getpid()))
            assert await run(kc, "sys.prefix == os.environ['VIRTUAL_ENV']") == "True"
            assert await run(kc, "sys.argv[1:]") == str(["-f", km.connection_file, more])
            assert await run(kc, "open('/dev/stdin').read()") == "''"
            interrupted = await run(kc, "print('on'); import time; time.sleep(60)", km.interrupt_kernel)
            assert interrupted.split() == ["on", "KeyboardInterrupt"]
            await run(kc, "%pip install --quiet --no-deps --no-compile iniconfig")
        await km.restart_kernel()
        assert not is_adopted(km)
        assert env_of(km) == env
        assert owner(env) == of(km).pid != pid
        async with client(km) as kc:
            assert await run(kc, "import iniconfig; 1 + 1") == "2"
        await km.shutdown_kernel()
        assert owner(env) is None

    asyncio.run(main())


def test_a_fresh_environment_has_its_own(socket: str) -> None:
    async def main() -> None:
        km = await started(on_restart="fresh")
        first = env_of(km)
        await until_ready()
        await km.restart_kernel(now=True)
        assert is_adopted(km)
        assert env_of(km) != first
        assert owner(first) is None
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
        await km.shutdown_kernel()

    asyncio.run(main())


async def exit_by_cell(km: AsyncKernelManager, code: str) -> None:
    kc: AsyncKernelClient = km.client()
    kc.start_channels()
    await kc.wait_for_ready(timeout=60)
    kc.execute(code)
    await end(km)
    kc.stop_channels()


async def shut_down(km: AsyncKernelManager) -> None:
    async with client(km):
        await km.request_shutdown(restart=True)
        await end(km)


Ending = Callable[[AsyncKernelManager], Any]


@pytest.mark.parametrize(
    "ending",
    [
        lambda km: exit_by_cell(km, "import os; os._exit(3)"),
        lambda km: of(km).terminate(),
        shut_down,
    ],
    ids=["exit", "signal", "shutdown"],
)
def test_it_ends_as_a_plain_one_does(socket: str, ending: Ending) -> None:
    async def main() -> None:
        km = await started()
        codes = []
        for _ in range(2):
            async with client(km):
                pass
            await ending(km)
            codes.append(await end(km))
            await km.restart_kernel()
        assert codes[0] == codes[1]
        await km.shutdown_kernel()

    asyncio.run(main())


def test_its_streams_are_those_that_are_given(socket: str, tmp_path: Path) -> None:
    async def main() -> None:
        streams = {"stdout": subprocess.PIPE, "stderr": err, "stdin": subprocess.DEVNULL}
        km = await started(launch={**streams, "extra_arguments": ["--IPKernelApp.capture_fd_output=False"]})
        process: Any = of(km).process
        async with client(km) as kc:
            await run(kc, "import os; os.write(1, b'out\\n'), os.write(2, b'err\\n')")
            assert await run(kc, "os.path.samefile(0, os.devnull)") == "True"
        for _ in iter(process.stdout.readline, b"out\n"):
            pass
        assert "err\n" in (tmp_path / "err").read_text()
        await km.shutdown_kernel()
        assert process.stdout.closed

    with open(tmp_path / "err", "wb") as err:
        asyncio.run(main())


def test_a_caller_that_differs_gets_a_plain_one_and_the_next_a_standby(
    socket: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def main() -> None:
        launch = {"env": {**os.environ, "PYTHONHASHSEED": "7"}}
        said = []
        for adopted in (False, True):
            km = await started(adopted, launch)
            async with client(km) as kc:
                said.append(await run(kc, "import os; hash('a'), os.environ['PYTHONHASHSEED']"))
            await km.shutdown_kernel()
        assert said[0] == said[1]
        km = await started(False)  # the other way round, too
        await km.shutdown_kernel()

    asyncio.run(main())
    assert "A plain kernel: its variables differ" in caplog.text
    assert "PYTHONHASHSEED" in caplog.text


def test_a_standby_that_is_silent_is_killed(socket: str) -> None:
    async def main() -> None:
        await until_ready()
        km = AsyncKernelManager()
        km._kernel_spec = spec(wait=WAIT)
        cmd, launch = await km._async_pre_start_kernel()
        silent = of(km)._standby
        assert silent
        os.kill(silent.pid, signal.SIGSTOP)
        turned = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, turned.set)
        await km._async_launch_kernel(cmd, **launch)
        assert turned.is_set()  # others had their turn meanwhile
        assert not is_adopted(km)
        await km._async_post_start_kernel(**launch)
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
        await asyncio.to_thread(wait_until, lambda: not exists(silent.pid), 10)
        await km.shutdown_kernel()

    asyncio.run(main())


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_outlives_a_manager_that_nobody_has_any_more(socket: str) -> None:
    """As a plain one does: a script may keep nothing but the client."""

    async def main() -> None:
        km = await started(linger=1)
        env, pid = env_of(km), of(km).pid
        info, context = km.get_connection_info(session=True), km.context
        del km
        gc.collect()
        kc = AsyncKernelClient(**info, context=context)
        kc.start_channels()
        await kc.wait_for_ready(timeout=60)
        assert exists(pid or 0)
        kc.shutdown()
        await until_released(env)
        kc.stop_channels()
        context.destroy()

    asyncio.run(main())


def test_nbclient(socket: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(until_ready())
    monkeypatch.setenv("JUPYTER_PATH", str(place))
    (place / "kernels/warm").mkdir(parents=True)
    made = {"argv": ARGV, "display_name": "warm", "language": "python", "metadata": spec(wait=WAIT).metadata}
    (place / "kernels/warm/kernel.json").write_text(json.dumps(made))
    cell: dict[str, Any] = {"cell_type": "code", "id": "a", "metadata": {}, "source": "import os; os.getppid()"}
    cell |= {"execution_count": None, "outputs": []}
    made_of = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook = nbformat.from_dict(made_of)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, kernel_name="warm").execute()
    with Client() as c:
        assert notebook.cells[0].outputs[0].data["text/plain"] == str(c.info().pid)
        wait_until(lambda: not c.call("env.list", {"state": "leased"})["envs"], 30)


# ---- the end of Jupyter


SERVER = """
import asyncio, json, os, subprocess, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

async def main():
    km = AsyncKernelManager()
    km._kernel_spec = KernelSpec(**json.loads(sys.argv[2]))
    await km.start_kernel(stdout=subprocess.DEVNULL)  # ipykernel prints where it has no parent
    told = {"file": km.connection_file, "info": await km.provisioner.get_provisioner_info()}
    told["kind"], told["fork"] = type(km.provisioner.process).__name__, os.fork()
    if told["fork"]:
        print(json.dumps(told, default=bytes.decode), flush=True)
    time.sleep(600)

asyncio.run(main())
"""
# In native code, for hours; until then ipykernel has a second to say that it runs.
BUSY = "import re, time; time.sleep(1); re.match(r'(a+)+$', 'a' * 40 + 'b')"


@pytest.mark.parametrize("outlive", [True, False])
def test_what_it_does_when_jupyter_crashes(socket: str, wheel: Path, outlive: bool) -> None:
    """Even where a fork of Jupyter lives on, and the kernel is busy in native code that never comes back."""
    asyncio.run(until_ready())
    made = spec(wait=WAIT, linger=1, outlive=outlive)
    given = [json.dumps(it) for it in ([*SOURCES, str(wheel)], {"argv": made.argv, "metadata": made.metadata})]
    server = subprocess.Popen([sys.executable, "-c", SERVER, *given], stdout=subprocess.PIPE)
    with server:
        assert server.stdout
        told = json.loads(server.stdout.readline())
        try:
            assert told["kind"] == "Adopted"
            asyncio.run(crash(server, told, outlive))
        finally:
            server.kill()
            for pid in (told["fork"], told["info"]["pid"]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def crash(server: "subprocess.Popen[bytes]", told: dict[str, Any], outlive: bool) -> None:
    km = AsyncKernelManager(connection_file=told["file"])
    km.load_connection_file()
    km._kernel_spec = spec()
    km.provisioner = provisioner(km._kernel_spec, km)
    pid, env = told["info"]["pid"], told["info"]["env"]["id"]
    async with client(km) as kc:
        if not outlive:
            kc.execute(BUSY)
            while (await kc.get_iopub_msg(timeout=60))["msg_type"] != "execute_input":
                pass
        server.kill()
        server.wait()
        if not outlive:
            await asyncio.to_thread(wait_until, lambda: not exists(pid), 10)
            await until_released(env)
            km.context.destroy()
            return
        assert await run(kc, "1 + 1") == "2"
    await km.provisioner.load_provisioner_info(told["info"])
    assert await km.provisioner.get_provisioner_info() == told["info"]
    assert owner(env) == pid
    assert await km.is_alive()
    await km.shutdown_kernel()
    assert not exists(pid)
    assert owner(env) is None


# ---- who gets a plain kernel


@pytest.mark.parametrize(
    ("why", "arguments"),
    [
        ("RUNTIMED_STANDBY is 0", {"env": {"RUNTIMED_STANDBY": "0"}}),
        ("it is started with pass_fds, user", {"pass_fds": (9,), "user": 1}),
        ("its environment has no standby", {"env": {"RUNTIMED_STANDBY": "1"}, "cwd": "/", "stderr": subprocess.PIPE}),
    ],
)
def test_what_a_standby_cannot_be(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture, why: str, arguments: dict[str, Any]
) -> None:
    assert plain(lone, fake, caplog, **arguments) == why
    assert asked(fake) == ("no standby" in why)


def plain(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture, **arguments: Any
) -> Optional[str]:
    """Why this kernel is a plain one."""
    caplog.set_level("DEBUG")
    asyncio.run(lone.pre_launch(**arguments))
    said = [record.getMessage() for record in caplog.records]
    return next(line[len("A plain kernel: ") :] for line in said if line.startswith("A plain kernel: "))


def asked(fake: FakeDaemon) -> bool:
    """Whether a standby was asked for."""
    (params,) = (request["params"] for request in fake.requests if request["method"] == "pool.acquire")
    return params.get("standby", False) is True


def test_variables_that_ask_for_a_plain_kernel(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIMED_STANDBY", "0")
    assert plain(lone, fake, caplog, env={}) == "RUNTIMED_STANDBY is 0"
    monkeypatch.delenv("RUNTIMED_STANDBY")
    caplog.clear()
    lone.kernel_spec.env = {"RUNTIMED_STANDBY": "0"}
    assert plain(lone, fake, caplog) == "RUNTIMED_STANDBY is 0"


@pytest.mark.parametrize(
    "argv",
    [
        ["python", "-Xfrozen_modules=off", *ARGV[1:]],
        ["python", "-m", "ipykernel", *ARGV[3:]],  # which has another sys.path
        ["sh", *ARGV[1:]],
        ["python"],
    ],
)
def test_commands_that_are_not_those_of_a_standby(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture, argv: list[str]
) -> None:
    lone.kernel_spec.argv = argv
    assert plain(lone, fake, caplog) == "its command is not python -m ipykernel_launcher"
    assert not asked(fake)


def test_signals_that_are_blocked_are_blocked_in_the_kernel(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        assert plain(lone, fake, caplog) == "it would inherit blocked signals"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_an_older_daemon_has_no_standbys(
    lone: RuntimedProvisioner, fake: FakeDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    fake.hook = older("standby")
    assert plain(lone, fake, caplog) == "its environment has no standby"
    assert len(fake.leases) == 1
