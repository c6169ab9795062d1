import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client, type ConnectOptions, findRunt, RuntimedError } from "runtimed-client";
import type { Answer } from "../calls.js";
import { watchPools } from "./pools.js";

const startLimitMs = 60_000;
const endLimitMs = 1000; // some kernels take 10 s to shut down, with nothing left to do
const longestOutput = 4096;

const windows = process.platform === "win32";
const talk = fileURLToPath(new URL("../../main/talk.py", import.meta.url));

export interface KernelOptions {
  connect: ConnectOptions;
  pool: string;
  signal: AbortSignal;
  /** Told while the kernel waits for an environment. */
  onProgress: (message: string) => void;
}

/** An environment in the answer of env.list. */
interface Leased {
  id: string;
  python: string;
  python_version: string;
  lease: { label: string };
}

interface Waiting {
  resolve: (line: string) => void;
  reject: (reason: Error) => void;
}

/**
 * A kernel in an environment of its own. `runt kernel` starts it: that takes the environment, with the kernel that
 * stands by in it if there is one, ends as the kernel does, and says why there is none. Node could not have a kernel
 * that stands by, since it cannot pass descriptors on. The daemon is needed at the start and the end, and not in between.
 */
export class Kernel {
  /** Resolves with the reason when its process has ended. */
  readonly ended: Promise<Error>;
  readonly #client: Client;
  readonly #folder: string;
  readonly #waiting: Waiting[] = []; // each for a line of the helper, in this order
  #env: Leased | undefined;
  #process: ChildProcess | undefined;
  #talk: ChildProcess | undefined;
  #end: (reason: Error) => void = () => {};
  #closing: Promise<void> | undefined;

  static async start(options: KernelOptions): Promise<Kernel> {
    const { connect, signal } = options;
    const client = await Client.connect({ ...connect, autostart: true }); // since a user asks for this
    try {
      const folder = await mkdtemp(join(tmpdir(), "kernel-"));
      const kernel = new Kernel(client, folder);
      try {
        await kernel.#start(options);
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

  private constructor(client: Client, folder: string) {
    this.#client = client;
    this.#folder = folder;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.ended.then((reason) => {
      for (const { reject } of this.#waiting.splice(0)) reject(reason);
    });
  }

  get pythonVersion(): string {
    return this.#env?.python_version ?? "";
  }

  /** What `runt env list` shows for it, and nobody else has. */
  get #label(): string {
    return `desktop example: ${basename(this.#folder)}`;
  }

  async #start(options: KernelOptions): Promise<void> {
    const { connect, pool } = options;
    const file = join(this.#folder, "kernel.json");
    await writeFile(file, JSON.stringify(connection(this.#folder)), { mode: 0o600 });
    const env = { ...process.env, RUNTIMED_SOCKET: this.#client.socket, JPY_SESSION_NAME: this.#label };
    // The kernel watches its parent's pid, and ends when this process does. On Windows it would be a handle.
    const parent = windows ? {} : { JPY_PARENT_PID: String(process.pid) };
    const child = spawn(connect.runt ?? findRunt() ?? "runt", ["kernel", "-f", file, `--pool=${pool}`, "--wait=60s"], {
      env: { ...env, ...parent },
      stdio: ["ignore", "ignore", "pipe"],
      detached: !windows, // a Ctrl-C in this terminal must not reach it, and its children end with it
      windowsHide: true,
    });
    let output = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output = (output + text).slice(-longestOutput);
      // Then runt answers in place of a kernel, for front-ends that show only what a cell says.
      if (!this.#env && explained(output)) child.kill();
    });
    child.on("error", (error) => this.#end(new Error(`the kernel cannot be started: ${error.message}`)));
    child.on("exit", async (code, signal) => {
      await Promise.race([once(child.stderr, "close"), sleep(200)]); // what a cell started may keep it open
      child.stderr.destroy();
      const why = new Error(`the kernel ended with ${code ?? signal}${output && `:\n${output.trim()}`}`);
      this.#end((!this.#env && explained(output)) || why);
    });
    await once(child, "spawn");
    this.#process = child;
    this.#env = await Promise.race([
      this.#taken(options),
      this.ended.then((reason) => Promise.reject(reason)), // why there is no environment
    ]);

    // A helper in the environment runs the cells. An app that speaks ZeroMQ would connect to the kernel itself.
    const stdio: StdioOptions = ["pipe", "pipe", "inherit"];
    this.#talk = spawn(this.#env.python, ["-I", talk, file], { stdio, windowsHide: true });
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

  /** The environment that runt takes, once it has one. */
  async #taken({ connect, pool, signal, onProgress }: KernelOptions): Promise<Leased> {
    const over = new AbortController();
    this.ended.then(() => over.abort());
    for await (const { pools } of watchPools(connect, AbortSignal.any([signal, over.signal]))) {
      const env = await this.#findEnv().catch(() => undefined); // the next daemon has it
      if (env) return env;
      const { warming = 0 } = pools.find(({ name }) => name === pool) ?? {};
      if (warming) onProgress(`${warming} ${warming === 1 ? "environment is" : "environments are"} being made`);
    }
    signal.throwIfAborted();
    throw await this.ended;
  }

  async #findEnv(): Promise<Leased | undefined> {
    const { envs } = (await this.#client.call("env.list", { state: "leased" })) as { envs: Leased[] };
    return envs.find(({ lease }) => lease.label === this.#label);
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
    // A kernel that was shut down has given its environment back. That of one that died waits a minute for a restart.
    // Without a daemon nothing is lost: the next one sees that the owner of the lease is gone.
    const left = await this.#findEnv().catch(() => undefined);
    if (left) await this.#client.release(left.id).catch(() => {});
    await this.#client.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function running(child: ChildProcess | undefined): boolean {
  return child !== undefined && child.exitCode === null && child.signalCode === null;
}

/** Why runt has no kernel to start, if it has said so. */
function explained(output: string): RuntimedError | undefined {
  const said = (mark: string) =>
    output.split(/\r?\n/).flatMap((line) => (line.startsWith(mark) ? [line.slice(mark.length)] : []));
  const errors = said("runt: error: ");
  if (errors.length === 0) return undefined;
  return new RuntimedError("", errors.join("\n"), { hint: said("runt: hint: ").join("\n") });
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
