import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { acquired, env, FakeDaemon, info, pool, root, TempDir } from "./support.js";

const run = promisify(execFile);

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
      "pool.flush": { removed: 1 },
    };
    peer.result(message, results[method]);
  });

  const readme = readFileSync(join(root, "README.md"), "utf8");
  const examples = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? "");
  const folder = join(root, ".test", "readme"); // inside the package, so that its name leads to it
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [n, code] of examples.entries()) writeFileSync(join(folder, `example${n}.ts`), code);
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  await run(join(root, "node_modules/.bin/tsc"), ["-p", folder]).catch((error) => assert.fail(error.stdout));

  const outputs: string[] = [];
  for (const n of examples.keys()) {
    const options = { env: { ...process.env, RUNTIMED_SOCKET: daemon.path } };
    const { stdout, stderr } = await run(process.execPath, [join(folder, `example${n}.js`)], options);
    outputs.push(stdout + stderr);
  }
  assert.deepEqual(outputs, [
    "/envs/uv-0123abcd runs print('hello')\n",
    "0.1.0 uv ready 3 undefined\nqueued first\nuv: 2, conda: 0\n",
    "extended [ 'pandas', 'tabulate>=0.9' ]\ntabulate 0.9.0 310\n",
    "hand\n",
    "network no route\n",
  ]);
  assert.equal(daemon.calls("pool.release").length, 2);
  assert.equal(daemon.calls("env.adopt")[0]?.params.owner_pid, process.pid);
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
