import { randomUUID } from "node:crypto";
import { on } from "node:events";
import { delimiter } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Connection, type Request } from "./connection.js";
import { ConnectError, ProtocolError, RPCError, RuntimedError } from "./errors.js";
import { socketPath } from "./path.js";
import { startDaemon } from "./start.js";
import {
  anything,
  type DaemonInfo,
  decodeAcquired,
  decodeChange,
  decodeEnv,
  decodeInfo,
  decodeStatus,
  type EnvInfo,
  type Progress,
  type Status,
} from "./wire.js";

export interface ConnectOptions {
  /** The path of the daemon's socket; by default the one that `socketPath` tells. */
  socket?: string | undefined;
  /** How long a call waits for its answer; 3 s by default. */
  timeoutMs?: number | undefined;
  /**
   * Have a daemon started where none can be reached, unless RUNTIMED_NO_START is set. It counts for `Client.connect`,
   * and for an acquire whose daemon ends while it waits: one that ends otherwise was ended.
   */
  autostart?: boolean | undefined;
  /** The path of the `runt` that starts it; by default the one on PATH, else in ~/.local/bin. */
  runt?: string | undefined;
}

export interface CallOptions {
  /** In place of the client's own limit. */
  timeoutMs?: number | undefined;
  /** Ends the wait: the call rejects with the signal's reason, and the daemon is told. */
  signal?: AbortSignal | undefined;
}

export interface AcquireOptions extends CallOptions {
  /** "uv" by default. */
  pool?: string | undefined;
  /** How long to wait for an environment, on top of the time limit of a call; 60 s by default, 0: not at all. */
  waitMs?: number | undefined;
  /** What `runt env list` shows for it. */
  label?: string | undefined;
  /** The process that the lease belongs to; this one by default. */
  ownerPid?: number | undefined;
  /** Asking again with the same key never holds a second environment; by default each call has a key of its own. */
  key?: string | undefined;
  /**
   * What the environment shall have beyond what its pool gives, as "pandas" or "rich>=13". Of pools of the kind uv only;
   * all that is asked for in these four ways counts together.
   */
  packages?: readonly string[] | undefined;
  /** The text of a requirements file. */
  requirements?: string | undefined;
  /** The text of a Python script with a PEP 723 block, or of that block. */
  script?: string | undefined;
  /** "3.12", ">=3.11,<3.14" or an absolute path; by default what the pool has. */
  python?: string | undefined;
  /** Who acquires with the same name after the owner has ended gets the same environment, as it was left. */
  session?: string | undefined;
  /** How long it stays for that: up to an hour, 60 s by default. */
  lingerMs?: number | undefined;
  /** Is told what the build that the call waits for is at. What it throws ends the call. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** What a refusal says where a daemon older than this client does not know a member: these are the words of every one. */
function ofOlderDaemon(error: unknown): RPCError | undefined {
  if (!(error instanceof RPCError) || error.kind !== "invalid_params") return undefined;
  if (error.message !== `unknown member ${error.data.param}`) return undefined;
  const hint = "the daemon is older than this client; bring the new one in with: runt daemon restart";
  return new RPCError(error.code, error.message, { ...error.data, hint });
}

// What is harmless to ask again where an answer was lost; an acquire is, by its key.
const repeated = [
  "daemon.info",
  "daemon.ping",
  "pool.status",
  "pool.acquire",
  "pool.release",
  "env.adopt",
  "env.list",
  "rpc.discover",
];
const pauseMs = 200; // a daemon that ends has its last words to write
const mostHasty = 5; // times in a row that one may hang up at once

/** Waits for it, or until the signal aborts: then it goes on by itself. */
async function unlessAborted(doing: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  let abort = () => {};
  const aborted = new Promise<void>((resolve) => {
    abort = resolve;
  });
  signal?.addEventListener("abort", abort);
  try {
    await Promise.race([doing, aborted]);
    signal?.throwIfAborted();
  } finally {
    signal?.removeEventListener("abort", abort);
    doing.catch(() => {}); // nobody else hears of it
  }
}

type Leased = string | { id: string };

const idOf = (env: Leased) => (typeof env === "string" ? env : env.id);

type Acquired = EnvInfo & Omit<ReturnType<typeof decodeAcquired>, "env">;

const Members = class {
  constructor(members: Acquired) {
    Object.assign(this, members);
  }
} as new (
  members: Acquired,
) => Acquired;

/** An environment that is leased: run its `python` with its `environ()`, then `release()` it. */
export class Env extends Members {
  readonly #client: Client;
  readonly #held: Set<string>;

