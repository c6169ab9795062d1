import { ProtocolError, RPCError, RuntimedError } from "./errors.js";

// What travels. Each member stands here once: the decoders check it, and the types are made of them. Names are those of
// docs/protocol.md in camelCase; times stay RFC 3339 strings.

/** Makes a T of a value from the wire, or throws a ProtocolError that names the member that is wrong. */
export type Decode<T> = (value: unknown, at: string) => T;
/** One of these, or what a newer daemon may add. */
type Open<Known extends string> = Known | (string & {});

function check<T>(what: string, fits: (value: unknown) => boolean): Decode<T> {
  return (value, at) => {
    if (fits(value)) return value as T;
    throw new ProtocolError("protocol", `${at} is ${value === undefined ? "missing" : `not ${what}`}`);
  };
}

export const anything = check<unknown>("", (value) => value !== undefined);
export const object = check<Record<string, unknown>>("an object", (it) => Object(it) === it && !Array.isArray(it));
const typed = <T>(type: string) => check<T>(`a ${type}`, (value) => typeof value === type);
const [flag, count, text] = [typed<boolean>("boolean"), typed<number>("number"), typed<string>("string")];
const oneOf = <Known extends string>() => text as Decode<Open<Known>>;

function list<T>(item: Decode<T>): Decode<T[]> {
  return (value, at) => check<unknown[]>("a list", Array.isArray)(value, at).map((one, i) => item(one, `${at}[${i}]`));
}

function map<T>(item: Decode<T>): Decode<Record<string, T>> {
  return (value, at) => mapped(object(value, at), (name, member) => [name, item(member, `${at}.${name}`)]);
}

/** A member that is this where it is missing, as from an older daemon. */
function or<T, F>(otherwise: F, item: Decode<T>): Decode<T | F> {
  return (value, at) => (value === undefined || value === otherwise ? otherwise : item(value, at));
}

/** An object with these members, under their wire names; others are ignored, since a newer daemon may have more. */
function record<M extends Record<string, Decode<unknown>>>(members: M) {
  return (value: unknown, at: string) => {
    const source = object(value, at);
    const decoded = mapped(members, (name, decode) => [name, decode(source[snake(name)], `${at}.${snake(name)}`)]);
    return decoded as { [K in keyof M]: ReturnType<M[K]> };
  };
}

function mapped<T, R>(source: Record<string, T>, entry: (name: string, member: T) => [string, R]): Record<string, R> {
  const entries = Object.entries(source).map(([name, member]) => entry(name, member));
  return Object.fromEntries(entries.filter(([, member]) => member !== undefined));
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

export const line = (message: object) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
/** Params under their wire names. */
export const toWire = (params: object) => mapped({ ...params }, (name, member: unknown) => [snake(name), member]);

/** Members that are alike. */
const each = <T, Name extends string>(decode: Decode<T>, ...names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, decode])) as Record<Name, Decode<T>>;

const daemonInfo = record({
  ...each(text, "name", "version", "startedAt", "socket", "stateDir", "configPath"),
  ...each(count, "protocol", "pid", "uptimeMs"),
  startedBy: or("", oneOf<"service" | "command" | "hand">()),
  ...each(or("", text), "program", "log"), // its executable; a path, "journal", or "" where it runs on a terminal
  replaced: or(false, flag), // whether another file is at the path of its executable now
});

const protocol = 1; // the version of the contract that this client knows

/** Who the daemon is. The number of the protocol must be the same; the versions may differ. */
export function decodeInfo(value: unknown, at: string): DaemonInfo {
  const { name, version, protocol: theirs } = object(value, at);
  if (name === "runtimed" && typeof theirs === "number" && theirs !== protocol) {
    const [older, hint] =
      theirs < protocol ? ["daemon", "restart it with: runt daemon restart"] : ["client", "update runtimed-client"];
    const message = `the daemon (version ${version}) speaks protocol ${theirs}, and this client protocol ${protocol}`;
    throw new ProtocolError("protocol", `${message}: the ${older} is too old`, { hint });
  }
  if (typeof name === "string" && name !== "runtimed") throw new ProtocolError("protocol", `${name} is not runtimed`);
  return daemonInfo(value, at);
}

