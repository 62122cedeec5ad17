/** What of LangGraph.js is in a box, and how. */

import type { Impossible, Schemas } from "membox";

export type View = Schemas["CheckpointView"];

/** A value as LangGraph's serializer has it, with its octets in base64. */
export interface Encoded {
  type: string;
  data: string;
}

/**
 * The state of a checkpoint. Its key tells it apart from those of other programs and of LangGraph for Python, whose
 * values this one could not read.
 */
export interface Kept {
  "langgraph.js": Encoded;
}

/** What a task has written to a channel. */
export type Written = [channel: string, value: Encoded & { index: number; path: string }];

/** A channel of a longer name stays within the state. */
const MAX_CHANNEL_BYTES = 255;

/** Whether a state was kept by this package. */
export function isOurs(state: unknown): state is Kept {
  return typeof state === "object" && state !== null && "langgraph.js" in state;
}

/** Whether the value of a channel is a blob; small ones stay within the state. */
export function isApart(name: string, value: unknown): boolean {
  const isSmall = value === undefined || value === null || typeof value === "boolean" || typeof value === "number";
  const bytes = Buffer.byteLength(name);
  return !isSmall && bytes > 0 && bytes <= MAX_CHANNEL_BYTES;
}

/** What an error points to below a place of the request. */
export function pointed(error: Impossible, below: string): string | undefined {
  const pointer = error.pointer ?? "";
  if (!pointer.startsWith(below)) return undefined;
  return pointer.slice(below.length).replaceAll("~1", "/").replaceAll("~0", "~");
}

/** Octets as text. */
export function toBase64(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
}

/** The octets of a text. */
export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
