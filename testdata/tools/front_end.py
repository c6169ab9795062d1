"""front_end.py: a notebook front-end that does what each line of its stdin says, with the real jupyter_client.

Run it with any Python that has nbclient and papermill; arguments are folders where more packages are. A line is a JSON
object {"do": …}; it prints one for each, {"error": …} where the step itself went wrong. The functions below are what
it can do.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path += sys.argv[1:]  # not by PYTHONPATH, which a kernel would inherit

from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager

state = {}


def start(kernel, cwd=None, env=None, transport="tcp", timeout=50, ready=True):
    """Starts a kernel by its kernelspec, and waits until it answers."""
    # with ipc the sockets' path must stay short
    place = {"ip": os.path.join(tempfile.mkdtemp(), "k")} if transport == "ipc" else {}
    km = KernelManager(kernel_name=kernel, transport=transport, **place)
    if transport == "tcp":
        choose_ports(km)
    state.update(km=km, kc=None)
    began = time.monotonic()
    km.start_kernel(cwd=cwd, env={**os.environ, **(env or {})})
    return await_ready(timeout, began) if ready else {"pid": km.provisioner.pid, "file": km.connection_file}


def choose_ports(km):
    """Gives it ports that no other front-end has.

    jupyter_client takes five that are free at the moment. Of many front-ends at once, two may take the same, and
    ipykernel then neither starts nor ends.
    """
    port = 10_000 + os.getpid() % 4_000 * 5
    for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"):
        while True:
            port += 1
            try:
                with socket.socket() as s:
                    if sys.platform != "win32":  # where that would be any port
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
                break
            except OSError:
                pass
        setattr(km, name, port)


def await_ready(timeout=50, began=None):
    """Waits until the kernel answers."""
    began = began or time.monotonic()
    if state["kc"]:
        state["kc"].stop_channels()
    kc = state["kc"] = state["km"].client()
    kc.start_channels()
    kc.wait_for_ready(timeout=timeout)
    return {
        "pid": state["km"].provisioner.pid,
        "seconds": time.monotonic() - began,
        "file": state["km"].connection_file,
    }


def run(code, input=None, interrupt_after=None, timeout=30):
    """Runs a cell; input answers it when it asks, and interrupt_after sends it what the stop button does."""
    said, kc = [], state["kc"]

    def output(message):
        content = message["content"]
        if message["msg_type"] == "stream":
            said.append(content["text"])
        elif message["msg_type"] == "error":
            said.append("\n".join(content["traceback"]))

    def asked(_):
        kc.input(input)

    if interrupt_after:
        threading.Timer(interrupt_after, state["km"].interrupt_kernel).start()
    reply = kc.execute_interactive(
        code, allow_stdin=input is not None, stdin_hook=asked, output_hook=output, timeout=timeout
    )["content"]
    return {
        "status": reply["status"],
        "ename": reply.get("ename", ""),
        "evalue": reply.get("evalue", ""),
        "said": "".join(said),
    }


def info():
    """What the kernel says of itself."""
    return state["kc"].kernel_info(reply=True, timeout=10)["content"]


def gone(timeout=5):
    """Waits until it is seen to have ended."""
    until = time.monotonic() + timeout
    while state["km"].is_alive() and time.monotonic() < until:
        time.sleep(0.05)
    return {"alive": state["km"].is_alive()}


def restart(now=False, timeout=50):
    """Restarts it as the button does."""
    state["km"].restart_kernel(now=now)
    return await_ready(timeout)


def beside(argv, cwd=None, env=None):
    """Runs a program as a kernel is started, and returns what it prints."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, start_new_session=True, stdout=subprocess.PIPE, timeout=30
    )
    return {"code": done.returncode, "said": done.stdout.decode(errors="surrogateescape")}


def ignore(signals):
    """Ignores signals, and so do the kernels that are started then."""
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    return {}


def begin(code):
    """Runs a cell, and does not wait for it."""
    state["kc"].execute(code)
    return {}


def ended(timeout=20):
    """Waits until the kernel's process has ended, and says how."""
    return {"code": state["km"].provisioner.process.wait(timeout)}


def shutdown(restart=False):
    """Ends it as the button does, or as the other one before it starts the next."""
    began = time.monotonic()
    state["kc"].stop_channels()
    process = state["km"].provisioner.process
    state["km"].shutdown_wait_time = 60  # after half of it the kernel gets a SIGTERM, on a busy machine too early
    state["km"].shutdown_kernel(restart=restart)
    return {"seconds": time.monotonic() - began, "code": process.poll()}


def interrupt():
    state["km"].interrupt_kernel()
    time.sleep(0.2)
    return {"alive": state["km"].is_alive()}


