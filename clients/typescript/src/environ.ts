type Variables = Record<string, string | null | undefined>;

const fold = (name: string, platform: string) => (platform === "win32" ? name.toUpperCase() : name);

/**
 * `base` with `changes` made; null and undefined take a name out. Windows does not tell the cases of a name apart: there
 * a name keeps the spelling that it has in `base`, so that a `PATH` changes the `Path` and does not hide it.
 */
export function merge(base: Variables, changes: Variables, platform: string = process.platform) {
  const merged = new Map<string, [string, string]>();
  for (const [name, value] of [...Object.entries(base), ...Object.entries(changes)]) {
    const folded = fold(name, platform);
    if (typeof value === "string") merged.set(folded, [merged.get(folded)?.[0] ?? name, value]);
    else merged.delete(folded);
  }
  return Object.fromEntries(merged.values());
}

/** `base` with an environment activated: its `variables` set, its `folders` in front of the PATH. */
export function activate(
  base: Variables,
  variables: Variables,
  folders: string[],
  platform: string = process.platform,
) {
  const merged = merge(base, variables, platform);
  const [, path] = Object.entries(merged).find(([name]) => fold(name, platform) === "PATH") ?? [];
  const whole = [...folders, path].filter(Boolean).join(platform === "win32" ? ";" : ":");
  return merge(merged, { PATH: whole || path }, platform);
}
