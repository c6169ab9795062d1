"""kernel_hold.py PYTHON: start the kernel of an environment, print its pid, and run each line of stdin in it.

Run it with any Python that has jupyter_client. It prints one line per cell: ok, or what went wrong. The kernel has a
session of its own and outlives this program.
"""

import os
import subprocess
import sys
import tempfile
import time

from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

folder = tempfile.mkdtemp()
# not TCP: ports that are free when they are chosen may be another program's when the kernel binds them
path, _ = write_connection_file(os.path.join(folder, "kernel.json"), ip=os.path.join(folder, "s"), transport="ipc")
began = time.monotonic()
kernel = subprocess.Popen(
    [sys.argv[1], "-m", "ipykernel_launcher", "-f", path],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
)
client = BlockingKernelClient(connection_file=path)
client.load_connection_file()
client.start_channels()
while True:
    try:
        client.wait_for_ready(timeout=60)
        break
    except RuntimeError:  # "died" means one missed heartbeat here, as on a busy machine
        if kernel.poll() is not None or time.monotonic() - began > 60:
            raise
print(kernel.pid, flush=True)
for cell in iter(sys.stdin.readline, ""):
    reply = client.execute_interactive(cell, output_hook=lambda _: None, timeout=60)["content"]
    print("ok" if reply["status"] == "ok" else "%s: %s" % (reply.get("ename"), reply.get("evalue")), flush=True)
