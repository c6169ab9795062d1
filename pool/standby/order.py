# Waits for one order. docs/protocol.md describes it.
import array
import select
import socket
import struct

LIFELINE = 4  # a socket to the daemon: when that ends, so does an unused standby
MOST_ORDER = 8 << 20  # bytes
MOST_CALLERS = 64  # at once
PATIENCE = 5.0  # seconds, for the rest of an order


def receive(connection, size, descriptors=0):
    """What one recvmsg brings: data, and descriptors."""
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    data, ancillary, _, _ = connection.recvmsg(size, socket.CMSG_SPACE(descriptors * 4) if descriptors else 0, flags)
    got = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            got.frombytes(payload[: len(payload) - len(payload) % got.itemsize])
    for descriptor in got:
        os.set_inheritable(descriptor, False)
    return data, list(got)


def is_text(value):
    """Whether it can be an argument, a variable or a path."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeError:
        return False


def are(kind, values):
    """Whether values is a list of such."""
    return isinstance(values, list) and all(is_text(v) if kind is str else type(v) is kind for v in values)


def is_order(order, descriptors):
    """Whether it is what docs/protocol.md describes."""
    if not isinstance(order, dict) or order.get("order") != 1:
        return False
    limits, release, others = order.get("limits"), order.get("release"), order.setdefault("descriptors", [])
    return (
        all(are(str, order.get(name)) for name in ("argv", "environ", "listening"))
        and are(int, others)
        and len({*others, 0, 1, 2}) == 3 + len(others)
        and min(others, default=0) >= 0
        and len(descriptors) == 3 + len(order["listening"]) + len(others)
        and is_text(order.get("cwd"))
        and all(type(order.get(name)) is int for name in ("umask", "nice"))
        and are(int, order.get("ignored"))
        and isinstance(limits, dict)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in limits.values())
        and all(number is None or type(number) is int for pair in limits.values() for number in pair)
        and (order.get("banner") is None or is_text(order["banner"]))
        and (release is None or isinstance(release, dict) and all(is_text(release.get(n)) for n in ("socket", "env")))
    )


class Caller:
    """A connection whose order is not complete."""

    def __init__(self, connection):
        self.connection, self.deadline = connection, time.monotonic() + PATIENCE
        self.data, self.descriptors = b"", []

    def read(self):
        """False if it is to be closed, None if more must come, and else the order."""
        try:
            data, descriptors = receive(self.connection, 1 << 20, 253)  # SCM_MAX_FD
        except BlockingIOError:
            return None
        except OSError:
            return False
        self.data += data
        self.descriptors += descriptors
        if not data or len(self.data) > MOST_ORDER:
            return False
        if not self.data.endswith(b"\n"):
            return None
        try:
            order = json.loads(self.data)
        except (ValueError, RecursionError):
            return False
        return order if is_order(order, self.descriptors) else False

    def close(self):
        self.connection.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


def stranger(connection):
    """Whether another user has connected, which can be where the socket's folder is open to others."""
    if sys.platform != "linux":
        return False
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user not in (0, os.getuid())


def wait(listener):
    """Returns the first complete order, and who sent it. What else connects costs nobody anything."""
    listener.setblocking(False)
    poll, callers = select.poll(), {}
    poll.register(LIFELINE, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        now = time.monotonic()
        for number in [n for n, c in callers.items() if c.deadline < now]:
            poll.unregister(number)
            callers.pop(number).close()
        least = min((c.deadline - now for c in callers.values()), default=None)
        for number, _ in poll.poll(None if least is None else least * 1000 + 1):
            if number == LIFELINE:
                os._exit(0)
            if number == listener.fileno():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                connection.setblocking(False)
                if stranger(connection):
                    connection.close()
                    continue
                if len(callers) == MOST_CALLERS:  # whoever has been silent for the longest goes
                    oldest = next(iter(callers))
                    poll.unregister(oldest)
                    callers.pop(oldest).close()
                callers[connection.fileno()] = Caller(connection)
                poll.register(connection, select.POLLIN)
                continue
            if number not in callers:
                continue
            order = callers[number].read()
            if order is None:
                continue
            poll.unregister(number)
            caller = callers.pop(number)
            if order is False:
                caller.close()
                continue
            for other in callers.values():
                other.close()
            caller.connection.setblocking(True)
            return caller, order
