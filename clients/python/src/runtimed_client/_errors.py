"""The errors of this package.

RuntimedError
  ConnectError      kind "unreachable" (nobody listens, or the path is no good) or "closed" (hung up before the answer)
  RequestTimeout    kind "timeout"
  ProtocolError     kind "protocol": the other side speaks something else
  RPCError          the daemon's own answer; its code and kind are stable, docs/protocol.md has the table
"""

from typing import Any, Optional


class RuntimedError(Exception):
    """Anything that goes wrong here. `kind` is for programs, `message` and `hint` (the next step to take) are for people."""

    kind = ""

    # Everything but the message has a default, so that these errors survive pickling (multiprocessing does that).
    def __init__(self, message: str = "", *, kind: Optional[str] = None, hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if kind is not None:
            self.kind = kind

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConnectError(RuntimedError):
    """There is no daemon to talk to, or it hung up."""

    kind = "closed"


class RequestTimeout(RuntimedError):
    """No answer came in time."""

    kind = "timeout"


class ProtocolError(RuntimedError):
    """What came is not runtimed's protocol."""

    kind = "protocol"


class RPCError(RuntimedError):
    """The daemon answered with an error. `data` holds what it told besides, `cause` and `output` of a failed build for instance."""

    def __init__(self, message: str = "", *, code: int = 0, data: Any = None) -> None:
        told = data if isinstance(data, dict) else {}
        kind, hint = told.get("kind"), told.get("hint")
        super().__init__(message, kind=kind if isinstance(kind, str) else "", hint=hint if isinstance(hint, str) else None)
        self.code = code
        self.data: dict[str, Any] = told
