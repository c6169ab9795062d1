"""What test_lab.py drives: a venv with JupyterLab and the wheels, a real daemon, and a server between them."""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import IO, Any, NoReturn, Optional
from urllib.request import Request, urlopen

import pytest
from fake import wait_until
from runtimed_client import Client, ConnectError, Status
from wire import REPOSITORY

CACHE = Path.home() / ".cache/runtimed-tests"
REQUIREMENTS = REPOSITORY / "clients/jupyter/requirements-lab.txt"
OTHERS = "RUNTIMED_|XDG_|JUPYTER|PYTHON|VIRTUAL_ENV|IPYTHON"
CLEAN = {name: value for name, value in os.environ.items() if not re.match(OTHERS, name)}


def lacking(what: str) -> NoReturn:
    """Skip what this machine cannot run. Where all is to be checked, nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def chromium() -> str:
    """The browser's program."""
    found = shutil.which("chromium")
    if not found:
        lacking("there is no chromium on PATH (Debian: apt-get install chromium)")
    if subprocess.run([found, "--version"], capture_output=True, timeout=60).returncode:  # a snap's placeholder
        lacking(f"{found} does not run")
    return found


def pip(venv: Path) -> list[str]:
    return [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def downloaded(python: str) -> Path:
    """A venv of that Python with what requirements-lab.txt says, from an earlier run if there was one."""
    kind = REQUIREMENTS.read_bytes() + os.path.realpath(python).encode()
    venv = CACHE / f"lab-{hashlib.sha256(kind).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lab.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "done").exists():
            subprocess.run([python, "-m", "venv", "--clear", str(venv)], check=True, timeout=60)
            uv = shutil.which("uv") or shutil.which("uv", path=str(CACHE / "uv/bin"))  # in a tenth of the time
            program = [uv, "pip", "install", "--quiet", "--python", str(venv)] if uv else pip(venv)
            subprocess.run([*program, "--require-hashes", "-r", str(REQUIREMENTS)], check=True, timeout=900)
            (venv / "done").touch()
    return venv


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def installed(wheels: list[Path], venv: Path, python: str = sys.executable) -> Path:
    """That venv as it is after `pip install runtimed-jupyter`, at the path `venv`."""
    cached = downloaded(python)
    shutil.copytree(cached, venv, symlinks=True, copy_function=link)
    for script in (venv / "bin").glob("jupyter*"):
        text = script.read_text().replace(str(cached), str(venv))
        script.unlink()  # it is the same file as the cached one
        script.write_text(text)
        script.chmod(0o755)
    subprocess.run([*pip(venv), "--no-index", "--no-deps", *map(str, wheels)], check=True, timeout=60)
    subprocess.run([str(venv / "bin/python"), "-m", "pip", "check"], check=True, timeout=60)  # no more than they need
    return venv


def built(folder: Path) -> Path:
    """A folder with runtimed and runt."""
    given = os.environ.get("RUNTIMED_BIN")
    if given and (Path(given).parent / "runt").exists():
        return Path(given).parent
    subprocess.run(["go", "build", "-o", f"{folder}/", "./cmd/..."], cwd=REPOSITORY, check=True, timeout=600)
    return folder


def tiny_wheel(folder: Path) -> Path:
    """A package of one line, so that %pip needs no network."""
    path = folder / "tinypkg-1.0-py3-none-any.whl"
    info = "tinypkg-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tinypkg.py", "said = 'tiny but here'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"tinypkg.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


class Process:
    """A program that runs until the test stops or kills it; what it says is in `log`."""

    def __init__(self, name: str, folder: Path, command: list[str], env: dict[str, str]) -> None:
        self.log = folder / f"{name}.log"
        self.env = env
        self._command, self._folder = command, folder
        self._running: Optional[tuple[subprocess.Popen[bytes], IO[bytes]]] = None

    def start(self) -> None:
        log = open(self.log, "ab")  # noqa: SIM115 (it is the process's)
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        made = subprocess.Popen(self._command, env=self.env, cwd=self._folder, **streams)
        self._running = made, log

    @property
    def pid(self) -> int:
        assert self._running
        return self._running[0].pid

    def check(self) -> None:
        assert self._running
        assert self._running[0].poll() is None, self.log.read_text()

    def end(self, kill: bool = False) -> None:
        if self._running:
            process, log = self._running
            process.kill() if kill else process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
            self._running = None


class Daemon(Process):
    """A real one, in a home of its own, whose pools the test sets."""

    def __init__(self, base: Path, programs: Path) -> None:
        self.socket, self._config = str(base / "s"), base / "config.toml"
        home = base / "home"
        (home / "cache").mkdir(mode=0o700, parents=True)
        env = {**CLEAN, "HOME": str(home), "UV_CACHE_DIR": str(CACHE / "uv-cache")}
        env["PATH"] = os.pathsep.join([env["PATH"], str(CACHE / "uv/bin")])  # that which the tests in Go have fetched
        places = ["--config", str(self._config), "--socket", self.socket, "--cache-dir", str(home / "cache")]
        super().__init__("daemon", base, [str(programs / "runtimed"), "run", *places], env)

    def configure(self, uv: int, more: str = "") -> None:
        packages = 'packages = ["ipykernel", "ipywidgets", "pip"]'
        pool = f'pools.uv = {{ size = {uv}, {packages}, idle = "8h" }}\n'
        self._config.with_suffix(".new").write_text(f"pools.conda.size = 0\n{pool}{more}")
        self._config.with_suffix(".new").replace(self._config)

    def start(self) -> None:
        super().start()
        wait_until(self._answers, 30)

    def _answers(self) -> bool:
        self.check()
        try:
            with Client(self.socket) as client:
                return client.info().pid == self.pid
        except ConnectError:
            return False

    def status(self) -> Status:
        with Client(self.socket) as client:
            return client.status()

    def uv(self, command: str, folder: Path) -> None:
        """Run its uv as a person does."""
        argv = [self._uv, *command.split(), "--quiet"]
        subprocess.run(argv, env=self.env, cwd=folder, check=True, capture_output=True, timeout=60)

    def leased(self) -> list[dict[str, Any]]:
        with Client(self.socket) as client:
            return list(client.call("env.list", {"state": "leased"})["envs"])

    def release(self, env: str) -> None:
        with Client(self.socket) as client:
            client.release(env)

    def fill(self) -> None:
        def filled() -> bool:
            pool = self.status()["uv"]
            assert pool.error is None, pool.error
            return pool.available == pool.target

        wait_until(filled, 120)
        tool = self.status()["uv"].tool  # known because it has built; after a restart it is not
        assert tool
        self._uv = tool.path


class Jupyter(Process):
    """`jupyter lab` or `jupyter notebook` of the venv, with everything of a user's in a home of its own."""

    def __init__(self, program: str, venv: Path, base: Path, daemon: str) -> None:
        base.mkdir()
        (base / "notes").mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.token, self.url = secrets.token_hex(16), f"http://127.0.0.1:{port}/proxied/"
        env = {**CLEAN, "HOME": str(base), "JUPYTER_TOKEN": self.token}
        env |= {"RUNTIMED_SOCKET": daemon, "RUNTIMED_NO_START": "1"}
        env |= {f"JUPYTER_{what}_DIR": str(base / what.lower()) for what in ("CONFIG", "DATA", "RUNTIME")}
        env["PATH"] = os.pathsep.join([str(venv / "bin"), env["PATH"]])
        page = base / "config/labconfig/page_config.json"
        page.parent.mkdir(parents=True)
        page.write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
        command = [f"{venv}/bin/jupyter", program, "--no-browser", "--allow-root", f"--ServerApp.root_dir={base}/notes"]
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.base_url=/proxied/"]
        super().__init__(program, base, command, env)

    def wait(self) -> None:
        wait_until(self._answers, 60)

    def _answers(self) -> bool:
        self.check()
        try:
            return bool(self.get("api/status"))
        except OSError:
            time.sleep(0.1)
            return False

    def get(self, path: str, method: str = "GET") -> Any:
        """What the server's REST API answers."""
        request = Request(self.url + path, method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")