  /** @internal Client.acquire makes these. */
  constructor(members: Acquired, client: Client, held: Set<string>) {
    super(members);
    this.#client = client;
    this.#held = held.add(this.id);
  }

  /** A copy of the variables in `base`, with this environment activated. */
  environ(base: Record<string, string | undefined> = process.env): Record<string, string> {
    const merged = { ...base, ...this.variables };
    if (this.pathPrepend.length > 0) {
      merged.PATH = [...this.pathPrepend, ...(merged.PATH ? [merged.PATH] : [])].join(delimiter);
    }
    const set = Object.entries(merged).filter(([, value]) => typeof value === "string");
    return Object.fromEntries(set) as Record<string, string>;
  }

  release(): Promise<void> {
    return this.#client.release(this);
  }

  /** Releases it, unless that has been done, by whomever, or another process has adopted it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#held.has(this.id)) return;
    await this.release().catch((error: RuntimedError) => {
      if (error.kind !== "unknown_env") throw error;
    });
  }
}

/** A client of runtimed. Calls may run side by side; when the connection is lost, the next call makes a new one. */
export class Client {
  /** The path of the daemon's socket. */
  readonly socket: string;
  readonly timeoutMs: number;
  #connection: Promise<Connection> | undefined; // what the calls share
  readonly #connections = new Set<Connection>(); // that one, and one for each watch
  readonly #held = new Set<string>(); // the environments that the end of an `await using` block releases
  readonly #start: (nobody: ConnectError) => Promise<void>;
  #met = false;
  #closed: RuntimedError | undefined;

  private constructor(options: ConnectOptions) {
    this.#start = async (nobody) => {
      if (!options.autostart || process.env.RUNTIMED_NO_START) return;
      await startDaemon(nobody, options);
    };
    this.socket = options.socket ?? socketPath();
    this.timeoutMs = options.timeoutMs ?? 3000;
  }

  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const client = new Client(options);
    if (options.autostart) await client.#meet();
    else await client.#connect();
    client.#met = true;
    return client;
  }

  /** Who the daemon is. One that speaks another version of the protocol is a ProtocolError. */
  async info(options?: CallOptions): Promise<DaemonInfo> {
    const info = await this.#call({ method: "daemon.info", params: {}, decode: decodeInfo }, options);
    if (info.name === "runtimed") return info;
    throw new ProtocolError(`what answers at ${this.socket} is not runtimed but ${info.name}`);
  }

  /** The pool of this name, or all pools. */
  status({ pool, ...options }: CallOptions & { pool?: string | undefined } = {}): Promise<Status> {
    return this.#call({ method: "pool.status", params: { pool }, decode: decodeStatus }, options);
  }

  /** Leases an environment, and waits for one if need be. The lease ends when it is released, or with its process. */
  async acquire(options: AcquireOptions = {}): Promise<Env> {
    const { pool, waitMs = 60_000, label, ownerPid, key = randomUUID(), onProgress, signal } = options;
    const { packages, requirements, script, python, session, lingerMs } = options;
    const how = { wait_ms: waitMs, label, owner_pid: ownerPid, key, session, linger_ms: lingerMs };
    const { env, ...told } = await this.#call(
      {
        method: "pool.acquire",
        params: { pool, packages, requirements, script, python, ...how, progress: onProgress && true },
        decode: decodeAcquired,
        onProgress,
        unwanted: (result) => this.#giveBack(result),
      },
      { timeoutMs: waitMs + (options.timeoutMs ?? this.timeoutMs), signal },
    ).catch((error: unknown) => {
      throw ofOlderDaemon(error) ?? error;
    });
    return new Env({ ...env, ...told }, this, this.#held);
  }

  async release(env: Leased, options?: CallOptions): Promise<void> {
    await this.call("pool.release", { env: idOf(env) }, options);
    this.#held.delete(idOf(env));
  }

  /** Hands a lease to another process: it ends with that one, and no longer where an `await using` block does. */
  async adopt(env: Leased, ownerPid: number, options?: CallOptions): Promise<EnvInfo> {
    const params = { env: idOf(env), owner_pid: ownerPid };
    const adopted = await this.#call({ method: "env.adopt", params, decode: decodeEnv }, options);
    this.#held.delete(idOf(env));
    return adopted.env;
  }

