"""What the wheel holds, and the names that it had as a part of runtimed-client."""

import hashlib
import importlib
import json
import zipfile
from pathlib import Path

import pytest
import runtimed_client

from runtimed_jupyter import RuntimedProvisioner

FOLDER = Path(__file__).resolve().parents[1]
LABEXTENSIONS = {"labextension": "runtimed-status", "newmenu": "runtimed-new-menu"}  # by their folders


def test_the_wheel(wheel: Path) -> None:
    files = [path.relative_to(FOLDER) for folder in LABEXTENSIONS for path in (FOLDER / folder).rglob("*.js*")]
    assert wheel.name == f"runtimed_jupyter-{runtimed_client.__version__}-py3-none-any.whl"
    assert {name.split("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist()} == {
        *(path.name for path in (FOLDER / "src/runtimed_jupyter").iterdir() if path.is_file()),
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
        "data/etc/jupyter/jupyter_server_config.d/runtimed_jupyter.json",
        *(
            f"data/share/jupyter/labextensions/{LABEXTENSIONS[file.parts[0]]}/{file.relative_to(file.parts[0])}"
            for file in files
        ),
    }


def test_the_old_names_still_work() -> None:
    assert importlib.import_module("runtimed_client.jupyter").RuntimedProvisioner is RuntimedProvisioner
    server = importlib.import_module("runtimed_client.server")
    assert server._jupyter_server_extension_points() == [{"module": "runtimed_jupyter.server"}]


@pytest.mark.parametrize(("folder", "scope"), LABEXTENSIONS.items())
def test_a_labextension_is_named_by_what_is_in_it(folder: str, scope: str) -> None:
    """A browser keeps a file of a known name, and would run the old one after an update."""
    (entry,) = (FOLDER / folder / "static").iterdir()
    package = json.loads((FOLDER / folder / "package.json").read_text())
    name = f"remoteEntry.{hashlib.sha256(entry.read_bytes()).hexdigest()[:16]}.js"
    assert entry.name == name, f"rename it to {name}, and in package.json"
    assert package["jupyterlab"]["_build"]["load"] == f"static/{name}"
    assert (package["name"], f'SCOPE = "{scope}"' in entry.read_text()) == (scope, True)
    assert package["version"] == runtimed_client.__version__
