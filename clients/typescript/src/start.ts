// Finding a daemon: where it listens, how long a call waits for it or for the next one, and starting one.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { userInfo } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { activate } from "./environ.js";
import { ConnectError, RequestTimeout, RPCError, RuntimedError } from "./errors.js";

const bad = (message: string, hint?: string) => new ConnectError("unreachable", message, { hint });

/** The home that the user database has for this user; empty if it has none. */
function userHome(): string {
  try {
    return userInfo().homedir; // homedir() asks HOME first, and takes an empty one
  } catch {
    return ""; // no such user
  }
}

/** Where the daemon listens: docs/protocol.md has the rule. An empty variable counts as unset. */
export function socketPath(
  platform: string = process.platform,
  env: NodeJS.ProcessEnv = process.env,
  home: () => string = userHome,
  mountinfo = "/proc/self/mountinfo",
): string {
  const { RUNTIMED_SOCKET: given, USERNAME: user, XDG_CACHE_HOME: cache } = env;
  if (platform === "win32") {
    if (!given && !user) throw bad("USERNAME is not set, so the pipe has no name");
    const lower = user?.replace(/[A-Z]/g, (letter) => letter.toLowerCase()); // other letters depend on the language
    return checkPath(given || `\\\\.\\pipe\\runtimed-${lower}`, platform);
  }
  const cached = platform !== "darwin" && cache?.startsWith("/");
  const name = given ? "RUNTIMED_SOCKET" : cached ? "XDG_CACHE_HOME" : "HOME";
  const value = env[name] || (name === "HOME" ? home() : "");
  const problem = env[name]
    ? `${name} is ${JSON.stringify(value)}, which is not an absolute path`
    : `${name} is not set, and the user database has no home for this user`;
  if (!value.startsWith("/")) throw bad(problem, "set it, or RUNTIMED_SOCKET");
  const folder = cached ? "" : platform === "darwin" ? "/Library/Caches" : "/.cache";
  const usual = `${value.replace(/\/+$/, "")}${folder}/runt`;
  return checkPath(given || `${platform === "linux" ? ownDisk(usual, mountinfo) : usual}/runtimed.sock`, platform);
}

const networks = (
  "nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre gpfs beegfs gfs2 ocfs2 orangefs panfs wekafs fuse.sshfs " +
  "fuse.glusterfs fuse.ceph fuse.ceph-fuse fuse.s3fs fuse.gcsfuse fuse.rclone fuse.juicefs fuse.mfs"
).split(" ");

/** The folder, or in place of one on a network file system that in /var/tmp, where no other machine sees it. */
function ownDisk(folder: string, mountinfo: string): string {
  const common = "/var/tmp";
  try {
    const fit = (statSync(common).mode & 0o41000) === 0o41000; // a folder, and sticky
    accessSync(common, constants.W_OK);
    if (networks.includes(mountAt(folder, mountinfo)[0]) && fit) {
      const [type, options] = mountAt(common, mountinfo);
      if (!networks.includes(type) && !options.split(",").includes("noexec"))
        return `${common}/runt-${process.geteuid?.()}`;
    }
  } catch {} // there is no list of mounts, say
  return folder;
}

/** The file system that this path, or the nearest above it that is there, is on, and the options of its mount. */
function mountAt(path: string, mountinfo: string): [type: string, options: string] {
  let there = path;
  while (!existsSync(there)) there = there.replace(/\/+[^/]*$/, "") || "/";
  const real = `${realpathSync.native(there)}/`; // first: looking has an automounter mount it
  let [at, found]: [string, [string, string]] = ["", ["", ""]];
  for (const line of readFileSync(mountinfo, "utf8").split("\n")) {
    const parts = /^(?:[^ ]+ ){4}([^ ]+) ([^ ]+) (?:.*? )?- ([^ ]+) /s.exec(line);
    const [, escaped = "", options = "", type = ""] = parts ?? [];
    const octal = (_: string, code: string) => String.fromCharCode(Number.parseInt(code, 8));
    const mount = escaped.replace(/\\([0-7]{3})/g, octal).replace(/\/$/, "");
    if (type && real.startsWith(`${mount}/`) && mount.length >= at.length) [at, found] = [mount, [type, options]];
  }
  return found;
}

/** Refuses a path that the system would cut off, or refuse without saying why. */
export function checkPath(path: string, platform: string = process.platform): string {
  const length = Buffer.byteLength(path);
  const limit = platform === "linux" ? 107 : 103;
  let problem = length > limit && `is ${length} bytes long, and this system allows ${limit}`;
  if (path.includes("\ufffd")) problem = "is not UTF-8"; // Node has this in place of such bytes
  if (platform === "win32") problem = !/^\\\\\.\\pipe\\./is.test(path) && "does not begin with \\\\.\\pipe\\";
  if (problem) throw bad(`socket path ${path} ${problem}: set RUNTIMED_SOCKET to another`);
  return path;
}

