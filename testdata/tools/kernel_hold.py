"""kernel_hold.py PYTHON: a front-end that starts the kernel of an environment, prints its pid, and runs each line of stdin in it.

Run it with any Python that has jupyter_client. It prints one line per cell: ok, or what went wrong. The kernel is in a session of its
own and outlives this program, however that ends.
"""
import os
import subprocess
import sys
import tempfile

from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

path, _ = write_connection_file(os.path.join(tempfile.mkdtemp(), "kernel.json"))
kernel = subprocess.Popen(
    [sys.argv[1], "-m", "ipykernel_launcher", "-f", path],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
)
client = BlockingKernelClient(connection_file=path)
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
print(kernel.pid, flush=True)
for cell in iter(sys.stdin.readline, ""):
    reply = client.execute_interactive(cell, output_hook=lambda _: None, timeout=60)["content"]
    print("ok" if reply["status"] == "ok" else "%s: %s" % (reply.get("ename"), reply.get("evalue")), flush=True)
