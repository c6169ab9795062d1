"""The table: what a row is, and the ways to write one."""

import inspect
import json
import textwrap
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional

# The scenes: rows that share a kernel share a scene. OWN rows have a kernel each.
USUAL = "a kernel"
STOPS = "the stop button"
UNUSUAL = "an unusual start"
PYTHON = "variables of Python's own"
OWN = "its own kernel"


@dataclass(frozen=True)
class Row:
    scene: str
    name: str
    run: Callable[[Any], Any]  # gets a kernel, or of OWN rows the front-end; returns what is compared
    limit: float = 30.0
    judge: Optional[Callable[[Any, Any], list]] = None  # what differs, if that is not what is unequal
    standby: bool = True  # a standby can be such a kernel: the variables of PYTHON are read when Python starts


@dataclass
class Table:
    rows: list = field(default_factory=list)

    def add(self, row):
        if any((r.scene, r.name) == (row.scene, row.name) for r in self.rows):
            raise ValueError("two rows are called " + row.name)
        self.rows.append(replace(row, standby=row.standby and row.scene != PYTHON))


TABLE = Table()


def cell(name, code, scenes=(USUAL,), **options):
    """A row that runs cells one after the other, each as Kernel.run does."""
    codes = [textwrap.dedent(c).strip() for c in ([code] if isinstance(code, str) else code)]

    def run(kernel):
        results = [kernel.run(c) for c in codes[:-1]]
        return [*results, kernel.run(codes[-1], **options)]

    for scene in scenes:
        TABLE.add(Row(scene, name, run))


def row(name, scene=USUAL, **options):
    """A row that is a function of the kernel, or of the front-end in OWN."""

    def add(function):
        TABLE.add(Row(scene, name, function, **options))
        return function

    return add


def probe(name, scenes=(USUAL, UNUSUAL, PYTHON), **options):
    """A row whose function runs in the kernel, without a name in its namespace, and returns something for JSON."""

    def add(function):
        source = textwrap.dedent(inspect.getsource(function))
        source = source[source.index("\ndef ") + 1 :]
        code = f"{source}\nimport json, sys\nx = sys.stdout.write(json.dumps({function.__name__}(), default=str))"

        def run(kernel):
            result = kernel.run(f"exec({code!r}, {{}})", store_history=False)
            if result["reply"]["status"] != "ok" or "stderr" in result:
                raise RuntimeError(f"the probe itself fails: {result}")
            return json.loads(result["stdout"])

        for scene in scenes:
            TABLE.add(Row(scene, name, run, **options))
        return function

    return add