/** The npm packages with the programs, one of which npm installs with this one (packaging/platform.go). */
export const binaryPackages = [
  "runtimed-bin-darwin-arm64",
  "runtimed-bin-darwin-x64",
  "runtimed-bin-linux-arm64",
  "runtimed-bin-linux-x64",
  "runtimed-bin-win32-arm64",
  "runtimed-bin-win32-x64",
];
export const binaryPackage = `runtimed-bin-${process.platform}-${process.arch}`;

export const windows = process.platform === "win32";
const runtName = windows ? "runt.exe" : "runt";
const limitMs = 30_000; // runt itself gives up after 10 s
const longestOutput = 16_384;
export const errorMark = "runt: error: ";
export const hintMark = "runt: hint: ";

export interface StartOptions {
  /** The path of the daemon's socket; by default the one that `socketPath` tells. */
  socket?: string | undefined;
  /**
   * Have a daemon started where none can be reached, unless RUNTIMED_NO_START is set: when `Client.connect` finds none,
   * and when one ends while an acquire waits.
   */
  autostart?: boolean | undefined;
  /** The path of the `runt` that starts it; by default the one of this package, on PATH or in ~/.local/bin. */
  runt?: string | undefined;
}

/** Asks; where nobody can be reached, has a daemon started and asks again. */
export async function connectOrStart(ask: () => Promise<unknown>, options: StartOptions): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof ConnectError) || error.kind !== "unreachable") throw error;
    await startDaemon(error, options);
    await ask();
  }
}

// Harmless to ask again where an answer was lost; an acquire is, by its key.
const repeatable =
  "daemon.info daemon.ping pool.status pool.acquire pool.release env.adopt env.list rpc.discover".split(" ");
const pauseMs = 200; // a daemon that ends has some writing to do
const mostHangUps = 5; // in a row, each within a second
const longestTimer = 2 ** 31 - 1; // a longer one would fire at once

export interface Call {
  method: string;
  params?: Record<string, unknown> | undefined;
  /** Where the daemon listens. */
  socket: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Whether the client has connected before. */
  connected: boolean;
}

type Ask<T> = (params: Record<string, unknown>, control: AbortController) => Promise<T>;

