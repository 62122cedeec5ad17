/** The client: where each call begins. */

import { JobFailed, NotFound } from "./errors.js";
import type { components } from "./schema.js";
import { type Options, type Params, pages, path, Sender } from "./send.js";
import { Thread } from "./thread.js";
import { decode, encode, type Vector } from "./vectors.js";

/** What requests and answers are made of, by their names in the API's document. */
export type Schemas = components["schemas"];

type WithVector<T> = Omit<T, "vector"> & { vector?: Vector | null };
export type NewRecord = WithVector<Schemas["NewRecord"]>;
export type RecallOptions = WithVector<Schemas["RecallRequest"]>;
export type Filter = Record<string, unknown>;
/** A job that was begun. */
export type Job = Schemas["JobView"];

const MAX_RECORDS = 2048;
const MAX_PAGE = 1000;
const MAX_PAGE_OF_THREADS = 100;
/** Bytes of ids in one URL: proxies take URLs of 8 KiB. */
const FILTER_BYTES = 6000;

/** Lists in pieces of so many items. */
function pieces<T>(items: readonly T[], size: number): T[][] {
  const made: T[][] = [];
  for (let start = 0; start < items.length; start += size) made.push(items.slice(start, start + size));
  return made;
}

/** Ids, each once, in pieces that fit a URL. */
function idPieces(ids: readonly string[]): string[][] {
  const made: string[][] = [[]];
  let size = 0;
  for (const id of new Set(ids)) {
    const bytes = encodeURIComponent(id).length + 9;
    if (size + bytes > FILTER_BYTES || made.at(-1)!.length === MAX_PAGE) {
      made.push([]);
      size = 0;
    }
    made.at(-1)!.push(id);
    size += bytes;
  }
  return made.filter((piece) => piece.length > 0);
}

function encoded<T extends { vector?: Vector | null }>(given: T): T {
  return given.vector === undefined || given.vector === null ? given : { ...given, vector: encode(given.vector) };
}

/** A collection: records with texts, vectors and metadata, and what finds them. */
export class Collection {
  readonly #sender: Sender;
  readonly #path: string;

  constructor(sender: Sender, readonly name: string) {
    this.#sender = sender;
    this.#path = path("/v1/collections", name);
  }

  /** Creates the collection, or changes its settings; those that are left out stay as they are. */
  create(settings: Schemas["CollectionSettings"] = {}): Promise<Schemas["CollectionView"]> {
    return this.#sender.json("PUT", this.#path, { body: settings });
  }

  /** Its settings, how much it holds, and how far its index is. */
  describe(): Promise<Schemas["CollectionView"]> {
    return this.#sender.json("GET", this.#path);
  }

  /** Deletes the collection with all that is in it. */
  async drop(): Promise<void> {
    await this.#sender.send("DELETE", this.#path);
  }