  /**
   * The status of all pools, now and after each change, until the loop is left. A watch has a connection of its own, and
   * ends with an error when that is lost.
   */
  async *watch({ timeoutMs: limitMs = this.timeoutMs, signal }: CallOptions = {}): AsyncIterableIterator<Status> {
    signal?.throwIfAborted();
    const connection = await this.#open();
    const abort = () => connection.end(signal?.reason);
    try {
      connection.keepAlive();
      signal?.addEventListener("abort", abort);
      const notifications = on(connection, "notification", { close: ["end"] }); // from here on, so that none is missed
      const request = { method: "pool.watch", params: {}, decode: decodeStatus, limitMs, signal };
      const { pools } = await connection.call(request);
      const latest = new Map(pools.map((pool) => [pool.name, pool]));
      yield { pools };
      for await (const [method, params] of notifications) {
        if (method !== "pool.changed") continue;
        const { pool, gone } = decodeChange(params, "pool.changed: params");
        latest.set(pool.name, pool);
        if (gone) latest.delete(pool.name);
        yield { pools: [...latest.values()] };
      }
      throw connection.error;
    } finally {
      signal?.removeEventListener("abort", abort);
      connection.end(new ConnectError("closed", "the watch has ended"));
    }
  }

  /** Any method by its name, with params and result as they travel. */
  call(method: string, params: object = {}, options?: CallOptions): Promise<unknown> {
    return this.#call({ method, params, decode: anything }, options);
  }

  /** Closes the connections; calls that wait, and later ones, reject. Leases stay as they are. */
  async close(): Promise<void> {
    this.#closed ??= new ConnectError("closed", "this client is closed");
    for (const connection of this.#connections) connection.end(this.#closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Asks; where the daemon is replaced meanwhile, asks the next one, with the same key. docs/protocol.md has the rule. */
  async #call<T>(request: Omit<Request<T>, "limitMs">, options: CallOptions = {}): Promise<T> {
    const { timeoutMs: limitMs = this.timeoutMs, signal } = options;
    const { method, params } = request;
    const { key, wait_ms = 60_000 } = params as { key?: unknown; wait_ms?: number };
    const acquires = method === "pool.acquire";
    const again = repeated.includes(method) && !(acquires && key === undefined);
    const begun = performance.now();
    const passed = () => performance.now() - begun;
    const lastMs = Number.isFinite(limitMs) ? limitMs : (acquires ? wait_ms : 0) + 3000;
    let asked = params;
    let lost = "";
    for (let hasty = 0; ; ) {
      signal?.throwIfAborted();
      const since = passed();
      try {
        const connection = await this.#connect();
        return await connection.call({
          ...request,
          params: asked,
          limitMs: lost ? limitMs - since : limitMs,
          signal,
        });
      } catch (error) {
        const kind = error instanceof RuntimedError ? error.kind : "";
        if (method === "pool.release" && lost === "closed" && kind === "unknown_env") return request.decode({}, method); // done before
        hasty = kind === "closed" && passed() - since < 1000 ? hasty + 1 : 0;
        const follows = kind === "closed" || kind === "shutting_down" || (kind === "unreachable" && lost && this.#met);
        if (!follows || !again || this.#closed || hasty > mostHasty || passed() + pauseMs > lastMs) throw error;
        if (kind === "unreachable" && acquires) await unlessAborted(this.#start(error as ConnectError), signal);
        if (!lost || kind === "closed") lost = kind;
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
      if (acquires) asked = { ...params, wait_ms: Math.max(0, Math.floor(wait_ms - passed())) };
    }
  }

  /** Has a daemon started where none can be reached, and makes sure who it is. */
  async #meet(): Promise<void> {
    try {
      await this.info().catch(async (nobody: RuntimedError) => {
        if (nobody.kind !== "unreachable" || process.env.RUNTIMED_NO_START) throw nobody;
        await this.#start(nobody as ConnectError);
        await this.info();
      });
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  #connect(): Promise<Connection> {
    if (!this.#connection) {
      const forget = () => {
        this.#connection = undefined;
      };
      this.#connection = this.#open();
      this.#connection.then((connection) => connection.once("end", forget), forget);
    }
    return this.#connection;
  }

  async #open(): Promise<Connection> {
    if (this.#closed) throw this.#closed;
    const connection = await Connection.open(this.socket);
    this.#connections.add(connection);
    connection.once("end", () => this.#connections.delete(connection));
    if (this.#closed) connection.end(this.#closed);
    return connection;
  }

  /** Releases an environment that arrived when its caller had given up: nobody else knows that it is leased. */
  #giveBack(result: unknown): void {
    const id = (result as { env?: { id?: unknown } }).env?.id;
    if (typeof id === "string") this.release(id).catch(() => {});
  }
}
