import os
from pathlib import Path

import pytest
from fixtures import build_wheel, fake, folder
from kernels import installed, lone, place, pools, socket

# Else Python sets LC_CTYPE for what it starts (PEP 538), and the standbys that the daemon has already are refused.
os.environ.setdefault("LC_ALL", "C.UTF-8")

__all__ = ["fake", "folder", "installed", "lone", "place", "pools", "socket"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel("jupyter", tmp_path_factory.mktemp("wheel"))
