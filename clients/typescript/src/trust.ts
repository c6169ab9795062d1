import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  type Stats,
} from "node:fs";
import { basename, dirname, isAbsolute } from "node:path";
import { ConnectError } from "./errors.js";

/**
 * Refuses a socket that another user may have made: his daemon's interpreter would run as us. Node cannot ask the kernel
 * who listens, so the file system has to tell. The socket is our own or root's, its folder is our own and not open to
 * others, and no other user can exchange a folder or a link on the way. False: there is no socket, or no way to look.
 */
export function isTrusted(path: string): boolean {
  const own = process.geteuid?.();
  if (own === undefined) return true; // Windows, where Node cannot tell whose a pipe is
  try {
    return walk(path, own);
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    return false;
  }
}

const ours = ({ uid }: Stats, own: number) => uid === 0 || (uid === own && isMapped(uid));
const strange = ({ uid }: Stats) => `belongs to another user (uid ${uid})`;

function refuse(path: string, what: string, problem: string): never {
  const message = `${path} is not trusted: ${what} ${problem}`;
  const hint = "set RUNTIMED_SOCKET to a path in a folder of your own, or run as the user whose daemon it is";
  throw new ConnectError("untrusted", message, { hint });
}

function walk(path: string, own: number): boolean {
  // Who owns "/" can do all that root can: in a user namespace root himself may show as another.
  const root = lstatSync("/").uid;

  const parts = (isAbsolute(path) ? path : `${process.cwd()}/${path}`).split("/").filter(Boolean);
  let at = "";
  let folder = lstatSync("/");
  for (let links = 0; ; ) {
    const name = parts.shift() ?? ".";
    const next = name === "." ? at : name === ".." ? dirname(at).replace(/^\/$/, "") : `${at}/${name}`;
    const info = lstatSync(next || "/");
    if (info.isSymbolicLink()) {
      if (!ours(info, own) && info.uid !== root) refuse(path, `the link ${next}`, strange(info));
      if (++links > 40) return false;
      const target = readlinkSync(next);
      parts.unshift(...target.split("/").filter(Boolean));
      if (target.startsWith("/")) at = "";
    } else if (parts.length > 0) {
      const sticky = (info.mode & 0o1000) !== 0;
      if (!ours(info, own) && info.uid !== root && !sticky) refuse(path, `the folder ${next}`, strange(info));
      [at, folder] = [next, info];
    } else {
      if (!info.isSocket()) return false;
      check(path, own, at, folder, info);
      return true;
    }
  }
}

function check(path: string, own: number, at: string, folder: Stats, socket: Stats): void {
  if (!ours(socket, own)) refuse(path, "it", strange(socket));
  if (!ours(folder, own)) refuse(path, `the folder ${at}`, strange(folder));
  // As the daemon has it. One of root's counts as our own if only root, the group 0 and its owner may write to it.
  const open = folder.uid === own ? 0o077 : folder.gid === 0 ? 0o002 : 0o022;
  const mode = (folder.mode & 0o7777).toString(8).padStart(4, "0");
  if (folder.mode & open) refuse(path, `the folder ${at}`, `is open to others (mode ${mode})`);
}

const onlyPath = 0x200000; // O_PATH: a folder that may be gone through need not be readable

/**
 * A way to the socket that nobody can exchange while we connect: through its folder, which is checked once it is open.
 * Only Linux has one. Undefined: the socket is gone.
 */
export function hold(path: string): { path: string; close(): void } | undefined {
  const own = process.geteuid?.();
  if (process.platform !== "linux" || own === undefined || !existsSync("/proc/self/fd"))
    return { path, close: () => {} };
  let folder: number | undefined;
  const close = () => {
    if (folder !== undefined) closeSync(folder);
  };
  try {
    const real = realpathSync(path);
    folder = openSync(dirname(real), onlyPath | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    const through = `/proc/self/fd/${folder}/${basename(real)}`;
    const socket = lstatSync(through);
    if (socket.isSocket()) {
      check(path, own, dirname(real), fstatSync(folder), socket);
      return { path: Buffer.byteLength(through) > 107 ? path : through, close };
    }
  } catch (error) {
    close();
    if (error instanceof ConnectError) throw error;
    return undefined;
  }
  close();
  return undefined;
}

/** False in a user namespace that does not know this user: all whom it does not know show as one. */
function isMapped(uid: number): boolean {
  let ranges: string;
  try {
    ranges = readFileSync("/proc/self/uid_map", "utf8");
  } catch {
    return true; // another system, or one without /proc
  }
  return ranges.split("\n").some((line) => {
    const [first = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
    return first <= uid && uid < first + count;
  });
}
