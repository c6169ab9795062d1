import { setTimeout as sleep } from "node:timers/promises";
import { Daemon, describe, type Pool } from "./daemon.js";

const shortestPauseMs = 100;
const longestPauseMs = 5000;

/** The pools, or why they are unknown. */
export type View = { pools: Pool[] } | { problem: string };

/** Shows the pools, now and after each change, until the signal aborts. It reconnects to a daemon, and starts none. */
export async function watchPools(
  socket: string | undefined,
  show: (view: View) => void,
  signal: AbortSignal,
): Promise<void> {
  let pauseMs = shortestPauseMs;
  while (!signal.aborted) {
    try {
      const daemon = await Daemon.dial(socket);
      const end = () => daemon.dispose();
      signal.addEventListener("abort", end);
      try {
        await daemon.watch((pools) => {
          pauseMs = shortestPauseMs;
          if (!signal.aborted) show({ pools });
        });
      } finally {
        signal.removeEventListener("abort", end);
        daemon.dispose();
      }
    } catch (error) {
      if (!signal.aborted) show({ problem: describe(error) });
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
}

const on = (pools: Pool[]) => pools.filter(({ state }) => state !== "off");

/** The text and the tooltip of the status bar's item. */
export function status(view: View): { text: string; tooltip: string; warn: boolean } {
  if ("problem" in view) return { text: "$(circle-slash) runtimed", tooltip: view.problem, warn: false };
  const counts = on(view.pools).map(({ name, available, target }) => `${name} ${available}/${target}`);
  return {
    text: `$(vm) ${counts.join(" · ") || "no pools"}`,
    tooltip: rows(view.pools)
      .map(({ label, description, detail }) => [`${label}: ${description}`, detail].filter(Boolean).join("\n"))
      .join("\n"),
    warn: view.pools.some(({ state }) => state === "failing"),
  };
}

/** A row for each pool, in the shape of a quick pick. */
export function rows(pools: Pool[]): { label: string; description: string; detail: string }[] {
  return pools.map(({ name, state, available, target, warming, leased, error }) => {
    const counts = `${available} of ${target} ready, ${warming} warming, ${leased} leased`;
    const detail = error ? `${error.message}: ${error.hint}` : "";
    return { label: name, description: state === "off" ? "off" : `${state}, ${counts}`, detail };
  });
}

/** The names of the pools that can give an environment. */
export function choices(view: View): string[] {
  return "pools" in view ? on(view.pools).map(({ name }) => name) : [];
}
