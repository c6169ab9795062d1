"""What test_hub.py drives: the JupyterHub of examples/hub, and users of this machine who come to it with a browser."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import websocket
from fake import wait_until
from lab import CACHE, CLEAN, Process, built, installed, lacking
from wire import REPOSITORY

EXAMPLE = REPOSITORY / "examples/hub"
PASSWORD = "open sesame"
TOKEN = uuid.uuid4().hex  # the culler's
LONG = 300  # seconds, on a busy machine
T = TypeVar("T")

# What a test needs other than an administrator: passwords that are none, ports of its own, and less patience.
CONFIG = """\
load_subconfig("{example}/jupyterhub_config.py")
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.bind_url = "http://127.0.0.1:{ports[0]}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{ports[1]}/"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports[2]}/"
c.JupyterHub.concurrent_spawn_limit = 100
c.JupyterHub.last_activity_interval = 1
c.Spawner.environment["JUPYTERHUB_ACTIVITY_INTERVAL"] = "1"
c.Spawner.args[-1:] = ["--RuntimedProvisioner.linger=1", "--RuntimedProvisioner.wait_time={long}"]
c.Spawner.env_keep.append("RUNTIMED_CONFIG")  # in place of /etc/runt/config.toml
c.Spawner.poll_interval = 1
c.Spawner.start_timeout = c.Spawner.http_timeout = {long}
c.JupyterHub.services[0]["api_token"] = "{token}"
"""


def python_of_all() -> str:
    """A Python that every user can run: that of the tests may be in somebody's home."""
    for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        if python.exists() and all(place.stat().st_mode & stat.S_IXOTH for place in (python, *python.parents)):
            break
    else:
        lacking("there is no Python that every user can run (Debian: apt-get install python3-venv)")
    return str(python)


def proxy() -> Path:
    """The folder with configurable-http-proxy, installed once."""
    if not (npm := shutil.which("npm")):
        lacking("there is no npm on PATH (Debian: apt-get install npm)")
    files = [EXAMPLE / name for name in (".npmrc", "package.json", "package-lock.json")]
    made = CACHE / f"hub-{hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]}"
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        new = CACHE / f"hub-{os.getpid()}.new"
        new.mkdir()
        for file in files:
            shutil.copy2(file, new)
        install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(new)]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
        new.rename(made)
    return made / "node_modules/.bin"


