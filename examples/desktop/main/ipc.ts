import type { MessagePort } from "node:worker_threads";
import { RuntimedError } from "runtimed-client";
import type { Args, Name, Problem, Reply, Result } from "../calls.js";

/** One end of a pipe between two processes: a MessagePort of Node or a MessagePortMain of Electron. */
export interface Channel {
  send(message: object): void;
  onMessage(listener: (message: unknown) => void): void;
  onClose(listener: () => void): void;
}

export function portChannel(port: MessagePort): Channel {
  return {
    send: (message) => port.postMessage(message),
    onMessage: (listener) => port.on("message", listener),
    onClose: (listener) => port.on("close", listener),
  };
}

export type Handlers = { [N in Name]: (args: Args<N>) => Promise<Result<N>> };

/** The arguments of each call, and how long each may be. */
const calls: { [N in Name]: Record<keyof Args<N>, number> } = {
  start: { pool: 256 },
  run: { kernel: 64, code: 1 << 20 },
  stop: { kernel: 64 },
};

/** Answers the calls of a renderer. A page can be taken over, so all that it sends is checked. */
export function serve(channel: Channel, handlers: Handlers): void {
  channel.onMessage((message) => {
    const { id, call, args } = object(message) ?? {};
    if (typeof id !== "number") return; // an answer would find nobody
    ask(handlers, call, args).then(
      (result) => channel.send({ id, result } satisfies Reply),
      (error) => channel.send({ id, error: problem(error) } satisfies Reply),
    );
  });
}

async function ask(handlers: Handlers, call: unknown, args: unknown): Promise<unknown> {
  if (typeof call !== "string" || !Object.hasOwn(calls, call)) throw new Error("there is no such call");
  const name = call as Name;
  const limits: Record<string, number> = calls[name];
  const given = object(args);
  if (!given || Object.keys(given).length !== Object.keys(limits).length) {
    throw new Error(`${name} takes ${Object.keys(limits).join(" and ")}`);
  }
  for (const [member, limit] of Object.entries(limits)) {
    const text = Object.hasOwn(given, member) ? given[member] : undefined;
    if (typeof text !== "string") throw new Error(`${name}: ${member} is not a text`);
    if (text.length > limit) throw new Error(`${name}: ${member} is longer than ${limit} characters`);
  }
  return (handlers[name] as (args: object) => Promise<unknown>)(given);
}

function object(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}

/** An error as a user may read it. */
export function problem(error: unknown): Problem {
  const message = error instanceof Error ? error.message : String(error);
  return { message, hint: (error instanceof RuntimedError && error.hint) || "" };
}
