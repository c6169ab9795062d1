"""A daemon made of memory: it answers as docs/protocol.md says, and a test may take any request out of its hands."""

import contextlib
import json
import socket
import threading
import time
from typing import Any, Callable, Optional

from listening import listen

ENV = {
    "id": "uv-00000001",
    "pool": "uv",
    "kind": "uv",
    "path": "/envs/uv-00000001",
    "python": "/envs/uv-00000001/bin/python",
    "python_version": "3.12.4",
    "state": "leased",
    "created_at": "2026-01-02T03:04:05Z",
    "packages": [{"name": "ipykernel", "version": "7.4.0"}],
    "variables": {"VIRTUAL_ENV": "/envs/uv-00000001", "PYTHONHOME": None},
    "path_prepend": ["/envs/uv-00000001/bin"],
    "needs": [],
    "project": None,
}
POOL = {
    "name": "uv",
    "kind": "uv",
    "target": 3,
    "available": 3,
    "warming": 0,
    "leased": 0,
    "removing": 0,
    "waiting": 0,
    "state": "ready",
    "python": "",
    "packages": ["ipykernel"],
    "tool": {"name": "uv", "version": "0.9.0", "path": "/bin/uv", "why": "it is on PATH"},
    "error": None,
    "standby": {"target": 1, "ready": 0, "warnings": [], "why": ""},
    "idle_ms": 0,
    "lock": "",
    "counters": {"hits": 0, "misses": 0, "waited_ms": 0, "builds": 3, "failures": {}},
}
INFO = {
    "name": "runtimed",
    "version": "0.1.0",
    "protocol": 1,
    "pid": 1,
    "started_at": "2026-01-02T03:04:05Z",
    "socket": "/s",
    "state_dir": "/",
    "config_path": "/c",
    "uptime_ms": 5,
    "started_by": "hand",
    "program": "/bin/runtimed",
    "replaced": False,
    "log": "/runtimed.log",
}


class Peer:
    """The server's side of one connection."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.gone = threading.Event()

    def send(self, *messages: dict[str, Any]) -> None:
        self.sock.sendall(b"".join(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages))

    def hang_up(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.gone.set()


Hook = Callable[[Peer, dict[str, Any]], bool]


def older(member: str) -> Hook:
    """A daemon that does not know a member of params."""
    data = {"kind": "invalid_params", "hint": "members are pool, wait_ms", "param": member}
    error = {"code": -32602, "message": f"unknown member {member}", "data": data}

    def hook(peer: Peer, request: dict[str, Any]) -> bool:
        if member in request["params"]:
            peer.send({"id": request["id"], "error": error})
        return member in request["params"]

    return hook


class FakeDaemon:
    def __init__(self, path: str, python: str = "/envs/bin/python") -> None:
        self.path = path
        self.python = python
        self.hook: Optional[Hook] = None  # sees each request first; True: it has dealt with it
        self.requests: list[dict[str, Any]] = []
        self.peers: list[Peer] = []
        self.leases: dict[str, str] = {}  # id -> key
        self.given = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = listen(path)
        self._start(self._accept)

    def methods(self) -> list[str]:
        return [request["method"] for request in self.requests]

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in list(self.peers):
            peer.hang_up()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock)
            self.peers.append(peer)
            self._start(self._serve, peer)

    def _serve(self, peer: Peer) -> None:
        with peer.sock, peer.sock.makefile("rb") as lines:
            try:
                for line in lines:
                    request = json.loads(line)
                    self.requests.append(request)
                    if self.hook is None or not self.hook(peer, request):
                        peer.send({"id": request["id"], **self.answer(request["method"], request["params"])})
            except OSError:
                pass
            peer.gone.set()

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if method == "daemon.info":
                return {"result": INFO}
            if method in ("pool.status", "pool.watch"):
                return {"result": {"pools": [POOL]}}
            if method == "pool.acquire":
                for id, key in self.leases.items():
                    if key == params["key"]:
                        return self.acquired(id)
                self.given += 1
                id = f"uv-{self.given:08x}"
                self.leases[id] = params["key"]
                return self.acquired(id)
            if params["env"] not in self.leases:
                message = f"no environment {params['env']} is leased"
                return {"error": {"code": -32004, "message": message, "data": {"kind": "unknown_env"}}}
            if method == "pool.release":
                del self.leases[params["env"]]
                return {"result": {}}
            assert method == "env.adopt"
            return {"result": {"env": self.env(params["env"])}}

    def env(self, id: str) -> dict[str, Any]:
        return {**ENV, "id": id, "python": self.python}

    def acquired(self, id: str) -> dict[str, Any]:
        told = {"source": "ready", "stale": False, "waited_ms": 0, "added": [], "added_ms": 0, "standby": None}
        return {"result": {"env": self.env(id), **told}}


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
