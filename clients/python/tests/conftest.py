import os
from collections.abc import Iterator

import pytest
from fixtures import fake, folder, running

__all__ = ["fake", "folder"]


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