def free_ports(count: int) -> list[int]:
    """Not of those that the system gives to connections: the hub binds them later, and again after it was killed."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            with suppress(OSError):
                port = random.randrange(20_000, 30_000)
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


@contextmanager
def accounts(count: int, base: Path) -> Iterator[list[str]]:
    """New users of this machine, who are gone afterwards with all that they run."""
    useradd, userdel = (shutil.which(name, path="/usr/sbin:/sbin") for name in ("useradd", "userdel"))
    if os.geteuid() or not useradd or not userdel:
        lacking("this takes root, who makes users with useradd")
    names = [f"rt{os.getpid()}x{number}" for number in range(count)]
    made: list[str] = []
    try:
        for name in names:
            subprocess.run([useradd, "--create-home", "--base-dir", str(base), name], check=True, timeout=60)
            made.append(name)
        yield names
    finally:
        for name in made:
            uid = int(subprocess.run(["id", "-u", name], check=True, capture_output=True).stdout)
            while left := processes(uid):
                for pid in left:
                    end(pid)
                time.sleep(0.05)
            subprocess.run([userdel, name], check=True, timeout=60)


@contextmanager
def allowing(*codes: int) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        with error:
            if error.code not in codes:
                raise RuntimeError(f"{error}: {error.read()!r}") from error


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def processes(uid: int) -> dict[int, str]:
    """What a user runs: the command lines. A zombie runs nothing, and waits only for PID 1."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                state = (entry / "stat").read_bytes().rpartition(b") ")[2][:1]
                if state not in (b"Z", b"X"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended
    return found


def memory_of(pid: int, kind: str) -> float:
    """In MB. Pss is with its part of what several processes share, Pss_Anon without files (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(kind + ":"))


class Hub(Process):
    """JupyterHub with its proxy and its culler."""

    def __init__(self, base: Path, wheels: list[Path], configuration: str, more: str = "") -> None:
        base.chmod(0o755)  # everybody's programs are in it
        self.base, self.venv = base, installed(wheels, base / "venv", python_of_all())
        programs = built(base)
        for name in ("runt", "runtimed"):  # as the wheel runtimed_bin puts them there
            shutil.copy2(programs / name, self.venv / "bin")
        place = base / "hub"
        place.mkdir(mode=0o700)
        (base / "config.toml").write_text(configuration)
        ports = free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}/"
        self.config = place / "config.py"
        filled = CONFIG.format(example=EXAMPLE, password=PASSWORD, ports=ports, long=LONG, token=TOKEN)
        self.config.write_text(filled + more)
        path = os.pathsep.join([str(proxy()), str(self.venv / "bin"), CLEAN["PATH"]])
        env = {**CLEAN, "PATH": path, "HOME": str(place), "RUNTIMED_CONFIG": str(base / "config.toml")}
        super().__init__("hub", place, [str(self.venv / "bin/jupyterhub"), f"--config={self.config}"], env)
        api = {"JUPYTERHUB_API_TOKEN": TOKEN, "JUPYTERHUB_API_URL": f"http://127.0.0.1:{ports[1]}/hub/api"}
        culler = [str(self.venv / "bin/python"), "-m", "jupyterhub_idle_culler", "--timeout=1", "--cull-every=1"]
        self._culler = Process("culler", place, culler, {**env, **api})

    @contextmanager
    def culling(self) -> Iterator[None]:
        """The culler of the example takes everybody for gone who has asked for nothing in the last second."""
        self._culler.start()
        try:
            yield
        finally:
            self._culler.end()

    def wait(self) -> None:
        opener = build_opener()

        def answers() -> bool:
            self.check()
            try:
                with opener.open(self.url + "hub/health", timeout=10):
                    return True
            except OSError:
                time.sleep(0.1)
                return False

        wait_until(answers, LONG)


class Person:
    """A user of the hub, with a browser of their own."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub, self.name, self.home = hub, name, hub.base / name
        self.uid = self.home.stat().st_uid
        self.state = self.home / ".cache/runt"
        self._jar = CookieJar()
        self._browser: OpenerDirector = build_opener(HTTPCookieProcessor(self._jar))

    def login(self) -> None:
        """By the form. The hub then starts their server."""
        self._open("hub/login")
        form = {"username": self.name, "password": PASSWORD, "_xsrf": self._xsrf("hub/")}
        self._open("hub/login", urlencode(form).encode())
        self.wait()

    def wait(self) -> None:
        """Until JupyterLab's page is there."""
        page = f"user/{self.name}/lab"

        def there() -> bool:
            time.sleep(0.2)  # the page that says how far it is asks no more often
            with allowing(424, 503):
                return self._open(page).partition("?")[0] == self.hub.url + page
            return False

        wait_until(there, LONG)

    def logout(self) -> None:
        self._open("hub/logout")

    def start(self) -> None:
        """The button Start My Server, which is there when the hub has noticed that it has ended."""

        def started() -> bool:
            time.sleep(0.2)
            with allowing(400):
                self.ask(f"hub/api/users/{self.name}/server", "POST", at="hub/")
                return True
            return False

        wait_until(started, LONG)
        self.wait()

    def _xsrf(self, path: str) -> str:
        return next(str(one.value) for one in self._jar if one.name == "_xsrf" and one.path == "/" + path)

    def _open(self, path: str, data: Optional[bytes] = None) -> str:
        """Where that leads."""
        with self._browser.open(Request(self.hub.url + path, data), timeout=LONG) as answer:
            answer.read()
            return str(answer.url)

    def ask(self, path: str, method: str = "GET", body: Any = None, at: str = "") -> Any:
        """What their server's REST API answers, or the hub's."""
        at = at or f"user/{self.name}/"
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-XSRFToken": self._xsrf(at), "Referer": self.hub.url + at, "Content-Type": "application/json"}
        request = Request(self.hub.url + (path if path.startswith("hub/") else at + path), data, headers, method=method)
        with self._browser.open(request, timeout=LONG) as answer:
            return json.loads(answer.read() or "null")

    def kernel(self) -> str:
        """A new kernel, of the kind that Jupyter has by itself."""
        return str(self.ask("api/kernels", "POST", {"name": "python3"})["id"])

    def run(self, kernel: str, code: str) -> str:
        """What a cell says."""
        at = f"user/{self.name}/"
        cookies = "; ".join(f"{one.name}={one.value}" for one in self._jar if one.path in ("/", "/" + at))
        url = f"{self.hub.url}{at}api/kernels/{kernel}/channels".replace("http:", "ws:", 1)
        connection = websocket.create_connection(
            url, timeout=LONG, cookie=cookies, header={"X-XSRFToken": self._xsrf(at)}
        )
        try:
            return converse(connection, code)
        finally:
            connection.close()

    def pool(self) -> dict[str, Any]:
        """How the pool is, as the status bar tells it."""
        return next(pool for pool in self.ask("runtimed/pools")["pools"] if pool["name"] == "uv")

    def warm(self) -> bool:
        """Whether a kernel stands by."""
        time.sleep(0.05)
        with allowing(503):
            self.ask("runtimed/leases")  # so that the daemon stays, as it does not for its status
            pool = self.pool()
            assert pool["error"] is None, pool["error"]
            return bool(pool["standby"]["ready"])
        self.ask("runtimed/start", "POST", {})  # the one that came with the server has ended: "start it"
        return False

    def daemon(self) -> int:
        """Its process."""
        return int(json.loads((self.state / "daemon.json").read_text())["pid"])

    def runs(self) -> dict[int, str]:
        return processes(self.uid)

    def server(self) -> int:
        """The process of their Jupyter server."""
        (pid,) = [pid for pid, command in self.runs().items() if "jupyterhub-singleuser" in command]
        return pid

    def leases(self) -> list[Path]:
        """The records of what is in use, which need no daemon."""
        found = []
        for record in self.state.glob("envs/*/lease"):
            with suppress(FileNotFoundError):
                if json.loads(record.read_bytes().rstrip(b"\0"))["state"] == "leased":
                    found.append(record)
        return found


def converse(connection: Any, code: str) -> str:
    """Run a cell as JupyterLab does, until its reply is here and all of its output."""
    id, said, missing = uuid.uuid4().hex, [], {"execute_reply", "idle"}
    header = {"msg_id": id, "msg_type": "execute_request", "username": "", "session": id, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    connection.send(json.dumps(message))
    while missing:
        answer = json.loads(connection.recv())
        content = answer["content"]
        if answer["parent_header"].get("msg_id") != id:
            continue
        missing.discard(answer["msg_type"])
        missing.discard(str(content.get("execution_state")))
        if text := content.get("text") or content.get("data", {}).get("text/plain"):
            said.append(text)
        if answer["msg_type"] == "error":
            said += content["traceback"]
    return "".join(said).strip()


def at_once(people: list[Person], what: Callable[[Person], T]) -> list[T]:
    """All do it at the same time."""
    with ThreadPoolExecutor(len(people)) as threads:
        return list(threads.map(what, people))
