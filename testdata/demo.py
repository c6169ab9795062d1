"""Shows the main job on real parts, in a folder of its own that it removes. A daemon that runs is left alone."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the client is in the clone
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients/python/src"))
from runtimed_client import Client, RPCError

RUNT = ROOT / "bin/runt"
CELLS = ["1+1", "import ipywidgets", "%pip --version"]
BEGAN = time.monotonic()


def say(text):
    print(f"\n# {time.monotonic() - BEGAN:.1f} s: {text}", flush=True)


def build():
    """Compile runtimed and runt. Go itself is silent for half a minute where it has compiled nothing before."""
    command = ["go", "build", "-v", "-o", f"{ROOT}/bin/", "./cmd/..."]
    print("$", *command, flush=True)
    said, told = [], BEGAN
    env = {**os.environ, "CGO_ENABLED": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as go:
        for line in go.stderr:
            said.append(line)
            if time.monotonic() - told > 2:
                told = time.monotonic()
                print(f"  {told - BEGAN:.1f} s  {line.rstrip()}", flush=True)
    if go.returncode:
        sys.exit(f"{''.join(said[-20:])}go build has failed")


def runt(*args):
    print("$ runt", *args, flush=True)
    subprocess.run([RUNT, *args], check=True)


def full(client):
    """Wait until the pool is full and a kernel stands by, and say how it fills."""
    told = None
    for status in client.watch():
        pool = status["uv"]
        if told != pool.available:
            told = pool.available
            say(f"{told} of {pool.target} environments are ready")
        if pool.error:
            sys.exit(f"the pool cannot be filled: {pool.error.message}\n{pool.error.output}\nhint: {pool.error.hint}")
        if pool.available == pool.target and pool.standby.ready == pool.standby.target:
            return


def answer(env, program):
    """Start a kernel and have it answer; the environment has jupyter_client, which does so."""
    check = ROOT / "testdata/tools/kernel_check.py"
    subprocess.run([env.python, check, program, *CELLS], check=True)


def main():
    say("compile runtimed and runt, which takes half a minute the first time")
    build()
    say("start a daemon; it finds uv or fetches it, then builds three environments with ipykernel, ipywidgets and pip")
    runt("daemon", "start")
    with Client() as client:
        stages = []

        def progress(p):
            if p.message not in stages[-1:]:
                stages.append(p.message)
                print(f"  {time.monotonic() - BEGAN:.1f} s  {p.message}", flush=True)

        env = client.acquire("uv", wait=300, label="demo", progress=progress)
        say("the first environment is ready; start a kernel in it, as any notebook does")
        answer(env, env.python)
        full(client)
        runt("pool", "status")
        say("all are ready, and in one of them a kernel stands by; have runt take that one")
        answer(env, RUNT)
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
    print("\nThe demo has removed what it made. Left are bin/ and what Go keeps: see go env GOMODCACHE GOCACHE GOTELEMETRYDIR.")
