export * from "./client.js";
export * from "./errors.js";
export { findRunt, socketPath } from "./start.js";
export type { DaemonInfo, EnvInfo, PoolError, PoolStatus, Progress, Status, Tool } from "./wire.js";
