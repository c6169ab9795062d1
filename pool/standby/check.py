# The import check of a build. It imports what a kernel imports on its way to the first cell, which proves that the
# environment works and writes the .pyc files that make a kernel's start quick. It answers with one line of JSON on
# stdout, or on descriptor 4 with the argument "stay": what follows this text then, up to standby.py, goes on from here.
# After the argument "compile" come modules of which the .pyc files are written too. With "again" they are all there, and
# the kernel alone is imported.
import sys

if sys.path[:1] == [""]:
    del sys.path[0]  # the folder that this runs in is no notebook's

import json
import os
import signal
import time

at = sys.argv.index("compile") if "compile" in sys.argv else len(sys.argv)
more = sys.argv[at + 1 :]
stay, again = "stay" in sys.argv[:at], "again" in sys.argv[:at]
os.environ.pop("RUNT_STANDBY_OF", None)
started = dict(os.environ)  # the variables that this Python was started with
coerced = None if "LC_CTYPE" in sys.argv[:at] else started.pop("LC_CTYPE", None)  # which Python has set itself (PEP 538)
asked = set()  # the names of those that an import has read


class Recorder(type(os.environ)):
    def __getitem__(self, name):
        asked.add(os.fsdecode(name))
        return super().__getitem__(name)


if stay:
    os.set_inheritable(4, False)
    answer = os.fdopen(4, "w", closefd=False)
    os.environ.__class__ = Recorder
else:
    answer = os.fdopen(os.dup(1), "w")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
os.dup2(2, 1)  # whatever a package prints on import is no answer

helper = os.fork() if hasattr(os, "fork") and not sys.flags.dont_write_bytecode and not again else None
if helper == 0:  # the debugger is half of the work, so a second core takes it; nothing depends on how that goes
    try:
        for stream in (answer.fileno(), 1, 2):  # nobody waits for what this one says
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        for name in ("debugpy.server.api", "psutil", "ipywidgets", *more):
            try:
                __import__(name)
            except BaseException:
                pass
    finally:
        os._exit(0)

import ipykernel.ipkernel
import ipykernel.kernelapp
import ipykernel_launcher
import zmq

hidden = ["debugpy.server.api", "psutil", "sqlite3", "faulthandler"] if stay else []
if stay or not again:
    hidden += [
        "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.logger", "IPython.core.oinspect",
        "IPython.extensions.storemagic", "IPython.utils.wildcard", "ipykernel.debugger", "tornado.platform.asyncio",
        "tornado.queues",
    ]
for name in hidden:
    try:
        __import__(name)
    except ImportError:
        pass  # not every version has every one

if helper:
    until = time.monotonic() + 20  # a module may hang
    while not os.waitpid(helper, os.WNOHANG)[0]:
        if time.monotonic() > until:
            os.kill(helper, signal.SIGKILL)
        time.sleep(0.005)
compiled = (".so", ".pyd", ".dylib")
json.dump(
    {
        "version": "%d.%d.%d" % sys.version_info[:3],
        "site_packages": os.path.dirname(os.path.dirname(os.path.abspath(ipykernel.__file__))),
        "sentinels": [ipykernel.__file__]
        + [
            module.__file__
            for name, module in sorted(sys.modules.items())
            if name.startswith("zmq.") and (getattr(module, "__file__", None) or "").endswith(compiled)
        ],
    },
    answer,
)
answer.write("\n")
answer.flush()
