"""The values that travel, as frozen dataclasses with the names of docs/protocol.md. Times are RFC 3339 UTC."""

import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Callable, Optional, TypeVar, Union, cast, get_args, get_origin

from ._errors import ProtocolError

T = TypeVar("T")
Object = dict[str, Any]

PROTOCOL = 1  # the number of the contract that this client knows


@dataclass(frozen=True)
class Info:
    """The daemon."""

    name: str
    version: str
    protocol: int
    pid: int
    started_at: str
    socket: str
    state_dir: str
    config_path: str
    uptime_ms: int
    # An older daemon does not send these.
    started_by: str = ""  # "service"; "command", which ends by itself when idle; or "hand"
    program: str = ""  # the path of its executable
    replaced: bool = False  # another file is there now, which a restart brings in
    log: str = ""  # the path of its log, "journal", or "" if it runs on a terminal


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
class Tool:
    """The program that builds the environments of a pool: uv, micromamba, mamba, conda or rattler."""

    name: str
    path: str
    why: str  # the reason to take this one
    version: str = ""


@dataclass(frozen=True)
class StandbyStatus:
    """The standby kernels of a pool."""

    target: int
    ready: int
    warnings: tuple[str, ...]  # modules that could not be imported ahead, and why
    why: str = ""  # there are fewer than the target, or the last caller could not have one


@dataclass(frozen=True)
class Counters:
    """What happened in a pool, and in those derived from it, since the daemon started."""

    hits: int  # acquires that got what was ready
    misses: int  # acquires that waited for a build, or got nothing
    waited_ms: int
    builds: int
    failures: dict[str, int] = field(hash=False)  # by cause


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
    # An older daemon does not send these.
    tool: Optional[Tool] = None
    standby: Optional[StandbyStatus] = None
    idle_ms: int = 0  # a kernel that is idle this long, and that nobody is connected to, should end; 0: never
    lock: str = ""  # the hash of the lock file that it is built from; empty: none was built yet
    counters: Optional[Counters] = None


@dataclass(frozen=True)
class Status:
    """The pools, in the order of the configuration; status["uv"] is one of them."""

    pools: tuple[PoolStatus, ...]

    def __getitem__(self, name: str) -> PoolStatus:
        return {pool.name: pool for pool in self.pools}[name]


@dataclass(frozen=True)
class Change:
    """The params of pool.changed: a pool as it is now, or one that is gone."""

    pool: PoolStatus
    gone: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a build is. `stage` is queued, resolving, downloading, installing, compiling or verifying."""

    stage: str
    message: str
    fraction: Optional[float] = None


OnProgress = Optional[Callable[[Progress], None]]


@dataclass(frozen=True)
class Package:
    """One installed distribution."""

    name: str
    version: str


@dataclass(frozen=True)
class Project:
    """What an environment was made for: a folder, and the file that says what is installed."""

    path: str
    file: str


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
    needs: tuple[str, ...] = field(metadata={"missing": []})  # requirements beyond the packages of its pool
    project: Optional[Project] = field(metadata={"missing": None})  # that it was made for

    def environ(self, base: Optional[Mapping[str, str]] = None) -> dict[str, str]:
        """A copy of `base` (default: os.environ) in which this environment is activated."""
        fold = str.upper if os.name == "nt" else str  # Windows has Path, and a PATH beside it would win
        merged: dict[str, Optional[str]] = dict(os.environ if base is None else base)
        names = {fold(name): name for name in merged}
        merged.update({names.get(fold(name), name): value for name, value in self.variables.items()})
        if self.path_prepend:
            path = names.get("PATH", "PATH")
            merged[path] = os.pathsep.join((*self.path_prepend, merged.get(path) or os.defpath))
        return {name: value for name, value in merged.items() if value is not None}


@dataclass(frozen=True)
class Standby:
    """A process that waits for an order to become a kernel, at a socket."""

    pid: int
    socket: str


@dataclass(frozen=True)
class Acquired(Env):
    """The result of pool.acquire."""

    # "ready"; "built" while the call waited; "extended", a ready one plus `added`; or "resumed", the session's own.
    source: str
    stale: bool
    waited_ms: int
    added: tuple[Package, ...] = ()  # what was installed for this call into a ready environment
    added_ms: int = 0  # how long that took
    standby: Optional[Standby] = None  # only if one was asked for


def wrong_program(path: str, what: str) -> ProtocolError:
    message = f"the program at {path} does not speak runtimed's protocol: {what}"
    return ProtocolError(message, hint="see which program listens there")


def check_protocol(path: str, info: Object, version: str) -> None:
    """The number of the contract decides whether daemon and client understand each other, whatever their versions."""
    name, protocol = info.get("name", "runtimed"), info.get("protocol")
    if name != "runtimed":
        raise wrong_program(path, f"it calls itself {name!r}")
    if type(protocol) is not int or protocol == PROTOCOL:  # decode() says what is wrong with another type
        return
    daemon, client = ("daemon", "restart it with: runt daemon restart"), ("client", "update runtimed-client")
    old, hint = client if protocol > PROTOCOL else daemon
    theirs = f"the daemon (version {info.get('version')}) speaks protocol {protocol}"
    ours = f"this client (version {version}) protocol {PROTOCOL}"
    raise ProtocolError(f"{theirs}, and {ours}: the {old} is too old", hint=hint)


def encode(params: Object) -> Object:
    """Params as they travel: without those that are None, with seconds as milliseconds, and a project's path whole."""
    given = {name: value for name, value in params.items() if value is not None}
    if of := given.get("project"):
        given["project"] = {**of, "path": absolute(of.get("path", ""))} if isinstance(of, Mapping) else absolute(of)
    return {name: math.ceil(value * 1000) if name.endswith("_ms") else value for name, value in given.items()}


def absolute(path: Union[str, "os.PathLike[str]"]) -> str:
    """The daemon has another working folder. What .. means behind a link, only the file system knows."""
    return os.path.join(os.getcwd(), os.fspath(path)) if path else ""


def decode(kind: type[T], value: object, where: str) -> T:
    """A value from what came. Unknown members are ignored. A missing one, or one of another type, is a ProtocolError.

    What an older daemon does not send has a default, in the field or in its metadata as `missing`.
    """
    return cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Union:  # only Optional here
        return None if value is None else _decode(inner[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(inner[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {name: _decode(inner[1], item, f"{where}.{name}") for name, item in value.items()}
    if is_dataclass(kind) and isinstance(value, dict):
        sent = {m.name: m.metadata["missing"] for m in fields(kind) if "missing" in m.metadata} | value
        members = [m for m in fields(kind) if m.name in sent or m.default is MISSING]
        values = {m.name: _decode(m.type, sent.get(m.name), f"{where}.{m.name}") for m in members}
        return kind(**values)  # type: ignore[operator]
    if type(value) is kind or (kind is float and type(value) is int):  # not isinstance: True is no number
        return value
    raise ProtocolError(f"the daemon's answer lacks {where}, or has an unexpected value there")
