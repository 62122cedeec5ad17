/** A saver of LangGraph.js that keeps its checkpoints in `/v1/threads` of a box. */

import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  compareWritesSortKeys,
  copyCheckpoint,
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
  writesSortKey,
} from "@langchain/langgraph-checkpoint";
import { Client, Impossible, NotFound, type Options, type Schemas, type Thread } from "membox";

import { fromBase64, isApart, isOurs, type Kept, pointed, toBase64, type View, type Written } from "./kept.js";
import { Wanted } from "./wanted.js";

/** `@langchain/core` has the name of this type, and need not be there for it. */
type Config = Parameters<BaseCheckpointSaver["getTuple"]>[0];

/** Octets of values that go with their checkpoint; more go before it, one by one. */
const MAX_BYTES_BESIDE = 4 << 20;
/** The first format of checkpoints whose pending sends are in a channel of their own. */
const SENDS_IN_CHANNEL = 4;

export interface MemboxSaverOptions extends Options {
  /** Seconds that a checkpoint lives; for good when left out. */
  ttlS?: number;
  serde?: SerializerProtocol;
  /** A client of your own, in the place of one by `url` and `key`. */
  client?: Client;
}

/**
 * Keeps the states of LangGraph's threads in a box.
 *
 * The value of a channel has at most 64 MiB. It is kept once, however many checkpoints have it.
 */
export class MemboxSaver extends BaseCheckpointSaver {
  readonly client: Client;
  readonly #ttlS: number | undefined;

  constructor(options: MemboxSaverOptions = {}) {
    const { ttlS, serde, client, ...connection } = options;
    super(serde);
    this.#ttlS = ttlS;
    this.client = client ?? new Client(connection);
  }

  /** A checkpoint, the latest where the config names none. */
  async getTuple(config: Config): Promise<CheckpointTuple | undefined> {
    const { thread, namespace } = placed(config);
    if (thread === undefined) return undefined;
    try {
      const id = getCheckpointId(config) || "latest";
      return await this.#read(await this.client.thread(thread).checkpoint(id, { namespace, blobs: true }));
    } catch (error) {
      if (error instanceof NotFound) return undefined;
      throw error;
    }
  }

  /** Checkpoints, the latest first: of one thread or one after another of all, and so with namespaces. */
  async *list(config: Config, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const wanted = new Wanted(config, options);
    for await (const thread of this.#threads(wanted.thread)) {
      if (wanted.isDone) return;
      for await (const view of this.client.thread(thread).checkpoints(wanted.asked)) {
        if (wanted.takes(view)) yield await this.#read(view);
        if (wanted.isDone) return;
      }
    }
  }

