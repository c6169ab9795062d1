// The main process under Electron. Type-checked, and NOT RUN by the tests: Electron's program is not on npm. All that
// does not need Electron is in ../main, which the tests run.
import { fileURLToPath } from "node:url";
import { app, BrowserWindow, MessageChannelMain, type MessagePortMain } from "electron";
import { Backend } from "../main/backend.js";
import type { Channel } from "../main/ipc.js";

const backend = new Backend();

function channel(port: MessagePortMain): Channel {
  return {
    send: (message) => port.postMessage(message),
    onMessage: (listener) => {
      port.on("message", ({ data }) => listener(data));
      port.start();
    },
    onClose: (listener) => port.on("close", listener),
  };
}

async function open(): Promise<void> {
  const window = new BrowserWindow({
    webPreferences: {
      preload: fileURLToPath(new URL("preload.cjs", import.meta.url)),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
    },
  });
  const { webContents } = window;
  // The port is for our page alone.
  webContents.on("will-navigate", (event) => event.preventDefault());
  webContents.setWindowOpenHandler(() => ({ action: "deny" }));
  webContents.on("did-finish-load", () => {
    const { port1, port2 } = new MessageChannelMain(); // a page that is loaded again has lost its port, and its kernels
    backend.serve(channel(port1));
    webContents.postMessage("port", null, [port2]);
  });
  await window.loadFile(fileURLToPath(new URL("../../renderer/index.html", import.meta.url)));
}

let closed = false;
app.on("window-all-closed", () => app.quit());
app.on("before-quit", async (event) => {
  if (closed) return;
  event.preventDefault(); // until the environments are given back
  await backend.close();
  closed = true;
  app.quit();
});
app.whenReady().then(open);
