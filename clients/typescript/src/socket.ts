import { once } from "node:events";
import * as fs from "node:fs";
import { connect, type Socket } from "node:net";
import { basename, dirname, resolve } from "node:path";
import { ConnectError } from "./errors.js";
import { checkPath, unreachable } from "./start.js";

const onlyPath = 0x200000; // O_PATH: the folder need not be readable

/** Connects to a socket that no other user has made. */
export async function dial(path: string): Promise<Socket> {
  let socket: Socket | undefined;
  try {
    using held = hold(checkPath(path));
    if (held.path !== path) checkEnd(path, held.path);
    socket = connect({ path: held.path });
    await once(socket, "connect");
    trusted(path); // the file may have been exchanged meanwhile
    return socket.unref().on("error", () => {});
  } catch (cause) {
    const lost = socket?.readyState === "open";
    socket?.destroy();
    if (cause instanceof ConnectError) throw cause;
    throw lost ? closed(path, cause) : unreachable(path, cause);
  }
}

export function closed(path: string, cause?: unknown): ConnectError {
  const hint = "try again: the next call connects anew";
  return new ConnectError("closed", `the daemon closed the connection at ${path}`, { hint, cause });
}

/**
 * The real path of a socket. Throws if another user may have made it, since that daemon's interpreter would run as this
 * user. Node cannot ask the kernel who listens, so the files must tell; docs/protocol.md has the rule.
 */
export function trusted(path: string): string {
  if (!process.geteuid) return path; // Windows, where Node cannot tell whose a pipe is
  const root = fs.lstatSync("/").uid; // who owns "/" can do all that root can
  fs.statSync(path); // throws where links go in a circle
  const parts = (path.startsWith("/") ? path : `${process.cwd()}/${path}`).split("/");
  let at = "/";
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    const next = resolve(at, part);
    const info = fs.lstatSync(next);
    const target = info.isSymbolicLink() ? fs.readlinkSync(next) : "";
    const what = target ? `the link ${next}` : info.isDirectory() ? `the folder ${next}` : "it";
    // In a sticky folder nobody can exchange what belongs to others.
    if (info.uid !== root && !(info.isDirectory() && info.mode & 0o1000)) refuse(path, stranger(what, info));
    if (target) parts.unshift(...target.split("/"));
    at = !target ? next : target.startsWith("/") ? "/" : at;
  }
  checkEnd(path, at);
  return at;
}

/** A path to the socket that nobody can exchange meanwhile: through its open folder. Only Linux has one. */
export function hold(path: string): { path: string } & Disposable {
  const real = trusted(path);
  if (process.platform !== "linux" || !fs.existsSync("/proc/self/fd")) return { path, [Symbol.dispose]() {} };
  const folder = fs.openSync(dirname(real), onlyPath | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW);
  const through = `/proc/self/fd/${folder}/${basename(real)}`;
  return { path: Buffer.byteLength(through) <= 107 ? through : path, [Symbol.dispose]: () => fs.closeSync(folder) };
}

/** Checks a socket and its folder as the daemon does. */
function checkEnd(path: string, at: string): void {
  const [folder, socket] = [fs.statSync(dirname(at)), fs.lstatSync(at)];
  if (!socket.isSocket()) throw new ConnectError("unreachable", `${path} is not a socket`);
  // A folder of root's will do if only root and the group 0 may write to it.
  const open = folder.uid === process.geteuid?.() ? 0o077 : folder.gid === 0 ? 0o002 : 0o022;
  const mode = (folder.mode & 0o7777).toString(8).padStart(4, "0");
  refuse(path, stranger("it", socket) || stranger(`the folder ${dirname(at)}`, folder));
  refuse(path, (folder.mode & open) !== 0 && `the folder ${dirname(at)} is open to others (mode ${mode})`);
}

function refuse(path: string, problem: string | false): void {
  const hint = "set RUNTIMED_SOCKET to a path in a folder of your own, or run as the user whose daemon it is";
  if (problem) throw new ConnectError("untrusted", `${path} is not trusted: ${problem}`, { hint });
}

/** What is wrong where neither this user nor root is the owner. */
function stranger(what: string, { uid }: fs.Stats): string | false {
  return uid !== 0 && !(uid === process.geteuid?.() && isMapped(uid)) && `${what} belongs to another user (uid ${uid})`;
}

/** False in a user namespace that does not know this user: it shows all such users as one. */
function isMapped(uid: number): boolean {
  if (!fs.existsSync("/proc/self/uid_map")) return true; // another system
  const ranges = fs.readFileSync("/proc/self/uid_map", "utf8").split("\n");
  return ranges.some((range) => {
    const [first = 0, , length = 0] = range.trim().split(/\s+/).map(Number);
    return first <= uid && uid < first + length;
  });
}
