/** Sends requests by fetch, and again where that may help. */

import { ConnectionFailed, MemboxError, Problem, problem } from "./errors.js";

const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 30_000;

export interface Options {
  /** The address of the box: http://127.0.0.1:8420 unless said otherwise. */
  url?: string;
  /** Its key. */
  key?: string;
  /** How often a request is sent again (4). */
  retries?: number;
  /** Milliseconds that a request may take (60 000). */
  timeoutMs?: number;
  /** A fetch of your own, for proxies and certificates. */
  fetch?: typeof fetch;
}

export type Params = Record<string, string | number | boolean | undefined>;

export interface Asked {
  /** Octets go as they are, all else as JSON. */
  body?: unknown;
  params?: Params;
  /** The request holds for this version alone. */
  version?: number | string;
  /** Whether it may be sent twice without harm. GET, PUT and DELETE may, unless they hold for a version. */
  repeatable?: boolean;
}

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export class Sender {
  readonly url: string;
  readonly #headers: Record<string, string>;
  readonly #retries: number;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  constructor(options: Options) {
    this.url = (options.url ?? "http://127.0.0.1:8420").replace(/\/+$/, "");
    this.#headers = options.key ? { authorization: `Bearer ${options.key}` } : {};
    this.#retries = options.retries ?? 4;
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    this.#fetch = options.fetch ?? ((...given) => fetch(...given));
  }

  /** What a request answers, as JSON. */
  async json<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    const text = await (await this.send(method, path, asked)).text();
    return (text ? JSON.parse(text) : undefined) as T;
  }

  /** The answer to a request; a refusal is thrown. */
  async send(method: string, path: string, asked: Asked = {}): Promise<Response> {
    const isConditional = asked.version !== undefined;
    const mayRepeat = asked.repeatable ?? (["GET", "PUT", "DELETE"].includes(method) && !isConditional);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(method, path, asked);
      } catch (error) {
        const wait = attempt < this.#retries ? waited(error, attempt, mayRepeat) : undefined;
        if (wait === undefined) throw error;
        await sleep(wait);
      }
    }
  }

  async #once(method: string, path: string, asked: Asked): Promise<Response> {
    const url = new URL(this.url + path);
    for (const [name, value] of Object.entries(asked.params ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers = { ...this.#headers };
    if (asked.version !== undefined) headers["if-match"] = tag(asked.version);
    const init: RequestInit = { method, headers, signal: AbortSignal.timeout(this.#timeoutMs) };
    if (asked.body instanceof Uint8Array) {
      headers["content-type"] = "application/octet-stream";
      init.body = asked.body as Uint8Array<ArrayBuffer>;
    } else if (asked.body !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(asked.body);
    }
    let response: Response;
    try {
      response = await this.#fetch(url, init);
    } catch (error) {
      throw new ConnectionFailed(`${method} ${path}: ${String(error)}`, { cause: error });
    }
    if (response.status >= 400) throw await problem(response);
    return response;
  }
}

/** Milliseconds until the next attempt; undefined where there is none. */
function waited(error: unknown, attempt: number, mayRepeat: boolean): number | undefined {
  const backoff = Math.min(FIRST_WAIT_MS * 2 ** attempt, MAX_WAIT_MS) * (0.75 + Math.random() / 2);
  if (error instanceof Problem) {
    if (error.status !== 429 && error.status !== 503) return undefined;
    if (error.retryAfter === undefined) return mayRepeat ? backoff : undefined;
    // With `retry-after` the box says that it has done nothing. A quota of the day is not waited for.
    const asked = error.retryAfter * 1000;
    return asked <= MAX_WAIT_MS ? Math.max(asked, backoff) : undefined;
  }
  if (!(error instanceof ConnectionFailed)) return undefined;
  return mayRepeat || wasNeverSent(error) ? backoff : undefined;
}

/** Whether there was no connection at all. What a browser says of that is not told apart. */
function wasNeverSent(error: MemboxError): boolean {
  const code = ((error.cause as { cause?: { code?: string } } | undefined)?.cause ?? {}).code;
  return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "UND_ERR_CONNECT_TIMEOUT";
}

/** A version as an entity tag. */
function tag(version: number | string): string {
  return typeof version === "number" && version > 0 ? `"${version}"` : String(version);
}

/** A path: the first part as it is, each other one escaped. */
export function path(first: string, ...parts: string[]): string {
  // URLs would take them for steps, and lead elsewhere, however they are escaped.
  const step = parts.find((part) => part === "." || part === "..");
  if (step !== undefined) throw new TypeError(`${JSON.stringify(step)} cannot be in a path`);
  return [first, ...parts.map((part) => encodeURIComponent(part))].join("/");
}

/** The items of a list, page by page as they are wanted. */
export async function* pages<T>(
  sender: Sender,
  where: string,
  items: string,
  params: Params,
  limit?: number,
): AsyncGenerator<T, void, undefined> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  let cursor: string | number | undefined;
  while (left > 0) {
    const page = await sender.json<Record<string, unknown>>("GET", where, { params: { ...params, cursor } });
    const found = (page[items] as T[]).slice(0, left);
    yield* found;
    left -= found.length;
    cursor = page["next"] as string | number | undefined;
    if (cursor === undefined || cursor === null) return;
  }
}
