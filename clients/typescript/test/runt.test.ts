import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { root, TempDir } from "./support.js";

const name = `runtimed-bin-${process.platform}-${process.arch}`;

/** A project with this client and a package of programs, whose runt prints its arguments. */
function project(folder: string) {
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, name, "bin"), { recursive: true });
  writeFileSync(join(modules, name, "package.json"), "{}");
  for (const file of ["package.json", "dist"])
    cpSync(join(root, file), join(modules, "runtimed-client", file), { recursive: true });
  const runt = program(join(modules, name, "bin/runt"));
  const node = (args: string[], options = {}) =>
    spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8", timeout: 150_000, ...options });
  return { modules, runt, node, shim: join(modules, "runtimed-client/dist/runt.js") };
}

function program(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  const lines = ["#!/bin/sh", 'echo "$0 $@" >&2', "cat", '[ "$1" != kill ] || kill -9 $$', "exit 7"];
  writeFileSync(path, lines.join("\n"), { mode: 0o755 });
  return path;
}

test("runt from npm is the program of this platform: arguments, input, exit code, death", () => {
  using dir = new TempDir();
  const { runt, node, shim } = project(dir.path);
  const done = node([shim, "a b", "--c"], { input: "in" });
  assert.deepEqual([done.stderr, done.stdout, done.status], [`${runt} a b --c\n`, "in", 7]);
  assert.equal(node([shim, "kill"], { input: "" }).signal, "SIGKILL");
});

test("runt from npm says why there is no program", () => {
  using dir = new TempDir();
  const { modules, node, shim } = project(dir.path);
  renameSync(join(modules, name), join(modules, "elsewhere"));
  const left = node([shim]);
  assert.equal(left.status, 1);
  assert.match(left.stderr, new RegExp(`^runt: error: .*${name}.*\nrunt: hint: .*optional.*\n$`));
  const code = "Object.defineProperty(process, 'arch', { value: 'sparc' }); await import(process.argv[1])";
  const unknown = node(["--input-type=module", "-e", code, shim]);
  assert.equal(unknown.status, 1);
  assert.match(unknown.stderr, /^runt: error: there is no package .* on sparc\nrunt: hint: build them .*\n$/);
});

test("the runt that npm installed with this client goes before PATH, also from beside Electron's archive", () => {
  using dir = new TempDir();
  const path = program(join(dir.path, "path/runt"));
  const code = `import { Client } from "runtimed-client";
    await Client.connect({ socket: "nowhere/s", autostart: true }).catch((error) => console.log(error.message))`;
  const env = { PATH: `${dirname(path)}:/usr/bin:/bin`, HOME: dir.path };
  const failing = (node: ReturnType<typeof project>["node"]) =>
    node(["--input-type=module", "-e", code], { env }).stdout;

  const { modules, runt, node } = project(join(dir.path, "plain"));
  assert.match(failing(node), new RegExp(`starting one failed: ${runt} daemon start --auto\n`));
  renameSync(join(modules, name), join(modules, "elsewhere"));
  assert.match(failing(node), new RegExp(`starting one failed: ${path} daemon start --auto\n`));

  const archived = project(join(dir.path, "app.asar"));
  const unpacked = archived.runt.replace("app.asar", "app.asar.unpacked");
  mkdirSync(dirname(unpacked), { recursive: true });
  renameSync(archived.runt, unpacked);
  assert.match(failing(archived.node), new RegExp(`starting one failed: ${unpacked} daemon start --auto\n`));
});
