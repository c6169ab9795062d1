#!/usr/bin/env node
// The runt of npm: becomes the packaged one, or where Node cannot do that, stands in front of it.
import { spawn } from "node:child_process";
import { isatty } from "node:tty";
import { binaryPackage, binaryPackages, errorMark, hintMark, packagedRunt, windows } from "./start.js";

const args = process.argv.slice(2);
const runt = packagedRunt();
// Since Node 22.15, except on Windows. What is leased to runt's caller or to runt wants no process between them.
const { execve } = process as { execve?: (file: string, args: string[], env: NodeJS.ProcessEnv) => never };
if (!runt) reportMissing();
else if (execve && !windows) execve(runt, [runt, ...args], process.env);
else standInFrontOf(runt);

function reportMissing(): void {
  const [error, hint] = binaryPackages.includes(binaryPackage)
    ? [
        `the package ${binaryPackage}, which has the programs for this machine, is not installed`,
        "npm left out optional dependencies, or installed for another machine: " +
          "install it from where you got runtimed-client",
      ]
    : [
        `there is no package with the programs of runtimed for ${process.platform} on ${process.arch}`,
        "build them from the sources, and put runt and runtimed on PATH",
      ];
  process.stderr.write(`${errorMark}${error}\n${hintMark}${hint}\n`);
  process.exitCode = 1;
}

function standInFrontOf(program: string): void {
  const child = spawn(program, args, { stdio: "inherit" });
  const signals: NodeJS.Signals[] = windows ? ["SIGINT"] : ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) {
    process.on(signal, () => {
      const byKey = windows || (isatty(0) && (signal === "SIGINT" || signal === "SIGQUIT"));
      if (!byKey) child.kill(signal); // a terminal tells both of us of its keys
    });
  }
  child.on("error", (error) => {
    process.stderr.write(`${errorMark}${program} cannot be run: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (!signal) return process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
