"""What a cell says and shows. The rows share a kernel, so each leaves it as it was for those after it."""

import os
import zipfile

from .normal import without_times
from .table import cell, row

# ---- expressions, streams and what is shown

cell("an expression", "1 + 1")
cell("print", "print('hello')")
cell("print to stderr", "import sys; print('hello', file=sys.stderr)")
cell("only the last of several expressions is shown", ["1\n2\n3", "4;", "a = 5\na"])
cell("the results before", ["6 * 7", "_ + 1", "_, __, Out[max(Out)], In[-2], _i"])
cell("a long text", "print('x' * 99 + '\\n', end='')\nprint(('y' * 99 + '\\n') * 3000)")
cell("text outside of ASCII", "print('grüße 🐍', '\\udcff'.encode('utf8', 'replace')); 'ß 🐍'")
cell("what the process itself would print", "import sys; print('own', file=sys.__stdout__, flush=True)", until="own")
cell(
    "bytes written to descriptor 1, in order",
    """
    import os
    for n in range(50):
        _ = os.write(1, b"%d " % n)
    _ = os.write(1, b"end")
    """,
    until="end",
)
cell("bytes written to descriptor 2", "import os; _ = os.write(2, b'raw end')", until_error="raw end")
cell(
    "what C prints, in order",
    """
    import ctypes
    c = ctypes.CDLL(None)
    for n in range(9):
        _ = c.printf(b"%d\\n", n)
    _ = c.puts(b"end"), c.fflush(None)
    """,
    until="end",
)
cell("what a subprocess prints", "import subprocess; subprocess.run(['echo', 'from echo']).returncode", until="echo")
cell("shown objects", "from IPython.display import *; display(HTML('<b>1</b>'), Markdown('*2*'), {'a': 1})")
cell(
    "a shown object is updated",
    """
    h = display("first", display_id="here")
    h.update("second")
    display("third", display_id="here", update=True)
    """,
)
cell("an output is cleared", "from IPython.display import clear_output; print(1); clear_output(wait=True); print(2)")
cell(
    "an object that shows itself",
    """
    class A:
        def _repr_html_(self): return "<i>a</i>"
        def __repr__(self): return "a"
    A()
    """,
)
cell(
    "an object that fails to show itself",
    "class B:\n  def _repr_html_(self): 1 / 0\n  __repr__ = lambda self: 'b'\nB()",
)
cell("a picture", "from IPython.display import Image; Image(data=b'\\x89PNG\\r\\n\\x1a\\n', format='png')")
cell("a figure of matplotlib", "import matplotlib.pyplot as p; p.plot([1, 3, 2]); p.title('t'); p.show()")
cell(
    "warnings",
    """
    import warnings
    def w(): warnings.warn("look out")
    w(); w(); warnings.warn("old", DeprecationWarning)
    """,
)
cell("logging", "import logging; logging.warning('one'); logging.getLogger('a.b').error('two'); logging.info('three')")
cell("pretty printing", "{'key' * 9: list(range(40)), 'a': {'b': ('c' * 70, 'd' * 70)}}")

# ---- errors

cell("an error in nested functions", "def f(n): return g(n)\ndef g(n): return 1 / n\nf(0)")
cell("an error with a cause", "try:\n  int('x')\nexcept ValueError as e:\n  raise KeyError('y') from e")
cell("a syntax error", "for x in")
cell("an indentation error", "if 1:\nprint(1)")
cell("a name that is not there", "print(no_such_name)")
cell("an error in a library", "import json; json.loads('{')")
cell("a group of errors", "import builtins\nraise builtins.ExceptionGroup('several', [ValueError(1), TypeError(2)])")
cell("too deep a recursion", "def r(): r()\ntry: r()\nexcept RecursionError as e: print(e)")
cell("%tb and %xmode", ["%xmode Plain", "1 / 0", "%xmode Context", "%tb"])
cell("sys.exit in a cell", ["import sys; sys.exit(4)", "raise SystemExit", "'and it lives on'"])
cell("an interrupt that the cell itself raises", "raise KeyboardInterrupt")
cell("%debug is refused where nobody can answer", ["1 / 0", "%debug"])
cell("an error that cannot be raised", "class C:\n  def __del__(self): 1 / 0\nc = C(); del c")
cell(
    "an error in a thread",
    """
    import threading
    t = threading.Thread(target=lambda: 1 / 0, name="t")
    t.start(); t.join()
    """,
)

# ---- magics

