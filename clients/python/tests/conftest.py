import os
from collections.abc import Iterator

import pytest
from fixtures import fake, folder, running
from listening import WINDOWS

__all__ = ["fake", "folder"]

# Sockets of Unix, shell scripts and users of Unix are not on Windows, and its pipe and programs are not elsewhere.
collect_ignore = (
    ["test_package.py", "test_paths.py", "test_pipe.py", "test_real.py", "test_start.py", "test_trust.py"]
    if WINDOWS
    else ["test_windows.py"]
)


@pytest.fixture(scope="session")
def daemon() -> Iterator[str]:
    """The socket of a real daemon whose pools are off. It fails where there is none to be had: nothing is skipped."""
    with running(0) as path:
        yield path


@pytest.fixture(scope="session")
def filled() -> Iterator[str]:
    """The socket of a real daemon with real environments; RUNTIMED_SOCKET may name one that runs already."""
    given = os.environ.get("RUNTIMED_SOCKET")
    if given:
        yield given
        return
    with running(2) as path:
        yield path
