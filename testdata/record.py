"""Runs the commands of the README's recording and puts what they print into it: go run ./task record

They run in a home of their own with what bin/ has. The daemon finds uv's cache as it is, so that a first run downloads.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients/python/src"))
from runtimed_client import Client

README = ROOT / "README.md"
HELLO = """runt run -- python -c 'print("hello")'"""
RICH = """runt run --with rich -- python -c 'import rich; rich.print("[b]hello[/b]")'"""
LATER = "  # later: the pool is full again"
COMMANDS = [f"time {HELLO}", f"time {HELLO}{LATER}", f"time {RICH}", f"time {RICH}{LATER}"]


def settled(home, derived):
    """Wait until all that is wanted is ready: what a person finds who comes back a minute later."""
    with Client(f"{home}/.cache/runt/runtimed.sock") as client:
        while True:
            pool, envs = client.status()["uv"], client.call("env.list", {"state": "ready"})["envs"]
            if pool.error:
                sys.exit(f"{pool.error.message}\n{pool.error.output}")
            if pool.available == pool.target and any(one["needs"] for one in envs) >= derived:
                return
            time.sleep(0.2)


def main(home):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "RUNTIMED_"))}
    env |= {"HOME": home, "PATH": f"{ROOT}/bin:{os.environ['PATH']}", "RUNTIMED_CONDA_POOL_SIZE": "0"}
    text = ""
    try:
        for command in COMMANDS:
            script = f"TIMEFORMAT='real %2R s'\n{command}"
            shown = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            done = subprocess.run(["bash", "-c", script], env=env, cwd=home, text=True, check=True, **shown)
            text += f"$ {command}\n{done.stdout}"
            print(f"$ {command}\n{done.stdout}", end="", flush=True)
            settled(home, derived="--with" in command)
    finally:
        subprocess.run(["runt", "daemon", "stop"], env=env, capture_output=True)
    before, after = re.split(r"(?s)(?<=```console\n).*?(?=```)", README.read_text(), maxsplit=1)
    README.write_text(before + text.replace(home, "~") + after)


if __name__ == "__main__":
    place = tempfile.mkdtemp(prefix="rt-")
    try:
        main(place)
    finally:
        shutil.rmtree(place)
