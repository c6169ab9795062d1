import { setTimeout as sleep } from "node:timers/promises";
import { Client, type ConnectOptions, type PoolStatus } from "runtimed-client";
import type { PoolsView, PoolView } from "../calls.js";
import { problem } from "./ipc.js";

const shortestPauseMs = 100;
const longestPauseMs = 5000;

/**
 * The counts of all pools, now and after each change, until the signal aborts. When the daemon ends, it says so and
 * reconnects. It starts a daemon only the first time: one that ends later may have been stopped by its user.
 */
export async function* watchPools(options: ConnectOptions, signal: AbortSignal): AsyncGenerator<PoolsView> {
  let pauseMs = shortestPauseMs;
  for (let autostart = true; ; autostart = false) {
    try {
      await using client = await Client.connect({ ...options, autostart });
      for await (const { pools } of client.watch({ signal })) {
        pauseMs = shortestPauseMs;
        yield { pools: pools.map(view), problem: null };
      }
    } catch (error) {
      if (signal.aborted) return;
      yield { pools: [], problem: problem(error) };
    }
    try {
      await sleep(pauseMs, undefined, { signal });
    } catch {
      return;
    }
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
}

/** What a page shows, and no more: paths and programs stay in the main process. */
function view({ name, state, available, target, warming, leased, error }: PoolStatus): PoolView {
  const failing = error && { message: error.message, hint: error.hint };
  return { name, state, available, target, warming, leased, problem: failing };
}
