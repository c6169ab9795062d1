import type { Connection } from "./connection.js";
import { ConnectError, type RuntimedError } from "./errors.js";
import { decodeChanged, decodeStatus, type Status } from "./wire.js";

const maxUnread = 64; // statuses that are kept for a reader who is busy

/** See Client.watch. A connection of its own for each watch: to end one is to close it, and no other watch has a part in it. */
export function watch(
  open: () => Promise<Connection>,
  limitMs: number,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<Status> {
  const stop = new AbortController();
  const statuses = follow(open, limitMs, signal, stop.signal);
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => statuses.next(),
    return: () => {
      stop.abort(); // so that a next() that waits ends too
      return statuses.return();
    },
  };
}

async function* follow(
  open: () => Promise<Connection>,
  limitMs: number,
  signal: AbortSignal | undefined,
  stop: AbortSignal,
): AsyncGenerator<Status, void> {
  signal?.throwIfAborted();
  const connection = await open();
  const unread: Status[] = [];
  let status: Status = { pools: [] };
  let failure: RuntimedError | undefined;
  let wake = () => {};

  const show = (latest: Status) => {
    status = latest;
    unread.push(latest);
    if (unread.length > maxUnread) unread.shift();
    wake();
  };
  connection.onNotification = (method, params) => {
    if (method !== "pool.changed") return;
    const { pool } = decodeChanged(params, "pool.changed: params");
    const known = status.pools.some(({ name }) => name === pool.name);
    const pools = status.pools.map((one) => (one.name === pool.name ? pool : one));
    show({ pools: known ? pools : [...pools, pool] });
  };
  connection.whenEnded((error) => {
    failure = error;
    wake();
  });
  const end = () => connection.end(new ConnectError("closed", "the watch has ended"));
  for (const reason of [stop, signal]) reason?.addEventListener("abort", end);
  if (stop.aborted || signal?.aborted) end();

  try {
    const decode = (result: unknown, at: string) => show(decodeStatus(result, at));
    await connection.call({ method: "pool.watch", params: {}, decode, limitMs });
    for (;;) {
      const next = unread.shift();
      if (next) {
        yield next;
      } else if (failure) {
        throw failure;
      } else {
        connection.keepAlive(true); // for whoever waits for the next change
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        connection.keepAlive(false);
      }
    }
  } catch (error) {
    if (stop.aborted) return;
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", end);
    end();
  }
}
