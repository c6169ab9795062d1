"""JupyterLab and Notebook 7 from the index, in a real browser, with kernels of a real daemon."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import ITEM, Front, browser, shots
from fake import wait_until
from fixtures import build_wheel
from lab import Daemon, Jupyter, built, chromium, installed, tiny_wheel

pytestmark = pytest.mark.timeout(600)
OURS, RUNT, BROKEN = "Python (provisioner)", "Python (warm)", "Python (torn)"  # as the launcher shows them
CARD = '.jp-LauncherCard[data-category="Notebook"]'
PROJECT = """\
[project]
name = "analysis"
version = "0.1.0"
requires-python = ">=3.9"
dependencies = ["iniconfig==2.0.0"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
ARGV = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
SAYS_WHY = "Python (unbuilt)"
UNBUILT = """\
[project]
name = "unbuilt"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
TORN = 'pools.torn = { kind = "uv", size = 1, packages = ["ipykernel", "six==1.16.0", "six==1.17.0"] }\n'


@dataclass
class House:
    """All that runs, and where."""

    base: Path
    venv: Path
    daemon: Daemon
    lab: Jupyter
    notebook: Jupyter
    browser: Any

    def front(self, server: Jupyter) -> Front:
        return Front(self.browser, server, shots(self.base / "shots"))


def kernelspec(venv: Path, name: str, shown: str, config: dict[str, Any]) -> None:
    provisioner = {"provisioner_name": "runtimed", "config": config}
    file = venv / "share/jupyter/kernels" / name / "kernel.json"
    file.parent.mkdir(parents=True)
    metadata = {"kernel_provisioner": provisioner}
    file.write_text(json.dumps({"argv": ARGV, "display_name": shown, "language": "python", "metadata": metadata}))


@pytest.fixture(scope="module")
def house(wheel: Path) -> Iterator[House]:
    chromium()
    base = Path(tempfile.mkdtemp(prefix="rt-"))  # a socket's path is short
    processes: list[Any] = []
    try:
        programs = built(base)
        daemon = Daemon(base, programs)
        processes.append(daemon)
        daemon.configure(2)
        daemon.start()
        venv = installed([wheel, build_wheel("python", base)], base / "venv")
        kernelspec(venv, "provisioner", OURS, {"pool": "uv", "wait": 20})
        kernelspec(venv, "torn", BROKEN, {"pool": "torn", "wait": 20})
        kernelspec(venv, "auto", "Python (auto)", {"project": "auto"})
        install = [str(programs / "runt"), "kernelspec", "install", "--prefix", str(venv)]
        env = {**daemon.env, "RUNTIMED_SOCKET": daemon.socket}
        subprocess.run(install, env=env, check=True, capture_output=True, timeout=30)
        lab, notebook = (Jupyter(program, venv, base / program, daemon.socket) for program in ("lab", "notebook"))
        for server in (lab, notebook):
            processes.append(server)
            server.start()
        lab.wait()
        notebook.wait()
        daemon.fill()
        with browser(venv) as opened:
            yield House(base, venv, daemon, lab, notebook, opened)
        said = lab.log.read_text()
        assert "runtimed_jupyter/server.py" not in said, said  # as a traceback would have it
    finally:
        for process in reversed(processes):
            process.end()
        shutil.rmtree(base)


@pytest.fixture
def lab(house: House) -> Iterator[Front]:
    """JupyterLab, just opened, with no kernel running."""
    front = house.front(house.lab)
    front.open("lab")
    yield front
    front.shot("last")
    assert not front.errors()
    front.close()


@pytest.mark.parametrize("kernel", [OURS, RUNT], ids=["provisioner", "runt"])
def test_a_persons_way(house: House, lab: Front, kernel: str) -> None:
    """From the launcher to the end of the kernel, by what there is to click."""
    name = kernel.split("(")[1].strip(")").replace(" ", "-")
    lab.item("uv 2")
    lab.see(".jp-LauncherCard", kernel)
    lab.shot(f"{name}-launcher")
    lab.notebook(kernel)
    assert lab.run("1+1") == "2"
    (lease,) = house.daemon.leased()
    assert lease["id"] in lab.run("x = 1; import sys; sys.prefix")
    assert "Successfully installed tinypkg" in lab.run(f"%pip install --no-index --no-deps {tiny_wheel(house.base)}")
    assert lab.run("import tinypkg; tinypkg.said") == "'tiny but here'"

    lab.run("print('on')\nwhile True: pass", wait=False)
    lab.see(".jp-OutputArea-output", "on")
    lab.menu("Kernel", "Interrupt Kernel")
    lab.see(".jp-OutputArea-output", "KeyboardInterrupt")
    lab.run("print('once more')\nwhile True: pass", wait=False)
    lab.see(".jp-OutputArea-output", "once more")
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("i")
    lab.page.keyboard.press("i")
    wait_until(lambda: lab.page.locator(".jp-OutputArea-output").filter(has_text="KeyboardInterrupt").count() == 2, 30)
    lab.shot(f"{name}-interrupted")

    lab.restart()
    assert lab.run("import tinypkg; tinypkg.said, 'x' in dir()") == "('tiny but here', False)"
    assert [one["id"] for one in house.daemon.leased()] == [lease["id"]]
    lab.shot(f"{name}-restarted")

    lab.menu("File", "Close and Shut Down Notebook")
    lab.answer("Ok")
    wait_until(lambda: not house.daemon.leased(), 30)


def test_the_status_item(house: House, lab: Front) -> None:
    daemon, item = house.daemon, lab.page.locator(ITEM)
    lab.item(re.compile("^Warm Python: uv 2$"))
    about = ["Warm Python environments", "They are made ahead, so that notebooks start at once."]
    assert item.get_attribute("title") == ". ".join(about) + "\nuv: 2 ready\nconda: off"
    assert item.get_attribute("aria-label") == "Warm Python: uv 2. uv: 2 ready; conda: off"
    daemon.configure(3)
    lab.item("uv 2…")
    lab.item(re.compile("^Warm Python: uv 3$"))

    item.click()
    popup = lab.see(".runtimed-Popup")
    assert popup.inner_text().split("\n\n")[:4] == [*about, "uv: 3 ready", "conda: off"]
    assert item.get_attribute("aria-expanded") == "true"
    daemon.configure(3, TORN)
    lab.item("uv 3 · ⚠ torn none (see why)")
    lab.see(".runtimed-Popup", "torn: 0 of 1 ready, making more fails")  # it changes while it is open
    lab.see(".runtimed-mod-error", "the packages cannot be installed together")
    lab.see(".runtimed-mod-error", "Hint: ")
    low = [lambda: popup.bounding_box()["y"] + popup.bounding_box()["height"], lambda: item.bounding_box()["y"] + 1]
    wait_until(lambda: low[0]() <= low[1]())  # it is not cut off
    lab.shot("failing")
    lab.menu("Settings", "Theme")
    lab.see(".lm-Menu-itemLabel", re.compile("^JupyterLab Dark$")).click()
    lab.page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    item.click()
    lab.see(".runtimed-Popup")
    lab.shot("failing-dark")
    lab.page.keyboard.press("Escape")
    popup.wait_for(state="detached")
    assert item.get_attribute("aria-expanded") == "false"

    daemon.end(kill=True)
    lab.item("Warm Python: not running (start it)")
    assert "Hint: start it with: runt daemon start" in str(item.get_attribute("title"))
    item.click()
    lab.see(".runtimed-Popup", "no daemon can be reached")
    lab.shot("no-daemon")
    daemon.configure(2)
    daemon.start()
    lab.item("uv ")
    lab.item(re.compile(r"^Warm Python: uv \d$"))


def test_the_launcher_shows_what_there_is(house: House, lab: Front) -> None:
    def offers() -> list[str]:
        lab.open("lab")
        lab.see(CARD, RUNT)
        return list(lab.page.locator(f"{CARD} .jp-LauncherCard-label").all_inner_texts())

    def there() -> bool:
        return any(pool.name == "torn" and pool.target for pool in house.daemon.status().pools)

    assert BROKEN not in offers()
    house.daemon.configure(2, TORN)
    wait_until(there, 30)
    assert BROKEN in offers()
    house.daemon.configure(2)
    wait_until(lambda: not there(), 30)
    assert BROKEN not in offers()
    write(house.base / "lab/notes/torn.ipynb", "1", "torn")
    lab.menu("File", "Open from Path")
    lab.see(".jp-Dialog input").fill("torn.ipynb")
    lab.answer("Open")
    lab.see(".jp-Dialog", "Select Kernel")  # as of any kernel that is not there
    lab.shot("gone")


def test_a_widget_is_drawn_and_moves_its_value_in_the_kernel(house: House, lab: Front) -> None:
    lab.notebook(RUNT)
    lab.run("from ipywidgets import IntSlider\nslider = IntSlider(value=3, description='size')\nslider")
    handle = lab.see(".jp-OutputArea-output .widget-slider .noUi-handle")
    lab.shot("widget")
    handle.press("ArrowRight")
    lab.see(".jp-OutputArea-output .widget-readout", re.compile("^4$"))
    assert lab.run("slider.value") == "4"


def test_why_a_kernel_does_not_start(house: House, lab: Front) -> None:
    house.daemon.configure(2, TORN)
    lab.item("⚠ torn none")
    lab.open("lab")  # its launcher asks anew only now and then
    lab.see(CARD, BROKEN).click()
    lab.see(".jp-Dialog", "the packages cannot be installed together")
    lab.see(".jp-Dialog-body", re.compile("^hint: loosen the versions"))
    lab.shot("no-kernel")
    house.daemon.configure(2)


def test_a_cell_begins_with_what_to_do_and_folds_what_the_tool_said(house: House, lab: Front) -> None:
    source = house.base / "unbuilt"
    source.mkdir()
    (source / "pyproject.toml").write_text(UNBUILT)
    (source / "backend.py").write_text("def build_wheel(*_):\n    raise RuntimeError('no <luck>')\n")
    pool = f'pools.unbuilt = {{ kind = "uv", size = 1, packages = ["ipykernel", "unbuilt @ {source.as_uri()}"] }}\n'
    house.daemon.configure(2, pool)
    lab.item("⚠ unbuilt none")
    kernels = house.venv / "share/jupyter/kernels"
    spec = json.loads((kernels / "runtimed-uv/kernel.json").read_text())
    argv = [spec["argv"][0], "kernel", "--pool", "unbuilt", "-f", "{connection_file}"]
    (kernels / "unbuilt").mkdir()
    (kernels / "unbuilt/kernel.json").write_text(json.dumps({**spec, "argv": argv, "display_name": SAYS_WHY}))
    lab.open("lab")  # its launcher asks anew only now and then
    lab.notebook(SAYS_WHY)

    said = lab.run("1+1")
    assert said.startswith("hint: choose a version that has a wheel"), said
    assert "RuntimedError: the package unbuilt cannot be built from its source here" in said
    folded = lab.see(".jp-OutputArea-output details", "What the tool said").locator("pre")
    assert not folded.is_visible()
    lab.shot("folded")
    lab.see(".jp-OutputArea-output summary").click()
    folded.filter(has_text="RuntimeError: no <luck>").wait_for()
    lab.shot("unfolded")
    lab.menu("Settings", "Theme")
    lab.see(".lm-Menu-itemLabel", re.compile("^JupyterLab Dark$")).click()
    lab.page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    lab.shot("unfolded-dark")
    house.daemon.configure(2)


@pytest.mark.parametrize("kernel", ["runtimed-project", "auto"], ids=["runt", "provisioner"])
def test_a_notebook_follows_the_lock_file_of_its_project(house: House, lab: Front, kernel: str) -> None:
    project = house.base / "lab/notes" / f"of-{kernel}"
    for folder in ("notebooks", "src/analysis"):
        (project / folder).mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "src/analysis/__init__.py").touch()
    house.daemon.uv("lock", project)
    code = "import analysis, importlib.metadata as m\nprint(m.version('iniconfig'), analysis.__file__)"
    write(project / "notebooks/one.ipynb", code, kernel)
    module = str(project / "src/analysis/__init__.py")

    lab.file(f"of-{kernel}/notebooks/one.ipynb")
    assert lab.run("") == f"2.0.0 {module}"
    (before,) = house.daemon.leased()
    assert before["project"]["path"] == str(project)
    lab.shot(f"project-{kernel}")

    house.daemon.uv("add --no-sync iniconfig==2.1.0", project)
    lab.restart()
    assert lab.run(code) == f"2.1.0 {module}"
    leased = house.daemon.leased()
    assert [env["project"] for env in leased if env["id"] != before["id"]] == [before["project"]]
    if len(leased) == 2:  # runt leaves what the old lock gave to the daemon, which keeps it for a minute
        house.daemon.release(before["id"])
    lab.item(re.compile("^Warm Python: uv 2$"))  # a project's do not count
    lab.shot(f"project-{kernel}-restarted")


def test_a_notebook_without_a_project_says_so(house: House, lab: Front) -> None:
    write(house.base / "lab/notes/none.ipynb", "import pip, sys; sys.prefix", "runtimed-project")
    lab.file("none.ipynb")
    (env,) = house.daemon.leased()
    assert lab.run("") == repr(env["path"])
    assert env["project"] is None
    lab.menu("File", "New Console for Notebook")
    note = "Note: there is no project here: this environment has the packages of the pool uv."
    assert lab.see(".jp-CodeConsole-banner", note).inner_text().startswith(note)
    lab.shot("no-project")


def test_notebook_7(house: House) -> None:
    """It has no status bar. The kernel works, and nothing is said of what is missing. Kernels have their logos."""
    write(house.base / "notebook/notes/seven.ipynb", "6 * 7", "runtimed-uv")
    front = house.front(house.notebook)
    front.open("tree")
    front.see(".lm-MenuBar-item", re.compile("^New$")).click()
    logos = "entries => entries.map(one => getComputedStyle(one.querySelector('.lm-Menu-itemIcon')).backgroundImage)"
    for name, kernel in {"uv": RUNT, "project": "Python (project)"}.items():
        entry = front.see(".lm-Menu-item", kernel)
        entry.hover()  # it is drawn anew
        (drawn,) = front.page.locator(".lm-Menu-item").filter(has_text=kernel).evaluate_all(logos)
        assert drawn.endswith(f'/kernelspecs/runtimed-{name}/logo-svg.svg")')
    others = front.page.locator(".lm-Menu-item").filter(has_not_text=re.compile(r"^Python \((warm|project)\)$"))
    assert set(others.evaluate_all(logos)) == {"none"}
    front.shot("notebook-7-new")
    with front.connects():
        front.open("notebooks/seven.ipynb")
    assert front.run("") == "42"
    assert front.page.evaluate("'runtimed-status' in window._JUPYTERLAB")
    assert front.page.locator(ITEM).count() == 0
    logo = front.see(".jp-NotebookKernelLogo img")
    wait_until(lambda: logo.evaluate("image => image.naturalWidth") == 64, 30)
    front.shot("notebook-7")
    assert not front.errors()
    front.close()


def write(path: Path, code: str, kernel: str = "provisioner") -> None:
    """A notebook of one cell, for a kernel of ours."""
    cell: dict[str, Any] = {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": code}
    cell |= {"execution_count": None, "outputs": []}
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    path.write_text(json.dumps({"cells": [cell], "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}))


def outputs(path: Path) -> str:
    return json.dumps([cell["outputs"] for cell in json.loads(path.read_text())["cells"]])


def test_without_a_browser(house: House, tmp_path: Path) -> None:
    """nbclient and papermill, side by side."""
    one, other = tmp_path / "nbclient.ipynb", tmp_path / "papermill.ipynb"
    write(one, "import sys; sys.prefix")
    write(other, "import sys; sys.prefix")
    commands = [f"jupyter execute --inplace {one}", f"python -m papermill --no-progress-bar {other} {other}"]
    argvs = [[f"{house.venv}/bin/{program}", *more] for program, *more in map(str.split, commands)]
    running = [subprocess.Popen(a, env=house.lab.env, cwd=tmp_path, stderr=subprocess.PIPE) for a in argvs]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    for made in (one, other):
        assert f"{house.base}/home/cache/envs/uv-" in outputs(made)
    assert not house.daemon.leased()
