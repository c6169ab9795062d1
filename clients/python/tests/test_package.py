"""The README's examples, and what the wheel holds."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fake import FakeDaemon

import runtimed_client

FOLDER = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def run_example(example: str, socket: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "RUNTIMED_SOCKET": socket, "PYTHONPATH": str(FOLDER / "src")}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", example], env=env, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    # asyncio in development names what a busy machine holds up for a tenth of a second
    assert not [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_readme(folder: Path, example: str) -> None:
    (folder / "ipykernel.py").touch()  # the first example imports one
    python = folder / "python"
    python.write_text(f'#!/bin/sh\ncd "{folder}" && exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    fake = FakeDaemon(str(folder / "s"), python=str(python))
    try:
        run_example(example, fake.path)
        assert not fake.leases or "env.adopt" in fake.methods()
    finally:
        fake.stop()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 7


def test_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(FOLDER)]
    subprocess.run(build, check=True, capture_output=True, timeout=150)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"runtimed_client-{runtimed_client.__version__}-py3-none-any.whl"
    names = {name.split("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist()}
    assert names == {
        *(path.name for path in (FOLDER / "src" / "runtimed_client").iterdir() if path.is_file()),
        *("METADATA", "RECORD", "WHEEL", "licenses/LICENSE"),
    }
    assert "py.typed" in names
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(wheel)!r}); import runtimed_client"],
        check=True,
    )