  async *#threads(only: string | undefined): AsyncGenerator<string> {
    if (only !== undefined) {
      yield only;
      return;
    }
    for await (const one of this.client.threads()) yield one.thread;
  }

  /** Keeps a checkpoint. */
  async put(
    config: Config,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<Config> {
    const { thread, namespace } = toWrite(config);
    const parent = getCheckpointId(config) || undefined;
    const apart = new Set(
      Object.entries(checkpoint.channel_values)
        .filter(([name, value]) => name in checkpoint.channel_versions && isApart(name, value))
        .map(([name]) => name),
    );
    let fresh = new Set([...apart].filter((name) => name in newVersions));
    const left = new Set<string>();
    for (;;) {
      try {
        await this.#keep({ thread, namespace, parent, checkpoint, metadata, apart, fresh, left });
        return configured(thread, namespace, checkpoint.id);
      } catch (error) {
        const channel = error instanceof Impossible ? pointed(error, "/channels/") : undefined;
        if (channel === undefined || fresh.has(channel)) throw error;
        // It is not new, and not there. With a checkpoint before this one it went with the last that had it, and is
        // sent. Without one it never was there, and LangGraph says that it is not to be kept.
        if (parent !== undefined) {
          fresh = new Set(apart);
        } else {
          apart.delete(channel);
          left.add(channel);
        }
      }
    }
  }

  /** Keeps a checkpoint: the values of the channels `apart` as blobs, of which those of `fresh` are sent. */
  async #keep(given: Putting): Promise<void> {
    const { thread, namespace, parent, checkpoint, metadata, apart, fresh, left } = given;
    const versionOf = (name: string) => String(checkpoint.channel_versions[name]);
    const blobs: Schemas["NewBlob"][] = [];
    let room = MAX_BYTES_BESIDE;
    for (const channel of fresh) {
      const [type, data] = await this.serde.dumpsTyped(checkpoint.channel_values[channel]);
      if (data.length > room) {
        await this.client.thread(thread).putBlob(channel, versionOf(channel), data, { namespace, type });
        continue;
      }
      room -= data.length;
      blobs.push({ channel, version: versionOf(channel), type, data: toBase64(data) });
    }
    const within = copyCheckpoint(checkpoint);
    for (const name of [...apart, ...left]) delete within.channel_values[name];
    const body: Schemas["NewCheckpoint"] = {
      state: { "langgraph.js": await this.#encoded(within) } satisfies Kept,
      metadata: { ...metadata },
      channels: Object.fromEntries([...apart].map((name) => [name, versionOf(name)])),
      blobs,
    };
    if (parent !== undefined) body.parent = parent;
    if (this.#ttlS !== undefined) body.ttl_s = this.#ttlS;
    await this.client.thread(thread).putCheckpoint(checkpoint.id, body, { namespace });
  }

  /** Keeps what a task has written; that may come before its checkpoint. */
  async putWrites(config: Config, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const { thread, namespace } = toWrite(config);
    const id = getCheckpointId(config);
    if (!id) throw new Error("the config of writes names no checkpoint_id");
    const rows = writes.map(async ([channel, value], number) => {
      const index = WRITES_IDX_MAP[channel] ?? number;
      return [channel, { index, path: taskPath, ...(await this.#encoded(value)) }];
    });
    await this.client.thread(thread).putWrites(id, taskId, await Promise.all(rows), { namespace });
  }

  /** Deletes all checkpoints of a thread. */
  async deleteThread(threadId: string): Promise<void> {
    await this.client.thread(threadId).delete();
  }

  /** The version after this one; two forks of a thread do not make the same. */
  override getNextVersion(current: number | undefined): number {
    return Math.floor(current ?? 0) + 1 + Math.random();
  }

  async #encoded(value: unknown): Promise<{ type: string; data: string }> {
    const [type, data] = await this.serde.dumpsTyped(value);
    return { type, data: toBase64(data) };
  }

  #decoded(value: { type: string; data: string }): Promise<unknown> {
    return this.serde.loadsTyped(value.type, fromBase64(value.data));
  }

  async #read(view: View): Promise<CheckpointTuple> {
    const { thread, namespace, id, parent } = view;
    if (!isOurs(view.state)) throw new Error(`checkpoint ${id} of thread ${thread} is not one of LangGraph.js`);
    const checkpoint = (await this.#decoded(view.state["langgraph.js"])) as Checkpoint;
    for (const blob of view.blobs ?? []) checkpoint.channel_values[blob.channel] = await this.#decoded(blob);
    if (checkpoint.v < SENDS_IN_CHANNEL && parent !== undefined) {
      await this.#takeSends(checkpoint, this.client.thread(thread), namespace, parent);
    }
    const tuple: CheckpointTuple = {
      config: configured(thread, namespace, id),
      checkpoint,
      metadata: view.metadata as CheckpointMetadata,
      pendingWrites: await this.#writes(view),
    };
    if (parent !== undefined) tuple.parentConfig = configured(thread, namespace, parent);
    return tuple;
  }

  /** What tasks have written to a checkpoint, in the order in which LangGraph applies it. */
  #writes(view: View): Promise<CheckpointPendingWrite[]> {
    const rows = Object.entries((view.writes ?? {}) as Record<string, Written[]>).flatMap(([task, written]) =>
      written.map(([channel, value]) => ({ key: writesSortKey(value.path, task, value.index), task, channel, value })),
    );
    rows.sort((one, other) => compareWritesSortKeys(one.key, other.key));
    return Promise.all(
      rows.map(async ({ task, channel, value }) => [task, channel, await this.#decoded(value)] as CheckpointPendingWrite),
    );
  }

  /** Gives a checkpoint of an older LangGraph what was sent by the one before. */
  async #takeSends(checkpoint: Checkpoint, thread: Thread, namespace: string, parent: string): Promise<void> {
    const before = await thread.checkpoint(parent, { namespace }).catch((error: unknown) => {
      if (error instanceof NotFound) return undefined;
      throw error;
    });
    const sent = before ? (await this.#writes(before)).filter(([, channel]) => channel === TASKS) : [];
    checkpoint.channel_values[TASKS] = sent.map(([, , value]) => value);
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_versions[TASKS] =
      versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined);
  }
}

/** A checkpoint that is being kept. */
interface Putting {
  thread: string;
  namespace: string;
  parent: string | undefined;
  checkpoint: Checkpoint;
  metadata: CheckpointMetadata;
  /** Channels whose values are blobs. */
  apart: ReadonlySet<string>;
  /** Those of them that are sent. */
  fresh: ReadonlySet<string>;
  /** Channels whose values are not kept. */
  left: ReadonlySet<string>;
}

/** The thread and the namespace of a config. */
function placed(config: Config): { thread: string | undefined; namespace: string } {
  const named = config.configurable ?? {};
  const thread: unknown = named["thread_id"];
  return {
    thread: thread === undefined || thread === null ? undefined : String(thread),
    namespace: String(named["checkpoint_ns"] ?? ""),
  };
}

/** The thread and the namespace of a config that something is kept by. */
function toWrite(config: Config): { thread: string; namespace: string } {
  const { thread, namespace } = placed(config);
  if (!thread) throw new Error('a checkpointer wants a thread: { configurable: { thread_id: "…" } }');
  return { thread, namespace };
}

/** The config that names a checkpoint. */
function configured(thread: string, namespace: string, checkpoint: string): Config {
  return { configurable: { thread_id: thread, checkpoint_ns: namespace, checkpoint_id: checkpoint } };
}
