"""What the client for threads does beside calling: connections, leases, threads, forks, interruptions."""

import _thread
import os
import pickle
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import pytest
from fake import ENV, INFO, POOL, FakeDaemon, Peer, older, wait_until
from listening import WINDOWS, forget, place

from runtimed_client import Client, ConnectError, Env, Project, ProtocolError, RequestTimeout, RPCError, RuntimedError
from runtimed_client._values import decode
from runtimed_client._wire import MAX_MESSAGE

Request = dict[str, Any]


def silent(*methods: str) -> Callable[[Peer, Request], bool]:
    """A hook that leaves some methods without an answer."""
    return lambda peer, request: request["method"] in methods


# ---- leases


def test_a_with_block_releases(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        with c.acquire("uv", wait=0) as env:
            assert isinstance(env, Env)
            assert list(fake.leases) == [env.id]
        assert not fake.leases
    assert fake.methods() == ["pool.acquire", "pool.release"]


def test_an_older_daemon_is_asked_again_without_a_standby(fake: FakeDaemon) -> None:
    fake.hook = older("standby")
    with Client(fake.path) as c, c.acquire("uv", wait=0, standby=True) as env:
        assert env.standby is None
        first, again = (request["params"] for request in fake.requests)
        assert first == {**again, "standby": True}
        assert list(fake.leases.values()) == [again["key"]]
    with Client(fake.path) as c, c.acquire("uv", wait=0):
        assert "standby" not in fake.requests[-1]["params"]


def test_a_daemon_that_knows_less_still_is_not_asked_again(fake: FakeDaemon) -> None:
    fake.hook = older("session")
    with Client(fake.path) as c, pytest.raises(RPCError) as caught:
        c.acquire("uv", standby=True, session="s")
    assert caught.value.hint
    assert "the daemon is older than this client" in caught.value.hint
    assert fake.methods() == ["pool.acquire"]


@pytest.mark.parametrize("path", ["notes/../p", Path("notes/../p")])
def test_the_path_of_a_project_is_from_our_working_folder(
    fake: FakeDaemon, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"path": path, "extras": ("plot",), "groups": ["dev"], "frozen": True}
    with Client(fake.path) as c:
        for project in (path, asked, {"path": path}, "/p", "", {"groups": ["dev"]}, None):
            c.acquire(project=project)
    whole, rooted = os.path.join(tmp_path, path), os.path.join(tmp_path, "/p")  # on our drive, where there are some
    assert asked["path"] == path
    assert [request["params"].get("project") for request in fake.requests] == [
        whole,
        {"path": whole, "extras": ["plot"], "groups": ["dev"], "frozen": True},
        {"path": whole},
        rooted,
        *("", {"path": "", "groups": ["dev"]}, None),  # the daemon says what is wrong with the first two
    ]


def test_an_environment_says_what_project_it_was_made_for() -> None:
    env = decode(Env, {**ENV, "project": {"path": "/p", "file": "/p/uv.lock", "new": 1}}, "env")
    assert env.project == Project("/p", "/p/uv.lock")
    assert decode(Env, {name: value for name, value in ENV.items() if name != "project"}, "env").project is None


def test_a_with_block_releases_on_an_exception(fake: FakeDaemon) -> None:
    with Client(fake.path) as c, pytest.raises(ZeroDivisionError), c.acquire():
        raise ZeroDivisionError
    assert not fake.leases


def test_an_exception_is_not_hidden_by_a_release_that_fails(fake: FakeDaemon) -> None:
    with Client(fake.path) as c, pytest.raises(ZeroDivisionError), c.acquire():  # noqa: PT012
        fake.stop()
        raise ZeroDivisionError


def test_a_release_that_fails_is_told(fake: FakeDaemon) -> None:
    with Client(fake.path) as c, pytest.raises(ConnectError), c.acquire():
        fake.stop()


def test_a_second_release_is_refused_but_not_at_the_end_of_a_block(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        with c.acquire() as env:
            env.release()
            with pytest.raises(RPCError) as caught:
                c.release(env.id)
            assert caught.value.kind == "unknown_env"
        assert fake.methods() == ["pool.acquire", "pool.release", "pool.release"]
        with c.acquire() as env:
            fake.leases.clear()  # somebody else has released it
        assert fake.methods()[3:] == ["pool.acquire", "pool.release"]


def test_what_was_adopted_is_not_released_at_the_end_of_a_block(fake: FakeDaemon) -> None:
    with Client(fake.path) as c, c.acquire() as env:
        assert c.adopt(env, 4242).id == env.id
    assert fake.methods() == ["pool.acquire", "env.adopt"]
    assert fake.requests[1]["params"] == {"env": env.id, "owner_pid": 4242}


def test_environ() -> None:
    variables = {"A": "1", "B": None, "C": None}
    env = decode(Env, {**ENV, "variables": variables, "path_prepend": ["/x/bin", "/y/bin"]}, "env")
    base = {"B": "2", "D": "3", "PATH": "/bin"}
    assert env.environ(base) == {"A": "1", "D": "3", "PATH": os.pathsep.join(("/x/bin", "/y/bin", "/bin"))}
    assert base == {"B": "2", "D": "3", "PATH": "/bin"}
    usual = os.pathsep.join(("/x/bin", "/y/bin", os.defpath))
    assert env.environ({})["PATH"] == usual  # an empty entry would be the working directory
    assert decode(Env, {**ENV, "path_prepend": []}, "env").environ({}) == {"VIRTUAL_ENV": "/envs/uv-00000001"}


def test_environ_ignores_the_case_of_names_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    env = decode(Env, {**ENV, "variables": {"Virtual_Env": "x"}, "path_prepend": ["/x"]}, "env")
    assert env.environ({"Path": "/bin", "VIRTUAL_ENV": "y"}) == {"Path": f"/x{os.pathsep}/bin", "VIRTUAL_ENV": "x"}


def test_environ_starts_from_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    merged = decode(Env, ENV, "env").environ()
    assert "PYTHONHOME" not in merged
    assert merged["KEPT"] == "yes"
    assert os.environ["PYTHONHOME"] == "/elsewhere"


# ---- requests


def test_each_acquire_has_a_key_of_its_own(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        assert c.acquire().id != c.acquire().id
    keys = [request["params"]["key"] for request in fake.requests]
    assert len({*keys}) == 2
    assert all(len(key) == 32 for key in keys)


def test_a_key_of_the_callers_own(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        assert c.acquire(key="mine").id == c.acquire(key="mine").id
    assert fake.given == 1


@pytest.mark.parametrize(("wait", "ms"), [(0, 0), (0.0001, 1), (1.5, 1500), (30, 30000)])
def test_wait_is_sent_in_milliseconds(fake: FakeDaemon, wait: float, ms: int) -> None:
    with Client(fake.path) as c:
        c.acquire(wait=wait)
    assert fake.requests[0]["params"]["wait_ms"] == ms


def test_without_a_wait_the_daemon_decides(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def end(wait: float) -> float:
        waits.append(wait)
        return time.monotonic() + 10

    with Client(fake.path) as c:
        monkeypatch.setattr(c._core, "_end", end)
        c.acquire()
    assert fake.requests[0]["params"].keys() == {"key"}
    assert waits == [60]


def test_any_method_can_be_called(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        assert c.call("pool.status")["pools"][0]["name"] == "uv"
        assert c.status()["uv"].available == 3
        with pytest.raises(KeyError):
            c.status()["nope"]


# ---- connections


def test_each_call_has_a_connection_of_its_own(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        for _ in range(5):
            c.info()
    assert len(fake.peers) == 5
    wait_until(lambda: all(peer.gone.is_set() for peer in fake.peers))


def test_twenty_threads(fake: FakeDaemon) -> None:
    times = 5 if WINDOWS else 20  # a pipe has one free end at a time, for which they contend

    def work(n: int) -> str:
        for _ in range(times):
            with c.acquire(label=str(n)) as env:
                assert c.info().name == "runtimed"
        return env.id

    with Client(fake.path, timeout=30) as c:
        with ThreadPoolExecutor(20) as threads:
            assert len(set(threads.map(work, range(20)))) == 20
        assert not c._core._busy
    assert not fake.leases
    assert fake.given == 20 * times
    wait_until(lambda: all(peer.gone.is_set() for peer in fake.peers))


def test_a_late_reply_never_answers_the_next_call(fake: FakeDaemon) -> None:
    late = threading.Event()

    def hook(peer: Peer, request: Request) -> bool:
        if request["method"] != "pool.status":
            return False
        late.wait(10)
        with suppress(OSError):
            peer.send({"id": request["id"], "result": {"pools": []}})
        return True

    fake.hook = hook
    with Client(fake.path, timeout=0.2) as c:
        with pytest.raises(RequestTimeout) as caught:
            c.status()
        assert caught.value.kind == "timeout"
        assert fake.path in str(caught.value)
        late.set()
        c._core.timeout = 10
        assert c.info().name == "runtimed"
    assert len(fake.peers) == 2


def test_a_timeout_leaves_other_threads_alone(fake: FakeDaemon) -> None:
    fake.hook = silent("pool.status")
    with Client(fake.path, timeout=10) as c:
        other = ThreadPoolExecutor(1)
        waiting = other.submit(c.status)
        wait_until(lambda: len(fake.requests) == 1)
        c._core.timeout = 0.1
        with pytest.raises(RequestTimeout):
            c.status()
        assert not waiting.done()
        fake.peers[0].send({"id": fake.requests[0]["id"], "result": {"pools": []}})
        assert waiting.result(10).pools == ()
        other.shutdown()


def test_wait_is_on_top_of_the_time_limit(fake: FakeDaemon) -> None:
    fake.hook = silent("pool.acquire")
    with Client(fake.path, timeout=0.1) as c:
        start = time.monotonic()
        with pytest.raises(RequestTimeout):
            c.acquire(wait=0.3)
        assert 0.4 <= time.monotonic() - start < 5
    wait_until(fake.peers[0].gone.is_set)


def test_a_daemon_that_was_restarted_is_found_again(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        c.info()
        fake.stop()
        forget(fake.path)
        with pytest.raises(ConnectError) as caught:
            c.info()
        assert caught.value.kind == "unreachable"
        assert caught.value.__cause__ is not None
        again = FakeDaemon(fake.path)
        try:
            assert c.info().name == "runtimed"
            again.stop()
            forget(fake.path)
            again = FakeDaemon(fake.path)
            assert c.info().name == "runtimed"
        finally:
            again.stop()


def test_nobody_there(folder: Path) -> None:
    path = place(folder)
    with Client(path) as c, pytest.raises(ConnectError) as caught:
        c.acquire()
    assert caught.value.kind == "unreachable"
    assert path in str(caught.value)
    assert "runt daemon start" in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    if WINDOWS:
        return  # no pipe outlives its maker
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with Client(path) as c, pytest.raises(ConnectError) as caught:
        c.info()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert Path(path).is_socket()  # a client never unlinks anything


@pytest.mark.parametrize("path", ["C:\\a.sock", "a", ""] if WINDOWS else ["/" + 110 * "x", "relative", ""])
def test_paths_that_no_socket_can_have(path: str) -> None:
    with pytest.raises(ConnectError, match=r"RUNTIMED_SOCKET|absolute") as caught:
        Client(path)
    assert caught.value.kind == "unreachable"


def test_the_socket_comes_from_the_environment(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_SOCKET", fake.path)
    with Client() as c:
        assert c._core.socket == fake.path
        c.info()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
def test_a_full_queue_is_waited_for(folder: Path) -> None:
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with Client(path, timeout=0.1) as c, pytest.raises(RequestTimeout):
                c.info()
            with Client(path, timeout=10) as c, ThreadPoolExecutor(1) as threads:
                future = threads.submit(c.call, "pool.flush")  # a call that is not made again
                time.sleep(0.1)
                listener.accept()[0].close()  # `first`; now there is room
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1000)
                with pytest.raises(ConnectError):
                    future.result(10)


def test_a_message_that_never_ends(fake: FakeDaemon) -> None:
    def hook(peer: Peer, request: Request) -> bool:
        piece = b"x" * (1 << 20)
        while True:
            peer.sock.sendall(piece)

    fake.hook = hook
    with Client(fake.path, timeout=30) as c, pytest.raises(ProtocolError, match=str(MAX_MESSAGE)):
        c.info()


def test_closing_ends_what_is_on(fake: FakeDaemon) -> None:
    fake.hook = silent("pool.acquire")
    c = Client(fake.path)
    with ThreadPoolExecutor(2) as threads:
        waiting, watching = threads.submit(c.acquire), threads.submit(lambda: list(c.watch()))
        wait_until(lambda: sorted(fake.methods()) == ["pool.acquire", "pool.watch"])
        wait_until(lambda: len(c._core._busy) == 2)
        c.close()
        with pytest.raises(ConnectError):
            waiting.result(10)
        assert [status["uv"].name for status in watching.result(10)] in ([], ["uv"])
    wait_until(lambda: all(peer.gone.is_set() for peer in fake.peers))
    assert not c._core._busy
    with pytest.raises(ConnectError, match="client is closed"):
        c.info()
    c.close()


# ---- watch


def test_watch(fake: FakeDaemon) -> None:
    with Client(fake.path, timeout=0.2) as c:
        seen = []
        for status in c.watch():
            seen.append(status["uv"].available)
            if len(seen) == 4:
                break
            if len(seen) == 2:
                time.sleep(0.3)  # there is no time limit between two changes
            c.info()  # other calls go on beside it
            fake.peers[0].send({"method": "pool.changed", "params": {"pool": {**POOL, "available": 10 + len(seen)}}})
        assert seen == [3, 11, 12, 13]
        wait_until(fake.peers[0].gone.is_set)


# ---- forks and interruptions


def forks(test: Callable[..., None]) -> Callable[..., None]:
    """A test for systems that fork. From Python 3.12 on, doing so with threads (the fake daemon's) is warned about."""
    warned = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    forking: Callable[..., None] = pytest.mark.skipif(WINDOWS, reason="Windows has no fork")(warned(test))
    return forking


def in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@forks
def test_after_a_fork_no_connection_is_shared(fake: FakeDaemon) -> None:
    def child() -> None:
        assert c.info().name == "runtimed"
        with pytest.raises(ConnectError):
            next(watch)
        c.close()

    with Client(fake.path) as c:
        watch = c.watch()
        next(watch)
        in_child(child)
        assert not fake.peers[0].gone.is_set()
        fake.peers[0].send({"method": "pool.changed", "params": {"pool": {**POOL, "available": 7}}})
        assert next(watch)["uv"].available == 7
        watch.close()


@forks
def test_a_forked_child_that_leaves_the_block_releases_nothing(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        lease = c.acquire()
        in_child(lambda: lease.__exit__(None, None, None))
        assert fake.leases
        lease.__exit__(None, None, None)
        assert not fake.leases


def test_ctrl_c_in_a_waiting_acquire(fake: FakeDaemon) -> None:
    fake.hook = silent("pool.acquire")

    def interrupt() -> None:
        wait_until(lambda: fake.requests)
        _thread.interrupt_main() if WINDOWS else os.kill(os.getpid(), signal.SIGINT)

    with Client(fake.path) as c:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            c.acquire(wait=30)
        thread.join()
        wait_until(fake.peers[0].gone.is_set)
        assert not c._core._busy
        fake.hook = None
        assert c.info().name == "runtimed"


@forks
def test_ctrl_c_reaches_the_daemon_even_while_a_child_holds_a_copy(fake: FakeDaemon) -> None:
    with Client(fake.path) as c:
        watch = c.watch()
        next(watch)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        c.close()
        wait_until(fake.peers[0].gone.is_set)
        os.close(writing)
        os.waitpid(pid, 0)


class Stop(BaseException):
    pass


def test_an_environment_that_comes_as_the_caller_gives_up_goes_back(fake: FakeDaemon) -> None:
    def hook(peer: Peer, request: Request) -> bool:
        if request["method"] == "pool.acquire":
            progress = {"method": "$/progress", "params": {"id": request["id"], "stage": "queued", "message": ""}}
            peer.send(progress, {"id": request["id"], **fake.answer(request["method"], request["params"])})
            return True
        return False

    def give_up(progress: object) -> None:
        raise Stop

    fake.hook = hook
    with Client(fake.path) as c:
        with pytest.raises(Stop):
            c.acquire(progress=give_up)
        assert not fake.leases
        assert fake.methods() == ["pool.acquire", "pool.release"]
        assert fake.peers[0].gone.wait(10)


# ---- values and errors

LATER = {"started_by", "program", "replaced", "log"}  # what an older daemon does not send


@pytest.mark.parametrize("member", sorted(INFO.keys() - LATER))
def test_a_missing_member_is_named(fake: FakeDaemon, member: str) -> None:
    def hook(peer: Peer, request: Request) -> bool:
        peer.send({"id": request["id"], "result": {name: value for name, value in INFO.items() if name != member}})
        return True

    fake.hook = hook
    with Client(fake.path) as c, pytest.raises(ProtocolError, match=f"info.{member}"):
        c.info()


@pytest.mark.parametrize("member", sorted(ENV))
@pytest.mark.parametrize("value", [None, True, 1.5, [[]], [1], {"a": 1}, [{"name": "x"}]])
def test_members_of_another_type_are_named(member: str, value: object) -> None:
    if (member, value) == ("project", None):
        return  # it was made for none
    with pytest.raises(ProtocolError, match=f"env.{member}"):
        decode(Env, {**ENV, member: value}, "env")


@pytest.mark.parametrize("value", [None, 7, "text", [], {}])
def test_values_that_are_no_objects(value: object) -> None:
    with pytest.raises(ProtocolError):
        decode(Env, value, "env")


def test_errors_survive_pickling() -> None:
    for error in (
        RPCError("no", code=-32001, data={"kind": "pool_empty", "hint": "wait", "waited_ms": 5}),
        ConnectError("no", kind="unreachable", hint="start it"),
        RequestTimeout("no"),
        ProtocolError("no"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert vars(copy) == vars(error)
        assert str(copy) == str(error)
        assert isinstance(copy, RuntimedError)
