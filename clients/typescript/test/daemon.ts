import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { root, TempDir } from "./support.js";

/** It outlives the tests, as that of the Go tests does: downloads are expensive. */
export const uvCache = join(homedir(), ".cache/runtimed-tests/uv-cache");

const given = process.env.RUNTIMED_BIN;
let built: string | undefined;

/** The daemon itself: RUNTIMED_BIN, else built from this repository. */
const binary = () => given || join(build(), "runtimed");

/** The folder of runt and runtimed. */
export const programs = () => (given && existsSync(join(dirname(given), "runt")) ? dirname(given) : build());

/** Builds them once for each test file. */
function build(): string {
  if (!built) {
    const dir = new TempDir();
    process.on("exit", () => dir[Symbol.dispose]());
    execFileSync("go", ["build", "-o", `${dir.path}/`, "./cmd/runt", "./cmd/runtimed"], {
      cwd: join(root, "../.."),
      stdio: "inherit",
    });
    built = dir.path;
  }
  return built;
}

/** A real daemon in a home of its own. */
export class Daemon {
  readonly #dir = new TempDir();
  readonly socket = join(this.#dir.path, "s");
  readonly #args = ["run", "--socket", this.socket, "--cache-dir", join(this.#dir.path, "cache")];
  #process: ChildProcess | undefined;
  #log = "";

  /** With both pools switched off, or with the config that is made for its folder. */
  constructor(config?: (folder: string) => string) {
    if (!config) {
      this.#args.push("--uv-pool-size", "0", "--conda-pool-size", "0");
    } else {
      const path = join(this.#dir.path, "config.toml");
      writeFileSync(path, config(this.#dir.path));
      this.#args.push("--config", path);
    }
  }

  async start(): Promise<void> {
    const own = Object.entries(process.env).filter(([name]) => !/^(RUNTIMED|XDG)_/.test(name));
    const env = { ...Object.fromEntries(own), HOME: this.#dir.path, UV_CACHE_DIR: uvCache };
    const child = spawn(binary(), this.#args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        this.#log += text;
      });
    }
    while (!(await answers(this.socket))) {
      if (child.exitCode !== null) throw new Error(`the daemon ended with ${child.exitCode}:\n${this.#log}`);
    }
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#dir[Symbol.dispose]();
  }
}

/** A pool whose one build never ends, so that an acquire waits. */
export const waiting = () =>
  new Daemon((folder) => {
    const uv = join(folder, "uv");
    writeFileSync(uv, "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
    return `[uv]\npath = "${uv}"\n[pools.uv]\nsize = 1\n[pools.conda]\nsize = 0\n`;
  });

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return false;
  } finally {
    socket.destroy();
  }
}
