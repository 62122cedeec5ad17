"""What can go wrong, a class for each kind. A box answers with problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from membox._wire import Answer


class MemboxError(Exception):
    """Anything that goes wrong with a box."""


class BoxError(MemboxError):
    """A local box was not found, or did not start."""


class ConnectionFailed(MemboxError):
    """The box could not be reached, or did not answer in time."""


class JobFailed(MemboxError):
    """A job has ended without success."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        super().__init__(f"job {job['id']} ({job['kind']}) is {job['state']}: {job.get('error', 'no reason given')}")
        self.job = job


@dataclass(frozen=True)
class FieldError:
    """A field that is wrong, by its JSON pointer, and why."""

    pointer: str
    detail: str


class Problem(MemboxError):
    """A box has refused a request, and says why."""

    def __init__(self, answer: Answer) -> None:
        body: Any = None
        with suppress(ValueError):  # a proxy answers in its own way
            body = answer.json()
        self.body: dict[str, Any] = body if isinstance(body, dict) else {}
        self.status = answer.status
        self.type = str(self.body.get("type", "about:blank"))
        self.title = str(self.body.get("title", ""))
        self.detail = str(self.body.get("detail") or answer.content[:500].decode("utf-8", "replace"))
        self.errors = [FieldError(one["pointer"], one["detail"]) for one in self.body.get("errors", [])]
        self.retry_after = seconds(answer.headers.get("retry-after"))
        pointer = f" ({self.pointer})" if self.pointer else ""
        super().__init__(f"{self.status}: {self.detail}{pointer}")

    @property
    def pointer(self) -> str | None:
        """The first field that is wrong, such as `/records/0/vector`."""
        return self.errors[0].pointer if self.errors else None


class BadRequest(Problem):
    """400: a field is missing or wrong."""


class Unauthorized(Problem):
    """401: a key is missing, not known, or has ended."""


class Forbidden(Problem):
    """403: the key may not do this."""


class NotFound(Problem):
    """404: there is no such thing."""


class Conflict(Problem):
    """409: something else is there by that name."""


class PreconditionFailed(Problem):
    """412: somebody else has written meanwhile."""


class TooLarge(Problem):
    """413: the body is too large."""


class Impossible(Problem):
    """422: well-formed, but impossible."""


class TooManyRequests(Problem):
    """429: a queue, a rate or a quota is full; `retry_after` says when to come again."""


class ServerError(Problem):
    """5xx: the box has failed."""


class Unavailable(ServerError):
    """503: the box starts, stops, is read-only, or has no model."""


class StorageFull(ServerError):
    """507: the disk is full."""


KINDS: dict[int, type[Problem]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    422: Impossible,
    429: TooManyRequests,
    503: Unavailable,
    507: StorageFull,
}


def problem(answer: Answer) -> Problem:
    """The error that an answer stands for."""
    kind = KINDS.get(answer.status) or (ServerError if answer.status >= 500 else Problem)
    return kind(answer)


def seconds(header: str | None) -> float | None:
    """A `retry-after` in seconds. Dates are not read: a box sends none."""
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
