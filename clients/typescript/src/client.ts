import { randomUUID } from "node:crypto";
import { on, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Connection, type Request } from "./connection.js";
import { activate } from "./environ.js";
import { ConnectError, RequestTimeout, RuntimedError } from "./errors.js";
import { socketPath } from "./socket.js";
import { meet, type StartOptions, startDaemon } from "./start.js";
import * as wire from "./wire.js";

export interface ConnectOptions extends StartOptions {
  /** How long a call waits for its answer; 3 s by default. */
  timeoutMs?: number | undefined;
}

export interface CallOptions {
  /** In place of the client's own limit. */
  timeoutMs?: number | undefined;
  /** Ends the wait: the call rejects with the signal's reason, and the daemon is told. */
  signal?: AbortSignal | undefined;
}

export interface AcquireOptions extends CallOptions, wire.AcquireParams {
  /** Is told how far the build is that the call waits for. What it throws ends the call. */
  onProgress?: ((progress: wire.Progress) => void) | undefined;
}

// Harmless to ask again where an answer was lost; an acquire is by its key.
const repeatable =
  "daemon.info daemon.ping pool.status pool.acquire pool.release env.adopt env.list rpc.discover".split(" ");
const pauseMs = 200; // for a daemon that ends to write its last words
const mostHasty = 5; // times in a row that one may hang up at once
const longestTimer = 2 ** 31 - 1; // a longer one would fire at once

type Acquired = wire.EnvInfo & Omit<ReturnType<typeof wire.decodeAcquired>, "env">;
type Leased = string | { id: string };

const idOf = (env: Leased) => (typeof env === "string" ? env : env.id);

export interface Env extends Acquired {}

