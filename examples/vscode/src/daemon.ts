// The wire, through the library of VS Code's own protocols, whose framing the daemon knows. Nothing here needs VS Code,
// and a cancellation token of VS Code fits.
import { once } from "node:events";
import { connect } from "node:net";
import { Client, socketPath } from "runtimed-client";
import {
  type CancellationToken,
  createMessageConnection,
  type Disposable,
  ErrorCodes,
  type MessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";

const limitMs = 3000; // for an answer, since a daemon may hang
const protocol = 1;

/** The members that are used, as they travel; docs/protocol.md has all of them. */
export interface Pool {
  name: string;
  state: string;
  available: number;
  target: number;
  warming: number;
  leased: number;
  error: { message: string; hint: string } | null;
}

export interface Env {
  id: string;
  pool: string;
  python_version: string;
  /** Null takes the name out. */
  variables: Record<string, string | null>;
  path_prepend: string[];
}

export interface Progress {
  stage: string;
  message: string;
  fraction?: number;
}

export interface Where {
  socket?: string | undefined;
  runt?: string | undefined;
}

/** Starts a daemon if there is none. */
export async function ensureDaemon({ socket, runt }: Where): Promise<void> {
  const client = await Client.connect({ socket, runt: runt || undefined, autostart: true });
  await client.close();
}

/** One connection. It ends once and is not used again. */
export class Daemon implements Disposable {
  readonly #connection: MessageConnection;
  readonly #closed: Promise<never>;

  static async dial(socket = socketPath(), waitMs = limitMs): Promise<Daemon> {
    const stream = connect({ path: socket });
    await once(stream, "connect");
    const connection = createMessageConnection(new StreamMessageReader(stream), new StreamMessageWriter(stream));
    const daemon = new Daemon(connection, () => stream.destroy());
    try {
      const client = { name: "vscode", version: "0.1.0" };
      const info = await daemon.ask<{ name?: string; protocol?: number }>("daemon.info", { client }, waitMs);
      if (info.name !== "runtimed") throw new Error(`what answers at ${socket} is not runtimed`);
      if (info.protocol !== protocol) {
        throw new Error(`the daemon speaks protocol ${info.protocol}, and this extension ${protocol}`);
      }
      return daemon;
    } catch (error) {
      daemon.dispose();
      throw error;
    }
  }

  private constructor(connection: MessageConnection, hangUp: () => void) {
    this.#connection = connection;
    this.#closed = new Promise((_, reject) => {
      connection.onClose(() => {
        reject(new Error("the daemon has closed the connection"));
        connection.dispose();
      });
      connection.onDispose(() => {
        reject(new Error("this connection was closed")); // the library does not reject calls that wait
        hangUp();
      });
    });
    this.#closed.catch(() => {}); // not every caller waits for it
    connection.onError(() => {}); // a close follows
    connection.listen();
  }

  /** Rejects when the connection ends. */
  get closed(): Promise<never> {
    return this.#closed;
  }

  /** Calls a method by its name. A call that takes too long ends the connection. */
  async ask<T>(method: string, params: object = {}, waitMs = limitMs, token?: CancellationToken): Promise<T> {
    const late = new Error(`the daemon did not answer ${method} within ${waitMs} ms`);
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(late), waitMs);
    });
    try {
      // An undefined token would travel as a second param.
      const answer = token
        ? this.#connection.sendRequest<T>(method, params, token)
        : this.#connection.sendRequest<T>(method, params);
      return await Promise.race([answer, this.#closed, expired]);
    } catch (error) {
      if (error === late) this.dispose();
      if (lost(error)) throw new Error("the daemon has closed the connection", { cause: error });
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** All pools, now and after each change, until the connection ends. */
  async watch(show: (pools: Pool[]) => void): Promise<never> {
    const latest = new Map<string, Pool>();
    this.#connection.onNotification("pool.changed", ({ pool, gone }: { pool: Pool; gone?: boolean }) => {
      latest.set(pool.name, pool);
      if (gone) latest.delete(pool.name);
      show([...latest.values()]);
    });
    const { pools } = await this.ask<{ pools: Pool[] }>("pool.watch");
    for (const pool of pools) latest.set(pool.name, pool);
    show(pools);
    return this.#closed;
  }

  /**
   * Leases an environment. A progress notification names the request by its id, which this library hides: use a
   * connection for each acquire.
   */
  async acquire(
    params: { pool: string; wait_ms: number; label: string },
    onProgress: (progress: Progress) => void,
    token?: CancellationToken,
  ): Promise<Env> {
    const listening = this.#connection.onNotification("$/progress", onProgress);
    try {
      const waitMs = params.wait_ms + limitMs;
      const { env } = await this.ask<{ env: Env }>("pool.acquire", { ...params, progress: true }, waitMs, token);
      if (!token?.isCancellationRequested) return env;
      await this.release(env.id); // the answer and the cancellation crossed
      throw new Error("the request was cancelled");
    } finally {
      listening.dispose();
    }
  }

  async adopt(env: string, ownerPid: number): Promise<void> {
    await this.ask("env.adopt", { env, owner_pid: ownerPid });
  }

  async release(env: string): Promise<void> {
    await this.ask("pool.release", { env });
  }

  dispose(): void {
    this.#connection.dispose();
  }
}

/** Whether the library says that the connection is gone. */
function lost(error: unknown): boolean {
  const codes: number[] = [ErrorCodes.MessageWriteError, ErrorCodes.PendingResponseRejected];
  return error instanceof ResponseError && codes.includes(error.code);
}

/** An error as a user may read it: what is wrong, and the next step. */
export function describe(error: unknown): string {
  const { message } = error as Error;
  const hint = error instanceof ResponseError ? error.data?.hint : (error as { hint?: string }).hint;
  return hint ? `${message}: ${hint}` : message;
}
