export * from "./client.js";
export * from "./errors.js";
export { findRunt, socketPath } from "./start.js";
export type { DaemonInfo, EnvInfo, PoolError, PoolStatus, Progress, ProjectParams, Status, Tool } from "./wire.js";
