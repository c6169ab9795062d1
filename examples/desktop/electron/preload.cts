// Type-checked, and NOT RUN by the tests. A sandboxed preload script is one file of CommonJS. It hands the page its port, and
// nothing else: no ipcRenderer, and nothing of Node. What may come through the port, the main process checks.
import electron = require("electron");

electron.ipcRenderer.on("port", ({ ports }) => window.postMessage("port", "*", [...ports]));
