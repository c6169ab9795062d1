import { type ErrorData, ProtocolError, RPCError } from "./errors.js";

// What travels, each member written once: the decoders check it, and the types are made of them. Names are those of
// docs/protocol.md in camelCase; times stay RFC 3339 strings.

/** Makes a T of a value from the wire, or throws a ProtocolError that says which member is wrong. */
export type Decode<T> = (value: unknown, at: string) => T;

/** A text that is one of these, or another of a newer daemon. */
export type Open<Known extends string> = Known | (string & {});

function check<T>(what: string, fits: (value: unknown) => boolean): Decode<T> {
  return (value, at) => {
    if (fits(value)) return value as T;
    throw new ProtocolError(`${at} is ${value === undefined ? "missing" : `not ${what}`}`);
  };
}

export const anything = check<unknown>("", (value) => value !== undefined);
export const object = check<Record<string, unknown>>(
  "an object",
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
);
const array = check<unknown[]>("a list", Array.isArray);
const flag = check<boolean>("a boolean", (value) => typeof value === "boolean");
const count = check<number>("a number", (value) => typeof value === "number");
const text = check<string>("a text", (value) => typeof value === "string");
const oneOf = <Known extends string>() => text as Decode<Open<Known>>;

const list =
  <T>(item: Decode<T>): Decode<T[]> =>
  (value, at) =>
    array(value, at).map((one, i) => item(one, `${at}[${i}]`));

/** What an older daemon does not send is empty. */
const listOrNone =
  <T>(item: Decode<T>): Decode<T[]> =>
  (value, at) =>
    value === undefined ? [] : list(item)(value, at);

const dict =
  <T>(item: Decode<T>): Decode<Record<string, T>> =>
  (value, at) =>
    mapped(object(value, at), (name, one) => [name, item(one, `${at}.${name}`)]);

const unless =
  <T, N>(nothing: N, item: Decode<T>): Decode<T | N> =>
  (value, at) =>
    value === nothing ? nothing : item(value, at);

/** What an older daemon does not send is null too. */
const orNull =
  <T>(item: Decode<T>): Decode<T | null> =>
  (value, at) =>
    value === undefined || value === null ? null : item(value, at);

/** What an older daemon does not send is this. */
const orElse =
  <T>(missing: T, item: Decode<T>): Decode<T> =>
  (value, at) =>
    value === undefined ? missing : item(value, at);

/** An object with these members, under their wire names; others are ignored, since a newer daemon may have more. */
function record<M extends Record<string, Decode<unknown>>>(members: M): Decode<{ [K in keyof M]: ReturnType<M[K]> }> {
  return (value, at) => {
    const source = object(value, at);
    return mapped(members, (name, decode) => {
      const wire = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      return [name, decode(source[wire], `${at}.${wire}`)];
    }) as { [K in keyof M]: ReturnType<M[K]> };
  };
}

function mapped<T, R>(source: Record<string, T>, entry: (name: string, member: T) => [string, R]) {
  const entries = Object.entries(source).map(([name, member]) => entry(name, member));
  return Object.fromEntries(entries.filter(([, member]) => member !== undefined));
}

const info = record({
  name: text,
  version: text,
  protocol: count,
  pid: count,
  startedAt: text,
  socket: text,
  stateDir: text,
  configPath: text,
  uptimeMs: count,
  // An older daemon does not tell these: they are "" and false. One that a command started ends by itself when idle.
  startedBy: orElse("", oneOf<"service" | "command" | "hand">()),
  // Of its executable, which another file has replaced since, or not; a restart brings that one in.
  program: orElse("", text),
  replaced: orElse(false, flag),
  // A path, "journal", or "" where it runs on a terminal.
  log: orElse("", text),
});

const protocol = 1; // the number of the contract that this client knows

