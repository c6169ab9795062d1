"""The kernel provisioner: with real kernels in real environments, and with what only a broken daemon does."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake import FakeDaemon, Hook, Peer, wait_until
from jupyter_client.ioloop.manager import AsyncIOLoopKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from kernels import ARGV, WAIT, client, env_of, of, owner, provisioner, run, spec, until_released
from runtimed_client import Client, RuntimedError
from traitlets import TraitError
from traitlets.config import Config
from wire import SOURCES

from runtimed_jupyter import RuntimedProvisioner
from runtimed_jupyter.provisioner import is_plain, label_of, unreleased

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("installed", "place")]


# ---- kernels


def test_a_restart_keeps_what_was_installed(socket: str) -> None:
    async def main() -> None:
        km = AsyncKernelManager()
        km._kernel_spec = spec(wait=WAIT)
        await km.start_kernel(env={**os.environ, "JPY_SESSION_NAME": "/home/me/notes/a.ipynb"})
        env, first = env_of(km), of(km).pid
        assert owner(env) == first
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
            assert await run(kc, "import os, sys; sys.prefix == os.environ['VIRTUAL_ENV']") == "True"
            assert f"/{env}/bin/" in await run(kc, "!command -v python")
            assert await run(kc, "import iniconfig") == "ModuleNotFoundError"
            await run(kc, "%pip install --quiet --no-deps --no-compile iniconfig")
            interrupted = await run(kc, "print('on'); import time; time.sleep(60)", km.interrupt_kernel)
            assert interrupted.split() == ["on", "KeyboardInterrupt"]
        for now in (False, True):
            await km.restart_kernel(now=now)
            assert env_of(km) == env
            assert owner(env) == of(km).pid != first
        async with client(km) as kc:
            assert await run(kc, "import iniconfig; 1 + 1") == "2"
        await km.shutdown_kernel()
        assert owner(env) is None

    asyncio.run(main())


def test_a_restart_gives_a_fresh_one_where_that_is_wanted(socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the blocking manager, and by default: no kernelspec asks for it."""
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "runtimed")
    km = KernelManager(config=Config(RuntimedProvisioner={"on_restart": "fresh", "wait_time": WAIT}))
    km._kernel_spec = KernelSpec(argv=ARGV)
    km.start_kernel()
    first = env_of(km)
    km.restart_kernel(now=True)
    assert env_of(km) != first
    assert owner(first) is None
    second = env_of(km)
    kc = km.client()
    kc.start_channels()
    kc.wait_for_ready(timeout=60)
    kc.stop_channels()
    km.shutdown_kernel(now=True)
    assert owner(second) is None


def test_a_kernel_that_dies_gives_its_environment_back(socket: str) -> None:
    async def main() -> None:
        km = AsyncKernelManager()
        km._kernel_spec = spec(wait=WAIT, linger=1)
        await km.start_kernel()
        env = env_of(km)
        await of(km).send_signal(signal.SIGKILL)
        await until_released(env)
        await km.restart_kernel()
        assert env_of(km) != env
        await km.shutdown_kernel(now=True)

    asyncio.run(main())


def test_a_kernel_that_is_restarted_for_it_died_keeps_its_environment(socket: str) -> None:
    async def main() -> None:
        km = AsyncIOLoopKernelManager(config=Config(KernelRestarter={"time_to_dead": 0.2, "restart_limit": 1}))
        km._kernel_spec = spec(wait=WAIT, linger=5)
        await km.start_kernel()
        env, first = env_of(km), of(km).pid
        dead = asyncio.Event()
        km.add_restart_callback(dead.set, "dead")
        assert owner(env) == first
        os.kill(first or 0, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: owner(env) == of(km).pid != first, 30)
        await of(km).send_signal(signal.SIGKILL)  # once more than it may
        await dead.wait()
        await until_released(env)
        await km.shutdown_kernel(now=True)

    asyncio.run(main())


SERVER = """
import asyncio, json, sys, time
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.multikernelmanager import AsyncMultiKernelManager

async def main():
    infos = []
    for parent in (AsyncMultiKernelManager(), None):
        km = AsyncKernelManager(parent=parent)
        km._kernel_spec = KernelSpec(**json.loads(sys.argv[1]))
        await km.start_kernel()
        infos.append([km.connection_file, await km.provisioner.get_provisioner_info()])
    with open(sys.argv[2], "w") as file:
        file.write(json.dumps(infos, default=bytes.decode) + "\\n")
    time.sleep(600)

asyncio.run(main())
"""


