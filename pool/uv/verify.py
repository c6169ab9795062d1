# Imports what a kernel imports on its way to the first cell, which proves that the environment works and writes the .pyc files
# that make its start quick. One JSON object on stdout. With the argument "again" these are there, and the kernel alone is imported.
import sys

if sys.path[:1] == [""]:
    del sys.path[0]  # the folder that this runs in is no notebook's

import json
import os

answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a package prints on import is no answer
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
again = sys.argv[1:] == ["again"]
helper = os.fork() if hasattr(os, "fork") and not sys.flags.dont_write_bytecode and not again else None
if helper == 0:  # the debugger is half of the work, so a second core takes it; nothing depends on how that goes
    try:
        for stream in (answer.fileno(), 1, 2):  # nobody waits for what this one says
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        for name in ("debugpy.server.api", "psutil", "ipywidgets"):
            try:
                __import__(name)
            except Exception:
                pass
    finally:
        os._exit(0)

import ipykernel.ipkernel
import ipykernel.kernelapp
import ipykernel_launcher
import zmq

for name in () if again else (
    "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.logger", "IPython.core.oinspect",
    "IPython.extensions.storemagic", "IPython.utils.wildcard", "ipykernel.debugger", "tornado.platform.asyncio", "tornado.queues",
):
    try:
        __import__(name)
    except ImportError:
        pass  # not every version has every one

if helper:
    os.waitpid(helper, 0)
compiled = (".so", ".pyd", ".dylib")
json.dump(
    {
        "version": "%d.%d.%d" % sys.version_info[:3],
        "site_packages": os.path.dirname(os.path.dirname(os.path.abspath(ipykernel.__file__))),
        "sentinels": [ipykernel.__file__]
        + [m.__file__ for n, m in sorted(sys.modules.items()) if n.startswith("zmq.") and (getattr(m, "__file__", None) or "").endswith(compiled)],
    },
    answer,
)
answer.flush()
