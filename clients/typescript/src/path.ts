import { ConnectError } from "./errors.js";

/**
 * Where the daemon listens, told from the environment alone. The daemon and its clients share this rule, and the table
 * of cases that holds them to it (`testdata/wire/paths.jsonl`). An empty variable counts as unset.
 */
export function socketPath(
  platform: string = process.platform,
  env: Record<string, string | undefined> = process.env,
): string {
  const inHome = platform === "darwin" ? "/Library/Caches/runt" : "/.cache/runt";
  if (platform === "win32") return pipe(env);
  if (env.RUNTIMED_SOCKET) return checkPath(platform, absolute("RUNTIMED_SOCKET", env));
  const cached = platform !== "darwin" && env.XDG_CACHE_HOME?.startsWith("/");
  const folder = absolute(cached ? "XDG_CACHE_HOME" : "HOME", env).replace(/\/+$/, "");
  return checkPath(platform, `${folder}${cached ? "/runt" : inHome}/runtimed.sock`);
}

/** The pipe of a user on Windows, which takes either case for it; only A to Z are the same in every language. */
function pipe({ RUNTIMED_SOCKET: given, USERNAME: user }: Record<string, string | undefined>): string {
  if (given) return checkPath("win32", given);
  if (!user) throw new ConnectError("unreachable", "USERNAME is not set, so the pipe has no name");
  return `\\\\.\\pipe\\runtimed-${user.replace(/[A-Z]/g, (letter) => letter.toLowerCase())}`;
}

function absolute(name: string, env: Record<string, string | undefined>): string {
  const value = env[name] ?? "";
  if (value.startsWith("/")) return value;
  const message = `${name} is ${JSON.stringify(value)}, which is not an absolute path`;
  throw new ConnectError("unreachable", message, { hint: "set it, or RUNTIMED_SOCKET" });
}

/** Refuses a path that does not fit a socket address (systems cut it off, or say no more than "invalid argument"), or is no pipe. */
export function checkPath(platform: string, path: string): string {
  if (platform === "win32") {
    if (/^\\\\\.\\pipe\\./is.test(path)) return path;
    const message = `${path} is not the name of a pipe: set RUNTIMED_SOCKET to one that begins with \\\\.\\pipe\\`;
    throw new ConnectError("unreachable", message);
  }
  if (path.includes("\ufffd")) {
    // Node has this in place of bytes that are not UTF-8, and so another path
    const message = `socket path ${path} is not UTF-8`;
    throw new ConnectError("unreachable", message, { hint: "set RUNTIMED_SOCKET to another path" });
  }
  const limit = platform === "linux" ? 107 : 103;
  const length = Buffer.byteLength(path);
  if (length <= limit) return path;
  const message = `socket path ${path} is ${length} bytes long, and this system allows ${limit}`;
  throw new ConnectError("unreachable", `${message}: set RUNTIMED_SOCKET to a shorter one`);
}
