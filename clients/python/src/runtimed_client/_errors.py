"""The errors of this package: `kind` is for programs, `message` and `hint` (the next step to take) are for people.

RuntimedError
  ConnectError      kind "unreachable" (nobody listens, or the path is no good), "untrusted" (another user listens there)
                    or "closed" (hung up before the answer)
  RequestTimeout    kind "timeout"
  ProtocolError     kind "protocol": the other side speaks something else
  RPCError          the daemon's own answer; its code and kind are stable, docs/protocol.md has the table
"""

from typing import Any, Optional


class RuntimedError(Exception):
    """Anything that goes wrong here."""

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
    """The daemon answered with an error. `data` is what it told besides: `cause` and `output` of a failed build, for instance."""

    def __init__(self, message: str = "", *, code: int = 0, data: Any = None) -> None:
        self.code = code
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        kind, hint = self.data.get("kind"), self.data.get("hint")
        super().__init__(
            message, kind=kind if isinstance(kind, str) else "", hint=hint if isinstance(hint, str) else None
        )
