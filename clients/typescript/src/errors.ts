/**
 * What all errors of this client are; `kind` is for programs, the message and the hint (the next step) for people.
 *
 *     RuntimedError
 *       ConnectError      unreachable: nobody listens at the socket; untrusted: another user may have made it;
 *                         closed: the connection ended before the answer
 *       RequestTimeout    timeout: no answer in time
 *       ProtocolError     protocol: the other side speaks something else
 *       RPCError          the daemon's own answer, with its code and data
 */
export class RuntimedError extends Error {
  override name = "RuntimedError";
  readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, message: string, { hint, cause }: { hint?: string; cause?: unknown } = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.kind = kind;
    this.hint = hint;
  }
}

export class ConnectError extends RuntimedError {
  override name = "ConnectError";
}

export class RequestTimeout extends RuntimedError {
  override name = "RequestTimeout";
}

export class ProtocolError extends RuntimedError {
  override name = "ProtocolError";

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super("protocol", message, options);
  }
}

export class RPCError extends RuntimedError {
  override name = "RPCError";
  readonly code: number;
  readonly data: ErrorData;

  constructor(code: number, message: string, data: ErrorData) {
    super(data.kind, message, typeof data.hint === "string" ? { hint: data.hint } : {});
    this.code = code;
    this.data = data;
  }
}

/** What an error tells besides its message. Which members are there depends on the kind: docs/protocol.md has the table. */
export interface ErrorData {
  kind: ErrorKind;
  hint?: string;
  param?: string;
  waitedMs?: number;
  warming?: number;
  pools?: string[];
  cause?: string;
  package?: string;
  output?: string;
  nextRetryMs?: number;
  [other: string]: unknown;
}

export type ErrorKind =
  | ("unreachable" | "untrusted" | "timeout" | "closed" | "protocol")
  | ("parse_error" | "invalid_request" | "method_not_found" | "invalid_params" | "internal_error")
  | ("pool_empty" | "unknown_pool" | "build_failed" | "unknown_env" | "pool_off")
  | ("shutting_down" | "overloaded" | "request_cancelled")
  | (string & {}); // what a newer daemon may add; "" where an error came without one
