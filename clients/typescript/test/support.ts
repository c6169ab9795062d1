import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The folder of this package; the compiled tests run in .test/. */
export const root = fileURLToPath(new URL("..", import.meta.url));

export function vectors<T>(file: string): T[] {
  const text = readFileSync(join(root, "../../testdata/wire", file), "utf8");
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** A text of a vector: short ones as they are, long ones as a list of texts and repetitions. */
export type Text = string | { repeat: [string, number] } | Text[];

export function joined(text: Text): string {
  if (typeof text === "string") return text;
  if (Array.isArray(text)) return text.map(joined).join("");
  return text.repeat[0].repeat(text.repeat[1]);
}

/** Where a value differs from what a vector expects, or undefined. Objects may have more members than expected. */
export function difference(actual: unknown, expected: unknown, at = "it"): string | undefined {
  if (typeof expected !== "object" || expected === null) {
    return Object.is(actual, expected)
      ? undefined
      : `${at} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`;
  }
  if (typeof actual !== "object" || actual === null) return `${at} is ${JSON.stringify(actual)}`;
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return `${at} is ${JSON.stringify(actual)}`;
  }
  for (const [name, value] of Object.entries(expected)) {
    const found = difference((actual as Record<string, unknown>)[name], value, `${at}.${name}`);
    if (found) return found;
  }
  return undefined;
}

export interface Message {
  id?: number;
  method: string;
  params: Record<string, unknown>;
}

export class TempDir {
  readonly path = mkdtempSync(join(tmpdir(), "rtts-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 20 });
  }
}

export const windows = process.platform === "win32";

/** An address to listen at that only the test with this folder has. */
export const place = ({ path }: TempDir) => (windows ? `\\\\.\\pipe\\${basename(path)}` : join(path, "s"));

/** A path as it is from this working folder: on Windows one without a drive is on ours. */
export const here = (path: string) => (windows && path.startsWith("/") ? resolve(path) : path);

/** What a fake daemon does with one message. */
export type Script = (message: Message, peer: Peer) => void;

/** One connection of a fake daemon. */
export class Peer {
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  result(message: Message, result: unknown): void {
    this.send({ id: message.id, result });
  }

  send(message: object): void {
    this.socket.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }
}

/** A daemon that does what a test tells it, and remembers what it was sent. */
export class FakeDaemon {
  readonly path: string;
  readonly seen: Message[] = [];
  readonly peers: Peer[] = [];
  readonly #server: Server;
  readonly #dir: TempDir | undefined;

  static async start(script: Script, path?: string): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(script, path);
    await once(daemon.#server, "listening");
    return daemon;
  }

  private constructor(script: Script, path?: string) {
    this.#dir = path === undefined ? new TempDir() : undefined;
    this.path = path ?? (this.#dir ? place(this.#dir) : "");
    this.#server = createServer((socket) => {
      const peer = new Peer(socket);
      this.peers.push(peer);
      socket.on("error", () => {});
      const lines = createInterface(socket).on("error", () => {});
      lines.on("line", (line) => {
        const message = JSON.parse(line) as Message;
        this.seen.push(message);
        script(message, peer);
      });
    });
    this.#server.listen(this.path);
  }

  /** The messages with this method that have come. */
  calls(method: string): Message[] {
    return this.seen.filter((message) => message.method === method);
  }

  async stop(): Promise<void> {
    for (const { socket } of this.peers) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop();
    this.#dir?.[Symbol.dispose]();
  }
}

/** Waits until something is so; the test's own time limit ends a wait in vain. */
export async function until(so: () => boolean): Promise<void> {
  while (!so()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome) return outcome.error;
  throw new Error(`it should have failed, and gave ${JSON.stringify(outcome.value)}`);
}

export const env = {
  id: "uv-0123abcd",
  pool: "uv",
  kind: "uv",
  path: "/envs/uv-0123abcd",
  python: "/envs/uv-0123abcd/bin/python",
  python_version: "3.12.4",
  state: "leased",
  created_at: "2026-01-02T03:04:05Z",
  packages: [{ name: "pip", version: "26.0" }],
  variables: { VIRTUAL_ENV: "/envs/uv-0123abcd", PYTHONHOME: null },
  path_prepend: ["/envs/uv-0123abcd/bin"],
  needs: [],
  project: null,
};

export const acquired = { env, source: "ready", stale: false, waited_ms: 0, added: [], added_ms: 0 };

export const info = {
  name: "runtimed",
  version: "0.1.0",
  protocol: 1,
  pid: 1,
  started_at: "2026-01-02T03:04:05Z",
  socket: "/c/runtimed.sock",
  state_dir: "/c",
  config_path: "/h/config.toml",
  uptime_ms: 1,
  started_by: "hand",
  program: "/bin/runtimed",
  replaced: false,
  log: "/c/runtimed.log",
};

export function pool(name: string, available: number) {
  return {
    name,
    kind: "uv",
    target: 3,
    available,
    warming: 0,
    leased: 0,
    removing: 0,
    waiting: 0,
    state: "ready",
    python: "",
    packages: ["pip"],
    tool: { name: "uv", version: "0.9.0", path: "/bin/uv", why: "it is on PATH" },
    error: null,
  };
}
