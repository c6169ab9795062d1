"""On Windows: against a daemon of the programs under test, on its own pipe, and what starts one."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from listening import place
from test_real import (
    socket,
    test_a_lease_ends_with_the_process_that_adopted_it,
    test_a_session_goes_on_in_its_environment,
    test_errors,
    test_the_same_key_gets_the_same,
    test_two_never_get_the_same,
    test_watch_sees_a_lease_come_and_go,
)

from runtimed_client import Client, ConnectError
from runtimed_client._start import find_runt

__all__ = [
    "socket",
    "test_a_lease_ends_with_the_process_that_adopted_it",
    "test_a_session_goes_on_in_its_environment",
    "test_errors",
    "test_the_same_key_gets_the_same",
    "test_two_never_get_the_same",
    "test_watch_sees_a_lease_come_and_go",
]
PROGRAMS = os.path.dirname(os.environ["RUNTIMED_BIN"])


@pytest.fixture
def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A home without a daemon, and with the programs under test on PATH; the name of its pipe."""
    for name in ("USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("RUNTIMED_SOCKET", place(folder))
    monkeypatch.setenv("RUNTIMED_UV_POOL_SIZE", "0")
    monkeypatch.setenv("RUNTIMED_CONDA_POOL_SIZE", "0")
    monkeypatch.setenv("PATH", os.path.normpath(PROGRAMS) + os.pathsep + os.environ["PATH"])
    return place(folder)


def test_a_daemon_is_started_once_for_two_threads(alone: str) -> None:
    runt = find_runt()
    assert runt is not None
    assert os.path.samefile(runt, os.path.join(PROGRAMS, "runt.exe"))
    with Client(autostart=True, timeout=60) as c, ThreadPoolExecutor(2) as threads:
        assert len({info.pid for info in threads.map(lambda _: c.info(), range(2))}) == 1
        assert c.info().socket == alone
        assert os.path.isabs(c.info().log)
        c.call("daemon.shutdown")


def test_why_a_daemon_does_not_start_is_told(alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIMED_UV_POOL_SIZE", "three")
    with Client(autostart=True, timeout=60) as c, pytest.raises(ConnectError, match="RUNTIMED_UV_POOL_SIZE") as caught:
        c.info()
    assert caught.value.kind == "unreachable"
    assert "starting one failed" in caught.value.message
    assert caught.value.hint
