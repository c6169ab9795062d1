"""connect_spyder.py FILE: has Spyder connect to the kernel of a connection file, as its menu does.

It prints what Spyder sees as JSON. Run it with a Python that has Spyder. It needs no display, but the libraries of one.
"""

import json
import os
import sys
import time

out = os.fdopen(os.dup(1), "w")  # Spyder shows what is printed in its own console
os.environ.update(SPYDER_PYTEST="True", QT_QPA_PLATFORM="offscreen", QTWEBENGINE_DISABLE_SANDBOX="1")
(file,) = sys.argv[1:]
del sys.argv[1:]

from spyder.app import start  # noqa: E402
from spyder.config.manager import CONF  # noqa: E402

CONF.set("main", "single_instance", False)
window = start.main()  # as for Spyder's own tests, it returns

from qtpy.QtWidgets import QApplication  # noqa: E402


def text():
    return shell._control.toPlainText()


def until(what, limit=90):
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(text() if shell else "no console")
        QApplication.processEvents()
        time.sleep(0.01)


def run(code):
    before, done = len(text()), []
    shell.executed.connect(lambda *_: done.append(True))
    shell.execute(code)
    until(lambda: done and text().rstrip().endswith(":"))  # the next prompt
    return text()[before:]


shell = None
try:
    began = time.monotonic()
    shell = window.ipyconsole.create_client_for_kernel(file).shellwidget
    until(lambda: shell._prompt_html is not None)
    saw = {"said": run("1 + 1"), "seconds": time.monotonic() - began, "spyder": shell.is_spyder_kernel}
    run("answer = 6 * 7")
    saw["answer"] = shell.get_value("answer") if saw["spyder"] else None
except Exception as e:
    saw = {"error": "%s: %s" % (type(e).__name__, e)}
print(json.dumps(saw), file=out, flush=True)
os._exit(0)  # its other console would ask
