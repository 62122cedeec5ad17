/** A client of membox, a memory server for applications of language models. */

export * from "./client.js";
export * from "./errors.js";
export type { Options } from "./send.js";
export * from "./thread.js";
export * as vectors from "./vectors.js";
