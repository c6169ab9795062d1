export * from "./client.js";
export { Env } from "./env.js";
export * from "./errors.js";
export { socketPath } from "./path.js";
export type { DaemonInfo, EnvInfo, PoolError, PoolStatus, Progress, Status } from "./wire.js";