  /**
   * Writes records: new ones, and anew those whose ids are there already. Up to 2 048 are written together: all or
   * none. Those without an id get one here, so that the request can be repeated after a broken connection.
   */
  async upsert(
    records: readonly NewRecord[],
    options: { compress?: Schemas["CompressOnWrite"] } = {},
  ): Promise<Schemas["WrittenRecord"][]> {
    const written: Schemas["WrittenRecord"][] = [];
    for (const piece of pieces(records, MAX_RECORDS)) {
      const ready = piece.map((record) => encoded({ ...record, id: record.id ?? crypto.randomUUID() }));
      const repeatable = piece.every((record) => record.version === undefined || record.version === null);
      const body = { records: ready, ...options };
      const answer = await this.#sender.json<Schemas["UpsertAnswer"]>("POST", `${this.#path}/records`, {
        body,
        repeatable,
      });
      written.push(...answer.records);
    }
    return written;
  }

  /** A record. */
  get(id: string): Promise<Schemas["RecordView"]> {
    return this.#sender.json("GET", path(`${this.#path}/records`, id));
  }

  /** Records in the order of their ids, undefined for those that are not there. */
  async getMany(ids: readonly string[]): Promise<(Schemas["RecordView"] | undefined)[]> {
    const found = new Map<string, Schemas["RecordView"]>();
    for (const piece of idPieces(ids)) {
      for await (const record of this.records({ filter: { field: "id", in: piece } })) found.set(record.id, record);
    }
    return ids.map((id) => found.get(id));
  }

  /** Changes fields of a record; metadata is merged, and null takes a field away. */
  patch(
    id: string,
    changes: Schemas["RecordPatch"],
    options: { version?: number | string } = {},
  ): Promise<Schemas["RecordView"]> {
    return this.#sender.json("PATCH", path(`${this.#path}/records`, id), { body: changes, ...options });
  }

  /** Deletes a record. */
  async delete(id: string, options: { version?: number | string } = {}): Promise<void> {
    await this.#sender.send("DELETE", path(`${this.#path}/records`, id), options);
  }

  /** Deletes records by their ids or by a filter, and says how many there were. */
  async deleteMany(which: { ids: readonly string[] } | { filter: Filter }): Promise<number> {
    const bodies = "ids" in which ? pieces([...new Set(which.ids)], MAX_RECORDS).map((ids) => ({ ids })) : [which];
    let deleted = 0;
    for (const body of bodies) {
      const options = { body, repeatable: true };
      deleted += (await this.#sender.json<Schemas["DeleteAnswer"]>("POST", `${this.#path}/records:delete`, options))
        .deleted;
    }
    return deleted;
  }

  /** Records one after another: as they were written, or with `order` by their times. */
  records(
    options: { filter?: Filter; order?: "written" | "oldest" | "newest"; limit?: number; pageSize?: number } = {},
  ): AsyncGenerator<Schemas["RecordView"], void, undefined> {
    const { filter, order, limit, pageSize = MAX_PAGE } = options;
    const params = { filter: filter && JSON.stringify(filter), order, limit: Math.min(pageSize, limit ?? pageSize) };
    return pages(this.#sender, `${this.#path}/records`, "records", params, limit);
  }

  /** Finds the records that answer a question, or are near to `vector`. */
  recall(asked: string | RecallOptions, options: RecallOptions = {}): Promise<Schemas["RecallAnswer"]> {
    const body = encoded(typeof asked === "string" ? { query: asked, ...options } : asked);
    return this.#sender.json("POST", `${this.#path}/recall`, { body, repeatable: true });
  }

  /** Deletes the memories that matter least, all but `keep` of them. */
  forget(options: Schemas["ForgetRequest"]): Promise<Schemas["ForgetAnswer"]> {
    return this.#sender.json("POST", `${this.#path}/forget`, { body: options });
  }

  /** Joins memories that say nearly the same, as a job. */
  consolidate(options: Schemas["ConsolidateRequest"] = {}): Promise<Job> {
    return this.#sender.json("POST", `${this.#path}/consolidate`, { body: options });
  }

  /** Builds the indexes anew, as a job. */
  rebuild(): Promise<Job> {
    return this.#sender.json("POST", `${this.#path}/rebuild`);
  }

  /** Embeds all texts anew, as a job. */
  reembed(): Promise<Job> {
    return this.#sender.json("POST", `${this.#path}/reembed`);
  }
}

/** How the messages of the next prompt are chosen. */
export interface ContextOptions extends Params {
  strategy?: Schemas["Strategy"];
  max_tokens?: number;
  turns?: number;
  query?: string;
  scope?: Schemas["Scope"];
  text?: boolean;
}

/** A conversation: messages, contexts for the next prompt, and inputs that wait. */
export class Session {
  readonly #sender: Sender;
  readonly #path: string;

  constructor(sender: Sender, readonly id: string) {
    this.#sender = sender;
    this.#path = path("/v1/sessions", id);
  }

  /** Creates the session, or changes its settings. */
  put(settings: Schemas["SessionSettings"] = {}): Promise<Schemas["SessionView"]> {
    return this.#sender.json("PUT", this.#path, { body: settings });
  }

  /** Its settings, and how many messages it has. */
  get(): Promise<Schemas["SessionView"]> {
    return this.#sender.json("GET", this.#path);
  }

  /** Deletes it with its messages, and says how many there were; 0 where there is no such session. */
  async delete(): Promise<number> {
    try {
      return (await this.#sender.json<Schemas["DeletedMessages"]>("DELETE", this.#path)).deleted;
    } catch (error) {
      if (error instanceof NotFound) return 0;
      throw error;
    }
  }

  /** Appends 1 to 1 000 messages: all or none. Those without an id get one here, so that it can be repeated. */
  append(
    messages: readonly Schemas["NewMessage"][],
    options: Omit<Schemas["AppendRequest"], "messages"> & { version?: number | string } = {},
  ): Promise<Schemas["AppendAnswer"]> {
    const { version, ...rest } = options;
    const ready = messages.map((message) => ({ ...message, id: message.id ?? crypto.randomUUID() }));
    const repeatable = version === undefined;
    return this.#sender.json("POST", `${this.#path}/messages`, {
      body: { messages: ready, ...rest },
      version,
      repeatable,
    });
  }

  /** Messages one after another; with `words` those that have all of them. */
  messages(
    options: { order?: "oldest" | "newest"; words?: string; limit?: number } = {},
  ): AsyncGenerator<Schemas["MessageView"], void, undefined> {
    const { order = "oldest", words, limit } = options;
    const params = { order, q: words, limit: Math.min(MAX_PAGE, limit ?? MAX_PAGE) };
    return pages(this.#sender, `${this.#path}/messages`, "messages", params, limit);
  }

  /** Merges metadata into a message's. */
  patchMessage(id: string, changes: Schemas["MessagePatch"]): Promise<Schemas["MessageView"]> {
    return this.#sender.json("PATCH", path(`${this.#path}/messages`, id), { body: changes });
  }

  /** Deletes a message. */
  async deleteMessage(id: string): Promise<void> {
    await this.#sender.send("DELETE", path(`${this.#path}/messages`, id));
  }

  /** The messages for the next prompt, within a budget of tokens. */
  context(options: ContextOptions = {}): Promise<Schemas["ContextAnswer"]> {
    return this.#sender.json("GET", `${this.#path}/context`, { params: options });
  }
}

/** A user: profile, export and erasure. */
export class User {
  readonly #sender: Sender;
  readonly #path: string;

  constructor(sender: Sender, readonly name: string) {
    this.#sender = sender;
    this.#path = path("/v1/users", name);
  }

  /** Who the user is, by what is remembered and what was set. */
  profile(): Promise<Schemas["ProfileView"]> {
    return this.#sender.json("GET", `${this.#path}/profile`);
  }

  /** Changes fields of the profile; null takes one away. */
  patchProfile(fields: Record<string, unknown>): Promise<Schemas["ProfileView"]> {
    return this.#sender.json("PATCH", `${this.#path}/profile`, { body: fields });
  }

  /** All that is remembered of the user, one JSON object a line. */
  async export(): Promise<string> {
    return (await this.#sender.send("GET", `${this.#path}/export`)).text();
  }

  /** Erases all that is remembered of the user, as a job. */
  erase(): Promise<Job> {
    return this.#sender.json("POST", `${this.#path}/erase`);
  }
}

/** A client of a box. */
export class Client {
  readonly #sender: Sender;

  constructor(options: Options = {}) {
    this.#sender = new Sender(options);
  }

  /** The address of the box. */
  get url(): string {
    return this.#sender.url;
  }

  /** A collection, whether it is there or not. */
  collection(name: string): Collection {
    return new Collection(this.#sender, name);
  }

  /** A session, whether it is there or not. */
  session(id: string): Session {
    return new Session(this.#sender, id);
  }

  /** A thread, whether it is there or not. */
  thread(id: string): Thread {
    return new Thread(this.#sender, id);
  }

  /** A user, known or not. */
  user(name: string): User {
    return new User(this.#sender, name);
  }

  /** Memories that are made of messages. */
  readonly memories = {
    /** Appends messages to a session, and makes memories of what was said once there is enough of it. */
    add: (request: Schemas["AddMemories"]): Promise<Schemas["AddedMemories"]> =>
      this.#sender.json("POST", "/v1/memories", { body: request }),
    /** Brings older memories up to date by newer ones, as a job. */
    update: (request: Schemas["UpdateRequest"] = {}): Promise<Job> =>
      this.#sender.json("POST", "/v1/memories:update", { body: request }),
  };

  /** Whether the box takes reads and writes; `Unavailable` where it does not. */
  ready(): Promise<Schemas["Health"]> {
    return this.#sender.json("GET", "/ready");
  }

  /** The box's model, limits and version. */
  info(): Promise<Schemas["Info"]> {
    return this.#sender.json("GET", "/info");
  }

  /** Vectors of texts, in their order. */
  async embed(
    texts: readonly string[],
    options: { model?: string; dimensions?: number } = {},
  ): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (const input of pieces(texts, MAX_RECORDS)) {
      const body = { input, encoding_format: "base64", ...options };
      const asked = { body, repeatable: true };
      const answer = await this.#sender.json<Schemas["EmbeddingsAnswer"]>("POST", "/v1/embeddings", asked);
      vectors.push(...answer.data.map((one) => decode(one.embedding as string)));
    }
    return vectors;
  }

  /** Keeps less of a text: what matters by a model, or to a `question`. */
  compress(
    context: string | string[],
    options: Omit<Schemas["CompressRequest"], "context"> = {},
  ): Promise<Schemas["CompressedText"]> {
    return this.#sender.json("POST", "/v1/compress", { body: { context, ...options }, repeatable: true });
  }

  /** Counts tokens as tiktoken does. */
  tokens(request: Schemas["TokensRequest"]): Promise<Schemas["TokensAnswer"]> {
    return this.#sender.json("POST", "/v1/tokens", { body: request, repeatable: true });
  }

  /** All collections. */
  async collections(): Promise<Schemas["CollectionView"][]> {
    return (await this.#sender.json<Schemas["CollectionList"]>("GET", "/v1/collections")).collections;
  }

  /** Sessions one after another, of one user or of all. */
  sessions(
    options: { user?: string; limit?: number } = {},
  ): AsyncGenerator<Schemas["SessionView"], void, undefined> {
    const params = { user: options.user, limit: MAX_PAGE };
    return pages(this.#sender, "/v1/sessions", "sessions", params, options.limit);
  }

  /** Threads one after another, by their ids. */
  threads(options: { limit?: number } = {}): AsyncGenerator<Schemas["ThreadView"], void, undefined> {
    return pages(this.#sender, "/v1/threads", "threads", { limit: MAX_PAGE_OF_THREADS }, options.limit);
  }

  /** How far a job is. */
  job(id: string): Promise<Job> {
    return this.#sender.json("GET", path("/v1/jobs", id));
  }

  /** Waits until a job has ended. `JobFailed` says that it did not end well. */
  async wait(job: Job, everyMs = 100): Promise<Job> {
    for (;;) {
      const now = await this.job(job.id);
      if (now.state === "done") return now;
      if (now.state === "failed" || now.state === "cancelled") {
        throw new JobFailed(`job ${now.id} (${now.kind}) is ${now.state}: ${now.error ?? "no reason given"}`);
      }
      await new Promise((done) => setTimeout(done, everyMs));
    }
  }
}
