"""kernel_check.py PROGRAM [CELL…]: start a kernel, run cells in it, print what each answers.

PROGRAM is the Python of an environment, or runt. Run it with any Python that has jupyter_client. Each cell must succeed, else it prints the error and exits with 1.
Without cells it runs 1+1. It prints each answer as `CELL -> ANSWER`, then how long the first answer took.
"""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time

import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

program, cells = sys.argv[1], sys.argv[2:] or ["1+1"]
folder = tempfile.mkdtemp()
# not TCP: ports that are free when they are chosen may be another program's when the kernel binds them
path, _ = write_connection_file(os.path.join(folder, "kernel.json"), ip=os.path.join(folder, "s"), transport="ipc")
runt = os.path.basename(program).startswith("runt")
command = [program, "kernel", "-f", path] if runt else [program, "-m", "ipykernel_launcher", "-f", path]
began = time.monotonic()
said = tempfile.TemporaryFile()
kernel = subprocess.Popen(command, stdout=said, stderr=said)
first = None
try:
    context = zmq.Context()
    context.setsockopt(zmq.RECONNECT_IVL, 10)  # ms; what finds nobody there would try again after 100 to 200
    client = BlockingKernelClient(connection_file=path, context=context)
    client.load_connection_file()
    client.start_channels()
    while True:  # until the kernel hears, and is heard; wait_for_ready would sleep in between
        client.kernel_info()
        try:
            client.get_iopub_msg(timeout=0.05)
            break
        except queue.Empty:
            if kernel.poll() is not None or time.monotonic() - began > 60:
                raise RuntimeError("the kernel does not answer") from None
    for cell in cells:
        heard = []

        def hear(message):
            content = message["content"]
            if message["msg_type"] == "execute_result":
                heard.append(content["data"]["text/plain"])
            elif message["msg_type"] == "stream" and content["name"] == "stdout":
                heard.append(content["text"].strip())

        reply = client.execute_interactive(cell, output_hook=hear, timeout=60)["content"]
        first = first or time.monotonic() - began
        if reply["status"] != "ok":
            sys.exit("%s -> %s: %s" % (cell, reply.get("ename"), reply.get("evalue")))
        print("%s -> %s" % (cell, " ".join(h for h in heard if h) or "ok"), flush=True)
    print("first answer after %.0f ms" % (first * 1000))
except RuntimeError:
    said.seek(0)
    sys.stderr.write(said.read().decode(errors="replace"))
    raise
finally:
    kernel.terminate()
    kernel.wait(10)
    shutil.rmtree(folder)
