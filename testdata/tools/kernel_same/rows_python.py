"""Python in a cell: the session's state, asyncio, threads, processes and libraries. The rows share a kernel."""

from .table import cell

# ---- the state of a session

cell("__name__ and a class of the cell", "class K: pass\n__name__, K.__module__, K, repr(K)[:16]")
cell("an object of the cell is pickled", "import pickle\nclass P: x = 1\npickle.loads(pickle.dumps(P())).x")
cell(
    "the source of a function of the cell",
    "import inspect\ndef s(): return 1\ninspect.getsource(s), s.__code__.co_filename",
)
cell(
    "a cell's own file and its globals",
    "import sys\nsys._getframe().f_code.co_filename, globals() is vars(sys.modules['__main__'])",
)
cell(
    "annotations, walrus and match",
    """
    x: int = (y := 3)
    match x:
        case 3: print("three", y)
    __annotations__
    """,
)
cell(
    "context variables go from cell to cell",
    ["import contextvars; v = contextvars.ContextVar('v', default=0); t = v.set(5)", "v.get()"],
)
cell(
    "__del__ and weak references",
    """
    import weakref
    class W:
        def __del__(self): print("gone")
    w = W()
    r = weakref.ref(w)
    del w
    r()
    """,
)
cell("stdin is at its end", "import sys, os; sys.stdin.read(), os.read(0, 1)")
cell("get_ipython", "ip = get_ipython()\ntype(ip), ip.user_ns is globals(), ip.kernel.shell is ip")
cell(
    "where it is connected",
    "import ipykernel.connect as c; c.get_connection_file(), sorted(c.get_connection_info(unpack=True))",
)
cell(
    "faulthandler writes to the process's stderr",
    """
    import faulthandler
    import sys, threading
    def here(): faulthandler.dump_traceback(sys.__stderr__, all_threads=False)
    t = threading.Thread(target=here); t.start(); t.join()
    """,
    until_error="in _bootstrap\n",
)
cell(
    "callbacks of IPython",
    [
        "def e(result): print('ran', result.success)\nget_ipython().events.register('post_run_cell', e)\n1",
        "get_ipython().events.unregister('post_run_cell', e)",
    ],
)
cell("the innermost frames", "import traceback; [f.name for f in traceback.extract_stack()[-8:]]")
cell(
    "a trace function",
    "import sys\nseen = []\nsys.settrace(lambda f, w, a: seen.append(w))\nlen([1])\nsys.settrace(None)",
)

# ---- asyncio, threads and processes

cell(
    "await at the top",
    """
    import asyncio
    await asyncio.sleep(0.001)
    await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
    """,
)
cell(
    "async for and async with at the top",
    """
    import contextlib
    @contextlib.asynccontextmanager
    async def manager(): yield 1
    async def three():
        for n in range(3): yield n
    async with manager() as m: print(m)
    async for n in three(): print(n)
    """,
)
cell(
    "a task that goes on in the next cell",
    [
        """
        import asyncio
        async def later(e): await e.wait(); print("later"); return 7
        e = asyncio.Event(); t = asyncio.ensure_future(later(e))
        """,
        "e.set(); await t",
    ],
)
cell("asyncio.run is refused", "import asyncio\nc = asyncio.sleep(0)\ntry: asyncio.run(c)\nfinally: c.close()")
cell("an error in a task", "import asyncio\nasync def bad(): raise ValueError('x')\nawait asyncio.gather(bad())")
cell(
    "a subprocess of asyncio",
    "import asyncio\np = await asyncio.create_subprocess_exec('echo', 'x', stdout=-1)\nawait p.communicate()",
)
cell("a thread of asyncio", "import asyncio\nawait asyncio.to_thread(lambda: 5)")
cell(
    "threads print",
    """
    import threading
    for n in range(3):
        t = threading.Thread(target=print, args=(n,)); t.start(); t.join()
    """,
)
cell(
    "a thread that goes on in the next cell",
    [
        """
        import threading
        go = threading.Event()
        def wait(): go.wait(); print("from the thread")
        t = threading.Thread(target=wait); t.start()
        """,
        "go.set(); t.join(); print('joined')",
    ],
)
cell("a pool of threads", "from concurrent.futures import *\nlist(ThreadPoolExecutor(4).map(abs, range(-5, 0)))")
cell("a timer", "import threading\nt = threading.Timer(0.01, lambda: print('timer')); t.start(); t.join()")
cell(
    "subprocesses",
    """
    import subprocess
    [subprocess.run(c, shell=True, capture_output=True) for c in ("cat", "echo $0", "exit 3", "kill -9 $$")]
    """,
)
cell("a subprocess that fails", "import subprocess\nsubprocess.run(['false'], check=True)")
cell("a program of the environment", "!python -c 'import sys; print(sys.prefix)'; command -v python pip")
cell(
    "os.fork",
    "import os\nif (child := os.fork()) == 0: os._exit(7)\nos.waitstatus_to_exitcode(os.waitpid(child, 0)[1])",
)
cell(
    "os.fork and a print",
    "import os\nif (child := os.fork()) == 0:\n  print('the child', flush=True); os._exit(0)\nos.waitpid(child, 0)[1]",
    until="child",
)
for method in ("fork", "spawn", "forkserver"):
    cell(
        f"multiprocessing: {method}",
        f"""
        import multiprocessing, math
        with multiprocessing.get_context({method!r}).Pool(2) as p:
            print(p.map(math.sqrt, [1, 4, 9]))
        """,
    )
