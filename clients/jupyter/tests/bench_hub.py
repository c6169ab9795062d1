"""How long users of a hub wait who all come at once, from the login to the first answer, and what their daemons take.

It is no test: `pytest -s clients/jupyter/tests/bench_hub.py` runs it, as root. HUB_USERS says how many come (10).
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake import wait_until
from fixtures import build_wheel
from hub import EXAMPLE, Hub, Person, accounts, at_once, memory_of

pytestmark = pytest.mark.timeout(1800)
USERS = int(os.environ.get("HUB_USERS", "10"))
PLAIN = """
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.environment["JUPYTER_DEFAULT_PROVISIONER_NAME"] = "local-provisioner"
c.Spawner.environment["RUNTIMED_NO_START"] = "1"
"""
LATE = """
c.Spawner.cmd = ["jupyterhub-singleuser"]
"""


@contextmanager
def crowd(wheel: Path, more: str = "") -> Iterator[list[Person]]:
    base = Path(tempfile.mkdtemp(prefix="rt-"))  # a socket's path is short
    hub = None
    try:
        text = re.sub("(?m)^standby_idle.*", 'standby_idle = "1s"', (EXAMPLE / "config.toml").read_text())
        hub = Hub(base, [wheel, build_wheel("python", base)], text, more)
        hub.start()
        hub.wait()
        with accounts(USERS, base) as names:
            yield [Person(hub, name) for name in names]
    finally:
        if hub:
            hub.end()
        subprocess.run(["rm", "-rf", str(base)], check=True)  # faster by far where there is so much


def tell(what: str, took: list[float], unit: str = "s") -> None:
    load = os.getloadavg()[0]
    all_of_them = f"{min(took):.1f} to {max(took):.1f} {unit}"
    sys.stdout.write(f"\n{what:50} {statistics.median(took):6.1f} {unit}, {all_of_them}; load {load:.0f}\n")
    sys.stdout.flush()


def come(people: list[Person], what: str) -> None:
    """All log in and run a first cell, which does not wait until the pool is ready."""
    began = time.monotonic()

    def first_cell(person: Person) -> tuple[float, float]:
        person.login()
        page = time.monotonic() - began
        assert person.run(person.kernel(), "1+1") == "2"
        return page, time.monotonic() - began

    took = at_once(people, first_cell)
    tell(f"{what}: login to JupyterLab's page", [page for page, _ in took])
    tell(f"{what}: login to first answer", [cell for _, cell in took])


def leave(people: list[Person]) -> None:
    def stop(person: Person) -> None:
        person.ask(f"hub/api/users/{person.name}/server", "DELETE", at="hub/")

    at_once(people, stop)
    wait_until(lambda: not any(person.runs() for person in people), 300)


def filled(person: Person) -> bool:
    pool = person.pool()
    return bool(pool["available"] == pool["target"] and not pool["warming"] and not pool["removing"])


def memory(people: list[Person], what: str) -> None:
    for kind in ("Pss", "Pss_Anon"):
        tell(f"{what}: memory of a daemon ({kind})", [memory_of(person.daemon(), kind) for person in people], "MB")


def test_a_hub_without_us(wheel: Path) -> None:
    with crowd(wheel, PLAIN) as people:
        come(people, "plain")
        leave(people)
        come(people, "plain, again")


def test_a_hub_whose_daemons_start_with_the_first_kernel(wheel: Path) -> None:
    with crowd(wheel, LATE) as people:
        come(people, "late daemon, no cache")


def test_a_hub_with_us(wheel: Path) -> None:
    with crowd(wheel) as people:
        began = time.monotonic()
        come(people, "first day, no cache")
        wait_until(lambda: all(map(filled, people)), 900)
        tell("first day: until all pools are full", [time.monotonic() - began])
        memory(people, "after builds")
        wait_until(lambda: not any(person.pool()["standby"]["ready"] for person in people), 60)
        memory(people, "after builds, no standbys")
        end = time.monotonic() + 150  # Go gives memory back within minutes
        wait_until(lambda: time.monotonic() > end, 200)
        memory(people, "minutes later")
        leave(people)
        come(people, "second day")
        wait_until(lambda: all(map(filled, people)), 900)
        memory(people, "second day")
