"""What the tests of both packages stand on: a folder, a fake daemon, a real one, and what is built."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake import FakeDaemon, wait_until
from listening import place
from wire import REPOSITORY

from runtimed_client import Client, ConnectError


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path may have 103 bytes only, and pytest's own folders are deep."""
    path = Path(tempfile.mkdtemp(prefix="rt-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def fake(folder: Path) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(place(folder))
    yield daemon
    daemon.stop()


@contextlib.contextmanager
def running(uv_pool: int, config: str = "") -> Iterator[str]:
    """A real daemon in a home of its own, with a uv pool of that size and a configuration; its socket."""
    base = Path(tempfile.mkdtemp(prefix="rt-"))
    try:
        binary = os.environ.get("RUNTIMED_BIN")
        if not binary:
            binary = str(base / "runtimed")
            subprocess.run(["go", "build", "-o", binary, "./cmd/runtimed"], cwd=REPOSITORY, check=True, timeout=600)
        path = place(base)
        (base / "cache").mkdir(mode=0o700)
        (base / "config").write_text(config)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("RUNTIMED_", "XDG_"))}
        downloads = Path.home() / ".cache/runtimed-tests/uv-cache"
        env |= {"HOME": str(base), "UV_CACHE_DIR": str(downloads)}
        env |= dict.fromkeys(("USERPROFILE", "APPDATA", "LOCALAPPDATA"), str(base))
        command = [binary, "run", "--config", f"{base}/config", "--socket", path, "--cache-dir", f"{base}/cache"]
        command += ["--uv-pool-size", str(uv_pool), "--conda-pool-size", "0"]
        with open(base / "log", "w+") as log:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:

                def answers() -> bool:
                    assert process.poll() is None, (base / "log").read_text()
                    with Client(path) as c:
                        try:
                            return c.info().pid == process.pid
                        except ConnectError:
                            return False

                wait_until(answers, 30)
                yield path
                with Client(path) as c:
                    c.call("daemon.shutdown")
                assert process.wait(60) == 0, (base / "log").read_text()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
    finally:
        shutil.rmtree(base)


def build_wheel(project: str, folder: Path) -> Path:
    """What is installed of a package: the sources alone have no entry points."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    subprocess.run([*build, str(REPOSITORY / "clients" / project)], check=True, capture_output=True, timeout=150)
    (made,) = folder.glob(f"runtimed_{project.replace('python', 'client')}-*.whl")
    return made
