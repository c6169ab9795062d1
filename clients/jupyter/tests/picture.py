"""Takes the picture of JupyterLab that the README shows. It is no test: `go run ./task record` runs it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from browser import ITEM
from fake import wait_until
from lab import built
from test_lab import RUNT, House, house
from wire import REPOSITORY

__all__ = ["house"]

pytestmark = pytest.mark.timeout(600)
SCIENCE = 'pools.science = { kind = "uv", size = 2, packages = ["ipykernel", "pip"] }\n'
PICTURE = REPOSITORY / "docs/pictures/jupyterlab.png"


def test_the_launcher_and_the_popup(house: House, tmp_path: Path) -> None:
    for name in ("provisioner", "torn", "auto"):
        shutil.rmtree(house.venv / "share/jupyter/kernels" / name)
    house.daemon.configure(3, SCIENCE)
    wait_until(lambda: [pool.available for pool in house.daemon.status().pools if pool.target] == [3, 2], 120)
    install = [str(built(tmp_path) / "runt"), "kernelspec", "install", "--prefix", str(house.venv)]
    env = {**house.daemon.env, "RUNTIMED_SOCKET": house.daemon.socket}
    subprocess.run(install, env=env, check=True, capture_output=True, timeout=30)

    front = house.front(house.lab)
    front.page.set_viewport_size({"width": 1000, "height": 640})
    front.open("lab")
    front.notebook(RUNT)
    assert front.run("1+1") == "2"
    wait_until(lambda: [pool.available for pool in house.daemon.status().pools if pool.target] == [3, 2], 120)
    front.menu("File", "New Launcher")
    front.see(".jp-LauncherCard", "Python (warm, science)")
    front.page.locator(ITEM).click()
    front.see(".runtimed-Popup", "Untitled.ipynb")
    PICTURE.parent.mkdir(exist_ok=True)
    front.page.screenshot(path=str(PICTURE))
    front.close()
