import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectError, socketPath } from "runtimed-client";
import { joined, type Text, vectors } from "./support.js";

interface PathVector {
  name: string;
  platform: string;
  env: Record<string, Text>;
  path?: Text;
  error?: { names?: string; contains?: string[] };
}

for (const { name, platform, env, path, error } of vectors<PathVector>("paths.jsonl")) {
  test(`paths.jsonl: ${platform}: ${name}`, () => {
    const find = () =>
      socketPath(
        platform === "windows" ? "win32" : platform,
        Object.fromEntries(Object.entries(env).map(([name, value]) => [name, joined(value)])),
      );
    if (path !== undefined) return assert.equal(find(), joined(path));
    assert.throws(find, (refusal) => {
      assert.ok(refusal instanceof ConnectError);
      assert.equal(refusal.kind, "unreachable");
      for (const part of [error?.names ?? assert.fail("no error"), ...(error?.contains ?? [])]) {
        assert.ok(refusal.message.includes(part), `${refusal.message} lacks ${part}`);
      }
      return true;
    });
  });
}

test("a path that is not UTF-8 is refused", () => {
  const env = { HOME: Buffer.from("/tmp/\xe9", "latin1").toString() }; // as Node has it in process.env
  assert.throws(() => socketPath("linux", env), {
    name: "ConnectError",
    kind: "unreachable",
    message: /is not UTF-8/,
  });
});

test("by default it is asked of this process", () => {
  assert.equal(socketPath(), socketPath(process.platform, process.env));
});
