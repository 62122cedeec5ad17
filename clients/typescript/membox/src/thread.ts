/** Threads: the states of agents. */

import type { Filter, Schemas } from "./client.js";
import { pages, path, type Sender } from "./send.js";

const PAGE_OF_STATES = 100;
/** Each has a whole state. */
const PAGE_OF_BLOBS = 20;

/** Which namespace of a thread is meant; left out, its own. */
export interface InNamespace {
  namespace?: string;
}

/** Which checkpoints are wanted. */
export interface CheckpointsOptions {
  /** Null for all. */
  namespace?: string | null;
  filter?: Filter;
  /** Only checkpoints of lesser ids. */
  before?: string;
  /** With the values of their channels. */
  blobs?: boolean;
  limit?: number;
  /** How many one answer has. */
  pageSize?: number;
}

/** The states of an agent's thread. */
export class Thread {
  readonly #sender: Sender;
  readonly #path: string;

  constructor(sender: Sender, readonly id: string) {
    this.#sender = sender;
    this.#path = path("/v1/threads", id);
  }

  get #checkpoints(): string {
    return `${this.#path}/checkpoints`;
  }

  /** Keeps a state under an id, new or anew. */
  putCheckpoint(
    id: string,
    checkpoint: Schemas["NewCheckpoint"],
    options: InNamespace = {},
  ): Promise<Schemas["CheckpointView"]> {
    const asked = { body: checkpoint, params: { namespace: options.namespace } };
    return this.#sender.json("PUT", path(this.#checkpoints, id), asked);
  }

  /** A checkpoint by its id, or the latest; with `blobs` the values of its channels too. */
  checkpoint(
    id = "latest",
    options: InNamespace & { blobs?: boolean } = {},
  ): Promise<Schemas["CheckpointView"]> {
    const params = { namespace: options.namespace, blobs: options.blobs };
    return this.#sender.json("GET", path(this.#checkpoints, id), { params });
  }

  /** Checkpoints one after another, the latest first; of all namespaces where `namespace` is null. */
  checkpoints(options: CheckpointsOptions = {}): AsyncGenerator<Schemas["CheckpointView"], void, undefined> {
    const { namespace, filter, before, blobs, limit, pageSize = blobs ? PAGE_OF_BLOBS : PAGE_OF_STATES } = options;
    const params = {
      ...(namespace === null ? { all_namespaces: true } : { namespace }),
      filter: filter && JSON.stringify(filter),
      before,
      blobs,
      limit: Math.max(1, Math.min(limit ?? pageSize, pageSize)),
    };
    return pages(this.#sender, this.#checkpoints, "checkpoints", params, limit);
  }

  /** The namespaces that have checkpoints, by their names, and how many. */
  namespaces(): AsyncGenerator<Schemas["NamespaceView"], void, undefined> {
    return pages(this.#sender, `${this.#path}/namespaces`, "namespaces", { limit: PAGE_OF_STATES });
  }

  /** Keeps the value of a channel, for checkpoints that name its version. */
  async putBlob(
    channel: string,
    version: string,
    data: Uint8Array,
    options: InNamespace & { type?: string } = {},
  ): Promise<void> {
    const params = { namespace: options.namespace, type: options.type };
    await this.#sender.send("PUT", path(`${this.#path}/blobs`, channel, version), { body: data, params });
  }

  /** The value of a channel. */
  async blob(channel: string, version: string, options: InNamespace = {}): Promise<Uint8Array> {
    const where = path(`${this.#path}/blobs`, channel, version);
    const answer = await this.#sender.send("GET", where, { params: { namespace: options.namespace } });
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** Keeps what a task has written to a checkpoint; that may come before the checkpoint. */
  async putWrites(id: string, task: string, writes: unknown, options: InNamespace = {}): Promise<void> {
    const asked = { body: { writes }, params: { namespace: options.namespace } };
    await this.#sender.send("PUT", path(this.#checkpoints, id, "writes", task), asked);
  }

  /** Deletes a checkpoint, with what tasks have written to it. */
  async deleteCheckpoint(id: string, options: InNamespace = {}): Promise<void> {
    const params = { namespace: options.namespace };
    await this.#sender.send("DELETE", path(this.#checkpoints, id), { params });
  }

  /** Deletes all checkpoints, of one namespace or of all, and says how many there were. */
  async delete(options: InNamespace = {}): Promise<number> {
    const params = { namespace: options.namespace };
    return (await this.#sender.json<Schemas["DeletedCheckpoints"]>("DELETE", this.#checkpoints, { params })).deleted;
  }

  /** Deletes all but the latest `keep` (1) of each namespace, or of one, and says how many there were. */
  async prune(options: InNamespace & { keep?: number } = {}): Promise<number> {
    const asked = { body: { keep: 1, ...options }, repeatable: true };
    return (await this.#sender.json<{ deleted: number }>("POST", `${this.#checkpoints}:prune`, asked)).deleted;
  }

  /** Copies all checkpoints to another thread, and says how many there were. */
  async copy(to: string): Promise<number> {
    const asked = { body: { to }, repeatable: true };
    return (await this.#sender.json<{ copied: number }>("POST", `${this.#checkpoints}:copy`, asked)).copied;
  }
}
