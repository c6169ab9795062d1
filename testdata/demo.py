"""The main job, on real parts, in a place of its own: nothing of a daemon that already runs is touched."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients/python/src"))
from runtimed_client import Client  # noqa: E402

RUNT = ROOT / "bin/runt"
CELLS = ["1+1", "import ipywidgets", "%pip --version"]


def say(text):
    print(f"\n# {text}", flush=True)


def runt(*args):
    print("$ runt", *args, flush=True)
    subprocess.run([RUNT, *args], check=True)


def filled(client):
    for status in client.watch():
        pool = status["uv"]
        if pool.error:
            sys.exit(f"the pool cannot be filled: {pool.error.message}\n{pool.error.output or ''}\nhint: {pool.error.hint}")
        if pool.available == pool.target:
            return


def main():
    began = time.monotonic()
    say("a daemon starts; it finds uv or fetches it, and makes three environments with ipykernel, ipywidgets and pip")
    runt("daemon", "start")
    with Client() as client:
        runt("pool", "status")
        filled(client)
        say(f"filled {time.monotonic() - began:.1f} s after the start")
        runt("pool", "status")

        client.status()  # the connection is there, as it is in a front-end
        asked = time.perf_counter()
        env = client.acquire("uv", label="demo")
        say(f"acquired in {(time.perf_counter() - asked) * 1000:.2f} ms, with the lease on disk")
        print(env.python)

        say("a kernel is started in it, and answers (the other end of the conversation runs in a second environment)")
        with client.acquire("uv", wait=60, label="demo") as other:
            check = ROOT / "testdata/tools/kernel_check.py"
            subprocess.run([other.python, check, env.python, *CELLS], env=env.environ(), check=True)

        say("released, removed, and replaced")
        runt("env", "list", "--state", "leased")
        runt("pool", "release", env.id)
        filled(client)
        while Path(env.path).exists():
            time.sleep(0.05)
        runt("pool", "status")
        print(f"gone: {env.path}")
    runt("daemon", "stop")


if __name__ == "__main__":
    cache = Path.home() / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    places = [tempfile.mkdtemp(prefix="runtimed-demo-", dir=cache), tempfile.mkdtemp(prefix="runtimed-")]
    os.environ |= {"RUNTIMED_CACHE_DIR": places[0], "RUNTIMED_SOCKET": os.path.join(places[1], "s"), "XDG_CONFIG_HOME": places[1]}
    os.environ["RUNTIMED_CONDA_POOL_SIZE"] = "0"  # the demo shows uv, and a conda channel may be out of reach here
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\nthe daemon's log is in {places[1]}")
    finally:
        subprocess.run([RUNT, "daemon", "stop"], capture_output=True)
    for place in places:
        shutil.rmtree(place)
