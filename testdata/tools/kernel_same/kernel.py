"""A kernel as its front-end has it: a process, two pipes and the channels. Whatever waits, waits for an event."""

import contextlib
import os
import re
import signal
import time

import zmq
from jupyter_client import BlockingKernelClient

from .start import Ended, Hang, Unlucky, wait_end

CHANNELS = ("shell", "iopub", "stdin", "control")
START = 100.0  # seconds: it may wait for an environment
FACTS = {
    "pid": "__import__('os').getpid()",
    "parent": "__import__('os').getppid()",
    "prefix": "__import__('sys').prefix",
    "real": "__import__('os').path.realpath(__import__('sys').prefix)",
    "base": "__import__('sys').base_prefix",
}


class Pipe:
    """What the process itself writes, not the cells: the front-end keeps it in its log."""

    def __init__(self):
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.data, self.open = b"", True

    def leave(self):
        """Keeps the end that reads only. A restart would need the other."""
        if self.write is not None:
            os.close(self.write)
            self.write = None

    def take(self):
        try:
            while data := os.read(self.read, 65536):
                self.data += data
            self.open = False
        except BlockingIOError:
            pass

    def text(self):
        return self.data.decode(errors="backslashreplace")


class Asked:
    """A request, and all that was said to it."""

    def __init__(self, msg_id, answers=()):
        self.msg_id, self.answers = msg_id, list(answers)
        self.reply, self.idle, self.busy, self.heard, self.prompts = None, False, False, [], []

    def said(self, name):
        return "".join(m["content"]["text"] for m in self.heard if stream(m) == name)

    def done(self):
        return self.reply is not None and self.idle


def stream(message):
    return message["content"]["name"] if message["msg_type"] == "stream" else None