cell(
    "multiprocessing: a function of the cell",
    """
    import multiprocessing
    def square(x): return x * x
    with multiprocessing.get_context("fork").Pool(2) as p: print(p.map(square, [1, 2]))
    """,
)
cell(
    "multiprocessing: a queue and shared memory",
    """
    import multiprocessing
    c = multiprocessing.get_context("fork")
    q, v = c.Queue(), c.Value("i", 0)
    def put(): v.value = 3; q.put("x")
    w = c.Process(target=put); w.start(); got = q.get(); w.join()
    got, v.value, w.exitcode
    """,
)
cell(
    "multiprocessing: a child that prints",
    """
    import multiprocessing
    w = multiprocessing.get_context("fork").Process(target=print, args=("a child",))
    w.start(); w.join()
    """,
    until="child",
)
cell(
    "a pool of processes",
    """
    import multiprocessing, math
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as x:
        print(list(x.map(math.sqrt, [1, 4])))
    """,
)
cell(
    "a signal handler of the cell",
    """
    import os, signal
    old = signal.signal(signal.SIGUSR1, lambda *a: print("got it"))
    os.kill(os.getpid(), signal.SIGUSR1)
    print("after")
    _ = signal.signal(signal.SIGUSR1, old)
    """,
)
cell(
    "an alarm",
    """
    import signal
    def ring(*a): raise TimeoutError("rung")
    old = signal.signal(signal.SIGALRM, ring)
    _ = signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    """,
)
cell("temporary folders", "import os, tempfile\nwith tempfile.TemporaryDirectory() as d: print(os.path.dirname(d))")

# ---- libraries

cell(
    "numpy",
    """
    import numpy as np
    a = np.arange(6.).reshape(2, 3)
    print(a @ a.T)
    np.linalg.inv(a @ a.T + np.eye(2)).round(3)
    """,
)
cell("numpy's settings", "import numpy as np\nnp.geterr(), np.get_printoptions(), np.array([1]) / 0")
cell("numpy with threads", "import numpy as np\nfloat(np.ones((400, 400)).dot(np.ones((400, 400))).sum())")
cell(
    "sqlite",
    """
    import sqlite3
    d = sqlite3.connect(":memory:")
    d.execute("create table t (x)"); d.execute("insert into t values (1)")
    list(d.execute("select * from t"))
    """,
)
cell(
    "sqlite in a file and another thread",
    """
    import os, sqlite3, threading
    d = sqlite3.connect("file.db"); d.execute("create table t (x)")
    def use():
        try: d.execute("select 1")
        except Exception as e: print(type(e).__name__)
    t = threading.Thread(target=use); t.start(); t.join(); d.close(); os.remove("file.db")
    """,
)
cell(
    "ssl",
    """
    import ssl
    s = ssl.create_default_context()
    print(s.cert_store_stats(), ssl.OPENSSL_VERSION, s.verify_mode, len(ssl.RAND_bytes(8)))
    ssl.get_default_verify_paths()
    """,
)
cell("hashlib", "import hashlib; hashlib.sha256(b'x').hexdigest(), sorted(hashlib.algorithms_available)")
cell("ctypes and zlib", "import ctypes, zlib; ctypes.sizeof(ctypes.c_void_p), zlib.crc32(b'x')")
cell("decimal and float", "import decimal; decimal.getcontext(), 0.1 + 0.2, 1e300 * 1e10, float('nan')")
cell(
    "psutil sees the kernel",
    "import psutil; p = psutil.Process(); p.name(), p.username(), p.cwd(), p.terminal(), p.nice()",
)
cell("installed packages", "import importlib.metadata as m; sorted((d.name, d.version) for d in m.distributions())")
cell("site", "import site; site.ENABLE_USER_SITE, site.getsitepackages(), site.PREFIXES")
cell(
    "sysconfig and platform",
    "import sysconfig, platform; sysconfig.get_paths(), platform.python_build(), platform.libc_ver()",
)
cell(
    "names in the network",
    "import socket; socket.gethostname(), socket.getfqdn('localhost'), socket.getdefaulttimeout()",
)
