import { type ErrorData, ProtocolError, RPCError } from "./errors.js";

// The results of rpc/api.go as TypeScript has them: the same members in camelCase. Times stay RFC 3339 strings.

/** A text that is one of these, or another of a newer daemon. */
export type Open<Known extends string> = Known | (string & {});

/** The result of `daemon.info`. */
export interface DaemonInfo {
  name: string;
  version: string;
  protocol: number;
  pid: number;
  startedAt: string;
  socket: string;
  stateDir: string;
  configPath: string;
  uptimeMs: number;
}

/** The result of `pool.status`: the pools in the order of the configuration. */
export interface Status {
  pools: PoolStatus[];
}

/** One pool, as `pool.status` counts it. */
export interface PoolStatus {
  name: string;
  kind: Open<"uv" | "conda">;
  target: number;
  /** What an acquire would get now. */
  available: number;
  warming: number;
  leased: number;
  removing: number;
  waiting: number;
  state: Open<"ready" | "warming" | "failing" | "off">;
  python: string;
  packages: string[];
  /** Why the last builds failed; null while they succeed. */
  error: PoolError | null;
}

export interface PoolError {
  /** package_not_found, network, …: docs/protocol.md has the list. */
  cause: string;
  message: string;
  hint: string;
  package?: string;
  output?: string;
  failures: number;
  since: string;
  /** From now on; 0: a try is on. */
  nextRetryMs: number;
}

/** One environment, and what it takes to activate it. */
export interface EnvInfo {
  id: string;
  pool: string;
  kind: Open<"uv" | "conda">;
  path: string;
  /** Absolute; runs as it is. */
  python: string;
  pythonVersion: string;
  state: Open<"warming" | "ready" | "leased" | "removing">;
  createdAt: string;
  packages: { name: string; version: string }[];
  /** For the environment of a child; null takes the name out. */
  variables: Record<string, string | null>;
  /** Goes before the child's PATH. */
  pathPrepend: string[];
}

/** The result of `pool.acquire`. */
export interface Acquired {
  env: EnvInfo;
  source: Open<"ready" | "built">;
  /** An environment of the configuration before, since none of the new one could be built. */
  stale: boolean;
  waitedMs: number;
}

/** What a build is at while an acquire waits for it. */
export interface Progress {
  stage: Open<"queued" | "resolving" | "downloading" | "installing" | "compiling" | "verifying">;
  message: string;
  /** 0 to 1, where it can be told. */
  fraction?: number;
}

const toWire = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const toCamel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Makes a T of a value from the wire, or throws a ProtocolError that says which member is wrong. */
export type Decode<T> = (value: unknown, at: string) => T;

function basic<T>(sample: T): Decode<T> {
  return (value, at) => {
    if (typeof value === typeof sample) return value as T;
    throw new ProtocolError(`${at} is ${value === undefined ? "missing" : `not a ${typeof sample}`}`);
  };
}

/** Whatever there is. */
export const anything: Decode<unknown> = (value, at) => {
  if (value === undefined) throw new ProtocolError(`${at} is missing`);
  return value;
};

const text = basic("");
const count = basic(0);
const flag = basic<boolean>(false);

function list<T>(item: Decode<T>): Decode<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw new ProtocolError(`${at} is not a list`);
    return value.map((one, i) => item(one, `${at}[${i}]`));
  };
}

function dict<T>(item: Decode<T>): Decode<Record<string, T>> {
  return (value, at) => {
    const entries = Object.entries(object(value, at));
    return Object.fromEntries(entries.map(([name, one]) => [name, item(one, `${at}.${name}`)]));
  };
}

function nullable<T>(item: Decode<T>): Decode<T | null> {
  return (value, at) => (value === null ? null : item(value, at));
}

function optional<T>(item: Decode<T>): Decode<T | undefined> {
  return (value, at) => (value === undefined ? undefined : item(value, at));
}

/** An object with these members, under their wire names; others are ignored, since a newer daemon may have more. */
function record<T>(members: { [K in keyof T]-?: Decode<T[K]> }): Decode<T> {
  const fields = Object.entries<Decode<unknown>>(members).map(
    ([name, decode]) => [name, toWire(name), decode] as const,
  );
  return (value, at) => {
    const source = object(value, at);
    const result = fields.map(([name, wire, decode]) => [name, decode(source[wire], `${at}.${wire}`)]);
    return Object.fromEntries(result.filter(([, member]) => member !== undefined)) as T;
  };
}

export function object(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError(`${at} is ${value === undefined ? "missing" : "not an object"}`);
  }
  return value as Record<string, unknown>;
}

export const decodeInfo = record<DaemonInfo>({
  name: text,
  version: text,
  protocol: count,
  pid: count,
  startedAt: text,
  socket: text,
  stateDir: text,
  configPath: text,
  uptimeMs: count,
});

const poolStatus = record<PoolStatus>({
  name: text,
  kind: text,
  target: count,
  available: count,
  warming: count,
  leased: count,
  removing: count,
  waiting: count,
  state: text,
  python: text,
  packages: list(text),
  error: nullable(
    record<PoolError>({
      cause: text,
      message: text,
      hint: text,
      package: optional(text),
      output: optional(text),
      failures: count,
      since: text,
      nextRetryMs: count,
    }),
  ),
});

const envInfo = record<EnvInfo>({
  id: text,
  pool: text,
  kind: text,
  path: text,
  python: text,
  pythonVersion: text,
  state: text,
  createdAt: text,
  packages: list(record({ name: text, version: text })),
  variables: dict(nullable(text)),
  pathPrepend: list(text),
});

export const decodeStatus = record<Status>({ pools: list(poolStatus) });
export const decodeChanged = record<{ pool: PoolStatus }>({ pool: poolStatus });
export const decodeEnv = record<{ env: EnvInfo }>({ env: envInfo });
export const decodeAcquired = record<Acquired>({ env: envInfo, source: text, stale: flag, waitedMs: count });
export const decodeProgress = record<Progress>({ stage: text, message: text, fraction: optional(count) });

/** The error of a reply. Its data are taken as they come, with names in camelCase, so that no detail of them hides the error. */
export function decodeError(value: unknown): RPCError {
  const error = object(value, "the error of a reply");
  const told = typeof error.data === "object" ? Object.entries(error.data ?? {}) : [];
  const data = Object.fromEntries(told.map(([name, member]) => [toCamel(name), member])) as ErrorData;
  if (typeof data.kind !== "string") data.kind = "";
  return new RPCError(
    count(error.code, "the code of an error"),
    text(error.message, "the message of an error"),
    data,
  );
}
