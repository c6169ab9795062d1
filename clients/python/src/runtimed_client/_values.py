"""The values that travel, as frozen dataclasses. Names and order follow rpc/api.go."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar, Union, get_args, get_origin

from ._errors import ProtocolError

T = TypeVar("T")


@dataclass(frozen=True)
class Info:
    """The daemon. Times are RFC 3339 UTC, here as everywhere."""

    name: str
    version: str
    protocol: int
    pid: int
    started_at: str
    socket: str
    state_dir: str
    config_path: str
    uptime_ms: int


@dataclass(frozen=True)
class PoolError:
    """Why the last builds of a pool failed."""

    cause: str
    message: str
    hint: str
    failures: int
    since: str
    next_retry_ms: int
    package: str = ""
    output: str = ""


@dataclass(frozen=True)
class PoolStatus:
    """One pool. `available` counts what an acquire would get now."""

    name: str
    kind: str
    target: int
    available: int
    warming: int
    leased: int
    removing: int
    waiting: int
    state: str
    python: str
    packages: tuple[str, ...]
    error: Optional[PoolError]


@dataclass(frozen=True)
class Status:
    """The pools, in the order of the configuration; status["uv"] is one of them."""

    pools: tuple[PoolStatus, ...]

    def __getitem__(self, name: str) -> PoolStatus:
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise KeyError(name)

    def updated(self, new: PoolStatus) -> "Status":
        """The same status with one pool replaced, or added."""
        if all(pool.name != new.name for pool in self.pools):
            return Status((*self.pools, new))
        return Status(tuple(new if pool.name == new.name else pool for pool in self.pools))


@dataclass(frozen=True)
class Progress:
    """What a build is at: queued, resolving, downloading, installing, compiling, verifying."""

    stage: str
    message: str
    fraction: Optional[float] = None


@dataclass(frozen=True)
class Package:
    """One installed distribution."""

    name: str
    version: str


@dataclass(frozen=True)
class Env:
    """One environment. `python` runs as it is; environ() is for its children."""

    id: str
    pool: str
    kind: str
    path: str
    python: str
    python_version: str
    state: str
    created_at: str
    packages: tuple[Package, ...]
    variables: dict[str, Optional[str]] = field(hash=False)
    path_prepend: tuple[str, ...]

    def environ(self, base: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        """A copy of `base` (default: os.environ) in which this environment is activated."""
        merged = dict(os.environ if base is None else base)
        for name, value in self.variables.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value
        if self.path_prepend:
            merged["PATH"] = os.pathsep.join((*self.path_prepend, merged.get("PATH") or os.defpath))
        return merged


@dataclass(frozen=True)
class Acquired(Env):
    """An environment as pool.acquire hands it out."""

    source: str
    stale: bool
    waited_ms: int


def decode(kind: type[T], value: object, where: str) -> T:
    """Make a value of what came. What it does not know it ignores; what is missing or of another type is a ProtocolError."""
    members = {}
    for member in dataclasses.fields(kind):  # type: ignore[arg-type]
        if isinstance(value, dict) and member.name in value:
            members[member.name] = _convert(member.type, value[member.name], f"{where}.{member.name}")
        elif member.default is dataclasses.MISSING:
            raise ProtocolError(f"the daemon's answer lacks {where}.{member.name}")
    return kind(**members)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Union:  # only Optional here
        return None if value is None else _convert(inner[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(inner[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {name: _convert(inner[1], item, f"{where}.{name}") for name, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, where)  # type: ignore[arg-type]
    if type(value) is hint or (hint is float and type(value) is int):  # not isinstance: True is no number
        return value
    raise ProtocolError(f"the daemon's answer has something else than expected as {where}")
