import { randomUUID } from "node:crypto";
import { Connection, type Request } from "./connection.js";
import { Env } from "./env.js";
import { ConnectError, ProtocolError, RPCError, type RuntimedError } from "./errors.js";
import { socketPath } from "./path.js";
import { watch } from "./watch.js";
import {
  anything,
  type DaemonInfo,
  decodeAcquired,
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
}

export interface CallOptions {
  /** In place of the client's own limit. */
  timeoutMs?: number | undefined;
  /** Ends the wait: the call rejects with the signal's reason, and the daemon is told. */
  signal?: AbortSignal | undefined;
}

export interface StatusOptions extends CallOptions {
  pool?: string | undefined;
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
  /** Is told what the build that the call waits for is at. What it throws ends the call. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

type Leased = string | { id: string };

const idOf = (env: Leased) => (typeof env === "string" ? env : env.id);

/** A client of runtimed. Calls may run side by side; when the connection is lost, the next call makes a new one. */
export class Client {
  /** The path of the daemon's socket. */
  readonly socket: string;
  readonly timeoutMs: number;
  #connection: Promise<Connection> | undefined; // what the calls share
  readonly #connections = new Set<Connection>(); // that one, and one for each watch
  readonly #held = new Set<string>(); // the environments that the end of an `await using` block releases
  #closed: RuntimedError | undefined;

  private constructor(options: ConnectOptions) {
    this.socket = options.socket ?? socketPath();
    this.timeoutMs = options.timeoutMs ?? 3000;
  }

  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const client = new Client(options);
    await client.#connect();
    return client;
  }

  async info(options?: CallOptions): Promise<DaemonInfo> {
    const info = await this.#call({ method: "daemon.info", params: {}, decode: decodeInfo }, options);
    if (info.name === "runtimed") return info;
    throw new ProtocolError(`what answers at ${this.socket} is not runtimed but ${info.name}`);
  }

  /** The pool of this name, or all pools. */
  status({ pool, ...options }: StatusOptions = {}): Promise<Status> {
    return this.#call({ method: "pool.status", params: { pool }, decode: decodeStatus }, options);
  }

  /** Leases an environment, and waits for one if need be. The lease ends when it is released, or with its process. */
  async acquire(options: AcquireOptions = {}): Promise<Env> {
    const { pool, waitMs = 60_000, label, ownerPid, key = randomUUID(), onProgress } = options;
    const { timeoutMs = this.timeoutMs, signal } = options;
    const progress = onProgress && true;
    const acquired = await this.#call(
      {
        method: "pool.acquire",
        params: { pool, wait_ms: waitMs, label, owner_pid: ownerPid, key, progress },
        decode: decodeAcquired,
        onProgress,
        unwanted: (result) => this.#giveBack(result),
      },
      { timeoutMs: waitMs + timeoutMs, signal },
    );
    this.#held.add(acquired.env.id);
    return new Env(acquired, this);
  }

  async release(env: Leased, options?: CallOptions): Promise<void> {
    await this.call("pool.release", { env: idOf(env) }, options);
    this.#held.delete(idOf(env));
  }

  /** @internal Releases it, unless that has been done, by whomever, or another process has adopted it. For `await using`. */
  async releaseIfHeld(env: Leased): Promise<void> {
    if (!this.#held.delete(idOf(env))) return;
    await this.release(env).catch((error) => {
      if (!(error instanceof RPCError && error.kind === "unknown_env")) throw error;
    });
  }

  /** Hands a lease to another process: it ends with that one, and no longer where an `await using` block does. */
  async adopt(env: Leased, ownerPid: number, options?: CallOptions): Promise<EnvInfo> {
    const params = { env: idOf(env), owner_pid: ownerPid };
    const adopted = await this.#call({ method: "env.adopt", params, decode: decodeEnv }, options);
    this.#held.delete(idOf(env));
    return adopted.env;
  }

  /**
   * The status of all pools, now and after each change, until the loop is left. A slow reader may miss old ones,
   * never the last. A watch has a connection of its own, and ends with an error when that is lost.
   */
  watch(options: CallOptions = {}): AsyncIterableIterator<Status> {
    const { timeoutMs = this.timeoutMs, signal } = options;
    return watch(() => this.#open(), timeoutMs, signal);
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

  async #call<T>(request: Omit<Request<T>, "limitMs" | "signal">, options: CallOptions = {}): Promise<T> {
    const { timeoutMs: limitMs = this.timeoutMs, signal } = options;
    signal?.throwIfAborted();
    const connection = await this.#connect();
    return connection.call({ ...request, limitMs, signal });
  }

  #connect(): Promise<Connection> {
    if (!this.#connection) {
      const opening = this.#open();
      const forget = () => {
        if (this.#connection === opening) this.#connection = undefined;
      };
      opening.then((connection) => connection.whenEnded(forget), forget);
      this.#connection = opening;
    }
    return this.#connection;
  }

  async #open(): Promise<Connection> {
    if (this.#closed) throw this.#closed;
    const connection = await Connection.open(this.socket);
    this.#connections.add(connection);
    connection.whenEnded(() => this.#connections.delete(connection));
    if (this.#closed) connection.end(this.#closed);
    return connection;
  }

  /** Releases an environment that arrived when its caller had given up: nobody else knows that it is leased. */
  #giveBack(result: unknown): void {
    const id = (result as { env?: { id?: unknown } }).env?.id;
    if (typeof id === "string") this.release(id).catch(() => {});
  }
}
