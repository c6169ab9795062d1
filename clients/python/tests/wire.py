"""Reads testdata/wire, the contract that all clients and the daemon share; its README tells the formats."""

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = [str(REPOSITORY / "clients" / name / "src") for name in ("python", "jupyter")]

Vector = dict[str, Any]


def vectors(name: str) -> list[Any]:
    with open(REPOSITORY / "testdata" / "wire" / name, encoding="utf-8") as lines:
        return [pytest.param(vector, id=vector["name"]) for vector in map(json.loads, lines)]


def text(parts: Any) -> str:
    """A string, or a list of strings and {"repeat": [text, n]}."""
    if isinstance(parts, list):
        return "".join(map(text, parts))
    return str(parts["repeat"][0] * parts["repeat"][1] if isinstance(parts, dict) else parts)


def matches(want: Any, got: Any) -> bool:
    """Whether every member of `want` stands in `got`, at every depth."""
    if isinstance(want, dict):
        return isinstance(got, dict) and all(name in got and matches(value, got[name]) for name, value in want.items())
    if isinstance(want, list):
        return isinstance(got, (list, tuple)) and len(want) == len(got) and all(map(matches, want, got))
    return bool(want == got and isinstance(want, bool) == isinstance(got, bool))
