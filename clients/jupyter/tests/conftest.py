from pathlib import Path

import pytest
from fixtures import build_wheel, fake, folder

__all__ = ["fake", "folder"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel("jupyter", tmp_path_factory.mktemp("wheel"))