/** Has `ask` make a call. Its controller aborts when the time of the call is over, or when the signal does. */
export async function within<T>(call: Call, options: StartOptions, ask: Ask<T>): Promise<T> {
  const { method, socket, timeoutMs, signal } = call;
  signal?.throwIfAborted();
  const control = new AbortController();
  const abort = () => control.abort(signal?.reason);
  const message = `the daemon at ${socket} did not answer ${method} within ${timeoutMs} ms`;
  const expire = () => control.abort(new RequestTimeout("timeout", message, { hint: "run runt doctor" }));
  // After a busy spell timers run before sockets are read: setImmediate lets an answer that is there already win.
  const timer = setTimeout(() => setImmediate(expire), Math.min(timeoutMs, longestTimer));
  signal?.addEventListener("abort", abort);
  try {
    return await follow(call, control, options, ask);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** Makes a call; where the daemon is replaced meanwhile, makes it to the next one. docs/protocol.md has the rule. */
async function follow<T>(call: Call, control: AbortController, options: StartOptions, ask: Ask<T>): Promise<T> {
  const { method, params = {}, timeoutMs, connected } = call;
  const { signal } = control;
  const acquires = method === "pool.acquire";
  const waitMs = acquires ? Number(params.wait_ms ?? 60_000) : 0;
  const lastMs = Number.isFinite(timeoutMs) ? timeoutMs : waitMs + 3000;
  const again = repeatable.includes(method) && !(acquires && params.key === undefined);
  const started = performance.now();
  const passed = () => performance.now() - started;
  let aborted: Promise<unknown> | undefined; // one listener, however often it is asked again
  let lost = "";
  for (let hangUps = 0; ; ) {
    const since = passed();
    const left = acquires && lost ? { wait_ms: Math.max(0, Math.floor(waitMs - since)) } : {};
    try {
      return await ask({ ...params, ...left }, control);
    } catch (error) {
      signal.throwIfAborted();
      const kind = error instanceof RuntimedError ? error.kind : "";
      if (method === "pool.release" && lost === "closed" && kind === "unknown_env") return {} as T; // done before
      hangUps = kind === "closed" && passed() - since < 1000 ? hangUps + 1 : 0;
      const follows = kind === "closed" || kind === "shutting_down" || (kind === "unreachable" && lost && connected);
      if (!follows || !again || hangUps > mostHangUps || passed() + pauseMs > lastMs) throw error;
      const starting = kind === "unreachable" && acquires && startDaemon(error as ConnectError, options);
      aborted ??= once(signal, "abort");
      await Promise.race([starting, aborted]);
      if (lost !== "closed") lost = kind;
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Says so where a daemon older than this client does not know a member of params. */
export function explainOld(error: unknown): never {
  if (!(error instanceof RPCError) || error.message !== `unknown member ${error.data.param}`) throw error;
  const hint = "the daemon is older than this client; start the new one with: runt daemon restart";
  throw new RPCError(error.code, error.message, { ...error.data, hint });
}

/** The error of a client that finds no daemon. */
export function unreachable(path: string, cause: unknown): ConnectError {
  const { code } = cause as NodeJS.ErrnoException;
  const foreign = code === "EACCES" || code === "EPERM";
  const hint = foreign ? "run as the user whose daemon it is" : "start it with runt daemon start";
  return new ConnectError("unreachable", `the daemon cannot be reached at ${path}: ${code}`, { hint, cause });
}

/** Has a daemon started, if that is allowed, and waits until one answers. `nobody` is the error where none did. */
export async function startDaemon(nobody: ConnectError, options: StartOptions): Promise<void> {
  if (!options.autostart || process.env.RUNTIMED_NO_START) return;
  const { socket, runt = findRunt() } = options;
  const failed = (problem: string, hint: string) =>
    new ConnectError(nobody.kind, `${nobody.message}; ${problem}`, { hint, cause: nobody });
  if (!runt) {
    const hint = 'install runtimed, or say where its runt is: {autostart: true, runt: "/path/to/runt"}';
    throw failed(`there is no runt in ${binaryPackage}, on PATH or in ~/.local/bin that could start one`, hint);
  }
  const { problem, output, hint } = await run(runt, socket);
  if (!problem) return;
  const lines = output.split(/\r?\n/).filter(Boolean).slice(-20);
  const given = lines.find((line) => line.startsWith(hintMark))?.slice(hintMark.length);
  const errors = lines
    .filter((line) => !line.startsWith(hintMark))
    .map((line) => (line.startsWith(errorMark) ? line.slice(errorMark.length) : line));
  throw failed(`starting one failed: ${errors.join("\n") || problem}`, given ?? hint);
}

interface Outcome {
  /** Empty if there is none. */
  problem: string;
  output: string;
  hint: string;
}

function run(runt: string, socket: string | undefined): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(runt, ["daemon", "start", "--auto"], {
      env: activate(process.env, socket ? { RUNTIMED_SOCKET: socket } : {}, []),
      stdio: ["ignore", "ignore", "pipe"],
      detached: !windows, // a Ctrl-C for this process must not end a start that others wait for
      windowsHide: true,
    });
    let output = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output = (output + text).slice(-longestOutput);
    });
    const end = (problem: string, hint = "to see why: runt daemon start") => {
      clearTimeout(timer);
      resolve({ problem, output, hint });
    };
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      child.stderr.destroy(); // a child of its own may hold it open
      end(`${runt} did not end within ${limitMs / 1000} s`);
    }, limitMs);
    child.on("error", (error: NodeJS.ErrnoException) => {
      end(`${runt} cannot be run: ${error.code}`, "install runtimed, or correct the path of runt");
    });
    child.on("close", (code, signal) => end(code === 0 ? "" : `${runt} ended with ${code ?? signal}`));
  });
}

/**
 * The runt that npm installed with this client: it has the same version, and what an app ships must not depend on the
 * PATH that the app is started with. Else the one on PATH, else in ~/.local/bin, which not every PATH has. A relative
 * folder does not count: anybody's file may lie there.
 */
export function findRunt(): string | undefined {
  const packaged = packagedRunt();
  if (packaged) return packaged;
  const home = (!windows && process.env.HOME) || userHome();
  const folders = [...(process.env.PATH ?? "").split(delimiter), join(home, ".local", "bin")];
  const absolute = folders.filter((folder) => isAbsolute(folder));
  return absolute.map((folder) => join(folder, runtName)).find(isProgram);
}

/** The runt of the package for this platform, if it is installed. */
export function packagedRunt(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${binaryPackage}/package.json`);
    // Electron packs modules into an archive, from which nothing can be run, and leaves programs beside it.
    const folder = dirname(manifest).replace(/app\.asar(?=[\\/])/, "app.asar.unpacked");
    const path = join(folder, "bin", runtName);
    return isProgram(path) ? path : undefined;
  } catch {
    return undefined; // not installed, or this module is part of a bundle
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
