import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client, type ConnectOptions, type Env, type Progress } from "runtimed-client";
import type { Answer } from "../calls.js";

const startLimitMs = 60_000;
const endLimitMs = 1000; // some kernels take 10 s to shut down, with nothing left to do
const longestOutput = 4096;

const windows = process.platform === "win32";
const talk = fileURLToPath(new URL("../../main/talk.py", import.meta.url));

export interface KernelOptions {
  connect: ConnectOptions;
  pool: string;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

interface Waiting {
  resolve: (line: string) => void;
  reject: (reason: Error) => void;
}

/**
 * A kernel in an environment of its own. It needs the daemon at its start and its end, and not in between: the kernel
 * is a child of this process, and its lease is on the daemon's disk.
 */
export class Kernel {
  /** Resolves with the reason when its process has ended. */
  readonly ended: Promise<Error>;
  readonly #client: Client;
  readonly #env: Env;
  readonly #folder: string;
  readonly #waiting: Waiting[] = []; // each for a line of the helper, in this order
  #process: ChildProcess | undefined;
  #talk: ChildProcess | undefined;
  #end: (reason: Error) => void = () => {};
  #closing: Promise<void> | undefined;

  static async start({ connect, pool, signal, onProgress }: KernelOptions): Promise<Kernel> {
    const client = await Client.connect({ ...connect, autostart: true }); // since a user asks for this
    try {
      const env = await client.acquire({ pool, label: "desktop example", signal, onProgress });
      const folder = await mkdtemp(join(tmpdir(), "kernel-"));
      const kernel = new Kernel(client, env, folder);
      try {
        await kernel.#start();
        signal.throwIfAborted();
        return kernel;
      } catch (error) {
        await kernel.close();
        throw error;
      }
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  private constructor(client: Client, env: Env, folder: string) {
    this.#client = client;
    this.#env = env;
    this.#folder = folder;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.ended.then((reason) => {
      for (const { reject } of this.#waiting.splice(0)) reject(reason);
    });
  }

  get pythonVersion(): string {
    return this.#env.pythonVersion;
  }

  async #start(): Promise<void> {
    const file = join(this.#folder, "kernel.json");
    await writeFile(file, JSON.stringify(connection(this.#folder)), { mode: 0o600 });
    // The kernel watches its parent's pid, and ends when this process does. On Windows it would be a handle.
    const parent = windows ? {} : { JPY_PARENT_PID: String(process.pid) };
    const env = this.#env.environ({ ...process.env, ...parent });
    const child = spawn(this.#env.python, ["-m", "ipykernel_launcher", "-f", file], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
      detached: !windows, // a Ctrl-C in this terminal must not reach it, and its children end with it
      windowsHide: true,
    });
    let output = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output = (output + text).slice(-longestOutput);
    });
    child.on("error", (error) => this.#end(new Error(`the kernel cannot be started: ${error.message}`)));
    child.on("exit", async (code, signal) => {
      await Promise.race([once(child.stderr, "close"), sleep(200)]); // what a cell started may keep it open
      child.stderr.destroy();
      this.#end(new Error(`the kernel ended with ${code ?? signal}${output && `:\n${output.trim()}`}`));
    });
    await once(child, "spawn");
    this.#process = child;
    await this.#client.adopt(this.#env, child.pid as number);

    // A helper in the environment runs the cells. An app that speaks ZeroMQ would connect to the kernel itself.
    this.#talk = spawn(this.#env.python, [talk, file], {
      env,
      stdio: ["pipe", "pipe", "inherit"],
      windowsHide: true,
    });
    this.#talk.on("error", (error) => this.#end(error));
    this.#talk.on("exit", () => {
      if (!this.#closing) this.#end(new Error("the helper that runs the cells has ended"));
    });
    this.#talk.stdin?.on("error", () => {}); // it may have ended already
    createInterface({ input: this.#talk.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      this.#waiting.shift()?.resolve(line);
    });
    const timer = setTimeout(() => {
      this.#end(new Error(`the kernel did not answer within ${startLimitMs / 1000} s`));
    }, startLimitMs);
    await this.#line().finally(() => clearTimeout(timer));
  }

  async run(code: string): Promise<Answer> {
    const answer = this.#line();
    this.#talk?.stdin?.write(`${JSON.stringify(code)}\n`);
    return JSON.parse(await answer);
  }

  #line(): Promise<string> {
    if (this.#closing) return this.ended.then((reason) => Promise.reject(reason));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  /** Ends the kernel and releases the environment. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#talk?.stdin?.end(); // the helper then shuts the kernel down
    await Promise.race([this.ended, sleep(this.#talk ? endLimitMs : 0)]);
    const { pid } = this.#process ?? {};
    if (pid && running(this.#process)) process.kill(windows ? pid : -pid, "SIGKILL");
    if (pid) await this.ended;
    if (running(this.#talk)) this.#talk?.kill("SIGKILL");
    // Without a daemon nothing is lost: the next one sees that the owner of the lease is gone.
    await this.#env.release().catch(() => {});
    await this.#client.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function running(child: ChildProcess | undefined): boolean {
  return child !== undefined && child.exitCode === null && child.signalCode === null;
}

/** Sockets where possible: another program may take a free TCP port before the kernel does. */
function connection(folder: string): object {
  const [shell, iopub, stdin, control, hb] = windows ? [0, 0, 0, 0, 0] : [1, 2, 3, 4, 5]; // 0: the kernel chooses
  return {
    transport: windows ? "tcp" : "ipc",
    ip: windows ? "127.0.0.1" : join(folder, "s"),
    shell_port: shell,
    iopub_port: iopub,
    stdin_port: stdin,
    control_port: control,
    hb_port: hb,
    signature_scheme: "hmac-sha256",
    key: randomUUID(),
  };
}
