"""Sends requests by httpx, and again where that may help."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from membox._wire import Answer, Pages, Request, Steps
from membox.errors import ConnectionFailed, MemboxError, Problem, problem

T = TypeVar("T")

DEFAULT_RETRIES = 4
DEFAULT_TIMEOUT_S = 60.0
FIRST_WAIT_S = 0.2
MAX_WAIT_S = 30.0
MAX_AT_ONCE = 16
"""Requests of one asynchronous client under way. More wait here, where that costs nothing: httpx gets slower with
each connection and each request that waits for one.
"""


@dataclass(frozen=True)
class Retries:
    """When a request is sent again, and how long that waits."""

    times: int = DEFAULT_RETRIES

    def wait(self, request: Request[Any], error: MemboxError, attempt: int) -> float | None:
        """Seconds until the next attempt, or None where there is none."""
        if attempt >= self.times:
            return None
        backoff = min(FIRST_WAIT_S * 2.0**attempt, MAX_WAIT_S) * random.uniform(0.75, 1.25)
        if isinstance(error, Problem):
            if error.status not in (429, 503):
                return None
            if error.retry_after is not None:
                # With `retry-after` the box says that it has done nothing. A quota of the day is not waited for.
                return max(error.retry_after, backoff) if error.retry_after <= MAX_WAIT_S else None
            return backoff if request.may_repeat else None
        never_sent = isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        return backoff if isinstance(error, ConnectionFailed) and (never_sent or request.may_repeat) else None


def read(request: Request[T], response: httpx.Response) -> T:
    """What the request wants of its answer; a refusal is raised."""
    answer = Answer(response.status_code, response.headers, response.content)
    if answer.status >= 400:
        raise problem(answer)
    return request.read(answer)


def arguments(request: Request[Any], url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The request as httpx takes it."""
    given = {name: value for name, value in request.params.items() if value is not None}
    body: dict[str, Any] = {} if request.json is None else {"json": request.json}
    if request.content is not None:
        body = {"content": request.content}
    return {
        "method": request.method,
        "url": url + request.path,
        "params": given,
        "headers": {**headers, **request.headers},
        **body,
    }


def unreachable(error: httpx.TransportError, request: Request[Any]) -> ConnectionFailed:
    """The error for a box that does not answer."""
    return ConnectionFailed(f"{request.method} {request.path}: {str(error) or type(error).__name__}")


class Sender:
    """Sends and waits."""

    def __init__(self, http: httpx.Client, retries: Retries, url: str, headers: Mapping[str, str]) -> None:
        self.http = http
        self.retries = retries
        self.url = url
        self.headers = headers

    def send(self, request: Request[T]) -> T:
        """Sends one request, again where that may help."""
        attempt = 0
        while True:
            try:
                try:
                    return read(request, self.http.request(**arguments(request, self.url, self.headers)))
                except httpx.TransportError as error:
                    raise unreachable(error, request) from error
            except MemboxError as error:
                wait = self.retries.wait(request, error, attempt)
                if wait is None:
                    raise
            time.sleep(wait)
            attempt += 1

    def run(self, steps: Steps[T]) -> T:
        """Sends each request of the steps, and returns what they come to."""
        plan = iter(steps)
        try:
            request = next(plan)
            while True:
                try:
                    answer = self.send(request)
                except MemboxError as error:
                    request = plan.throw(error)
                else:
                    request = plan.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def items(self, pages: Pages[T]) -> Iterator[T]:
        """The items of a list; a page is asked for when it is wanted."""
        left, cursor = pages.max_items, None
        while left is None or left > 0:
            items, cursor = self.send(pages.page(cursor))
            yield from items[:left]
            left = None if left is None else left - len(items)
            if cursor is None:
                return


class AsyncSender:
    """Sends while others work."""

    def __init__(self, http: httpx.AsyncClient, retries: Retries, url: str, headers: Mapping[str, str]) -> None:
        self.http = http
        self.retries = retries
        self.url = url
        self.headers = headers
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def send(self, request: Request[T]) -> T:
        """Sends one request, again where that may help."""
        attempt = 0
        while True:
            try:
                try:
                    async with self._turns:
                        response = await self.http.request(**arguments(request, self.url, self.headers))
                    return read(request, response)
                except httpx.TransportError as error:
                    raise unreachable(error, request) from error
            except MemboxError as error:
                wait = self.retries.wait(request, error, attempt)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt += 1

    async def run(self, steps: Steps[T]) -> T:
        """Sends each request of the steps, and returns what they come to."""
        plan = iter(steps)
        try:
            request = next(plan)
            while True:
                try:
                    answer = await self.send(request)
                except MemboxError as error:
                    request = plan.throw(error)
                else:
                    request = plan.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def items(self, pages: Pages[T]) -> AsyncIterator[T]:
        """The items of a list; a page is asked for when it is wanted."""
        left, cursor = pages.max_items, None
        while left is None or left > 0:
            items, cursor = await self.send(pages.page(cursor))
            for item in items[:left]:
                yield item
            left = None if left is None else left - len(items)
            if cursor is None:
                return
