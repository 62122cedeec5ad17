/** What can go wrong, a class for each kind. A box answers with problem documents (RFC 9457). */

/** Anything that goes wrong with a box. */
export class MemboxError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** The box could not be reached, or did not answer in time. */
export class ConnectionFailed extends MemboxError {}

/** A job has ended without success. */
export class JobFailed extends MemboxError {}

/** A field that is wrong, by its JSON pointer, and why. */
export interface FieldError {
  pointer: string;
  detail: string;
}

interface ProblemDocument {
  type?: string;
  title?: string;
  detail?: string;
  errors?: FieldError[];
}

/** A box has refused a request, and says why. */
export class Problem extends MemboxError {
  readonly type: string;
  readonly title: string;
  readonly detail: string;
  readonly errors: FieldError[];
  /** Seconds after which it may be asked again. */
  readonly retryAfter: number | undefined;

  constructor(
    readonly status: number,
    body: string,
    retryAfter: string | null,
  ) {
    let document: ProblemDocument = {};
    try {
      document = (JSON.parse(body) as ProblemDocument | null) ?? {};
    } catch {
      // A proxy answers in its own way.
    }
    const detail = document.detail ?? body.slice(0, 500);
    const pointer = document.errors?.[0]?.pointer;
    super(`${status}: ${detail}${pointer ? ` (${pointer})` : ""}`);
    this.type = document.type ?? "about:blank";
    this.title = document.title ?? "";
    this.detail = detail;
    this.errors = document.errors ?? [];
    const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
    this.retryAfter = Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
  }

  /** The first field that is wrong, such as `/records/0/vector`. */
  get pointer(): string | undefined {
    return this.errors[0]?.pointer;
  }
}

/** 400: a field is missing or wrong. */
export class BadRequest extends Problem {}
/** 401: a key is missing, not known, or has ended. */
export class Unauthorized extends Problem {}
/** 403: the key may not do this. */
export class Forbidden extends Problem {}
/** 404: there is no such thing. */
export class NotFound extends Problem {}
/** 409: something else is there by that name. */
export class Conflict extends Problem {}
/** 412: somebody else has written meanwhile. */
export class PreconditionFailed extends Problem {}
/** 413: the body is too large. */
export class TooLarge extends Problem {}
/** 422: well-formed, but impossible. */
export class Impossible extends Problem {}
/** 429: a queue, a rate or a quota is full; `retryAfter` says when to come again. */
export class TooManyRequests extends Problem {}
/** 5xx: the box has failed. */
export class ServerError extends Problem {}
/** 503: the box starts, stops, is read-only, or has no model. */
export class Unavailable extends ServerError {}
/** 507: the disk is full. */
export class StorageFull extends ServerError {}

const KINDS = new Map<number, typeof Problem>([
  [400, BadRequest],
  [401, Unauthorized],
  [403, Forbidden],
  [404, NotFound],
  [409, Conflict],
  [412, PreconditionFailed],
  [413, TooLarge],
  [422, Impossible],
  [429, TooManyRequests],
  [503, Unavailable],
  [507, StorageFull],
]);

/** The error that an answer stands for. */
export async function problem(response: Response): Promise<Problem> {
  const kind = KINDS.get(response.status) ?? (response.status >= 500 ? ServerError : Problem);
  return new kind(response.status, await response.text(), response.headers.get("retry-after"));
}
