import { ConnectError } from "./errors.js";

/**
 * Where the daemon listens, told from the environment alone. The daemon and its clients share this rule, and the table
 * of cases that holds them to it (`testdata/wire/paths.jsonl`). An empty variable counts as unset.
 */
export function socketPath(
  platform: string = process.platform,
  env: Record<string, string | undefined> = process.env,
): string {
  if (env.RUNTIMED_SOCKET)
    return checkLength(platform, absolute(platform, "RUNTIMED_SOCKET", env.RUNTIMED_SOCKET));
  if (platform === "win32") {
    if (env.USERNAME) return `\\\\.\\pipe\\runtimed-${env.USERNAME.toLowerCase()}`;
    throw new ConnectError("unreachable", "USERNAME is not set, so the pipe has no name");
  }
  return checkLength(platform, `${stateDir(platform, env)}/runtimed.sock`);
}

function stateDir(platform: string, env: Record<string, string | undefined>): string {
  const { HOME: home, XDG_CACHE_HOME: cache } = env;
  if (platform !== "darwin" && cache?.startsWith("/")) return `${cache.replace(/\/+$/, "")}/runt`;
  if (!home)
    throw new ConnectError(
      "unreachable",
      "HOME is not set, so the socket has no place: set it, or RUNTIMED_SOCKET",
    );
  const folder = absolute(platform, "HOME", home).replace(/\/+$/, "");
  return folder + (platform === "darwin" ? "/Library/Caches/runt" : "/.cache/runt");
}

function absolute(platform: string, name: string, value: string): string {
  if (value.startsWith("/") || (platform === "win32" && /^(\\\\|[a-z]:[\\/])/i.test(value))) return value;
  throw new ConnectError("unreachable", `${name} is ${JSON.stringify(value)}, which is not an absolute path`);
}

/** Refuses a path that does not fit a socket address: systems cut it off, or say no more than "invalid argument". */
export function checkLength(platform: string, path: string): string {
  const limit = platform === "linux" ? 107 : 103;
  const length = Buffer.byteLength(path);
  if (platform === "win32" || length <= limit) return path;
  const message = `socket path ${path} is ${length} bytes long, and this system allows ${limit}`;
  throw new ConnectError("unreachable", `${message}: set RUNTIMED_SOCKET to a shorter one`);
}
