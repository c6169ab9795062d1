// What the main process and a renderer send each other: plain data, and a fixed set of calls.

/** What a renderer may call. All arguments are strings, which the main process checks. */
export interface Calls {
  /** Takes an environment of this pool and starts a kernel in it. */
  start: { args: { pool: string }; result: KernelView };
  /** Runs a cell. Cells of one kernel run one after the other. */
  run: { args: { kernel: string; code: string }; result: Answer };
  /** Ends the kernel and releases its environment. */
  stop: { args: { kernel: string }; result: null };
}

/** What a renderer is sent without a call. */
export interface Events {
  pools: PoolsView;
  /** What a `start` in this pool waits for. */
  progress: { pool: string; message: string };
  /** A kernel has ended by itself; its environment is released. */
  ended: { kernel: string; message: string };
}

export interface PoolsView {
  pools: PoolView[];
  /** Why the pools are unknown at the moment. */
  problem: Problem | null;
}

export interface PoolView {
  name: string;
  state: string;
  available: number;
  target: number;
  warming: number;
  leased: number;
  /** Why its builds fail. */
  problem: Problem | null;
}

export interface KernelView {
  kernel: string;
  pool: string;
  pythonVersion: string;
}

/** What a cell printed and gave, or the error that it raised. */
export interface Answer {
  ok: boolean;
  text: string;
}

export interface Problem {
  message: string;
  hint: string;
}

export type Name = keyof Calls;
export type Args<N extends Name> = Calls[N]["args"];
export type Result<N extends Name> = Calls[N]["result"];

export type Reply = { id: number; result: unknown } | { id: number; error: Problem };
export type Event = { [E in keyof Events]: { event: E; data: Events[E] } }[keyof Events];
