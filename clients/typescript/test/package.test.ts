import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { Daemon } from "./daemon.js";
import { acquired, env, FakeDaemon, info, pool, root, TempDir } from "./support.js";

const run = promisify(execFile);

/** The snippets of the README, each in two files: example0.ts, example0.mjs, and so on. */
function snippets(folder: string): number[] {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const examples = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? "");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [n, code] of examples.entries())
    for (const end of ["ts", "mjs"]) writeFileSync(join(folder, `example${n}.${end}`), code);
  return [...examples.keys()];
}

test("the examples of the README compile for a strict user, and do what they say", async () => {
  using dir = new TempDir();
  const python = join(dir.path, "python");
  writeFileSync(python, '#!/bin/sh\necho "$VIRTUAL_ENV runs $2"\n', { mode: 0o755 });
  await using daemon = await FakeDaemon.start((message, peer) => {
    const { id, method, params } = message;
    if (method === "pool.acquire" && params.pool === "data") {
      const data = { kind: "build_failed", cause: "network", output: "no route" };
      return peer.send({ id, error: { code: -32003, message: "building failed", data } });
    }
    if (params.progress) peer.send({ method: "$/progress", params: { id, stage: "queued", message: "first" } });
    const results: Record<string, unknown> = {
      "daemon.info": { ...info, socket: daemon.path },
      "pool.status": { pools: [pool("uv", 3)] },
      "pool.watch": { pools: [pool("uv", 2), pool("conda", 0)] },
      "pool.acquire": params.packages
        ? {
            ...acquired,
            env: { ...env, needs: params.packages },
            source: "extended",
            added: [{ name: "tabulate", version: "0.9.0" }],
            added_ms: 310,
          }
        : { ...acquired, env: { ...env, python } },
      "env.adopt": { env },
      "pool.release": {},
      "env.list": { envs: [] },
    };
    peer.result(message, results[method]);
  });

  const folder = join(root, ".test", "readme"); // inside the package, so that its name leads to it
  const examples = snippets(folder);
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await run(join(root, "node_modules/.bin/tsc"), ["-p", folder]).catch((error) => assert.fail(error.stdout));

  const outputs: string[] = [];
  for (const n of examples) {
    const options = { env: { ...process.env, RUNTIMED_SOCKET: daemon.path } };
    const { stdout, stderr } = await run(process.execPath, [join(folder, `example${n}.mjs`)], options);
    outputs.push(stdout + stderr);
  }
  assert.deepEqual(outputs, [
    "/envs/uv-0123abcd runs import ipykernel; print('ipykernel', ipykernel.__version__)\n",
    "0.1.0 uv ready 3 \nqueued first\nuv: 2, conda: 0\n{ envs: [] }\n",
    "extended [ 'humanize', 'tabulate>=0.9' ]\ntabulate 0.9.0 310\n",
    "hand\n",
    "network no route\n",
  ]);
  assert.equal(daemon.calls("pool.release").length, 3);
  assert.equal(daemon.calls("env.adopt")[0]?.params.owner_pid, process.pid);
});

test("the examples of the README run as they stand, in a plain Node and with a real daemon", async () => {
  const folder = join(root, ".test", "real");
  const examples = snippets(folder);
  await using daemon = new Daemon(() => "[pools.uv]\nsize = 2\nstandby = 0\n[pools.conda]\nsize = 0\n");
  await daemon.start();
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const strips = major > 22 || (major === 22 && minor >= 18); // the types; an older Node fetches such a one
  const node = strips ? [process.execPath] : ["npx", "--yes", "node@22.18.0"];
  for (const n of examples) {
    const options = { env: { ...process.env, RUNTIMED_SOCKET: daemon.socket }, cwd: folder };
    const { stdout } = await run(node[0] as string, [...node.slice(1), `example${n}.ts`], options);
    assert.notEqual(stdout, "", `example ${n} prints nothing`);
  }
});

test("the package holds the compiled sources and the README, and needs nothing", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root });
  const listed = JSON.parse(stdout);
  const [{ files }] = Array.isArray(listed) ? listed : (Object.values(listed) as [{ files: { path: string }[] }]);
  const modules = readdirSync(join(root, "src")).map((name) => `dist/${name.replace(/\.ts$/, "")}`);
  assert.deepEqual(
    files.map(({ path }: { path: string }) => path).sort(),
    ["README.md", "package.json", ...modules.flatMap((name) => [`${name}.js`, `${name}.d.ts`])].sort(),
  );
  assert.equal(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies, undefined);
  for (const folder of [root, join(root, "../../examples")])
    assert.doesNotMatch(readFileSync(join(folder, "package-lock.json"), "utf8"), /"resolved": ".*:/); // paths may stay
});

test("the client is 300 lines of code, and what travels 170", () => {
  const code = (name: string) => {
    const text = readFileSync(join(root, "src", name), "utf8").replace(/\/\*.*?\*\//gs, "");
    return text.split("\n").filter((line) => !/^\s*(\/\/.*)?$/.test(line)).length;
  };
  const apart = ["wire.ts", "start.ts", "runt.ts"]; // runt.ts is a command
  const counted = readdirSync(join(root, "src")).filter((name) => !apart.includes(name));
  const sum = counted.map(code).reduce((all, one) => all + one, 0);
  assert.ok(sum <= 300, `${sum} lines`);
  assert.ok(code("wire.ts") <= 170, `${code("wire.ts")} lines`);
});
