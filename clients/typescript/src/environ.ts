type Variables = Record<string, string | null | undefined>;

/**
 * A copy of `base` with `variables` set, or removed where they are null, and `folders` in front of the PATH. On Windows
 * the case of a name does not count, and its spelling in `base` stays: a `PATH` beside the `Path` would hide it.
 */
export function activate(base: Variables, variables: Variables, folders: string[], platform = process.platform) {
  const fold = (name: string) => (platform === "win32" ? name.toUpperCase() : name);
  const merged = new Map<string, [string, string]>();
  for (const [name, value] of [...Object.entries(base), ...Object.entries(variables)]) {
    const [spelling = name] = merged.get(fold(name)) ?? [];
    if (typeof value === "string") merged.set(fold(name), [spelling, value]);
    else merged.delete(fold(name));
  }
  const [spelling, path] = merged.get("PATH") ?? ["PATH"];
  const whole = [...folders, path].filter(Boolean).join(platform === "win32" ? ";" : ":");
  if (whole) merged.set("PATH", [spelling, whole]);
  return Object.fromEntries(merged.values());
}