def test_a_servers_kernel_outlives_its_crash(socket: str, wheel: Path, tmp_path: Path) -> None:
    """And one that a script started does not. Another process can take over by the provisioner's info."""
    made = spec(wait=WAIT, linger=1)
    given = json.dumps({"argv": made.argv, "metadata": made.metadata})
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*SOURCES, str(wheel)])}
    told = tmp_path / "told"
    server = subprocess.Popen([sys.executable, "-c", SERVER, given, str(told)], env=env)
    try:
        wait_until(lambda: server.poll() is not None or (told.exists() and told.read_text().endswith("\n")), 50)
    finally:
        server.kill()
        server.wait()
    (connection_file, info), (_, ended) = json.loads(told.read_text())

    async def main() -> None:
        await until_released(ended["env"]["id"])
        km = AsyncKernelManager(connection_file=connection_file)
        km.load_connection_file()
        km._kernel_spec = made
        km.provisioner = provisioner(made, km)
        await km.provisioner.load_provisioner_info(info)
        assert await km.provisioner.get_provisioner_info() == info
        assert owner(env_of(km)) == info["pid"]
        assert await km.is_alive()
        async with client(km) as kc:
            assert await run(kc, "1 + 1") == "2"
        await km.shutdown_kernel()
        assert not await km.is_alive()
        assert owner(info["env"]["id"]) is None
        await km.provisioner.load_provisioner_info(info)
        assert not km.has_kernel

    try:
        asyncio.run(main())
    finally:
        with suppress(ProcessLookupError):
            os.kill(info["pid"], signal.SIGKILL)


# ---- failures


def failure(**config: Any) -> str:
    async def main() -> None:
        km = AsyncKernelManager()
        km._kernel_spec = spec(**config)
        await km.start_kernel()

    with pytest.raises((RuntimedError, TraitError)) as caught:
        asyncio.run(main())
    return str(caught.value)


def test_no_daemon(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = failure()
    assert text.startswith(
        "hint: start it with: runt daemon start\n"
        f"no environment of the pool uv for the kernel: no daemon can be reached at {place}/none: "
    )
    monkeypatch.delenv("RUNTIMED_NO_START")
    assert failure(autostart=False) == text
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(place))
    text = failure()
    assert "there is no runt beside this Python, on PATH or in ~/.local/bin" in text
    assert text.startswith("hint: install runtimed, as runtimed-client[bin] does")


def test_pools_that_give_nothing(socket: str) -> None:
    assert 'no pool is named "nope"' in failure(pool="nope")
    text = failure(pool="conda")
    assert text.startswith("hint: set size")
    assert text.endswith("the pool conda is off (size 0)")
    with Client() as c:
        # Not just before the next try: then it would be waited for.
        wait_until(lambda: (error := c.status()["torn"].error) and error.next_retry_ms > 15_000, 120)
    began = time.monotonic()
    text = failure(pool="torn", wait=60)
    assert time.monotonic() - began < 20  # the next try is 30 s away, and not waited for
    assert text.startswith("hint: loosen the versions")
    assert "\nno environment of the pool torn for the kernel: the packages cannot be installed together\n" in text
    assert "six==1.16.0" in text  # in uv's own words


def test_what_it_waits_for_is_logged(socket: str, caplog: pytest.LogCaptureFixture) -> None:
    with Client() as c:
        c.call("pool.flush", {"pool": "uv"})
    text = failure(wait=0)
    assert "the pool uv had no environment ready within 0s" in text
    assert text.startswith("hint: wait longer")

    async def main() -> None:
        alone = provisioner(spec(wait=WAIT))
        alone.log = logging.getLogger("provisioner")
        await alone.pre_launch()
        await alone.cleanup()

    caplog.set_level(logging.INFO)
    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "provisioner"]
    assert any(line.startswith("The kernel waits for an environment of the pool uv: ") for line in told)
    assert "(built, after " in told[-1]


def test_config_that_it_does_not_know() -> None:
    known = "pool, project, wait, autostart, on_restart, linger and outlive"
    assert failure(pools="uv") == f"runtimed's kernel_provisioner config has {known}, not pools"
    assert "expected a float" in failure(wait="long")
    assert "on_restart" in failure(on_restart="never")


