"""make.py DIR: what it takes to run the test suites of jupyter_client, nbclient and ipykernel.

DIR gets a virtual environment, the sources with the tests, and a wheel with the kernels that the tests of
jupyter_client start. It must be new. Package clients find their index as they are set up on this machine.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import zipfile

PEERS = ["ipykernel", "jupyter-client", "nbclient"]
HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = "peer_kernels"

# jupyter_client's tests have a kernel that fails as it starts, in a program of its own. This one fails as any kernel
# can, of which ipykernel is told only the class.
PROBLEM = """
import os
import time

from .problemkernel import ProblemTestKernel


class ProblemKernel(ProblemTestKernel):
    def __init__(self, **kwargs):
        time.sleep(int(os.environ.get("STARTUP_DELAY", "0")))
        if os.environ.get("FAIL_ON_START") == "1":
            raise RuntimeError("Failed for testing purposes")
        super().__init__(**kwargs)
"""


def pins(text):
    """The lines of requirements.txt that pin the peers themselves."""
    blocks = dict(re.findall(r"^([\w.-]+)(==(?:.*\\\n)*.*\n)", text, re.MULTILINE))
    return "".join(name + blocks[name] for name in PEERS)


def pack(path, files):
    """Makes a wheel of the package of kernels."""
    info = "%s-1.0.dist-info/" % KERNELS
    files = {
        **{"%s/%s" % (KERNELS, name): text for name, text in files.items()},
        info + "METADATA": "Metadata-Version: 2.1\nName: peer-kernels\nVersion: 1.0\n",
        info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join("%s,,\n" % name for name in [*files, info + "RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, info + "RECORD": record}.items():
            wheel.writestr(name, text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def main(folder):
    venv, sources = os.path.join(folder, "venv"), os.path.join(folder, "src")
    python = os.path.join(venv, "bin", "python")
    requirements = os.path.join(HERE, "requirements.txt")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([*pip, "install", "--require-hashes", "-r", requirements], check=True)
    own = os.path.join(folder, "peers.txt")
    with open(own, "w", encoding="utf-8") as file:
        file.write(pins(read(requirements)))
    # The tests are in the source distributions only. Without build isolation nothing is fetched that has no hash.
    only_source = ["--no-deps", "--no-build-isolation", "--no-binary", ",".join(PEERS)]
    subprocess.run([*pip, "download", *only_source, "--require-hashes", "-r", own, "-d", sources], check=True)
    for archive in glob.glob(os.path.join(sources, "*.tar.gz")):
        shutil.unpack_archive(archive, sources)
        unpacked = archive[: -len(".tar.gz")]
        os.rename(unpacked, unpacked[: unpacked.rindex("-")])
    tests = os.path.join(sources, "jupyter_client", "tests")
    site = glob.glob(os.path.join(venv, "lib", "python*", "site-packages"))[0]
    pack(
        os.path.join(folder, KERNELS + "-1.0-py3-none-any.whl"),
        {
            "__init__.py": "",
            "problem.py": PROBLEM,
            "problemkernel.py": read(os.path.join(tests, "problemkernel.py")),
            "signalkernel.py": read(os.path.join(tests, "signalkernel.py")),
            "echo_kernel.py": read(os.path.join(site, "pytest_jupyter", "echo_kernel.py")),
        },
    )


main(sys.argv[1])
