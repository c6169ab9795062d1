export * from "./client.js";
export * from "./errors.js";
export { socketPath } from "./socket.js";
export type {
  DaemonInfo,
  EnvInfo,
  ErrorData,
  ErrorKind,
  PoolError,
  PoolStatus,
  Progress,
  Status,
  Tool,
} from "./wire.js";
