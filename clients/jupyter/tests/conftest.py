from pathlib import Path

import pytest
from fixtures import build_wheel, fake, folder
from kernels import installed, lone, place, pools, socket

__all__ = ["fake", "folder", "installed", "lone", "place", "pools", "socket"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel("jupyter", tmp_path_factory.mktemp("wheel"))
