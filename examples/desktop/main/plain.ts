// What ../electron does, without Electron: this is the main process, and a worker with a port is the renderer.
import { once } from "node:events";
import { isMainThread, MessageChannel, type MessagePort, Worker, workerData } from "node:worker_threads";
import type { PoolsView } from "../calls.js";
import { Api } from "../renderer/api.js";
import { Backend } from "./backend.js";
import { portChannel } from "./ipc.js";

async function main(): Promise<void> {
  const backend = new Backend();
  const { port1, port2 } = new MessageChannel();
  backend.serve(portChannel(port1));
  const worker = new Worker(new URL(import.meta.url), { workerData: port2, transferList: [port2] });
  try {
    await once(worker, "exit");
  } finally {
    await backend.close();
  }
}

async function renderer(port: MessagePort): Promise<void> {
  const api = new Api(portChannel(port));
  api.on("pools", ({ pools, problem }: PoolsView) => {
    const counts = pools.map(({ name, available, target }) => `${name}: ${available} of ${target}`);
    console.log(problem ? problem.message : counts.join(", "));
  });
  api.on("progress", ({ message }) => console.log(message));
  const { kernel, pythonVersion } = await api.call("start", { pool: "uv" });
  const { text } = await api.call("run", { kernel, code: "1+1" });
  console.log(`Python ${pythonVersion} says that 1+1 is ${text}`);
  port.close();
}

await (isMainThread ? main() : renderer(workerData));
