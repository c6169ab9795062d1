"""The README's examples, and what the wheel holds."""

import ast
import re
import subprocess
import sys
import tokenize
import zipfile
from pathlib import Path

import pytest
from fake import FakeDaemon

import runtimed_client

FOLDER = Path(__file__).resolve().parents[1]
EXAMPLES = [
    example
    for readme in (FOLDER / "README.md", FOLDER.parents[1] / "README.md")
    for example in re.findall(r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


def run_example(example: str, socket: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "RUNTIMED_SOCKET": socket, "PYTHONPATH": str(FOLDER / "src")}
    command = [sys.executable, "-X", "dev", "-c", example]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    # asyncio in development names what a busy machine holds up for a tenth of a second
    assert not [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]


@pytest.mark.parametrize("example", EXAMPLES)
def test_readme(folder: Path, example: str) -> None:
    (folder / "ipykernel.py").write_text("__version__ = 'x'")  # the first example imports one
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
    assert len(EXAMPLES) == 8


SOURCES = FOLDER / "src/runtimed_client"
UNCOUNTED = {"_values.py": 170, "_aio.py": 100, "_start.py": None, "_pipe.py": None}


def lines_of_code(path: Path) -> int:
    """Neither comments nor docstrings nor blank lines."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    with open(path, "rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type not in silent and token.start[0]:  # the encoding comes first, and is on no line
                lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_the_client_is_tiny() -> None:
    """Read in five minutes, and copied into another project in one."""
    sizes = {path.name: lines_of_code(path) for path in SOURCES.glob("*.py")}
    assert {name: sizes.pop(name) for name, most in UNCOUNTED.items() if sizes[name] > (most or sizes[name])} == {}
    assert sum(size for name, size in sizes.items() if name not in UNCOUNTED) <= 300, sizes


def test_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(FOLDER)]
    subprocess.run(build, check=True, capture_output=True, timeout=150)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"runtimed_client-{runtimed_client.__version__}-py3-none-any.whl"
    names = {name.split("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist()}
    assert names == {
        *(path.name for path in SOURCES.iterdir() if path.is_file()),
        *("METADATA", "RECORD", "WHEEL", "licenses/LICENSE"),
    }
    assert "py.typed" in names
    code = f"import sys; sys.path.append({str(wheel)!r}); import runtimed_client"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
