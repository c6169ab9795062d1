"""Shows the main job on real parts, in a folder of its own that it removes. A daemon that runs is left alone."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients/python/src"))
from runtimed_client import Client, RPCError  # noqa: E402

RUNT = ROOT / "bin/runt"
CELLS = ["1+1", "import ipywidgets", "%pip --version"]
BEGAN = time.monotonic()


def say(text):
    print(f"\n# {time.monotonic() - BEGAN:.1f} s: {text}", flush=True)


def runt(*args):
    print("$ runt", *args, flush=True)
    subprocess.run([RUNT, *args], check=True)


def full(client):
    """Wait until the pool is full, and say how it fills."""
    told = None
    for status in client.watch():
        pool = status["uv"]
        if told != pool.available:
            told = pool.available
            say(f"{told} of {pool.target} environments are ready")
        if pool.error:
            sys.exit(f"the pool cannot be filled: {pool.error.message}\n{pool.error.output}\nhint: {pool.error.hint}")
        if pool.available == pool.target:
            return


def answer(env):
    check = ROOT / "testdata/tools/kernel_check.py"
    subprocess.run([env.python, check, env.python, *CELLS], env=env.environ(), check=True)


def main():
    say("start a daemon; it finds uv or fetches it, then builds three environments with ipykernel, ipywidgets and pip")
    runt("daemon", "start")
    with Client() as client:
        stages = []

        def progress(p):
            if p.message not in stages[-1:]:
                stages.append(p.message)
                print(f"  {time.monotonic() - BEGAN:.1f} s  {p.message}", flush=True)

        with client.acquire("uv", wait=300, label="demo", progress=progress) as env:
            say("the first environment is ready; start a kernel in it")
            answer(env)
            say("the kernel has answered")
        full(client)
        runt("pool", "status")

        asked = time.perf_counter()
        env = client.acquire("uv", label="demo")
        say(f"acquired from a full pool in {(time.perf_counter() - asked) * 1000:.2f} ms, with the lease on disk")
        answer(env)
        runt("env", "list", "--state", "leased")
        runt("pool", "release", env.id)
        full(client)
        while Path(env.path).exists():
            time.sleep(0.05)
        say(f"released, removed and replaced: {env.path}")
    runt("daemon", "stop")


if __name__ == "__main__":
    # On the file system of HOME, since /tmp is often small; the socket in /tmp, since its path must be short.
    cache = Path.home() / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    place, short = tempfile.mkdtemp(prefix="runtimed-demo-", dir=cache), tempfile.mkdtemp(prefix="runtimed-")
    Path(short, "config.toml").touch()
    os.environ |= {
        "RUNTIMED_CACHE_DIR": f"{place}/state",
        "RUNTIMED_CONFIG": f"{short}/config.toml",
        "RUNTIMED_SOCKET": f"{short}/s",
        "RUNTIMED_CONDA_POOL_SIZE": "0",  # the demo shows uv, and a conda channel may be out of reach here
        "UV_CACHE_DIR": f"{place}/uv",
        "PIP_CACHE_DIR": f"{place}/pip",
        "IPYTHONDIR": f"{short}/ipython",
    }
    try:
        main()
    except RPCError as error:
        sys.exit(f"{error}\n{error.data.get('output', '')}\nhint: {error.hint}\nthe daemon's log is in {short}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\nthe daemon's log is in {short}")
    finally:
        subprocess.run([RUNT, "daemon", "stop"], capture_output=True)
        shutil.rmtree(place)
    shutil.rmtree(short)
    print("\nThe demo has removed what it made. Left are bin/ and what Go keeps: see go env GOCACHE GOMODCACHE.")
