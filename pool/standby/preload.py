# Imports what a pool's first cells will, with what they would find in a kernel.
import builtins
import functools

# An import reads these, and a kernel is the same whatever they are: PATH is where uname is looked for; TERM decides how
# a terminal's title is set; the kernel's parent is watched by its connection.
NO_MATTER = {"PATH", "TERM", "JPY_PARENT_PID", "JPY_INTERRUPT_EVENT"}

made = {}  # the variables that imports ahead have set
ahead = set()  # the modules that they have brought
plain_environ = type(os.environ).__mro__[1]  # without the record


def variables():
    """The variables, without a record that they were read."""
    recorder, os.environ.__class__ = os.environ.__class__, plain_environ
    try:
        return dict(os.environ)
    finally:
        os.environ.__class__ = recorder


def stand_in(shell, called):
    """What get_ipython returns to a module that only asks on import whether it is in a kernel, as pandas does.

    It has what is the same in every kernel. Whatever else it is asked for, it notes in called.
    """

    class Part:
        def __init__(self, **has):
            self.__dict__.update(has)

        def __bool__(self):
            return True

        def __contains__(self, name):
            return name == "IPKernelApp" or self.note()

        def note(self, *_):
            called.append(1)
            raise AttributeError("there is no kernel yet")

        __getattr__ = __setattr__ = __delattr__ = __getitem__ = __setitem__ = __delitem__ = __call__ = note
        __iter__ = __len__ = note

    kind = type(shell.__name__, (Part,), {"__module__": shell.__module__, "__class__": shell})
    return kind(kernel=Part(), config=Part())


def preload(modules):
    """Imports what a pool's first cells will, with what they would find in a kernel.

    Returns what went wrong, and the module that makes this process useless.
    """
    import IPython.core.getipython
    from ipykernel.zmqshell import ZMQInteractiveShell

    before, called, known, ended = variables(), [], set(sys.modules), False
    ZMQInteractiveShell.init_environment(None)  # what it sets is not the caller's to decide
    kernels = variables()
    NO_MATTER.update(name for name in kernels if kernels[name] != before.get(name))
    if not kernels.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = kernels["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    builtins.__IPYTHON__ = True
    plain, ahead_of = IPython.core.getipython.get_ipython, stand_in(ZMQInteractiveShell, called)

    @functools.wraps(plain)
    def get_ipython():
        return plain() if ended else ahead_of  # a module may keep this one

    faults = []
    for name in modules:
        del called[:]
        IPython.get_ipython = IPython.core.getipython.get_ipython = builtins.get_ipython = get_ipython
        try:
            __import__(name)
        except BaseException as error:  # also a script that ends itself
            faults.append(f"{name} cannot be imported: {type(error).__name__}: {error}")
        finally:
            IPython.get_ipython = IPython.core.getipython.get_ipython = plain
        if called:
            return [f"{name} uses on import the kernel that it runs in, so it cannot be imported ahead"], name
    ended = True
    del builtins.__IPYTHON__, builtins.get_ipython
    made.update((name, value) for name, value in variables().items() if value != kernels.get(name))
    ahead.update(name.partition(".")[0] for name in set(sys.modules) - known)
    os.environ.clear()
    os.environ.update(before)
    return faults, ""