const poolError = record({
  ...each(text, "cause", "message", "hint", "since"), // docs/protocol.md has the list of causes
  ...each(count, "failures", "nextRetryMs"), // from now; 0: it is building
  ...each(or(undefined, text), "package", "output"),
});

const pool = record({
  ...each(text, "name", "python"),
  ...each(count, "target", "available", "warming", "leased", "removing", "waiting"),
  kind: oneOf<"uv" | "conda">(),
  state: oneOf<"ready" | "warming" | "failing" | "off">(),
  packages: list(text),
  // uv, micromamba, mamba, conda or rattler, and why this one was taken; null while none was looked for or found
  tool: or(null, record({ ...each(text, "name", "path", "why"), version: or(undefined, text) })),
  error: or(null, poolError), // null while builds succeed
  // Standby kernels, null from an older daemon. why: there are fewer, or the last caller could not have one.
  standby: or(null, record({ ...each(count, "target", "ready"), warnings: list(text), why: or(undefined, text) })),
  idleMs: or(0, count), // a kernel that is idle this long, and that nobody is connected to, should end; 0: never
  lock: or("", text), // the hash of the lock file that it is built from; empty: none was built yet
  // since the daemon started, null from an older one; failures: by cause
  counters: or(null, record({ ...each(count, "hits", "misses", "waitedMs", "builds"), failures: map(count) })),
});

const packageInfo = record(each(text, "name", "version"));

const env = record({
  ...each(text, "id", "pool", "path", "python", "pythonVersion", "createdAt"), // python: absolute; runs as it is
  kind: oneOf<"uv" | "conda">(),
  state: oneOf<"warming" | "ready" | "leased" | "removing">(),
  packages: list(packageInfo),
  needs: or([], list(text)), // what it was made to have beyond the packages of its pool
  project: or(null, record(each(text, "path", "file"))), // that it was made for, and the file that says what it has
  variables: map(or(null, text)), // for the environment of a child; null takes the name out
  pathPrepend: list(text), // goes before the child's PATH
});

export const decodeStatus = record({ pools: list(pool) });
export const decodeChange = record({ pool, gone: or(false, flag) });
export const decodeEnv = record({ env });
export const decodeLeased = record({ env: record({ id: text }) }); // all that it takes to release one
export const decodeAcquired = record({
  env,
  source: oneOf<"ready" | "built" | "extended" | "resumed">(),
  stale: flag, // an environment of the configuration before, since none of the new one could be built
  waitedMs: count,
  added: or([], list(packageInfo)), // for this call, into a ready environment
  addedMs: or(0, count),
  standby: or(null, record({ pid: count, socket: text })), // a kernel that stands by, if one was asked for
});
export const decodeProgress = record({
  stage: oneOf<"queued" | "resolving" | "downloading" | "installing" | "compiling" | "verifying">(),
  message: text,
  fraction: or(undefined, count), // 0 to 1, where it is known
});

/** A project, by a path in it, and what of it. `frozen`: its lock file may be older than its manifest. */
export type ProjectParams = { path: string; extras?: readonly string[]; groups?: readonly string[]; frozen?: boolean };