cell("%cd and %pwd", ["%cd ..", "%pwd", "%cd -", "import os; os.getcwd()"])
cell("%env, and a subprocess that sees it", ["%env SET_HERE=yes", "%env SET_HERE", "!echo $SET_HERE"])
cell("%who and %reset_selective", ["mine = 1; yours = 2.5", "%who int float", "%reset_selective -f ^mine$", "mine"])
cell("%store", ["kept = [1, 2]\n%store kept", "del kept\n%store -r kept\nkept", "%store", "%store -d kept"])
cell(
    "%%writefile, %run and %load",
    [
        "%%writefile script.py\nimport sys\nprint(__name__, sys.argv, __file__)\nx = 3",
        "%run script.py a b",
        "x",
        "%run -i script.py",
        "del __file__\n%load script.py",
    ],
)
cell("%run of a file that fails", ["%%writefile bad.py\n1 / 0", "%run bad.py"])
cell("%%bash", '%%bash\necho $0 $# "$PWD"\necho bad >&2\nfalse || exit 3')
cell("%%sh and %%script", ["%%sh\ncat <<E\nhere\nE", "%%script python3 -c 'print(input())'\nfrom stdin"])
cell("!cmd", "!echo out; echo err >&2; exit 5", until="err")
cell("!cmd with a variable and a result", ["where = 'there'\nlines = !echo {where}; echo $where\nlines", "_exit_code"])
cell("!cmd in a function", "def ls(): get_ipython().system('ls -d .')\nls()")
cell("%%capture", ["%%capture held\nprint(1); 2", "held.stdout, held.outputs"])
cell("%%html, %%javascript and %%latex", ["%%html\n<b>x</b>", "%%javascript\n1", "%%latex\n$x$"])
cell("%lsmagic", "%lsmagic")
cell("%history", "%history -n -l 3")
cell(
    "%alias, %alias_magic and %macro", ["%alias say echo said %s", "%say it", "%alias_magic t timeit", "%macro -q m 1"]
)
cell("%config", ["import matplotlib_inline\n%config InlineBackend.figure_format", "%config NoSuchClass.x"])
cell("%precision and %pprint", ["%precision 3\n3.14159265", "%precision\n", "%pprint", "%pprint"])
cell("%matplotlib", ["%matplotlib inline", "%matplotlib --list"])
cell("%autoawait", "%autoawait")
cell("%timeit gives a result", "r = %timeit -n1 -r1 -q -o pass\nr.loops, r.repeat")
cell("%conda without conda", "%conda list")
cell("?, ?? and %pdef", ["len?", "def documented():\n  'a doc'\ndocumented??", "%pdef documented", "*int*?"])
cell("help", "help(len)")
cell("magics that are not there", ["%nosuchmagic", "%%nosuchcellmagic\n1"])
cell(
    "exit and quit are what IPython makes them", "e, q = globals()['exit'], globals()['quit']\n[e, q, type(e).__mro__]"
)


@row("%time and %timeit")
def times(k):
    said = [k.run("%time 1 + 1"), k.run("%timeit -n2 -r1 pass"), k.run("%%time\nprint(1)"), k.run("%prun -q pass")]
    for one in said:
        if "stdout" in one:
            one["stdout"] = without_times(one["stdout"])
    return said


@row("%load_ext autoreload")
def autoreload(k):
    path = k.front.write("work/changing.py", "def answer(): return 1\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    said = [k.run("%load_ext autoreload\n%autoreload 2"), k.run("import changing\nchanging.answer()")]
    k.front.write("work/changing.py", "def answer(): return 2\n")
    return [*said, k.run("changing.answer()"), k.run("%autoreload 0")]


def wheel(folder, name):
    """A package that pip can install without a network."""
    path = os.path.join(folder, f"{name}-1.0-py3-none-any.whl")
    info = f"{name}-1.0.dist-info/"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(name + ".py", "answer = 42\n")
        z.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files = [name + ".py", info + "METADATA", info + "WHEEL", info + "RECORD"]
        z.writestr(info + "RECORD", "".join(file + ",,\n" for file in files))
    return path


def own_name(front):
    """A package's name that no other front-end uses: two kernels may share an environment."""
    name = f"keepsake_{front.pid}"
    front.names.add(name, "<package>")
    front.names.add(name.replace("_", "-"), "<package>")
    return name


@row("%pip install and uninstall")
def pip(k):
    name = own_name(k.front)
    path = wheel(k.front.path("work"), name)
    return [
        k.run(f"import {name}"),
        k.run(f"%pip install --quiet --no-index {path}"),
        k.run(f"import {name}; {name}.answer, {name}.__file__"),
        k.run(f"%pip uninstall --quiet -y {name}"),
    ]
