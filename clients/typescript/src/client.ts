import { randomUUID } from "node:crypto";
import { EventEmitter, on, once } from "node:events";
import type { Socket } from "node:net";
import { resolve } from "node:path";
import { activate } from "./environ.js";
import { ConnectError, RuntimedError } from "./errors.js";
import { closed, dial } from "./socket.js";
import { connectOrStart, explainOld, type StartOptions, socketPath, within } from "./start.js";
import * as wire from "./wire.js";

export interface CallOptions {
  /** How long to wait for an answer; by default as long as the client does, and that by default 3 s. */
  timeoutMs?: number | undefined;
  /** Cancels the call, which rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

export type ConnectOptions = StartOptions & Pick<CallOptions, "timeoutMs">;

export interface AcquireOptions extends CallOptions, wire.AcquireParams {
  /** Gets the progress of the build that the call waits for. What it throws ends the call. */
  onProgress?: ((progress: wire.Progress) => void) | undefined;
}

interface Request<T> extends CallOptions {
  method: string;
  params?: Record<string, unknown>;
  decode: wire.Decode<T>;
  progress?: ((params: unknown) => Promise<void>) | undefined;
  /** Gets a result that arrives after the caller has given up, or that is malformed. */
  unwanted?: (result: unknown) => Promise<void>;
}

type Leased = string | { id: string };

const idOf = (env: Leased) => (typeof env === "string" ? env : env.id);

export interface Env extends wire.Acquired {}