/** The number decides whether daemon and client understand each other, whatever their versions are. */
export const decodeInfo: typeof info = (value, at) => {
  const told = object(value, at);
  if (told.name === "runtimed" && typeof told.protocol === "number" && told.protocol !== protocol) {
    const older = told.protocol < protocol;
    const message = `the daemon (version ${told.version}) speaks protocol ${told.protocol}, and this client protocol ${protocol}`;
    throw new ProtocolError(`${message}: the ${older ? "daemon" : "client"} is too old`, {
      hint: older ? "restart it with: runt daemon restart" : "update runtimed-client",
    });
  }
  return info(told, at);
};

const poolError = record({
  // package_not_found, network, …: docs/protocol.md has the list.
  cause: text,
  message: text,
  hint: text,
  package: unless(undefined, text),
  output: unless(undefined, text),
  failures: count,
  since: text,
  // From now on; 0: a try is on.
  nextRetryMs: count,
});

const tool = record({
  name: oneOf<"uv" | "micromamba" | "mamba" | "conda" | "rattler">(),
  version: unless(undefined, text),
  // Of its executable.
  path: text,
  // This one was taken.
  why: text,
});

const poolStatus = record({
  name: text,
  kind: oneOf<"uv" | "conda">(),
  target: count,
  // What an acquire would get now.
  available: count,
  warming: count,
  leased: count,
  removing: count,
  waiting: count,
  state: oneOf<"ready" | "warming" | "failing" | "off">(),
  python: text,
  packages: list(text),
  // What builds its environments; null while none was looked for or found.
  tool: orNull(tool),
  // Why the last builds failed; null while they succeed.
  error: unless(null, poolError),
});

const packageInfo = record({ name: text, version: text });

const envInfo = record({
  id: text,
  pool: text,
  kind: oneOf<"uv" | "conda">(),
  path: text,
  // Absolute; runs as it is.
  python: text,
  pythonVersion: text,
  state: oneOf<"warming" | "ready" | "leased" | "removing">(),
  createdAt: text,
  packages: list(packageInfo),
  // What it was made to have beyond the packages of its pool.
  needs: listOrNone(text),
  // For the environment of a child; null takes the name out.
  variables: dict(unless(null, text)),
  // Goes before the child's PATH.
  pathPrepend: list(text),
});

export const decodeStatus = record({ pools: list(poolStatus) });
export const decodeChange = record({ pool: poolStatus, gone: unless(undefined, flag) });
export const decodeEnv = record({ env: envInfo });
export const decodeAcquired = record({
  env: envInfo,
  // Built while the call waited; extended: a ready one, to which was added; resumed: that of the session.
  source: oneOf<"ready" | "built" | "extended" | "resumed">(),
  // An environment of the configuration before, since none of the new one could be built.
  stale: flag,
  waitedMs: count,
  // What was installed for this call into a ready environment, and how long that took.
  added: listOrNone(packageInfo),
  addedMs: orElse(0, count),
});
export const decodeProgress = record({
  stage: oneOf<"queued" | "resolving" | "downloading" | "installing" | "compiling" | "verifying">(),
  message: text,
  // 0 to 1, where it can be told.
  fraction: unless(undefined, count),
});

export type DaemonInfo = ReturnType<typeof decodeInfo>;
export type PoolError = ReturnType<typeof poolError>;
/** The program that builds the environments of a pool. */
export type Tool = ReturnType<typeof tool>;
export type PoolStatus = ReturnType<typeof poolStatus>;
/** The pools in the order of the configuration. */
export type Status = ReturnType<typeof decodeStatus>;
/** One environment, and what it takes to activate it. */
export type EnvInfo = ReturnType<typeof envInfo>;
/** What a build is at while an acquire waits for it. */
export type Progress = ReturnType<typeof decodeProgress>;

/** The error of a reply. Its data are taken as they come, with names in camelCase, so that no detail of them hides the error. */
export function decodeError(value: unknown): RPCError {
  const { code, message, data } = object(value, "the error of a reply");
  const told = typeof data === "object" ? { ...data } : {};
  const camel = mapped(told as Record<string, unknown>, (name, member) => [
    name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    member,
  ]) as ErrorData;
  if (typeof camel.kind !== "string") camel.kind = "";
  return new RPCError(count(code, "the code of an error"), text(message, "the message of an error"), camel);
}
