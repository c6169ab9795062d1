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
  if (env.RUNTIMED_SOCKET) return checkLength(platform, absolute(platform, "RUNTIMED_SOCKET", env));
  if (platform === "win32") {
    if (env.USERNAME) return `\\\\.\\pipe\\runtimed-${env.USERNAME.toLowerCase()}`;
    throw new ConnectError("unreachable", "USERNAME is not set, so the pipe has no name");
  }
  const cached = platform !== "darwin" && env.XDG_CACHE_HOME?.startsWith("/");
  const folder = absolute(platform, cached ? "XDG_CACHE_HOME" : "HOME", env).replace(/\/+$/, "");
  return checkLength(platform, `${folder}${cached ? "/runt" : inHome}/runtimed.sock`);
}

function absolute(platform: string, name: string, env: Record<string, string | undefined>): string {
  const value = env[name] ?? "";
  if (value.startsWith("/") || (platform === "win32" && /^(\\\\|[a-z]:[\\/])/i.test(value))) return value;
  const message = `${name} is ${JSON.stringify(value)}, which is not an absolute path`;
  throw new ConnectError("unreachable", message, { hint: "set it, or RUNTIMED_SOCKET" });
}

/** Refuses a path that does not fit a socket address: systems cut it off, or say no more than "invalid argument". */
export function checkLength(platform: string, path: string): string {
  const limit = platform === "linux" ? 107 : 103;
  const length = Buffer.byteLength(path);
  if (platform === "win32" || length <= limit) return path;
  const message = `socket path ${path} is ${length} bytes long, and this system allows ${limit}`;
  throw new ConnectError("unreachable", `${message}: set RUNTIMED_SOCKET to a shorter one`);
}
