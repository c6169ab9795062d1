import { EventEmitter, once } from "node:events";
import type { Socket } from "node:net";
import { ProtocolError, RuntimedError } from "./errors.js";
import { closed, dial } from "./socket.js";
import { type Decode, object, resultOf } from "./wire.js";

const longest = 16 << 20; // a message, in characters

export interface Request<T> {
  method: string;
  params: Record<string, unknown>;
  decode: Decode<T>;
  /** Is told the params of each `$/progress`. What it throws ends the call. */
  progress?: ((params: unknown) => void) | undefined;
  /** Is given a result that comes when the caller has given up, or that cannot be understood. */
  unwanted?: (result: unknown) => void;
}

/** One connection: any number of calls at once, told apart by id. It ends once, with the event "error". */
export class Connection extends EventEmitter {
  readonly opened: Promise<Socket>;
  error: unknown;
  #lastId = 0;

  constructor(path: string) {
    super();
    this.setMaxListeners(0).on("error", () => {}); // there may be no call to tell
    this.opened = dial(path);
    this.#read(path).then(
      () => this.end(closed(path)),
      (cause) => {
        const strange = new ProtocolError("protocol", `what answers at ${path} does not speak JSON`, { cause });
        this.end(cause instanceof RuntimedError ? cause : cause.syscall ? closed(path, cause) : strange);
      },
    );
  }

  /** Asks, and waits for the answer unless `control` aborts; the daemon is told of that. */
  async call<T>({ method, params, decode, progress, unwanted }: Request<T>, control: AbortController): Promise<T> {
    control.signal.throwIfAborted();
    if (this.error) throw this.error;
    const id = ++this.#lastId;
    const told = (params: unknown) =>
      Promise.resolve(params)
        .then(progress)
        .catch((error) => control.abort(error));
    const replied = once(this, `reply ${id}`).then(([message]) => resultOf(message));
    this.on(`progress ${id}`, told).#send({ id, method, params });
    try {
      const result = await Promise.race([replied, once(control.signal, "abort")]);
      if (control.signal.aborted) this.#send({ method: "$/cancelRequest", params: { id } });
      control.signal.throwIfAborted();
      return decode(result, `${method}: result`);
    } catch (error) {
      replied.then(unwanted, () => {});
      throw error;
    } finally {
      this.off(`progress ${id}`, told);
    }
  }

  end(error: unknown): void {
    if (this.error) return;
    this.error = error;
    this.opened.then((socket) => socket.destroy()).catch(() => {});
    this.emit("error", error);
  }

  #send(message: object): void {
    const line = `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
    this.opened.then((socket) => socket.write(line)).catch(() => {}); // the reading tells of errors
  }

  async #read(path: string): Promise<void> {
    const utf8 = new TextDecoder("utf-8", { fatal: true });
    let rest = "";
    for await (const chunk of await this.opened) {
      const lines = utf8.decode(chunk, { stream: true }).split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? "";
      for (const line of lines) this.#receive(line, path);
      if (rest.length > longest) throw new ProtocolError("protocol", `a message from ${path} is too long`);
    }
    try {
      this.#receive(rest, path); // a last line needs no newline, unless it was cut off in the middle
    } catch {}
  }

  #receive(line: string, path: string): void {
    if (line.trim() === "") return;
    const message = object(JSON.parse(line), `a message from ${path}`);
    const { id, method, params, error } = message;
    if (id === null && error) resultOf(message); // it could not tell which call it was, so all are told
    if (method === "$/progress") this.emit(`progress ${object(params, method).id}`, params);
    else if (typeof method === "string") this.emit("notification", method, params);
    else this.emit(`reply ${JSON.stringify(id)}`, message);
  }
}
