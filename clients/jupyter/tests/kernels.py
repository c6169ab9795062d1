"""What the tests of the provisioner stand on: a daemon with environments, and kernels in them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any, Callable, Optional

import pytest
from fake import FakeDaemon, wait_until
from fixtures import running
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_core.utils import ensure_async
from runtimed_client import Client

from runtimed_jupyter import RuntimedProvisioner

ARGV = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
WAIT = 120
# Variables that kernels get. Python has set LC_CTYPE itself, in the daemon too (PEP 538).
USUAL = {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "PYTEST_CURRENT_TEST", "TMPDIR", "USER"}


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[None]:
    """Jupyter finds the provisioner by the wheel's entry point, and Python imports the sources."""
    sys.path.append(str(wheel))
    yield
    sys.path.remove(str(wheel))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in set(os.environ) - USUAL:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("RUNTIMED_SOCKET", str(tmp_path / "none"))
    monkeypatch.setenv("RUNTIMED_NO_START", "1")
    return tmp_path


@pytest.fixture(scope="module")
def pools() -> Iterator[str]:
    """The socket of a daemon with environments, and with a pool that can never have one."""
    torn = 'pools.torn = { kind = "uv", size = 1, packages = ["ipykernel", "six==1.16.0", "six==1.17.0"] }\n'
    with running(2, torn) as path:
        yield path


@pytest.fixture
def socket(pools: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RUNTIMED_SOCKET", pools)
    monkeypatch.setenv("HOME", os.path.dirname(pools))  # as the daemon has it
    return pools


def spec(**config: Any) -> KernelSpec:
    return KernelSpec(argv=ARGV, metadata={"kernel_provisioner": {"provisioner_name": "runtimed", "config": config}})


def provisioner(spec: KernelSpec, parent: Any = None) -> RuntimedProvisioner:
    made = KernelProvisionerFactory.instance().create_provisioner_instance("k1", spec, parent)
    assert isinstance(made, RuntimedProvisioner)
    return made


@pytest.fixture
def lone(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> RuntimedProvisioner:
    """One without a manager, and a daemon of memory."""
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    return provisioner(spec())


def of(km: KernelManager) -> RuntimedProvisioner:
    assert isinstance(km.provisioner, RuntimedProvisioner)
    return km.provisioner


def env_of(km: KernelManager) -> str:
    lease = of(km).lease
    assert lease
    return lease.id


def owner(env: str) -> Optional[int]:
    """The process that an environment is leased to."""
    with Client() as c:
        leases = {one["id"]: one["lease"]["owner_pid"] for one in c.call("env.list", {"state": "leased"})["envs"]}
    return leases.get(env)


async def until_released(env: str) -> None:
    await asyncio.to_thread(wait_until, lambda: owner(env) is None, 20)


@asynccontextmanager
async def client(km: KernelManager) -> AsyncIterator[AsyncKernelClient]:
    kc = AsyncKernelClient(**km.get_connection_info(session=True), parent=km)
    kc.start_channels()
    try:
        await kc.wait_for_ready(timeout=60)
        heard = False
        while not heard:  # what is said before iopub is connected is lost, and wait_for_ready does not wait for that
            kc.kernel_info()
            with suppress(Empty):
                heard = bool(await kc.get_iopub_msg(timeout=0.5))
        yield kc
    finally:
        kc.stop_channels()


async def nothing() -> None:
    pass


async def run(kc: AsyncKernelClient, code: str, on_output: Callable[[], Awaitable[None]] = nothing) -> str:
    """What a cell says, and the name of its error."""
    said: list[str] = []
    asked = await ensure_async(kc.execute(code))  # jupyter_client 8.0 gives a future
    while True:
        message = await kc.get_iopub_msg(timeout=60)
        content = message["content"]
        if message["parent_header"].get("msg_id") != asked:
            continue
        if content.get("execution_state") == "idle":
            break
        if text := content.get("text") or content.get("data", {}).get("text/plain") or content.get("ename"):
            said.append(text)
            if message["msg_type"] == "stream":
                await on_output()
    return "".join(said).strip()
