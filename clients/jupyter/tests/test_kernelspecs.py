"""What launchers offer: in a real server with a daemon of memory, and by a configuration that the real runt reads."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Optional

import pytest
from fake import POOL, FakeDaemon, Peer
from lab import built
from test_server import TOKEN, daemon, get, place, server  # noqa: F401 (the fixtures)

from runtimed_jupyter.kernelspecs import Offered, pool_of, pools_that_are_on

OFF, GONE = {**POOL, "name": "conda", "kind": "conda", "target": 0, "available": 0, "state": "off"}, "science"
PROJECT = ["/bin/runt", "kernel", "-f", "{connection_file}", "--project", "auto", "--"]


def by_runt(pool: str) -> list[str]:
    return ["{resource_dir}/../../../../bin/runt", "kernel", "-f", "{connection_file}", "--pool", pool, "--"]


def by_provisioner(**config: Any) -> dict[str, Any]:
    return {"kernel_provisioner": {"provisioner_name": "runtimed", "config": config}}


def specification(argv: Any, metadata: Any = None) -> dict[str, Any]:
    return {"argv": argv, "display_name": "Python", "language": "python", "metadata": metadata or {}}


KERNELS = {
    "runtimed-uv": specification(by_runt("uv")),
    "runtimed-conda": specification(by_runt("conda")),
    "runtimed-project": specification(PROJECT),
    "runtimed-science": specification(by_runt(GONE)),
    "others": specification(["python", "-m", "ipykernel_launcher", "-f", "{connection_file}", "--pool", GONE]),
}


@pytest.fixture
def kernels(place: Path) -> None:  # noqa: F811
    for name, specification in KERNELS.items():
        folder = place / ".local/share/jupyter/kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernel.json").write_text(json.dumps(specification))


def offered(server: str) -> set[str]:  # noqa: F811
    return set(KERNELS) & set(get(f"{server}api/kernelspecs?token={TOKEN}")["kernelspecs"])


def pools(daemon: FakeDaemon, *there: dict[str, Any]) -> None:  # noqa: F811
    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if request["method"] == "pool.status":
            peer.send({"id": request["id"], "result": {"pools": list(there)}})
        return bool(request["method"] == "pool.status")

    daemon.hook = hook


def test_a_pool_that_is_off_or_gone_takes_its_kernel_along(
    server: str,  # noqa: F811
    daemon: FakeDaemon,  # noqa: F811
    kernels: None,
) -> None:
    pools(daemon, POOL, OFF)
    assert offered(server) == set(KERNELS) - {"runtimed-conda", "runtimed-science"}
    for name in ("runtimed-conda", "runtimed-science"):  # a notebook that names it can still start it
        assert get(f"{server}api/kernelspecs/{name}?token={TOKEN}")["name"] == name
    pools(daemon, POOL, {**OFF, "target": 1}, {**POOL, "name": GONE})
    assert offered(server) == set(KERNELS)


def test_a_server_without_a_daemon_and_runt_offers_all(server: str, kernels: None) -> None:  # noqa: F811
    assert offered(server) == set(KERNELS)


def test_a_launcher_does_not_wait_for_a_daemon_that_hangs(
    server: str,  # noqa: F811
    daemon: FakeDaemon,  # noqa: F811
    kernels: None,
) -> None:
    daemon.hook = lambda peer, request: bool(request["method"] == "pool.status")
    began = time.monotonic()
    assert offered(server) == set(KERNELS)
    assert time.monotonic() - began < 10


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("pools.conda.size = 0\npools.science = { kind = 'uv', size = 2 }\n", {"uv", "science"}),
        ("pools.uv.size = 0\npools.conda.size = 0\n", set()),
        ("pools.uv.size = 'many'\n", None),
    ],
)
def test_without_a_daemon_the_configuration_counts(
    settings: str, expected: Optional[set[str]], programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("RUNTIMED_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config.toml").write_text(settings)
    monkeypatch.setenv("RUNTIMED_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("RUNTIMED_SOCKET", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert asyncio.run(pools_that_are_on()) == expected


@pytest.mark.parametrize(
    ("spec", "pool"),
    [
        (specification(["C:/x/runt.exe".replace("/", os.sep), "kernel", "-f", "x", "--pool=lab", "--"]), "lab"),
        (specification(["runt", "kernel", "-f", "x", "--with", "pandas", "--", "--pool", "no"]), "uv"),
        (specification(["runt", "kernel", "--pool", "lab", "--project=auto", "--"]), None),
        (specification(["runt", "kernel", "--pool"]), ""),
        (specification(["runt", "run", "--pool", "lab"]), None),
        (specification(["python"], by_provisioner()), "uv"),
        (specification(["python"], by_provisioner(pool="conda", project="auto")), None),
        (specification([]), None),
        (specification([7, None]), None),
        (specification(["runt", "kernel", 3, "--"]), None),
        (specification(["x"], {"kernel_provisioner": "runtimed"}), None),
        (specification(["python"], by_provisioner(pool=["uv"])), None),
        ({}, None),
        (None, None),
    ],
)
def test_the_pool_of_a_kernel(spec: Optional[dict[str, Any]], pool: Optional[str]) -> None:
    assert pool_of(spec) == pool


def test_kernels_of_a_gateway_and_the_last_ones_stay(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    pools(fake, OFF)

    def listed(specs: dict[str, Any]) -> dict[str, Any]:
        class Manager:
            async def get_all_specs(self) -> dict[str, Any]:
                return specs

        return asyncio.run(Offered(Manager()).get_all_specs())

    ours = {"spec": KERNELS["runtimed-uv"], "resource_dir": "/k"}
    of_gateway = {"name": "uv", "spec": KERNELS["runtimed-uv"], "resources": {}}
    assert listed({"uv": of_gateway, "conda": ours}) == {"uv": of_gateway}
    assert listed({"conda": ours}) == {"conda": ours}
    without: dict[str, Any] = {"resource_dir": "/k"}  # Jupyter logs that, and lists the others
    assert listed({"uv": of_gateway, "conda": ours, "odd": without}) == {"uv": of_gateway, "odd": without}