def test_a_kernel_whose_daemon_is_replaced_while_it_waits_starts(lone: RuntimedProvisioner, fake: FakeDaemon) -> None:
    async def main() -> FakeDaemon:
        fake.hook = lambda peer, request: request["method"] == "pool.acquire"
        launching = asyncio.create_task(lone.pre_launch(env={}))
        await asyncio.to_thread(wait_until, lambda: "pool.acquire" in fake.methods())
        await asyncio.to_thread(fake.stop)
        os.unlink(fake.path)
        await asyncio.sleep(0.5)
        again = FakeDaemon(fake.path)
        await launching
        return again

    again = asyncio.run(main())
    try:
        first, second = (daemon.requests[daemon.methods().index("pool.acquire")]["params"] for daemon in (fake, again))
        assert all(first[name] == second[name] for name in ("key", "session", "label"))
        assert second["wait_ms"] < first["wait_ms"]
        assert len(again.leases) == 1
    finally:
        again.stop()


def hanging_up_on(method: str) -> Hook:
    """Has a daemon hang up on whoever calls this."""

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] != method:
            return False
        peer.hang_up()
        return True

    return hook


def test_a_daemon_that_ends_before_it_is_asked_costs_no_kernel(lone: RuntimedProvisioner, fake: FakeDaemon) -> None:
    async def main() -> None:
        fake.hook = hanging_up_on("pool.status")
        await lone.pre_launch(env={})
        assert len(fake.leases) == 1
        await lone.cleanup()

    asyncio.run(main())


def test_a_kernel_that_cannot_be_launched_leaves_no_lease(lone: RuntimedProvisioner, fake: FakeDaemon) -> None:
    async def main() -> None:
        launch = await lone.pre_launch(env={"JPY_PARENT_PID": "1"})
        assert launch["cmd"] == ["/envs/bin/python", *ARGV[1:]]
        assert fake.leases
        with pytest.raises(FileNotFoundError):
            await lone.launch_kernel(**launch)
        assert not fake.leases

    asyncio.run(main())


def test_what_no_daemon_took_back_is_told_to_the_next(lone: RuntimedProvisioner, fake: FakeDaemon) -> None:
    async def main() -> None:
        await lone.pre_launch()
        fake.hook = hanging_up_on("pool.release")
        await lone.cleanup()
        assert unreleased
        assert len(fake.leases) == 1
        fake.hook = None
        await lone.pre_launch()
        assert not unreleased
        assert len(fake.leases) == 1
        await lone.cleanup()
        assert not fake.leases

    asyncio.run(main())


# ---- which kernelspecs


def test_a_kernelspec_of_another_python_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon is there that could be asked."""
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "runtimed")
    argv = ["/opt/project/bin/python", *ARGV[1:]]
    launch = asyncio.run(provisioner(KernelSpec(argv=argv)).pre_launch(env={"PATH": "/bin", "JPY_PARENT_PID": "1"}))
    assert launch == {"cmd": argv, "env": {"PATH": "/bin", "JPY_PARENT_PID": "1"}}


@pytest.mark.parametrize(
    ("program", "plain"),
    [
        ("python", True),
        ("python3", True),
        (f"python3.{sys.version_info[1]}", True),
        ("python3.1", False),
        (sys.executable, True),
        (os.path.join(os.path.dirname(sys.executable), "python3"), True),
        (os.path.join(os.path.dirname(sys.executable), "pytest"), False),
        (os.path.realpath(sys.executable), False),  # that which our venv was made from is another
        ("/nowhere/python", False),
        ("ruby", False),
        ("{resource_dir}/python", False),
    ],
)
def test_which_python_is_jupyters_own(program: str, plain: bool) -> None:
    assert is_plain([program, "-Xfrozen_modules=off", *ARGV[1:]]) == plain


def test_which_programs_are_ipykernel() -> None:
    assert is_plain(["python", "-m", "ipykernel", "-f", "{connection_file}"])
    assert not is_plain(["python", "-m", "bash_kernel", "-f", "{connection_file}"])
    assert not is_plain(["python", "ipykernel_launcher"])
    assert not is_plain([])


def test_the_program_of_a_kernelspec_that_asks_stays_if_it_is_no_python(lone: RuntimedProvisioner) -> None:
    async def main() -> None:
        lone.kernel_spec.argv = ["sh", "-c", "exec python -m ipykernel_launcher"]
        launch = await lone.pre_launch(env={"PATH": "/bin"})
        assert launch["cmd"] == lone.kernel_spec.argv
        assert launch["env"]["PATH"].startswith("/envs/")
        await lone.cleanup()

    asyncio.run(main())


def test_label() -> None:
    assert label_of("/home/me/a\nb.ipynb") == "Jupyter: ab.ipynb"
    assert len(label_of("é" * 500).encode()) <= 256