class Kernel:
    def __init__(self, front, files, process, out, err):
        self.front, self.files, self.process, self.out, self.err = front, files, process, out, err
        self.asked, self.parentless, self.first, self.facts = {}, [], None, {}
        self.starter = front.pid
        self.connect()
        self.deadline(START)

    def connect(self):
        self.client = BlockingKernelClient(connection_file=self.files.path)
        self.client.load_connection_file()
        self.client.start_channels(hb=False)
        self.poller = zmq.Poller()
        self.sockets = {}
        for name in CHANNELS:
            socket = getattr(self.client, name + "_channel").socket
            self.sockets[socket] = name
            self.poller.register(socket, zmq.POLLIN)
        for pipe in (self.out, self.err):
            if pipe.open:
                self.poller.register(pipe.read, zmq.POLLIN)
        self.ended = None  # readable when the process has ended
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(ProcessLookupError):
                self.ended = os.pidfd_open(self.process.pid)
                self.poller.register(self.ended, zmq.POLLIN)

    def forget_end(self):
        if self.ended is not None:
            self.poller.unregister(self.ended)
            os.close(self.ended)
            self.ended = None

    def close(self):
        self.forget_end()
        self.client.stop_channels()

    def deadline(self, limit=None):
        """Each row has so long."""
        self.until = time.monotonic() + (limit or self.front.limit)

    def left(self):
        return max(0.0, self.until - time.monotonic())

    def alive(self):
        return not wait_end(self.process.pid, 0)

    # ---- what comes in

    def pump(self, what, done, limit=None):
        """Takes what comes until done() is true. Hang says that it never was, Ended that it cannot be any more."""
        end = min(self.until, time.monotonic() + limit) if limit else self.until
        while not done():
            alive = self.alive()
            if not alive:
                self.forget_end()  # what it has sent may still be on its way
            wait = min(end - time.monotonic(), 60 if self.ended is not None else 0.2)
            ready = [fd for fd, _ in self.poller.poll(max(0, wait * 1000)) if fd != self.ended]
            for socket in ready:
                if socket in self.sockets:
                    self.take(self.sockets[socket])
                for pipe in (self.out, self.err):
                    if pipe.read == socket:
                        self.drain(pipe)
            if not alive and not ready and not done():
                raise Ended("it ended, and we waited for " + what)
            if time.monotonic() > end and not done():
                raise Hang("waited for " + what)

    def drain(self, pipe):
        pipe.take()
        if not pipe.open:
            self.poller.unregister(pipe.read)

    def take(self, channel):
        message = getattr(self.client, channel + "_channel").get_msg(timeout=0)
        asked = self.asked.get(message["parent_header"].get("msg_id"))
        kind, content = message["msg_type"], message["content"]
        if asked is None:
            self.parentless.append(message)
        elif channel in ("shell", "control"):
            asked.reply = message
        elif channel == "stdin":
            asked.prompts.append([kind, content])
            if asked.answers:
                self.client.input(asked.answers.pop(0))
        elif kind == "status":
            asked.busy |= content["execution_state"] == "busy"
            asked.idle |= content["execution_state"] == "idle"
        else:
            asked.heard.append(message)

    def until_says(self, asked, text, name="stdout"):
        def heard():
            if asked.done() and asked.reply["content"]["status"] == "error":
                raise RuntimeError(f"the cell fails: {asked.reply['content']}")
            return text in asked.said(name)

        self.pump(f"{text!r} on {name}", heard)

    def begin(self, code, stdin=None):
        """Sends a cell and waits until it calls runs(). What it prints may wait for the GIL; a named pipe does not."""
        path = self.front.path("runs")
        if not os.path.exists(path):
            os.mkfifo(path)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.poller.register(fd, zmq.POLLIN)
        call = f"def runs(os=__import__('os')):\n f = os.open({path!r}, os.O_WRONLY)\n os.write(f, b'x')\n os.close(f)"
        self.run(call, silent=True)
        asked, came = self.ask(code, stdin=stdin), []

        def runs():
            if asked.done():
                raise RuntimeError(f"the cell ends early: {asked.reply['content']}")
            with contextlib.suppress(BlockingIOError):
                came.append(os.read(fd, 1))
            return b"x" in came

        try:
            self.pump("the cell to run", runs)
        finally:
            self.poller.unregister(fd)
            os.close(fd)
        return asked

    # ---- what goes out

    def ask(self, code, answers=(), stdin=None, **options):
        """Sends a cell. The answers go to whatever it asks on stdin."""
        stdin = bool(answers) if stdin is None else stdin
        asked = Asked(self.client.execute(code, allow_stdin=stdin, **options), answers)
        self.asked[asked.msg_id] = asked
        return asked

    def send(self, kind, content, channel="shell", **header):
        message = self.client.session.msg(kind, content)
        message["header"].update(header)
        getattr(self.client, channel + "_channel").send(message)
        asked = self.asked[message["header"]["msg_id"]] = Asked(message["header"]["msg_id"])
        return asked

    def request(self, kind, content, channel="shell", **header):
        """The content of the reply to a message."""
        asked = self.send(kind, content, channel, **header)
        self.pump(kind + "'s reply", asked.done)
        return asked.reply["content"]

    def control(self, kind, content, reply=True):
        if not reply:
            return self.send(kind, content, "control")
        return self.request(kind, content, "control")

    def run(self, code, answers=(), until=None, until_error=None, **options):
        """Runs a cell, and returns all that a front-end sees of it. until: text that must be heard first."""
        asked = self.ask(code, answers, **options)
        self.pump("the end of the cell", asked.done)
        for name, text in (("stdout", until), ("stderr", until_error)):
            if text:  # what was written to a descriptor may come after the cell's end
                self.until_says(asked, text, name)
        return self.outcome(asked)

    def value(self, code):
        """What an expression is, without a trace in the history."""
        reply = self.run("", silent=True, user_expressions={"v": code})["reply"]["user_expressions"]["v"]
        return reply["data"]["text/plain"] if reply["status"] == "ok" else reply

    def outcome(self, asked):
        self.pump("the end of the cell", asked.done)
        reply = {k: v for k, v in asked.reply["content"].items() if k not in ("engine_info", "status_code")}
        if "execution_count" in reply:
            reply["execution_count"] = self.relative(reply["execution_count"])
        result = {"reply": self.settled(reply), "busy": asked.busy}
        for name in ("stdout", "stderr"):
            if said := asked.said(name):
                result[name] = self.settled(said)
        shown = [[m["msg_type"], m["content"], m["metadata"]] for m in asked.heard if m["msg_type"] != "stream"]
        for _, content, _ in shown:
            if "execution_count" in content:
                content["execution_count"] = self.relative(content["execution_count"])
        if shown:
            result["shown"] = self.settled(shown)
        if asked.prompts:
            result["asked"] = asked.prompts
        return result

    def relative(self, count):
        """Counts go on from row to row; another row's hang must not show in this one."""
        if self.first is None:
            self.first = count
        return count - self.first

    def settled(self, value):
        """Takes the count out of the texts that have it: 'In[5]' in a traceback."""
        if isinstance(value, str):
            return re.sub(r"In\[(\d+)\]", lambda m: f"In[+{self.relative(int(m[1]))}]", value)
        if isinstance(value, dict):
            return {k: self.settled(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.settled(v) for v in value]
        return value

    # ---- its life

    def restart(self):
        """Restarts it as the button does, and returns the exit code of the process before."""
        code, process = self.process.restart(self, self.left() + 20)
        self.close()
        self.process, self.facts, self.first = process, {}, None
        self.connect()
        self.deadline(START)
        self.ready()
        return code

    def ready(self):
        """Waits until it answers on shell and on iopub: a subscriber that joins late misses the first output."""
        while True:
            asked = self.send("kernel_info_request", {})
            try:
                self.pump("its first answer", asked.done, 0.5)
                break
            except Hang:
                if not self.left():
                    raise
        expressions = self.run("", silent=True, user_expressions=FACTS)["reply"]["user_expressions"]
        told = {name: value["data"]["text/plain"].strip("'\"") for name, value in expressions.items()}
        self.facts = {**told, "pid": int(told["pid"]), "parent": int(told["parent"])}
        self.front.knows(self)
        self.deadline()

    @property
    def adopted(self):
        """Whether another process than the front-end's own child became it."""
        return self.facts["parent"] != self.starter

    def end(self):
        """How it ended: its exit code, whether the kernel is gone too, and what it left in the pipes."""
        code = self.process.wait(self.left() + 20)
        if code is None:
            raise Unlucky("waited for its end")
        self.deadline(10)  # for all that follows from the end
        gone = wait_end(self.facts["pid"], self.left()) if self.facts else True
        for pipe in (self.out, self.err):
            pipe.leave()
        try:
            while self.out.open or self.err.open:
                if not self.left():
                    raise Hang("waited for the end of its pipes")
                pipes = zmq.Poller()
                for pipe in (self.out, self.err):
                    if pipe.open:
                        pipes.register(pipe.read, zmq.POLLIN)
                for fd, _ in pipes.poll(self.left() * 1000):
                    (self.out if fd == self.out.read else self.err).take()
            closed = True
        except Hang:
            closed = False
        if "IOStream.flush timed out" in self.err.text():
            raise Unlucky("its end took ten seconds")
        return {
            "exit code": code,
            "the kernel is gone": gone,
            "its pipes are closed": closed,
            "pipes": [self.out.text(), self.err.text()],
        }

    def shutdown(self, restart=False):
        self.control("shutdown_request", {"restart": restart}, reply=False)
        return self.end()

    def kill(self):
        """Ends whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpgid(self.process.pid), signal.SIGKILL)
        pid = self.facts.get("pid")
        if pid and pid != self.process.pid and not wait_end(pid, 10):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.close()
