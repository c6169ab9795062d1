"""A front-end process: it makes the scene, starts the kernels of one job, and runs the job's rows on them."""

import contextlib
import os
import shlex
import subprocess
import time
import traceback
import uuid
from dataclasses import dataclass

from . import scenes
from .kernel import Kernel, Pipe
from .normal import Names
from .start import Ended, Files, Hang, Unlucky, starter
from .table import OWN


@dataclass
class Watched:
    """A process that is not ours."""

    pid: int


class Front:
    def __init__(self, job, side, place, before):
        self.job, self.side, self.place, self.before = job, side, place, before
        self.starter = starter(side["kind"], side["start"])
        self.names, self.kernels, self.pid = Names(), [], os.getpid()
        self.started = self.adopted = 0
        self.env = dict(os.environ)
        for name in ("work", "runtime", "tmp", "ipython", "data"):
            os.makedirs(self.path(name))
        self.names.add(place, "<place>")
        self.cwd = self.path("work")
        for name, folder in (("IPYTHONDIR", "ipython"), ("JUPYTER_RUNTIME_DIR", "runtime"), ("TMPDIR", "tmp")):
            self.setenv(name, self.path(folder))
        self.env.setdefault("MPLCONFIGDIR", os.path.join(os.path.dirname(os.path.dirname(place)), "matplotlib"))
        self.args, self.limit = [], 30.0

    def path(self, *names):
        return os.path.join(self.place, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def setenv(self, name, value):
        self.env[name] = value

    def files(self, **says):
        """A new connection file, which the starter writes."""
        return Files(
            self.path("runtime", f"kernel-{uuid.uuid4()}.json"), **{"key": os.urandom(16).hex().encode(), **says}
        )

    def start(self, files=None, args=None, ready=True, **popen):
        """Starts a kernel and returns it, once it answers on all channels."""
        if self.before:
            subprocess.run(shlex.split(self.before), check=True, timeout=180, stdout=subprocess.DEVNULL)
        given = files
        for attempt in range(3):
            files = given or self.files()
            self.names.add(files.path, "<connection file>")
            self.names.add(os.path.basename(files.path), "<connection file's name>")
            out, err = Pipe(), Pipe()
            options = {
                "cwd": self.cwd,
                "env": self.env,
                **popen,
                "stdout": out.write,
                "stderr": err.write,
            }
            options["env"] = dict(options["env"])  # jupyter_client changes it
            process = self.starter.start(files, self.args if args is None else args, **options)
            kernel = Kernel(self, files, process, out, err)
            self.kernels.append(kernel)
            try:
                if ready:
                    kernel.ready()
                return kernel
            except Ended:
                err.take()
                if b"ddress already in use" not in err.data or attempt == 2:  # a port that was free a moment ago
                    raise Ended("it ended at its start and said: " + out.text() + err.text()) from None
        raise AssertionError("not reached")

    def watch(self, files, pid, starter):
        """The pid of a kernel that another process has started. We are a second client of it."""
        kernel = Kernel(self, files, Watched(pid), Pipe(), Pipe())
        kernel.starter = starter
        try:
            kernel.ready()
            return kernel.facts["pid"]
        finally:
            kernel.close()

    def knows(self, kernel):
        """A kernel has told where it is."""
        self.started += 1
        self.adopted += kernel.adopted
        self.names.environment(kernel.facts["prefix"])
        self.names.add(f"pid: {kernel.facts['pid']}", "pid: <pid>")

    def end(self):
        for kernel in self.kernels:
            with contextlib.suppress(Exception):
                kernel.kill()


def run_row(row, subject, front):
    """The outcome of a row, where a hang and an end are outcomes as well."""
    try:
        outcome = row.run(subject)
    except Unlucky:
        raise
    except Hang as e:
        outcome = {"hang": str(e)}
    except Ended as e:
        outcome = {"ended": str(e)}
    except Exception:
        outcome = {"failed": traceback.format_exc()}
    return front.names.plain(outcome)


def run_job(job, side, place, before, tell):
    """Runs the rows of a job and tells each outcome as it comes. It runs in a process of its own."""
    if job.scene in scenes.PREPARE:
        scenes.PREPARE[job.scene]()
    run = run_alone if job.scene == OWN else run_scene
    run(job, side, place, before, tell)


def run_alone(job, side, place, before, tell):
    """Runs rows that start and end kernels of their own."""
    for row in job.rows:
        for attempt in range(3):
            began = time.monotonic()
            front = Front(job, side, os.path.join(place, str(attempt)), before)
            front.limit = row.limit
            try:
                outcome = run_row(row, front, front)
            except Unlucky as e:
                outcome = {"hang": f"{e}, {attempt + 1} times"}
                continue
            finally:
                front.end()
            break
        tell(row, outcome, time.monotonic() - began, [front.started, front.adopted])


def run_scene(job, side, place, before, tell):
    """Runs rows on one kernel. A row that hangs or ends it costs the next one a start."""
    front = Front(job, side, place, before)
    if job.scene in scenes.DRESS:
        scenes.DRESS[job.scene](front)
    kernel, lost = None, 0
    try:
        for row in job.rows:
            began = time.monotonic()
            try:
                if lost > 3:
                    raise Ended("four rows have lost their kernel")
                kernel = kernel or front.start()
            except (Hang, Ended) as e:
                lost += 1
                tell(row, {"not run": str(e)}, 0, None)
                continue
            kernel.first = None
            kernel.deadline(row.limit)
            outcome = run_row(row, kernel, front)
            if isinstance(outcome, dict) and outcome.keys() & {"hang", "ended"}:
                kernel.kill()
                kernel, lost = None, lost + 1
            tell(row, outcome, time.monotonic() - began, [front.started, front.adopted])
    finally:
        front.end()
