"""kernel_bench.py MODE ROUNDS COLD_ROUNDS UV PYTHON: how long a front-end waits for the first answer of a new kernel.

MODE is eager (1+1, by a client that tries to connect every millisecond), stock (1+1, by jupyter_client as it is) or
imports (numpy, pandas and matplotlib, which the pool data preloads; else as eager).

Run it with a Python that has jupyter_client and runtimed-client, in a HOME with the kernelspecs plain, runtimed-uv
(runt kernel) and provisioned, or with plain-data and so on for imports, and a daemon with 2 * (ROUNDS + 1)
environments. One round before the others is not counted: it fills imports, .pyc and the page cache. It prints a line of
JSON for each round, {"plain": s, "runtimed-uv": s, "provisioned": s}; COLD_ROUNDS of them have "cold" too, for a user
who has no environment at all and makes one from uv's warm cache.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import zmq
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec
from runtimed_client import Client, RPCError

mode, rounds, cold_rounds, uv, python = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
kinds = ["plain", "runtimed-uv", "provisioned"]
cell, suffix = "1+1", ""
if mode == "imports":
    cell, suffix = "import numpy, pandas, matplotlib.pyplot; 1+1", "-data"

# A ZeroMQ socket that finds nobody there tries again after 100 to 200 ms by chance, which would swamp what is measured.
context = zmq.Context()
if mode != "stock":
    context.setsockopt(zmq.RECONNECT_IVL, 1)


def start(kind, folder):
    if kind != "cold":
        manager = KernelManager(kernel_name=kind + suffix, context=context)
    else:
        subprocess.run([uv, "venv", "--quiet", "--python", python, folder], check=True)
        own = os.path.join(folder, "bin", "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--python", own, "ipykernel"], check=True)
        manager = KernelManager(context=context)
        manager._kernel_spec = KernelSpec(
            argv=[own, "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name=kind, language="python"
        )
    manager.start_kernel()
    return manager


def ask(manager):
    """Does what front-ends do: kernel_info until both channels are heard, then the cell, and its result."""
    client = manager.client(context=context)
    client.start_channels(stdin=False, hb=False, control=False)
    shell, iopub = client.shell_channel, client.iopub_channel
    poller = zmq.Poller()
    poller.register(shell.socket, zmq.POLLIN)
    poller.register(iopub.socket, zmq.POLLIN)
    until = time.monotonic() + 60
    known = heard = asked = False
    client.kernel_info()
    try:
        while time.monotonic() < until:
            ready = dict(poller.poll(10 if known else 1000))
            if shell.socket in ready:
                known = shell.get_msg(timeout=0)["msg_type"] == "kernel_info_reply" or known
            if iopub.socket in ready:
                message, heard = iopub.get_msg(timeout=0), True
                if asked and message["msg_type"] == "execute_result" and message["parent_header"]["msg_id"] == asked:
                    assert message["content"]["data"]["text/plain"] == "2", message
                    return
            if known and heard and not asked:
                asked = client.execute(cell)
            elif known and not heard and not ready:
                client.kernel_info()  # the first was answered before the kernel knew that somebody listens
            elif not known and not ready and not manager.is_alive():
                break
        raise RuntimeError("the kernel does not answer")
    finally:
        client.stop_channels()


def settle():
    """Gives back what the kernels had and waits until it is gone and the next standby is there: neither shall run beside the start."""
    with Client(autostart=False) as daemon:
        while True:
            for env in daemon.call("env.list", {"state": "leased"})["envs"]:
                try:
                    daemon.release(env["id"])
                except RPCError:
                    pass  # it went by itself
            pools = daemon.call("pool.status")["pools"]
            if all(
                pool["leased"] + pool["removing"] == 0 and pool["standby"]["ready"] >= min(pool["available"], 1)
                for pool in pools
            ):
                return
            time.sleep(0.02)


def measure(kind):
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        manager = start(kind, os.path.join(folder, "venv"))
        try:
            ask(manager)
            took = time.monotonic() - began
        finally:
            manager.shutdown_kernel(now=True)
    settle()
    return took


for number in range(rounds + 1):
    turn = number % len(kinds)  # none goes always behind the same one
    kind_of_round = kinds[turn:] + kinds[:turn] + ["cold"] * (1 <= number <= cold_rounds)
    took = {kind: measure(kind) for kind in kind_of_round}
    if number:
        print(json.dumps(took), flush=True)