/** An environment that is leased: run its `python` with its `environ()`, then `release()` it. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the constructor assigns the members of the interface
export class Env {
  readonly #client: Client;

  /** @internal Client.acquire makes these. */
  constructor(members: Acquired, client: Client) {
    Object.assign(this, members);
    this.#client = client;
    client.held.add(this.id);
  }

  /** A copy of the variables in `base`, with this environment activated. */
  environ(base: Record<string, string | undefined> = process.env): Record<string, string> {
    return activate(base, this.variables, this.pathPrepend);
  }

  release(): Promise<void> {
    return this.#client.release(this);
  }

  /** Releases it, unless somebody has, or another process has adopted it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#client.held.has(this.id)) return;
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
  /** @internal The environments that the end of an `await using` block releases. */
  readonly held = new Set<string>();
  readonly #options: ConnectOptions;
  #connections: Connection[] = []; // the one that calls share, and one for each watch
  #shared: Connection | undefined;
  #met = false; // a daemon, when this client was made
  #closed: RuntimedError | undefined;

  private constructor(options: ConnectOptions) {
    this.#options = options;
    this.socket = options.socket ?? socketPath();
    this.timeoutMs = options.timeoutMs ?? 3000;
  }

  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const client = new Client(options);
    try {
      await (options.autostart ? meet(() => client.info(), options) : client.#connect().opened);
    } catch (error) {
      await client.close();
      throw error;
    }
    client.#met = true;
    return client;
  }

  /** Who the daemon is. One that speaks another version of the protocol is a ProtocolError. */
  info(options?: CallOptions): Promise<wire.DaemonInfo> {
    return this.#call({ method: "daemon.info", params: {}, decode: wire.decodeInfo }, options);
  }

  /** The pool of this name, or all pools. */
  status({ pool, ...options }: CallOptions & { pool?: string | undefined } = {}): Promise<wire.Status> {
    return this.#call({ method: "pool.status", params: { pool }, decode: wire.decodeStatus }, options);
  }

  /** Leases an environment, and waits for one if need be. The lease ends when it is released, or with its process. */
  async acquire({ timeoutMs = this.timeoutMs, signal, onProgress, ...asked }: AcquireOptions = {}): Promise<Env> {
    const { waitMs = 60_000, key = randomUUID() } = asked;
    const params = wire.toWire({ ...asked, waitMs, key, progress: onProgress && true });
    const progress = onProgress && ((told: unknown) => onProgress(wire.decodeProgress(told, "$/progress: params")));
    const unwanted = (result: unknown) => {
      const id = (result as { env?: { id?: unknown } } | undefined)?.env?.id;
      if (typeof id === "string") this.release(id).catch(() => {}); // nobody else knows that it is leased
    };
    const request = { method: "pool.acquire", params, decode: wire.decodeAcquired, progress, unwanted };
    const { env, ...told } = await this.#call(request, { timeoutMs: waitMs + timeoutMs, signal }).catch((error) => {
      throw wire.fromOlderDaemon(error);
    });
    return new Env({ ...env, ...told }, this);
  }

  async release(env: Leased, options?: CallOptions): Promise<void> {
    await this.call("pool.release", { env: idOf(env) }, options);
    this.held.delete(idOf(env));
  }

  /** Hands a lease to another process: it ends with that one, and no longer where an `await using` block does. */
  async adopt(env: Leased, ownerPid: number, options?: CallOptions): Promise<wire.EnvInfo> {
    const params = { env: idOf(env), owner_pid: ownerPid };
    const adopted = await this.#call({ method: "env.adopt", params, decode: wire.decodeEnv }, options);
    this.held.delete(idOf(env));
    return adopted.env;
  }

  /**
   * The status of all pools, now and after each change, until the loop is left. A watch has a connection of its own, and
   * ends with an error when that is lost.
   */
  async *watch({ timeoutMs, signal }: CallOptions = {}): AsyncIterableIterator<wire.Status> {
    signal?.throwIfAborted();
    const connection = this.#open();
    const abort = () => connection.end(signal?.reason);
    signal?.addEventListener("abort", abort);
    try {
      (await connection.opened).ref(); // keeps the process running
      const notifications = on(connection, "notification"); // from here on, so that none is missed
      const request = { method: "pool.watch", params: {}, decode: wire.decodeStatus };
      const { pools } = await this.#call(request, { timeoutMs, signal }, connection);
      const latest = new Map(pools.map((pool) => [pool.name, pool]));
      yield { pools };
      for await (const [method, params] of notifications) {
        if (method !== "pool.changed") continue;
        const { pool, gone } = wire.decodeChange(params, "pool.changed: params");
        latest.set(pool.name, pool);
        if (gone) latest.delete(pool.name);
        yield { pools: [...latest.values()] };
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      connection.end(new ConnectError("closed", "the watch has ended"));
    }
  }

  /** Any method by its name, with params and result as they travel. */
  call(method: string, params: object = {}, options?: CallOptions): Promise<unknown> {
    return this.#call({ method, params: { ...params }, decode: wire.anything }, options);
  }

  /** Closes the connections; calls that wait, and later ones, reject. Leases stay as they are. */
  async close(): Promise<void> {
    this.#closed ??= new ConnectError("closed", "this client is closed");
    for (const connection of this.#connections) connection.end(this.#closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Asks, and gives up when the time is over or the signal aborts. */
  async #call<T>(request: Request<T>, options: CallOptions = {}, connection?: Connection): Promise<T> {
    const { timeoutMs = this.timeoutMs, signal } = options;
    signal?.throwIfAborted();
    const control = new AbortController();
    const abort = () => control.abort(signal?.reason);
    const expire = () => {
      const message = `the daemon at ${this.socket} did not answer ${request.method} within ${timeoutMs} ms`;
      control.abort(new RequestTimeout("timeout", message, { hint: "look at runt doctor" }));
    };
    // After a busy spell timers run before sockets are read: setImmediate lets an answer that is there already win.
    const timer = setTimeout(() => setImmediate(expire), Math.min(timeoutMs, longestTimer));
    signal?.addEventListener("abort", abort);
    try {
      return await (connection ? connection.call(request, control) : this.#follow(request, control, timeoutMs));
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Asks; where the daemon is replaced meanwhile, asks the next one, with the same key. docs/protocol.md has the rule. */
  async #follow<T>(request: Request<T>, control: AbortController, timeoutMs: number): Promise<T> {
    const { method, params } = request;
    const acquires = method === "pool.acquire";
    const waitMs = acquires ? Number(params.wait_ms ?? 60_000) : 0;
    const lastMs = Number.isFinite(timeoutMs) ? timeoutMs : waitMs + 3000;
    const again = repeatable.includes(method) && !(acquires && params.key === undefined);
    const begun = performance.now();
    const passed = () => performance.now() - begun;
    let lost = "";
    for (let hasty = 0; ; ) {
      const since = passed();
      const left = acquires && lost ? { wait_ms: Math.max(0, Math.floor(waitMs - since)) } : {};
      try {
        return await this.#connect().call({ ...request, params: { ...params, ...left } }, control);
      } catch (error) {
        const kind = error instanceof RuntimedError ? error.kind : "";
        if (method === "pool.release" && lost === "closed" && kind === "unknown_env") return request.decode({}, method);
        hasty = kind === "closed" && passed() - since < 1000 ? hasty + 1 : 0;
        const follows = kind === "closed" || kind === "shutting_down" || (kind === "unreachable" && lost && this.#met);
        if (!follows || !again || this.#closed || hasty > mostHasty || passed() + pauseMs > lastMs) throw error;
        const starting = kind === "unreachable" && acquires && startDaemon(error as ConnectError, this.#options);
        await Promise.race([starting, once(control.signal, "abort")]);
        if (lost !== "closed") lost = kind;
      }
      await sleep(pauseMs, undefined, { signal: control.signal }).catch(() => {});
    }
  }

  #connect(): Connection {
    if (!this.#shared || this.#shared.error) this.#shared = this.#open();
    return this.#shared;
  }

  #open(): Connection {
    if (this.#closed) throw this.#closed;
    const connection = new Connection(this.socket);
    this.#connections = [...this.#connections.filter(({ error }) => !error), connection];
    return connection;
  }
}
