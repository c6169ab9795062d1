import { EventEmitter } from "node:events";
import { connect } from "node:net";
import { ConnectError, ProtocolError, RequestTimeout } from "./errors.js";
import { checkPath } from "./path.js";
import { hold, isTrusted } from "./trust.js";
import { type Decode, decodeError, decodeProgress, object, type Progress } from "./wire.js";

const newline = 0x0a;
const maxMessage = 16 << 20;
const maxTimer = 2 ** 31 - 1; // a longer one would fire at once

export interface Request<T> {
  method: string;
  params: object;
  decode: Decode<T>;
  limitMs: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Is given a result that nobody waits for any more, or that could not be decoded. */
  unwanted?: (result: unknown) => void;
}

/** A call whose reply has not come yet; its caller may have given up. */
interface Pending {
  reply: (message: Record<string, unknown>) => void;
  progress: (params: unknown) => void;
  fail: (reason: unknown) => void;
}

/** One connection: any number of calls at once, told apart by id. It ends once and is not used again. */
export class Connection extends EventEmitter<{ notification: [string, unknown]; end: [] }> {
  /** Why it has ended. */
  error: unknown;
  readonly #path: string;
  readonly #socket;
  readonly #pending = new Map<unknown, Pending>();
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true });
  #lastId = 0;
  #begun: Buffer[] = []; // the pieces of a line whose end has not come; a long one is put together once

  static async open(path: string): Promise<Connection> {
    // also where nobody listens: no daemon shall be started there
    const held = isTrusted(checkPath(process.platform, path)) ? hold(path) : undefined;
    const connection = new Connection(path, held?.path);
    await new Promise<void>((settle) => {
      connection.#socket.once("connect", settle);
      connection.once("end", settle);
    });
    held?.close();
    try {
      // what is there now is another than before
      if (!connection.error && !(held && isTrusted(path))) connection.end(connection.#lost());
    } catch (error) {
      connection.end(error);
    }
    if (connection.error) throw connection.error;
    return connection;
  }

  private constructor(path: string, held = path) {
    super();
    this.#path = path;
    this.#socket = connect({ path: held });
    this.#socket.on("connect", () => this.#socket.unref()); // a call that waits keeps the process running, by its timer
    this.#socket.on("data", (chunk) => this.#read(chunk));
    this.#socket.on("end", () => {
      try {
        this.#receive(Buffer.concat(this.#begun)); // a last line without its newline counts, unless it was cut off in the middle
      } catch {}
    });
    this.#socket.on("error", (error) => this.end(this.#lost(error)));
    this.#socket.on("close", () => this.end(this.#lost()));
  }

  #lost(cause?: NodeJS.ErrnoException): ConnectError {
    if (cause?.syscall !== "connect") {
      const hint = "try again: the next call connects anew";
      return new ConnectError("closed", `the daemon closed the connection at ${this.#path}`, { hint, cause });
    }
    const foreign = cause.code === "EACCES" || cause.code === "EPERM";
    const hint = foreign ? "run as the user whose daemon it is" : "start it with runt daemon start";
    const message = `the daemon cannot be reached at ${this.#path}: ${cause.code}`;
    return new ConnectError("unreachable", message, { hint, cause });
  }

  /** Keeps the process running until this ends. */
  keepAlive(): void {
    this.#socket.ref();
  }

  call<T>({ method, params, decode, limitMs, signal, onProgress, unwanted }: Request<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.error) throw this.error;
      const id = ++this.#lastId;
      let waiting = true;
      const settle = () => {
        waiting = false;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const fail = (reason: unknown) => {
        settle();
        reject(reason);
      };
      const giveUp = (reason: unknown) => {
        if (!waiting) return;
        fail(reason);
        this.#send({ method: "$/cancelRequest", params: { id } });
      };
      const abort = () => giveUp(signal?.reason);
      const expire = () => {
        const message = `the daemon at ${this.#path} did not answer ${method} within ${limitMs} ms`;
        giveUp(new RequestTimeout("timeout", message, { hint: "look at runt doctor" }));
      };
      // After a busy spell timers run before sockets are read: setImmediate lets an answer that is there already win.
      const timer = setTimeout(() => setImmediate(expire), Math.min(limitMs, maxTimer));
      signal?.addEventListener("abort", abort);

      this.#pending.set(id, {
        fail,
        reply: ({ result, error }) => {
          let wanted = waiting;
          settle();
          try {
            if (error) throw decodeError(error);
            resolve(decode(result, `${method}: result`));
          } catch (reason) {
            wanted = false;
            reject(reason);
          }
          if (!wanted && result) unwanted?.(result);
        },
        progress: (params) => {
          try {
            if (waiting) onProgress?.(decodeProgress(params, "$/progress: params"));
          } catch (reason) {
            giveUp(reason);
          }
        },
      });
      this.#send({ id, method, params });
    });
  }

  end(error: unknown): void {
    if (this.error) return;
    this.error = error;
    this.#socket.destroy();
    for (const { fail } of this.#pending.values()) fail(error);
    this.emit("end");
  }

  #send(message: object): void {
    this.#socket.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  /** Cuts what comes into lines, as bytes: a chunk may end in the middle of a character. */
  #read(chunk: Buffer): void {
    try {
      let rest = chunk;
      for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
        const line = Buffer.concat([...this.#begun, rest.subarray(0, end)]);
        this.#begun = [];
        rest = rest.subarray(end + 1);
        this.#receive(line);
      }
      this.#begun.push(rest);
      if (this.#begun.reduce((sum, { length }) => sum + length, 0) > maxMessage)
        throw new ProtocolError(`a message from ${this.#path} is longer than ${maxMessage} bytes`);
    } catch (error) {
      this.end(error);
    }
  }

  #receive(line: Buffer): void {
    let value: unknown;
    try {
      const text = this.#utf8.decode(line);
      if (text.trim() === "") return;
      value = JSON.parse(text);
    } catch (cause) {
      throw new ProtocolError(`what answers at ${this.#path} does not speak JSON`, { cause });
    }
    const message = object(value, `a message from ${this.#path}`);
    const { id, method, params, error } = message;
    if (typeof method === "string") {
      if (id !== undefined) return; // a request to us; there are none in this protocol
      if (method === "$/progress") this.#pending.get(object(params, method).id)?.progress(params);
      else this.emit("notification", method, params);
    } else if (id === null && error) {
      this.end(decodeError(error)); // it could not tell which call it was, so it is said to all
    } else {
      this.#pending.get(id)?.reply(message);
      this.#pending.delete(id);
    }
  }
}
