// services.js URL KERNEL FAILING: a front-end made of @jupyterlab/services, as JupyterLab itself is, at a server.
//
// It starts the kernel KERNEL and does with it what a person does, then starts FAILING, which cannot. It prints what it
// saw as JSON. Its folder has what package-lock.json says.
import { KernelManager, ServerConnection } from "@jupyterlab/services";

const [url, name, failing] = process.argv.slice(2);
console.debug = console.warn = () => {}; // the library tells each connection
const serverSettings = ServerConnection.makeSettings({ baseUrl: url, wsUrl: url.replace("http", "ws") });
const kernels = new KernelManager({ serverSettings });

/** The status of the reply, and what the cell printed. */
async function run(kernel, code, begun = () => {}) {
  const cell = kernel.requestExecute({ code });
  let said = "";
  cell.onIOPub = ({ header, content }) => {
    if (header.msg_type === "execute_input") begun();
    said += content.text ?? content.data?.["text/plain"] ?? content.traceback?.join("\n") ?? "";
  };
  const { content } = await cell.done;
  return { status: content.status, ename: content.ename ?? "", said: said.trim() };
}

const where = "import os, sys; print(sys.prefix, os.getpid(), 'seen' in globals()); seen = True";
const began = performance.now();
const kernel = await kernels.startNew({ name });
const saw = { sum: await run(kernel, "1 + 1") };
saw.seconds = (performance.now() - began) / 1000;
saw.first = await run(kernel, where);
await kernel.restart();
saw.second = await run(kernel, where);
saw.stopped = await run(kernel, "import time\nwhile True: time.sleep(0.05)", () => kernel.interrupt());
saw.after = await run(kernel, "print('on')");
await kernel.shutdown();
const sorry = await kernels.startNew({ name: failing });
saw.failed = await run(sorry, "1 + 1");
await sorry.shutdown();
console.log(JSON.stringify(saw));
process.exit(); // the manager polls
