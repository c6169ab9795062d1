#!/usr/bin/env node
// The runt of npm: becomes the real one, or where Node cannot do that, stands in front of it.
import { spawn } from "node:child_process";
import { isatty } from "node:tty";
import { binaryPackage, binaryPackages, packagedRunt } from "./binary.js";

const args = process.argv.slice(2);
const runt = packagedRunt();

// Since Node 22.15, except on Windows. What is leased to runt's caller or to runt itself wants no process between them.
const { execve } = process as { execve?: (file: string, args: string[], env: NodeJS.ProcessEnv) => never };

if (!runt) missing();
else if (execve && process.platform !== "win32") execve(runt, [runt, ...args], process.env);
else standInFrontOf(runt);

function missing(): void {
  const [error, hint] = binaryPackages.includes(binaryPackage)
    ? [
        `the package ${binaryPackage}, which has the programs for this machine, is not installed`,
        `npm was told to leave optional dependencies out, or installed for another machine: install it from where runtimed-client came from`,
      ]
    : [
        `there is no package with the programs of runtimed for ${process.platform} on ${process.arch}`,
        "build them from the sources, and put runt and runtimed on PATH",
      ];
  process.stderr.write(`runt: error: ${error}\nrunt: hint: ${hint}\n`);
  process.exitCode = 1;
}

function standInFrontOf(program: string): void {
  const child = spawn(program, args, { stdio: "inherit" });
  const signals: NodeJS.Signals[] = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"];
  for (const signal of process.platform === "win32" ? [] : signals)
    process.on(signal, () => {
      // A terminal tells both of us of its keys.
      if (isatty(0) && (signal === "SIGINT" || signal === "SIGQUIT")) return;
      child.kill(signal);
    });
  if (process.platform === "win32") process.on("SIGINT", () => {}); // likewise
  child.on("error", (error) => {
    process.stderr.write(`runt: error: ${program} cannot be run: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (!signal) return process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
