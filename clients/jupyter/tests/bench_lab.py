"""How long a person waits in JupyterLab, from the click in the launcher to the first answer, with standbys and without.

It is no test: `pytest -s clients/jupyter/tests/bench_lab.py` runs it. Five rounds; the kinds take turns in each.
"""

import json
import os
import statistics
import sys
import time

import pytest
from fake import wait_until
from test_lab import ARGV, House, house  # noqa: F401 (the fixture)

pytestmark = pytest.mark.timeout(900)
ROUNDS = 5
KINDS = {
    "Python (plain)": None,
    "Python (provisioner)": None,
    "Python (warm)": None,
    "Python (provisioner off)": {"kernel_provisioner": {"provisioner_name": "runtimed", "config": {"pool": "uv"}}},
}


def specify(house: House) -> None:  # noqa: F811
    kernels = house.venv / "share/jupyter/kernels"
    own = {"argv": ARGV, "display_name": "Python (plain)", "language": "python"}
    off = {**own, "display_name": "Python (provisioner off)", "metadata": KINDS["Python (provisioner off)"]}
    for name, spec in {"plain": own, "off": {**off, "env": {"RUNTIMED_STANDBY": "0"}}}.items():
        (kernels / name).mkdir(parents=True)
        (kernels / name / "kernel.json").write_text(json.dumps(spec))


def settled(house: House) -> bool:  # noqa: F811
    pool = house.daemon.status()["uv"]
    standby = pool.standby
    return bool(pool.available == pool.target and not pool.leased + pool.removing and standby and standby.ready)


def test_from_the_launcher_to_the_first_answer(house: House) -> None:  # noqa: F811
    specify(house)
    house.daemon.configure(4)
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    names = list(KINDS)
    for turn in range(ROUNDS + 1):
        for kind in names[turn % len(names) :] + names[: turn % len(names)]:
            wait_until(lambda: settled(house), 120)
            time.sleep(1)  # what they have begun has ended
            front = house.front(house.lab)
            front.open("lab")
            card = front.see('.jp-LauncherCard[data-category="Notebook"]', kind)
            began = time.monotonic()
            with front.connects():
                card.click()
            assert front.run("1+1") == "2"
            if turn:  # the first round fills caches
                took[kind].append(round(time.monotonic() - began, 2))
                if turn == ROUNDS:
                    front.shot(kind)
            front.close()
    lines = [f"{kind:28} {statistics.median(times):.2f} s of {sorted(times)}" for kind, times in took.items()]
    shots = os.environ.get("RUNTIMED_SCREENSHOTS") or house.base
    sys.stdout.write("\n".join(["", *lines, f"screenshots: {shots}", ""]))