def terminate():
    """Sends it SIGTERM."""
    process = state["km"].provisioner.process
    process.send_signal(signal.SIGTERM)
    return {"code": process.wait(10)}


def all_requests():
    """Asks for everything that a front-end asks for, and returns the statuses."""
    kc, got = state["kc"], {}
    asked = {
        kc.kernel_info(): "kernel_info",
        kc.is_complete("1"): "is_complete",
        kc.complete("ab", 2): "complete",
        kc.inspect("ab"): "inspect",
        kc.history(): "history",
        kc.comm_info(): "comm_info",
    }
    while len(got) < len(asked):
        reply = kc.get_shell_msg(timeout=5)
        got[asked[reply["parent_header"]["msg_id"]]] = reply["content"]["status"]
    control = kc.session.msg("interrupt_request", {})
    kc.control_channel.send(control)
    got["interrupt"] = kc.get_control_msg(timeout=5)["content"]["status"]
    debug = kc.session.msg("debug_request", {})
    kc.control_channel.send(debug)
    got["debug"] = kc.get_control_msg(timeout=5)["content"]["status"]
    got["beats"] = kc.hb_channel.is_beating()
    return got


def strangers():
    """Says to each of the kernel's sockets what no front-end would, and asks for an answer that only a forger gets."""
    km = state["km"]
    info = km.get_connection_info()
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    ready = b"\x04" + bytes([len(ready)]) + ready
    noise = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        os.urandom(4096),
        greeting,
        greeting + os.urandom(4096),
        greeting + ready,
        greeting + ready + b"\x02" + b"\x7f" + b"\xff" * 7,
        greeting + ready + b"\x02" + b"\xff" * 8,
        greeting + ready + b"\x01\x05hello\x04\x00",
        greeting + ready + b"\x01\x00" * 2000,
        greeting + b"\x04\x05\x05READY"[:3],
        greeting + b"\x04\x0a\x05READY\xff\xff\xff\xff",
        greeting + ready + b"\x00\x09<IDS|MSG>",
        greeting[:10] + b"\x00" * 54,
    ]
    for port in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"):
        for data in noise:
            if km.transport == "ipc":
                s = socket.socket(socket.AF_UNIX)
                s.connect("%s-%d" % (km.ip, info[port]))
            else:
                s = socket.create_connection((km.ip, info[port]))
            try:
                s.sendall(data)
            except OSError:
                pass  # it has hung up on us
            s.close()
    forger = km.client()
    forger.session.key = b"another"
    forger.start_channels(hb=False, stdin=False)
    forger.execute("1")
    try:
        reply = forger.get_shell_msg(timeout=1)["msg_type"]
    except queue.Empty:
        reply = ""
    forger.stop_channels()
    return {"forged": reply}


def notebook(kernel, code, timeout=50):
    """Has nbclient run a notebook of one cell."""
    import nbclient
    import nbformat.v4 as v4

    nb = v4.new_notebook(cells=[v4.new_code_cell(code)])
    began = time.monotonic()
    try:
        nbclient.NotebookClient(nb, kernel_name=kernel, startup_timeout=timeout, timeout=timeout).execute()
        failed = ""
    except Exception as e:
        failed = "%s: %s" % (type(e).__name__, e)
    outputs = [o.get("text") or o.get("evalue") or str(o.get("data")) for o in nb.cells[0].get("outputs", [])]
    return {"failed": failed, "said": "".join(outputs), "seconds": time.monotonic() - began}


def papermill(kernel, code, parameters, timeout=60):
    """Has papermill run a notebook with parameters."""
    import nbformat
    import nbformat.v4 as v4
    import papermill as pm

    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "in.ipynb")
    cells = [v4.new_code_cell("x = 0", metadata={"tags": ["parameters"]}), v4.new_code_cell(code)]
    nb = v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    )
    nbformat.write(nb, path)
    began = time.monotonic()
    out = pm.execute_notebook(
        path, os.path.join(folder, "out.ipynb"), parameters=parameters, progress_bar=False, start_timeout=timeout
    )
    return {"said": "".join(o.get("text", "") for o in out.cells[-1]["outputs"]), "seconds": time.monotonic() - began}


def specs():
    """The kernels on offer, as Jupyter itself lists them."""
    return {name: spec["spec"]["display_name"] for name, spec in KernelSpecManager().get_all_specs().items()}


for line in iter(sys.stdin.readline, ""):
    step = json.loads(line)
    try:
        answer = globals()[step.pop("do")](**step)
    except Exception as e:
        answer = {"error": "%s: %s" % (type(e).__name__, e)}
    print(json.dumps(answer), flush=True)
