"""The JupyterHub of examples/hub: its proxy, its culler, real users, and a daemon for each of them."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake import wait_until
from fixtures import build_wheel
from hub import EXAMPLE, LONG, Hub, Person, accounts, at_once, end, memory_of

pytestmark = pytest.mark.timeout(900)
SOAK = bool(os.environ.get("RUNTIMED_SOAK"))
WHO = """
import json, os, sys
names = ("HOME", "USER", "JUPYTERHUB_API_TOKEN", "SSL_CERT_FILE")
mask = os.umask(0); os.umask(mask)
print(json.dumps({"parent": os.getppid(), "pid": os.getpid(), "uid": os.getuid(), "groups": os.getgroups(),
    "prefix": sys.prefix, "cwd": os.getcwd(), "umask": mask, "nice": os.nice(0),
    "variables": {name: os.environ.get(name) for name in names}}))
"""


@pytest.fixture(scope="module")
def hub(wheel: Path) -> Iterator[Hub]:
    base = Path(tempfile.mkdtemp(prefix="rt-"))  # a socket's path is short
    hub = None
    try:
        text = re.sub("(?m)^idle_exit.*", 'idle_exit = "3s"', (EXAMPLE / "config.toml").read_text())
        text = re.sub("(?m)^size = 2", "size = 1", text)
        hub = Hub(base, [wheel, build_wheel("python", base)], text)
        hub.start()
        hub.wait()
        yield hub
    finally:
        if hub:
            hub.end()
            sys.stdout.write(hub.log.read_text()[-20_000:])  # pytest shows it if a test has failed
        subprocess.run(["rm", "-rf", str(base)], check=True)  # faster by far where there is so much


@pytest.fixture(scope="module")
def people(hub: Hub) -> Iterator[list[Person]]:
    with accounts(10 if SOAK else 3, hub.base) as names:
        yield [Person(hub, name) for name in names]


def variables(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


def warm_kernel(person: Person) -> str:
    """A kernel that stood by before it was asked for, and is the one that the server would have started."""
    wait_until(person.warm, LONG)
    kernel = person.kernel()
    assert person.run(kernel, "1+1") == "2"
    own = json.loads(person.run(kernel, WHO))
    assert own["parent"] == person.daemon(), "it was not a standby"
    assert own["prefix"].startswith(f"{person.state}/envs/uv-"), own
    assert (own["uid"], own["nice"], own["umask"], own["cwd"]) == (person.uid, 0, 0o022, str(person.home))
    server = variables(person.server())
    assert own["variables"] == {name: server.get(name) for name in own["variables"]}
    env = Path(own["prefix"]).name
    assert f"gets the environment {env} (ready, after" in person.hub.log.read_text()
    return kernel


def nothing_runs(person: Person) -> bool:
    return not person.runs()


def test_a_day_at_the_hub(hub: Hub, people: list[Person]) -> None:
    """All log in at the same time. The hub and the servers are killed. All leave, and nothing is left."""
    at_once(people, Person.login)
    kernels = dict(zip(people, at_once(people, warm_kernel)))
    daemons = {person: person.daemon() for person in people}
    for person, kernel in kernels.items():
        assert Path(f"/proc/{daemons[person]}").stat().st_uid == person.uid
        assert memory_of(daemons[person], "Pss_Anon") < 12, "after builds; it has taken 6 MB"
        assert len(person.leases()) == 1
        assert person.run(kernel, "x = 41") == ""

    servers = {person: person.server() for person in people}
    hub.end(kill=True)
    hub.start()
    hub.wait()
    for person, kernel in kernels.items():
        person.wait()
        assert person.server() == servers[person]
        assert person.run(kernel, "x + 1") == "42"

    killed = people[: len(people) // 2]
    for person in killed:
        end(person.server())
    wait_until(lambda: not any(person.leases() for person in killed), LONG)
    for person in people[len(killed) :]:
        assert person.run(kernels[person], "x + 1") == "42"
    at_once(killed, Person.start)
    at_once(killed, warm_kernel)

    with hub.culling():
        wait_until(lambda: all(map(nothing_runs, people)), LONG)
    for person in people:
        assert not person.leases()
        assert not (person.state / "runtimed.sock").exists()
        assert list(person.state.glob("envs/uv-*")), "what was made is there for the next day"
