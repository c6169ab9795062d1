import type { ConnectOptions } from "runtimed-client";
import type { Event, KernelView, PoolsView } from "../calls.js";
import { type Channel, serve } from "./ipc.js";
import { Kernel } from "./kernel.js";
import { watchPools } from "./pools.js";

const mostKernels = 8; // of one renderer

/** The main process: it alone talks to the daemon, and its renderers get plain data. */
export class Backend {
  readonly #connect: ConnectOptions;
  readonly #renderers = new Set<Renderer>();
  readonly #closed = new AbortController();
  readonly #watching: Promise<void>;
  #latest: PoolsView | undefined;

  constructor(connect: ConnectOptions = {}) {
    this.#connect = connect;
    this.#watching = this.#watch();
  }

  async #watch(): Promise<void> {
    for await (const view of watchPools(this.#connect, this.#closed.signal)) {
      this.#latest = view;
      for (const renderer of this.#renderers) renderer.tell({ event: "pools", data: view });
    }
  }

  /** Serves a renderer until its channel closes, which ends its kernels. */
  serve(channel: Channel): void {
    const renderer = new Renderer(channel, this.#connect);
    this.#renderers.add(renderer);
    channel.onClose(() => renderer.close().then(() => this.#renderers.delete(renderer)));
    if (this.#latest) renderer.tell({ event: "pools", data: this.#latest });
  }

  /** Ends all kernels and releases their environments. */
  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([this.#watching, ...[...this.#renderers].map((renderer) => renderer.close())]);
  }
}

/** One renderer and its kernels, which the other renderers cannot reach. */
class Renderer {
  readonly #channel: Channel;
  readonly #connect: ConnectOptions;
  readonly #kernels = new Map<string, Kernel>();
  readonly #gone = new AbortController();
  readonly #starting = new Set<Promise<Kernel>>();
  #lastId = 0;

  constructor(channel: Channel, connect: ConnectOptions) {
    this.#channel = channel;
    this.#connect = connect;
    serve(channel, {
      start: ({ pool }) => this.#start(pool),
      run: ({ kernel, code }) => this.#kernel(kernel).run(code),
      stop: async ({ kernel }) => {
        const stopping = this.#kernel(kernel);
        this.#kernels.delete(kernel);
        await stopping.close();
        return null;
      },
    });
  }

  tell(event: Event): void {
    if (!this.#gone.signal.aborted) this.#channel.send(event);
  }

  async #start(pool: string): Promise<KernelView> {
    this.#gone.signal.throwIfAborted();
    if (this.#kernels.size + this.#starting.size >= mostKernels) {
      throw new Error(`a window may have ${mostKernels} kernels`);
    }
    const starting = Kernel.start({
      connect: this.#connect,
      pool,
      signal: this.#gone.signal,
      onProgress: (message) => this.tell({ event: "progress", data: { pool, message } }),
    });
    this.#starting.add(starting);
    const started = await starting.finally(() => this.#starting.delete(starting));
    const kernel = `kernel-${++this.#lastId}`;
    this.#kernels.set(kernel, started);
    started.ended.then(async ({ message }) => {
      if (!this.#kernels.delete(kernel)) return; // we ended it
      await started.close();
      this.tell({ event: "ended", data: { kernel, message } });
    });
    return { kernel, pool, pythonVersion: started.pythonVersion };
  }

  #kernel(id: string): Kernel {
    const kernel = this.#kernels.get(id);
    if (!kernel) throw new Error("there is no such kernel");
    return kernel;
  }

  async close(): Promise<void> {
    this.#gone.abort();
    await Promise.allSettled(this.#starting);
    const kernels = [...this.#kernels.values()];
    this.#kernels.clear();
    await Promise.all(kernels.map((kernel) => kernel.close()));
  }
}
