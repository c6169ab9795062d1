# Becomes the kernel that an order describes.
import atexit
import gc
import threading


def tell(**what):
    answer.write(json.dumps(what) + "\n")
    answer.flush()


def take_streams(descriptors):
    sys.stdout.flush()
    sys.stderr.flush()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.__stdout__.reconfigure(line_buffering=os.isatty(1))


def take_variables(environ):
    os.environ.clear()
    for pair in reversed(environ):  # of several with one name, Python takes the first
        name, found, value = pair.partition("=")
        if name and found:
            os.environ[name] = value
    if coerced:
        os.environ["LC_CTYPE"] = coerced
    os.environ.update(made)
    time.tzset()


def kill_at_end(connection):
    """Has the system end this process and its group when the other end hangs up. False where it cannot."""
    if not hasattr(fcntl, "F_SETSIG"):
        return False
    fcntl.fcntl(connection, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    hangup = select.poll()
    hangup.register(connection, select.POLLIN)
    if hangup.poll(0):  # before it was watched
        os.killpg(0, signal.SIGKILL)
    return True


def live_on(connection):
    """Takes kill_at_end back."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) & ~os.O_ASYNC)


def end_with(connection):
    """Ends this process and its group when the caller hangs up, even in native code that never comes back."""
    if kill_at_end(connection):
        return

    def watch():
        try:
            connection.recv(1)
        except OSError:
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def become(order, caller, path):
    """Is the kernel from here on."""
    connection = caller.connection
    listeners = dict(zip(order["listening"], caller.descriptors[3:]))
    take_streams(caller.descriptors)
    os.environ.__class__ = plain_environ
    take_variables(order["environ"])
    try:
        os.unlink(path)  # as long as it is there, this is not a kernel
    except OSError:
        pass
    code, process = [1], os.getpid()

    def tell_exit():
        if os.getpid() != process:
            return
        live_on(connection)
        try:
            connection.sendall(json.dumps({"exit": code[0]}).encode() + b"\n")
        except OSError:
            pass

    atexit.register(tell_exit)
    live_on(LIFELINE)
    try:
        connection.sendall(json.dumps({"started": process}).encode() + b"\n")
    except OSError:
        os._exit(1)  # the caller gave up, and starts a plain kernel
    with socket.socket(fileno=os.dup(LIFELINE)) as lifeline:
        message = json.dumps({"adopted": True}).encode() + b"\n"
        try:
            rights = array.array("i", [connection.fileno()])
            lifeline.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            pass  # the daemon is gone, and a kernel goes on without it
    os.close(LIFELINE)
    if not order.get("independent"):
        end_with(connection)
    from ipykernel.kernelapp import IPKernelApp

    def init_poller(self):  # the parent is the daemon, and the connection is watched in its place
        self.parent_handle = int(os.environ.get("JPY_PARENT_PID") or 0)

    IPKernelApp.init_poller = init_poller
    for name in ("gc", "ipykernel_launcher"):
        sys.modules.pop(name, None)  # a plain kernel has not imported them
    try:
        launch(order["argv"], listeners, order.get("release"), banner=order.get("banner"))
        code[0] = 0
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def main():
    with socket.socket(fileno=os.dup(LIFELINE)) as lifeline:
        lifeline.setblocking(True)
        data, descriptors = receive(lifeline, 1 << 16, 1)
    if not data or not descriptors:
        os._exit(0)
    task = json.loads(data)
    kill_at_end(LIFELINE)  # also in an import that hangs
    listener = socket.socket(fileno=descriptors[0])
    imported = variables()
    made.update((name, imported[name]) for name in imported.keys() - started.keys() - {"LC_CTYPE"})
    faults, without = preload(task["preload"]) if task["preload"] else ([], "")
    gc.collect()
    gc.freeze()
    tell(ready=not without, faults=faults, without=without)
    if without:
        os._exit(0)
    caller, order = wait(listener)
    listener.close()
    try:
        take_place(order, caller)
    except (Refused, OSError, ValueError, OverflowError) as why:
        tell(refused=str(why), wanted=getattr(why, "wanted", {}))
        caller.connection.sendall(json.dumps({"refused": str(why)}).encode() + b"\n")
        os._exit(0)
    become(order, caller, task["path"])


main()
