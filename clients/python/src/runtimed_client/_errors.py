"""The errors of this package. `kind` is for programs; `message` and `hint`, the next step to take, are for people.

RuntimedError
  ConnectError      kind "unreachable": nobody listens, or the path is unusable; "untrusted": another user listens;
                    or "closed": the daemon hung up before it answered
  RequestTimeout    kind "timeout"
  ProtocolError     kind "protocol": the other side speaks something else
  RPCError          the daemon's own answer; docs/protocol.md lists the codes and kinds, which are stable
"""

from typing import Any, Optional


class RuntimedError(Exception):
    """The base of all errors here."""

    kind = ""

    def __init__(self, message: str = "", *, kind: Optional[str] = None, hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.kind = self.kind if kind is None else kind

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class ConnectError(RuntimedError):
    kind = "closed"


class RequestTimeout(RuntimedError):
    kind = "timeout"


class ProtocolError(RuntimedError):
    kind = "protocol"


class RPCError(RuntimedError):
    """The daemon answered with an error. `data` holds its details, such as `cause` and `output` of a failed build."""

    def __init__(self, message: str = "", *, code: int = 0, data: Any = None) -> None:
        self.code, self.data = code, data if isinstance(data, dict) else {}
        kind, hint = (text if isinstance(text := self.data.get(it), str) else None for it in ("kind", "hint"))
        super().__init__(message, kind=kind, hint=hint)
