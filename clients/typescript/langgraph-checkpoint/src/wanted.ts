/** Which checkpoints of a list are wanted: what the box is asked, and what is compared here. */

import { type BaseCheckpointSaver, type CheckpointListOptions, getCheckpointId } from "@langchain/langgraph-checkpoint";
import type { CheckpointsOptions } from "membox";

import { isOurs, type View } from "./kept.js";

/** Ids that carry their time; the box orders checkpoints by them. */
const TIMED = /^[0-9a-f]{8}-[0-9a-f]{4}-[67][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** Fields that mean the same in a path of the box. */
const PLAIN = /^[A-Za-z_][A-Za-z0-9_]*$/;
const PAGE_SIZE = 20;

export class Wanted {
  readonly thread: string | undefined;
  readonly asked: CheckpointsOptions;
  readonly #filter: Record<string, unknown>;
  /** The box has to know an id that carries no time, and here it need not be there. */
  readonly #before: string | undefined;
  #left: number;

  constructor(config: Parameters<BaseCheckpointSaver["getTuple"]>[0], options: CheckpointListOptions) {
    const named = config.configurable ?? {};
    const thread: unknown = named["thread_id"];
    this.thread = thread === undefined || thread === null ? undefined : String(thread);
    this.#filter = options.filter ?? {};
    this.#left = options.limit ?? Number.POSITIVE_INFINITY;
    const before = options.before ? getCheckpointId(options.before) || undefined : undefined;
    const isTimed = before !== undefined && TIMED.test(before);
    this.#before = isTimed ? undefined : before;
    const only = getCheckpointId(config);
    const conditions: Record<string, unknown>[] = only ? [{ field: "id", eq: only }] : [];
    for (const [name, value] of Object.entries(this.#filter)) {
      if (PLAIN.test(name) && mayBeAsked(value)) conditions.push({ field: `metadata.${name}`, eq: value });
    }
    this.asked = { namespace: named["checkpoint_ns"] ?? null, blobs: true };
    if (isTimed) this.asked.before = before;
    if (conditions.length > 0) this.asked.filter = { and: conditions };
    this.asked.pageSize = Math.max(1, Math.min(PAGE_SIZE, this.#left));
  }

  /** Whether a checkpoint is wanted, and counts it. */
  takes(view: View): boolean {
    const metadata = view.metadata as Record<string, unknown>;
    const isWanted =
      isOurs(view.state) &&
      (this.#before === undefined || view.id < this.#before) &&
      Object.entries(this.#filter).every(([name, value]) => isSame(metadata[name], value));
    if (isWanted) this.#left -= 1;
    return isWanted;
  }

  /** Whether there are enough. */
  get isDone(): boolean {
    return this.#left <= 0;
  }
}

/** Whether the box takes it as an operand. */
function mayBeAsked(operand: unknown): boolean {
  if (typeof operand === "number") return Number.isFinite(operand) && Math.abs(operand) < 2 ** 63;
  return typeof operand === "boolean" || typeof operand === "string";
}

/** Whether two values are the same JSON, in whatever order their fields are. */
function isSame(one: unknown, other: unknown): boolean {
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [left, right] = [one as Record<string, unknown>, other as Record<string, unknown>];
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => isSame(left[name], right[name]));
}
