import { delimiter } from "node:path";
import type { CancellationToken } from "vscode-jsonrpc/node";
import { Daemon, type Env, ensureDaemon, type Progress, type Where } from "./daemon.js";

const waitMs = 120_000;

/** Takes an environment, and starts a daemon for it if there is none, since a user asks for it. */
export async function takeEnvironment(
  where: Where,
  pool: string,
  onProgress: (progress: Progress) => void,
  token?: CancellationToken,
): Promise<Env> {
  await ensureDaemon(where);
  const params = { pool, wait_ms: waitMs, label: "VS Code" };
  return withDaemon(where.socket, (daemon) => daemon.acquire(params, onProgress, token));
}

/** Opens a connection, and closes it after use. */
export async function withDaemon<T>(socket: string | undefined, use: (daemon: Daemon) => Promise<T>): Promise<T> {
  const daemon = await Daemon.dial(socket);
  try {
    return await use(daemon);
  } finally {
    daemon.dispose();
  }
}

/** What a terminal gets on top of its variables, which VS Code merges in any case on Windows; null removes one. */
export function activation(env: Env, path = process.env.PATH): Record<string, string | null> {
  return { ...env.variables, PATH: [...env.path_prepend, ...(path ? [path] : [])].join(delimiter) };
}