/** An environment that is leased: run its `python` with its `environ()`, then `release()` it. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the constructor assigns the members of the interface
export class Env {
  readonly #client: Client;

  /** @internal Client.acquire makes these. */
  constructor(members: wire.Acquired, client: Client) {
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
  readonly #watchers = new Set<Client>();
  readonly #events = new EventEmitter().setMaxListeners(0).on("error", () => {}); // "error": the connection has ended
  #opened: Promise<Socket> | undefined; // the connection, while there is one
  #lastId = 0;
  #connected = false; // at least once
  #closed: unknown;

  private constructor(options: ConnectOptions) {
    this.#options = options;
    this.socket = options.socket ?? socketPath();
    this.timeoutMs = options.timeoutMs ?? 3000;
  }

  static async connect(options: ConnectOptions = {}): Promise<Client> {
    const client = new Client(options);
    const opening: Promise<unknown> = options.autostart ? connectOrStart(() => client.info(), options) : client.#open();
    await opening.catch(async (error: unknown) => {
      await client.close();
      throw error;
    });
    client.#connected = true;
    return client;
  }

  /** Who the daemon is. One that speaks another version of the protocol is a ProtocolError. */
  info(options?: CallOptions): Promise<wire.DaemonInfo> {
    return this.#call({ ...options, method: "daemon.info", decode: wire.decodeInfo });
  }

  /** The pool of this name, or all pools. */
  status({ pool, ...options }: CallOptions & { pool?: string | undefined } = {}): Promise<wire.Status> {
    return this.#call({ ...options, method: "pool.status", params: { pool }, decode: wire.decodeStatus });
  }

  /** Leases an environment, and waits for one if need be. The lease ends when it is released, or with its process. */
  async acquire({ timeoutMs = this.timeoutMs, signal, onProgress, ...asked }: AcquireOptions = {}): Promise<Env> {
    const { waitMs = 60_000, key = randomUUID(), project } = asked;
    const at = typeof project === "object" ? { ...project, path: resolve(project.path) } : project && resolve(project);
    const params = wire.toWire({ ...asked, waitMs, key, progress: onProgress && true, project: at });
    const progress = onProgress && (async (one: unknown) => onProgress(wire.decodeProgress(one, "$/progress")));
    const unwanted = (result: unknown) => this.release(wire.decodeLeased(result, "it").env.id);
    const request = { method: "pool.acquire", params, decode: wire.decodeAcquired, progress, unwanted };
    const { env, ...lease } = await this.#call({ ...request, timeoutMs: waitMs + timeoutMs, signal }).catch(explainOld);
    return new Env({ ...env, ...lease }, this);
  }

  async release(env: Leased, options?: CallOptions): Promise<void> {
    await this.call("pool.release", { env: idOf(env) }, options);
    this.held.delete(idOf(env));
  }

  /** Gives a lease to another process: it ends with that one, and no longer with an `await using` block. */
  async adopt(env: Leased, ownerPid: number, options?: CallOptions): Promise<wire.EnvInfo> {
    const params = { env: idOf(env), owner_pid: ownerPid };
    const adopted = await this.#call({ ...options, method: "env.adopt", params, decode: wire.decodeEnv });
    this.held.delete(idOf(env));
    return adopted.env;
  }

  /**
   * The status of all pools, now and after each change, until the loop is left. A watch has a connection of its own,
   * and ends with an error when that is lost.
   */
  async *watch({ timeoutMs, signal }: CallOptions = {}): AsyncIterableIterator<wire.Status> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    const watcher = new Client({ socket: this.socket, timeoutMs: this.timeoutMs });
    const abort = () => watcher.#end(signal?.reason);
    this.#watchers.add(watcher);
    signal?.addEventListener("abort", abort);
    try {
      (await watcher.#open()).ref(); // keeps the process running
      const notifications = on(watcher.#events, "notification"); // before the call, so that none is missed
      const { pools } = await watcher.#call({ timeoutMs, signal, method: "pool.watch", decode: wire.decodeStatus });
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
      this.#watchers.delete(watcher);
      await watcher.close();
    }
  }

  /** Any method by its name, with params and result as they travel. */
  call(method: string, params: object = {}, options?: CallOptions): Promise<unknown> {
    return this.#call({ ...options, method, params: { ...params }, decode: wire.anything });
  }

  /** Closes the connections; calls that wait, and later ones, reject. Leases stay as they are. */
  async close(): Promise<void> {
    this.#closed ??= new ConnectError("closed", "this client is closed");
    for (const watcher of this.#watchers) watcher.close();
    this.#end(this.#closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Asks this daemon, or the next one where this one ends. */
  #call<T>({ timeoutMs = this.timeoutMs, ...request }: Request<T>): Promise<T> {
    const call = { ...request, timeoutMs, socket: this.socket, connected: this.#connected };
    return within(call, this.#options, (params, control) => this.#ask({ ...request, params }, control));
  }

  /** Asks once. A call that `control` aborts is cancelled in the daemon too. */
  async #ask<T>({ method, params = {}, decode, progress, unwanted }: Request<T>, control: AbortController): Promise<T> {
    const id = ++this.#lastId;
    const replied = once(this.#events, `reply ${id}`).then(([message]) => wire.resultOf(message));
    const listener = (params: unknown) => progress?.(params).catch((error) => control.abort(error));
    this.#events.on(`progress ${id}`, listener);
    try {
      const opened = this.#open();
      const send = (message: object) => opened.then((socket) => socket.write(wire.line(message))).catch(() => {});
      send({ id, method, params });
      const result = await Promise.race([replied, once(control.signal, "abort")]);
      if (control.signal.aborted) send({ method: "$/cancelRequest", params: { id } });
      control.signal.throwIfAborted();
      return decode(result, `${method}: result`);
    } catch (error) {
      replied.then(unwanted).catch(() => {});
      if (this.#closed) control.abort(this.#closed); // there is no next daemon for this call
      throw error;
    } finally {
      this.#events.off(`progress ${id}`, listener);
    }
  }

  #open(): Promise<Socket> {
    if (this.#closed) throw this.#closed;
    const opened = this.#opened ?? dial(this.socket);
    if (!this.#opened) this.#read(opened);
    return opened;
  }

  async #read(opened: Promise<Socket>): Promise<void> {
    let error: unknown = closed(this.socket);
    this.#opened = opened;
    try {
      for await (const [event, ...args] of wire.events(await opened, this.socket)) this.#events.emit(event, ...args);
    } catch (cause) {
      error = cause instanceof RuntimedError ? cause : closed(this.socket, cause);
    }
    if (this.#opened === opened) this.#end(error);
  }

  /** Ends the connection; the next call makes a new one. */
  #end(error: unknown): void {
    this.#opened?.then((socket) => socket.destroy()).catch(() => {});
    this.#opened = undefined;
    this.#events.emit("error", error);
  }
}
