import { setMaxListeners } from "node:events";
import { connect, type Socket } from "node:net";
import { ConnectError, ProtocolError, RequestTimeout, type RuntimedError } from "./errors.js";
import { checkLength } from "./path.js";
import { type Decode, decodeError, decodeProgress, object, type Progress } from "./wire.js";

const newline = 0x0a;
const maxMessage = 16 << 20;
const maxTimer = 2 ** 31 - 1; // a longer one would fire at once

export interface Request<T> {
  method: string;
  params: unknown;
  limitMs: number;
  /** Called while the reply is being read, and so before any message that follows it. */
  decode: Decode<T>;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Is given a result that nobody waits for any more, or that could not be decoded. */
  unwanted?: (result: unknown) => void;
}

/** A call that waits for its reply. */
interface Pending {
  reply: (message: Record<string, unknown>) => void;
  progress: (params: unknown) => void;
  fail: (reason: unknown) => void;
}

const encode = (message: object) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;

/** One connection: any number of calls at once, told apart by id. It ends once and is not used again. */
export class Connection {
  /** Is told of each notification; a ProtocolError from it ends the connection. */
  onNotification: (method: string, params: unknown) => void = () => {};

  readonly #path: string;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #late = new Map<number, (result: unknown) => void>();
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true });
  #lastId = 0;
  #line: Buffer[] = []; // the pieces of a line whose end has not come yet
  #lineLength = 0;
  #ended: RuntimedError | undefined;
  readonly #whenEnded: ((error: RuntimedError) => void)[] = [];

  static open(path: string): Promise<Connection> {
    checkLength(process.platform, path);
    return new Promise((resolve, reject) => {
      const socket = connect({ path });
      const refused = (cause: NodeJS.ErrnoException) => {
        const foreign = cause.code === "EACCES" || cause.code === "EPERM";
        const hint = foreign ? "run as the user whose daemon it is" : "start it with runt daemon start";
        const message = `the daemon cannot be reached at ${path}: ${cause.code ?? cause.message}`;
        reject(new ConnectError("unreachable", message, { hint, cause }));
      };
      socket.once("error", refused);
      socket.once("connect", () => {
        socket.off("error", refused);
        resolve(new Connection(path, socket));
      });
    });
  }

  private constructor(path: string, socket: Socket) {
    this.#path = path;
    this.#socket = socket;
    let cause: Error | undefined;
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("end", () => this.#readRest());
    socket.on("error", (error) => {
      cause = error;
    });
    socket.on("close", () => {
      const hint = "try again: the next call connects anew";
      this.end(new ConnectError("closed", `the daemon closed the connection at ${path}`, { hint, cause }));
    });
    this.keepAlive(false);
  }

  /** Whether the open connection keeps the process running. Waiting calls do so in any case, by their timers. */
  keepAlive(yes: boolean): void {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  call<T>({ method, params, limitMs, decode, signal, onProgress, unwanted }: Request<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#ended) return reject(this.#ended);
      const id = ++this.#lastId;
      const line = encode({ id, method, params });

      const settle = (how: () => void) => {
        if (!this.#pending.delete(id)) return;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        how();
      };
      const giveUp = (reason: unknown) =>
        settle(() => {
          if (unwanted) this.#late.set(id, unwanted);
          this.#socket.write(encode({ method: "$/cancelRequest", params: { id } }));
          reject(reason);
        });
      const abort = () => giveUp(signal?.reason);
      const expire = () => {
        const message = `the daemon at ${this.#path} did not answer ${method} within ${limitMs} ms`;
        giveUp(new RequestTimeout("timeout", message, { hint: "look at runt doctor" }));
      };
      // After a busy spell timers run before sockets are read: setImmediate lets an answer that is there already win.
      const timer = setTimeout(() => setImmediate(expire), Math.min(limitMs, maxTimer));
      signal?.addEventListener("abort", abort);
      if (signal) setMaxListeners(0, signal); // many calls may share one, which is no leak

      this.#pending.set(id, {
        reply: ({ result, error }) =>
          settle(() => {
            try {
              if (error) throw decodeError(error);
              resolve(decode(result, `${method}: result`));
            } catch (reason) {
              if (result) unwanted?.(result);
              reject(reason);
            }
          }),
        progress: (params) => {
          try {
            onProgress?.(decodeProgress(params, "$/progress: params"));
          } catch (reason) {
            giveUp(reason);
          }
        },
        fail: (reason) => settle(() => reject(reason)),
      });
      this.#socket.write(line);
    });
  }

  whenEnded(tell: (error: RuntimedError) => void): void {
    this.#whenEnded.push(tell);
  }

  end(error: RuntimedError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const call of [...this.#pending.values()]) call.fail(error);
    this.#late.clear();
    this.#socket.destroy();
    for (const tell of this.#whenEnded) tell(error);
  }

  /** Cuts what comes into lines, as bytes: a chunk may end in the middle of a character. */
  #read(chunk: Buffer): void {
    let start = 0;
    while (!this.#ended) {
      const end = chunk.indexOf(newline, start);
      const piece = chunk.subarray(start, end < 0 ? undefined : end);
      this.#line.push(piece);
      this.#lineLength += piece.length;
      if (this.#lineLength > maxMessage) {
        this.end(new ProtocolError(`a message from ${this.#path} is longer than ${maxMessage} bytes`));
        return;
      }
      if (end < 0) return;
      const line = Buffer.concat(this.#line);
      this.#line = [];
      this.#lineLength = 0;
      start = end + 1;
      try {
        this.#receive(line);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.end(error);
      }
    }
  }

  /** A last line without its newline counts, unless it was cut off in the middle. */
  #readRest(): void {
    try {
      this.#receive(Buffer.concat(this.#line));
    } catch {}
  }

  #receive(line: Buffer): void {
    let value: unknown;
    try {
      const text = this.#utf8.decode(line);
      if (text.trim() === "") return;
      value = JSON.parse(text);
    } catch (cause) {
      throw new ProtocolError(`what answers at ${this.#path} does not speak JSON`, cause);
    }
    const message = object(value, `a message from ${this.#path}`);
    if (message.jsonrpc !== "2.0")
      throw new ProtocolError(`a message from ${this.#path} is not JSON-RPC 2.0`);
    const { id, method, params, result, error } = message;
    if (typeof method === "string") {
      if (id !== undefined) return; // a request to us; there are none in this protocol
      if (method === "$/progress") this.#pending.get(object(params, method).id as number)?.progress(params);
      else this.onNotification(method, params);
    } else if (id === null && error) {
      this.end(decodeError(error)); // it could not tell which call it was, so it is said to all
    } else {
      this.#pending.get(id as number)?.reply(message);
      if (result) this.#late.get(id as number)?.(result);
      this.#late.delete(id as number);
    }
  }
}
