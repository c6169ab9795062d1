"""onesuite.py RESULTS ARG...: runs pytest and writes a line of JSON for each test as it ends.

{"test": its id, "outcome": ..., "why": the last line of its failure, "seconds": ..., "kernels": how many it started,
"seen": how many of them were looked at while they ran, "standbys": how many of these were standbys}. A line
{"began": id} comes before, since a test may end pytest. With RUNTIMED_SOCKET each test begins when the daemon there has
environments ready.
"""

import atexit
import json
import os
import re
import socket
import sys
import time

import pytest
from jupyter_client.provisioning import LocalProvisioner


def ready(path):
    """Whether the daemon has two environments with standbys for the next test, or all that it is to have."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"pool.status"}\n')
        pools = json.loads(connection.makefile().readline())["result"]["pools"]
    return all(
        pool["available"] >= min(2, pool["target"]) and pool["standby"]["ready"] >= min(2, pool["standby"]["target"])
        for pool in pools
    )


def parent_of(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def is_standby(pid, runt):
    """Whether what a front-end started is runt with its kernel elsewhere, and not a kernel or the parent of one."""
    try:
        if not os.path.samefile("/proc/%d/exe" % pid, runt):
            return False
        others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return False
    for other in others:
        try:
            if parent_of(other) == pid:
                return False
        except OSError:
            pass  # it has ended
    return True


def answers(info):
    """Whether a kernel is there: ZeroMQ greets whoever connects. Over ipc nobody asks."""
    if info.get("transport") != "tcp":
        return False
    try:
        with socket.create_connection((info["ip"], info["shell_port"]), timeout=1) as connection:
            return connection.recv(1) == b"\xff"
    except OSError:
        return False


class Kernels:
    """Counts the kernels that are started, and which of them are standbys."""

    def __init__(self):
        self.counts = {"kernels": 0, "seen": 0, "standbys": 0}
        for name in ("launch_kernel", "shutdown_requested", "send_signal"):
            self.hook(name, getattr(LocalProvisioner, name))

    def hook(self, name, original):
        async def hooked(provisioner, *args, **kwargs):
            if name == "launch_kernel":
                self.counts["kernels"] += 1
                provisioner.peers_runt = next((arg for arg in args[0] if os.path.basename(arg) == "runt"), None)
            else:
                self.look(provisioner)
            return await original(provisioner, *args, **kwargs)

        setattr(LocalProvisioner, name, hooked)

    def look(self, provisioner):
        """Looks at a kernel before it is told to end, once."""
        runt, provisioner.peers_runt = getattr(provisioner, "peers_runt", None), None
        if runt and provisioner.pid and answers(provisioner.connection_info):
            self.counts["seen"] += 1
            self.counts["standbys"] += is_standby(provisioner.pid, runt)


class Recorder:
    def __init__(self, path, kernels):
        self.out = open(path, "w", encoding="utf-8")  # noqa: SIM115 - it ends with the process
        self.kernels, self.before = kernels, {}
        self.outcome, self.why, self.seconds = "", "", 0.0
        # kernels that tests share end after pytest
        atexit.register(self.write, lambda: {"test": "", **self.new()})

    def write(self, line):
        print(json.dumps(line() if callable(line) else line), file=self.out, flush=True)

    def new(self):
        """What was counted since it was last asked."""
        before, self.before = self.before, dict(self.kernels.counts)
        return {name: n - before.get(name, 0) for name, n in self.before.items()}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        path = os.environ.get("RUNTIMED_SOCKET")
        until = time.monotonic() + 120
        while path and not ready(path) and time.monotonic() < until:
            time.sleep(0.05)
        self.write({"began": item.nodeid})

    def pytest_runtest_logreport(self, report):
        if report.when == "setup":  # a flaky test is tried again
            self.outcome, self.why, self.seconds = "passed", "", 0.0
        self.seconds += report.duration
        if self.outcome == "passed" and report.outcome != "passed":
            self.outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            said = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            lines = [line for line in said.splitlines() if line.startswith("E ")] or said.splitlines() or [""]
            self.why = re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]).removeprefix("E").strip()

    def pytest_runtest_logfinish(self, nodeid):
        row = {"test": nodeid, "outcome": self.outcome, "why": self.why, "seconds": round(self.seconds, 2)}
        self.write({**row, **self.new()})


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # as with python -m pytest
    sys.exit(pytest.main(sys.argv[2:], plugins=[Recorder(sys.argv[1], Kernels())]))
