"""talk.py CONNECTION_FILE: run each line of stdin, a JSON string, as a cell of a kernel, and print one line for each.

Run it with a Python that has jupyter_client, as that of the kernel's environment does. The first line that it prints
says that the kernel is ready. At the end of stdin it shuts the kernel down.
"""
import json
import os
import queue
import sys
import threading
import time

from jupyter_client import BlockingKernelClient

cells = queue.Queue()


def read():
    for line in sys.stdin:
        cells.put(line)
    cells.put(None)
    time.sleep(2)
    os._exit(1)  # a cell does not end, or the kernel is gone; while this process runs, its environment stays


threading.Thread(target=read, daemon=True).start()
while any(member.endswith("_port") and not port for member, port in json.load(open(sys.argv[1])).items()):
    time.sleep(0.02)  # the kernel has yet to choose its ports
client = BlockingKernelClient(connection_file=sys.argv[1])
client.load_connection_file()
client.start_channels()
while True:
    try:
        client.wait_for_ready(timeout=60)
        break
    except RuntimeError:  # one missed heartbeat, as on a busy machine; the parent knows whether the kernel runs
        pass
print(json.dumps({"ok": True, "text": "ready"}), flush=True)
for cell in iter(cells.get, None):
    heard = []

    def hear(message):
        content = message["content"]
        if message["msg_type"] == "execute_result":
            heard.append(content["data"]["text/plain"])
        elif message["msg_type"] == "stream":
            heard.append(content["text"])

    reply = client.execute_interactive(json.loads(cell), allow_stdin=False, output_hook=hear)["content"]
    ok = reply["status"] == "ok"
    if not ok:
        heard.append("%s: %s" % (reply.get("ename"), reply.get("evalue")))
    print(json.dumps({"ok": ok, "text": "".join(heard)}), flush=True)
client.shutdown(reply=True, timeout=5)