/** What an acquire asks for. The packages, and what is in the requirements and the script, count together. */
export interface AcquireParams {
  /** "uv" by default, "conda" for a project of that kind. */
  pool?: string | undefined;
  /** How long to wait for an environment, on top of the time limit of a call; 60 s by default, 0: not at all. */
  waitMs?: number | undefined;
  /** What `runt env list` shows for it. */
  label?: string | undefined;
  /** The process that the lease belongs to; this one by default. */
  ownerPid?: number | undefined;
  /** Asking again with the same key never holds a second environment; by default each call has a key of its own. */
  key?: string | undefined;
  /** What the environment must have beyond what its pool gives, as "pandas" or "rich>=13"; in pools of the kind uv. */
  packages?: readonly string[] | undefined;
  /** The text of a requirements file. */
  requirements?: string | undefined;
  /** The text of a Python script with a PEP 723 block, or of that block. */
  script?: string | undefined;
  /** "3.12", ">=3.11,<3.14" or an absolute path; by default what the pool has. */
  python?: string | undefined;
  /** Has the environment made from what a project says it needs: the one at this path, or above. */
  project?: string | ProjectParams | undefined;
  /** Who acquires with the same name after the owner has ended gets the same environment, as it was left. */
  session?: string | undefined;
  /** How long it stays for that: up to an hour, 60 s by default. */
  lingerMs?: number | undefined;
  /** Asks for a kernel that stands by. Node cannot send one its order: another program must, by docs/protocol.md. */
  standby?: boolean | undefined;
}

/** A lease: the environment, and how it came to be this one. */
export type Acquired = EnvInfo & Omit<ReturnType<typeof decodeAcquired>, "env">;
export type DaemonInfo = ReturnType<typeof daemonInfo>;
export type PoolError = ReturnType<typeof poolError>;
export type Tool = NonNullable<ReturnType<typeof pool>["tool"]>;
export type PoolStatus = ReturnType<typeof pool>;
export type Status = ReturnType<typeof decodeStatus>;
export type EnvInfo = ReturnType<typeof env>;
export type Progress = ReturnType<typeof decodeProgress>;

export type ErrorKind = Open<
  | ("unreachable" | "untrusted" | "timeout" | "closed" | "protocol" | "request_cancelled")
  | ("parse_error" | "invalid_request" | "method_not_found" | "invalid_params" | "internal_error" | "overloaded")
  | ("pool_empty" | "unknown_pool" | "build_failed" | "unknown_env" | "pool_off" | "shutting_down" | "no_project")
>;

/** What an error has besides its message: docs/protocol.md says which kind has what. "" where it came without one. */
export type ErrorData = { kind: ErrorKind; pools?: string[]; [other: string]: unknown } & {
  [name in "hint" | "param" | "cause" | "package" | "output"]?: string;
} & { [name in "waitedMs" | "warming" | "nextRetryMs"]?: number };

/** The result of a reply, or its error. The error's data are taken as they come, so that no detail of them hides it. */
export function resultOf({ result, error }: Record<string, unknown>): unknown {
  if (!error) return result;
  const { code, message, data } = object(error, "the error of a reply");
  const info = mapped(typeof data === "object" ? { ...data } : {}, (name, member: unknown) => [camel(name), member]);
  const kind = typeof info.kind === "string" ? info.kind : "";
  throw new RPCError(count(code, "the code of an error"), text(message, "the message of an error"), { ...info, kind });
}

/** What arrives, as events: "reply ID" (message), "progress ID" (params), "notification" (method, params). */
export async function* events(socket: AsyncIterable<Buffer>, path: string): AsyncGenerator<[string, ...unknown[]]> {
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  try {
    for await (const chunk of socket) {
      const lines = utf8.decode(chunk, { stream: true }).split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? "";
      if (rest.length > 16 << 20) throw new ProtocolError("protocol", `a message from ${path} is too long`);
      for (const line of lines) if (line.trim()) yield event(object(JSON.parse(line), `a message from ${path}`));
    }
  } catch (cause) {
    if (cause instanceof RuntimedError || (cause as NodeJS.ErrnoException).syscall) throw cause;
    throw new ProtocolError("protocol", `what answers at ${path} does not speak JSON`, { cause });
  }
  try {
    yield event(JSON.parse(rest));
  } catch {}
}

function event(message: Record<string, unknown>): [string, ...unknown[]] {
  const { id, method, params, error } = message;
  if (id === null && error) resultOf(message); // it may be about any call, so all get it
  if (method === "$/progress") return [`progress ${object(params, method).id}`, params];
  return typeof method === "string" ? ["notification", method, params] : [`reply ${JSON.stringify(id)}`, message];
}
