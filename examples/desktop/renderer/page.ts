// The page of the Electron app: the pools, live, and a kernel to run cells in.
import type { Problem } from "../calls.js";
import { Api } from "./api.js";

const element = (id: string) => document.getElementById(id) as HTMLElement;
const describe = ({ message, hint }: Problem) => (hint ? `${message}\n${hint}` : message);

function show(api: Api): void {
  const form = element("cell") as HTMLFormElement;
  let kernel: Promise<string> | undefined;
  api.on("pools", ({ pools, problem }) => {
    const lines = pools.map(({ name, state, available, target, problem }) => {
      return `${name}: ${available} of ${target} ${problem ? describe(problem) : state}`;
    });
    element("pools").textContent = problem ? describe(problem) : lines.join("\n");
  });
  api.on("progress", ({ message }) => {
    element("answer").textContent = message;
  });
  api.on("ended", ({ message }) => {
    kernel = undefined;
    element("answer").textContent = message;
  });
  form.onsubmit = async (event) => {
    event.preventDefault();
    const code = String(new FormData(form).get("code"));
    kernel ??= api.call("start", { pool: "uv" }).then((started) => started.kernel);
    kernel.catch(() => {
      kernel = undefined; // the next click tries again
    });
    try {
      element("answer").textContent = (await api.call("run", { kernel: await kernel, code })).text;
    } catch (error) {
      element("answer").textContent = describe(error as Problem);
    }
  };
}

// The preload script hands the port over when the main process has made it.
window.addEventListener("message", ({ source, data, ports: [port] }) => {
  if (source !== window || data !== "port" || !port) return;
  const onMessage = (listener: (message: unknown) => void) => {
    port.onmessage = ({ data }) => listener(data);
  };
  show(new Api({ send: (message) => port.postMessage(message), onMessage }));
});
