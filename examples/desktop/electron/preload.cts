// Type-checked, and NOT RUN by the tests. A sandboxed preload script is one file of CommonJS. It gives the page its
// port and nothing else: no ipcRenderer, nothing of Node. The main process checks what comes through the port.
import electron = require("electron");

electron.ipcRenderer.on("port", ({ ports }) => window.postMessage("port", "*", [...ports]));
