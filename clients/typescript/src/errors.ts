import type { ErrorData, ErrorKind } from "./wire.js";

export type { ErrorData, ErrorKind };

/**
 * The class of all errors of this client. `kind` is for programs, message and hint (the next step) are for people.
 *
 *     RuntimedError
 *       ConnectError      unreachable: nobody listens at the socket; untrusted: another user may have made it;
 *                         closed: the connection ended before the answer
 *       RequestTimeout    timeout: no answer in time
 *       ProtocolError     protocol: the other side speaks something else
 *       RPCError          the daemon's own answer, with its code and data
 */
export class RuntimedError extends Error {
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, message: string, details: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, details);
    this.name = new.target.name;
    this.kind = kind;
    this.hint = details.hint;
  }
}

export class ConnectError extends RuntimedError {}
export class RequestTimeout extends RuntimedError {}
export class ProtocolError extends RuntimedError {}

export class RPCError extends RuntimedError {
  readonly code: number;
  readonly data: ErrorData;

  constructor(code: number, message: string, data: ErrorData) {
    super(data.kind, message, typeof data.hint === "string" ? { hint: data.hint } : {});
    this.code = code;
    this.data = data;
  }
}
