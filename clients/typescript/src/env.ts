import { delimiter } from "node:path";
import type { Client } from "./client.js";
import type { Acquired, EnvInfo } from "./wire.js";

/** An environment that is leased: run its `python` with its `environ()`, then `release()` it. */
export class Env implements EnvInfo {
  readonly id!: string;
  readonly pool!: string;
  readonly kind!: EnvInfo["kind"];
  readonly path!: string;
  readonly python!: string;
  readonly pythonVersion!: string;
  readonly state!: EnvInfo["state"];
  readonly createdAt!: string;
  readonly packages!: EnvInfo["packages"];
  readonly variables!: EnvInfo["variables"];
  readonly pathPrepend!: string[];
  /** "ready", or "built" while the caller waited. */
  readonly source!: Acquired["source"];
  /** Whether it is one of the configuration before, since none of the new one could be built. */
  readonly stale!: boolean;
  readonly waitedMs!: number;
  readonly #client: Client;

  /** @internal Client.acquire makes these. */
  constructor({ env, ...how }: Acquired, client: Client) {
    Object.assign(this, env, how);
    this.#client = client;
  }

  /** A copy of the variables in `base`, with this environment activated. */
  environ(base: Record<string, string | undefined> = process.env): Record<string, string> {
    const result: Record<string, string> = {};
    for (const [name, value] of Object.entries({ ...base, ...this.variables })) {
      if (typeof value === "string") result[name] = value;
    }
    if (this.pathPrepend.length > 0) {
      result.PATH = [...this.pathPrepend, ...(result.PATH ? [result.PATH] : [])].join(delimiter);
    }
    return result;
  }

  release(): Promise<void> {
    return this.#client.release(this);
  }

  /** Releases it, unless that has been done or another process has adopted it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#client.releaseIfHeld(this);
  }
}
