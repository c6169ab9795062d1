import type { Args, Event, Events, Name, Reply, Result } from "../calls.js";

/** This end of the pipe to the main process. */
export interface Pipe {
  send(message: object): void;
  onMessage(listener: (message: unknown) => void): void;
}

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (reason: Error) => void;
}

/** The error of a call, with the next step to take. */
export class CallError extends Error {
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** The calls of a page. It runs in a browser: nothing of Node is here, and no client. */
export class Api {
  readonly #pipe: Pipe;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<string, (data: never) => void>();
  #lastId = 0;

  constructor(pipe: Pipe) {
    this.#pipe = pipe;
    pipe.onMessage((message) => this.#receive(message as Reply | Event));
  }

  call<N extends Name>(call: N, args: Args<N>): Promise<Result<N>> {
    const id = ++this.#lastId;
    this.#pipe.send({ id, call, args });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
    });
  }

  on<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): void {
    this.#listeners.set(event, listener);
  }

  #receive(message: Reply | Event): void {
    if ("event" in message) {
      this.#listeners.get(message.event)?.(message.data as never);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("error" in message) waiting?.reject(new CallError(message.error.message, message.error.hint));
    else waiting?.resolve(message.result);
  }
}
