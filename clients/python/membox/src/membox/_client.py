"""The clients: where each call begins."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from membox import vectors
from membox._collection import MAX_PAGE, AsyncCollection, Collection, DescribedCollection
from membox._faces import Awaiting, Blocking, Describing, call, listing
from membox._send import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, AsyncSender, Retries, Sender
from membox._session import AsyncSession, DescribedSession, Session
from membox._thread import AsyncThread, DescribedThread, Thread
from membox._user import AsyncMemories, AsyncUser, DescribedMemories, DescribedUser, Memories, User
from membox._wire import Pages, Plan, Request, Steps, given, path, read_json, read_key, read_nothing
from membox.errors import JobFailed

if TYPE_CHECKING:
    import numpy
    from typing_extensions import Self, Unpack

    from membox.types import (
        Access,
        ApiKeyView,
        AuditView,
        Chunk,
        ChunkUnit,
        CollectionView,
        CompressedConversation,
        CompressedDocuments,
        CompressedJson,
        CompressedText,
        CompressRequest,
        CountedMessage,
        CreatedApiKey,
        Health,
        Info,
        JobView,
        Json,
        Message,
        ModelView,
        SessionView,
        TenantView,
        ThreadView,
        TokensAnswer,
        UsageView,
    )

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8420"
MAX_TEXTS = 2048
"""Texts of one request."""
ENDED = ("done", "failed", "cancelled")
"""States of a job that stay."""


def compressed(body: dict[str, Any], options: Any) -> Request[Any]:
    """The request of a compression."""
    return Request("POST", "/v1/compress", read_json, {**body, **options}, repeatable=True)


class ClientMethods:
    """Calls that belong to no collection, session, thread or user."""

    @call
    def health(self) -> Request[Health]:
        """Whether the box is alive, and what troubles it."""
        return Request("GET", "/health", read_json)

    @call
    def ready(self) -> Request[Health]:
        """Whether the box takes reads and writes; `Unavailable` where it does not."""
        return Request("GET", "/ready", read_json)

    @call
    def info(self) -> Request[Info]:
        """The box's model, limits and version."""
        return Request("GET", "/info", read_json)

    @call
    def models(self) -> Request[list[ModelView]]:
        """The names that `model` takes."""
        return Request("GET", "/v1/models", read_key("data"))

    @call
    def tenant(self) -> Request[TenantView]:
        """Whose key this is, and how much is kept for them."""
        return Request("GET", "/v1/tenant", read_json)

    @call
    def embed(
        self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None
    ) -> Plan[list[list[float]]]:
        """Vectors of texts, in their order."""
        encoded = yield from encoded_vectors(texts, given(model=model, dimensions=dimensions))
        return [vectors.decode(one) for one in encoded]

    @call
    def embed_array(
        self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None
    ) -> Plan[numpy.ndarray[Any, Any]]:
        """Vectors of texts as the rows of a NumPy array of float32. It needs NumPy."""
        import base64

        import numpy

        encoded = yield from encoded_vectors(texts, given(model=model, dimensions=dimensions))
        rows = [numpy.frombuffer(base64.b64decode(one), dtype="<f4") for one in encoded]
        return numpy.stack(rows) if rows else numpy.empty((0, 0), dtype="<f4")

    @call
    def compress(self, context: str | Sequence[str], /, **options: Unpack[CompressRequest]) -> Request[CompressedText]:
        """Keeps less of a text: what matters by a model, or to a `question`."""
        texts = context if isinstance(context, str) else list(context)
        return compressed({"context": texts}, options)

    @call
    def compress_documents(
        self, documents: Sequence[str], /, **options: Unpack[CompressRequest]
    ) -> Request[CompressedDocuments]:
        """Keeps less of each of several documents."""
        return compressed({"documents": list(documents)}, options)

    @call
    def compress_messages(
        self, messages: Sequence[Message], /, **options: Unpack[CompressRequest]
    ) -> Request[CompressedConversation]:
        """Keeps less of a conversation; the last `keep_last` messages stay as they are."""
        return compressed({"messages": list(messages)}, options)

    @call
    def compress_json(self, data: dict[str, Json], /, **options: Unpack[CompressRequest]) -> Request[CompressedJson]:
        """Keeps less of the texts in JSON; `json_config` says of which."""
        return compressed({"json_data": data}, options)

    @call
    def tokens(
        self,
        text: str | Sequence[str] | None = None,
        *,
        messages: Sequence[CountedMessage] | None = None,
        encoding: str | None = None,
        model: str | None = None,
    ) -> Request[TokensAnswer]:
        """Counts tokens as tiktoken does."""
        texts = text if text is None or isinstance(text, str) else list(text)
        body = given(input=texts, messages=messages, encoding=encoding, model=model)
        return Request("POST", "/v1/tokens", read_json, body, repeatable=True)

    @call
    def chunks(
        self,
        text: str,
        *,
        size: int | None = None,
        overlap: int | None = None,
        unit: ChunkUnit | None = None,
        encoding: str | None = None,
    ) -> Request[list[Chunk]]:
        """Cuts a long text into chunks."""
        body = {"text": text, **given(size=size, overlap=overlap, unit=unit, encoding=encoding)}
        return Request("POST", "/v1/chunks", read_key("chunks"), body, repeatable=True)

    @call
    def collections(self) -> Request[list[CollectionView]]:
        """All collections."""
        return Request("GET", "/v1/collections", read_key("collections"))

    @listing
    def sessions(self, *, user: str | None = None, limit: int | None = None) -> Pages[SessionView]:
        """Sessions one after another, of one user or of all."""
        return Pages("/v1/sessions", "sessions", {"user": user, "limit": MAX_PAGE}, limit)

    @listing
    def threads(self, *, limit: int | None = None) -> Pages[ThreadView]:
        """Threads that have checkpoints, by their ids."""
        return Pages("/v1/threads", "threads", {"limit": MAX_PAGE}, limit)

    @listing
    def jobs(self, *, state: str | None = None, kind: str | None = None, limit: int | None = None) -> Pages[JobView]:
        """Jobs, the newest first."""
        return Pages("/v1/jobs", "jobs", {"state": state, "kind": kind, "limit": MAX_PAGE}, limit)

    @call
    def job(self, id: str) -> Request[JobView]:
        """How far a job is."""
        return Request("GET", path("/v1/jobs", id), read_json)

    @call
    def cancel_job(self, id: str) -> Request[JobView]:
        """Stops a job."""
        return Request("DELETE", path("/v1/jobs", id), read_json)

    @listing
    def audit(self, *, limit: int | None = None) -> Pages[AuditView]:
        """Who has deleted, erased or exported what, and when."""
        return Pages("/v1/audit", "entries", {"limit": MAX_PAGE}, limit)

    @call
    def usage(self, *, start: str | None = None, end: str | None = None) -> Request[list[UsageView]]:
        """What users have had, by day in UTC; today where no day is given."""
        params = given(to=end, limit=1000) | ({"from": start} if start else {})
        return Request("GET", "/v1/usage", read_key("usage"), params=params)

    @call
    def keys(self) -> Request[list[ApiKeyView]]:
        """The tenant's keys, never the keys themselves."""
        return Request("GET", "/v1/keys", read_key("keys"))

    @call
    def create_key(
        self,
        name: str,
        *,
        access: Access | None = None,
        collections: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        users: Sequence[str] | None = None,
        expires_at: str | None = None,
        requests_per_second: float | None = None,
    ) -> Request[CreatedApiKey]:
        """Makes a key. The answer is the only one that has it."""
        reach = given(collections=collections, sessions=sessions, users=users)
        options = given(access=access, expires_at=expires_at, requests_per_second=requests_per_second)
        return Request("POST", "/v1/keys", read_json, {"name": name, **reach, **options})

    @call
    def revoke_key(self, id: str) -> Request[None]:
        """Revokes a key."""
        return Request("DELETE", path("/v1/keys", id), read_nothing)


def encoded_vectors(texts: Sequence[str], options: dict[str, Any]) -> Plan[list[str]]:
    """The vectors of texts in base64."""
    if isinstance(texts, str):
        raise TypeError("embed takes a list of texts")
    encoded: list[str] = []
    for start in range(0, len(texts), MAX_TEXTS):
        body = {"input": list(texts[start : start + MAX_TEXTS]), "encoding_format": "base64", **options}
        data = yield from Request[Any]("POST", "/v1/embeddings", read_key("data"), body, repeatable=True)
        encoded += [one["embedding"] for one in data]
    return encoded


def ended(job: JobView) -> JobView | None:
    """A job that has ended well; None while it has not ended."""
    if job["state"] not in ENDED:
        return None
    if job["state"] != "done":
        raise JobFailed(job)
    return job


def settled(url: str | None, key: str | None) -> tuple[str, str, dict[str, str]]:
    """The address, the key, and the headers of each request."""
    key = key if key is not None else os.environ.get("MEMBOX_KEY", "")
    address = (url or os.environ.get("MEMBOX_URL") or DEFAULT_URL).rstrip("/")
    return address, key, {"authorization": f"Bearer {key}"} if key else {}


class Client(ClientMethods, Blocking):
    """A client whose calls block. It may be used by several threads.

    `url` and `key` are those of the box; left out, they are `MEMBOX_URL` and `MEMBOX_KEY` of the environment.
    `retries` says how often a request is sent again: on 429 and 503 when `retry-after` says, and on broken
    connections where that does no harm. `http` is an httpx client of your own, for proxies and certificates.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        self.url, self.key, headers = settled(url, key)
        self._owned = http is None
        sender = Sender(http or httpx.Client(timeout=timeout), Retries(retries), self.url, headers)
        super().__init__(sender=sender)
        self.memories = Memories(sender=sender)

    def collection(self, name: str) -> Collection:
        """A collection, whether it is there or not."""
        return Collection(name, sender=self._sender)

    def session(self, id: str) -> Session:
        """A session, whether it is there or not."""
        return Session(id, sender=self._sender)

    def thread(self, id: str) -> Thread:
        """A thread, whether it is there or not."""
        return Thread(id, sender=self._sender)

    def user(self, name: str) -> User:
        """A user, known or not."""
        return User(name, sender=self._sender)

    def run(self, steps: Steps[T]) -> T:
        """Takes steps that `membox.describe` has described, or your own of them."""
        return self._sender.run(steps)

    def wait(self, job: JobView, *, timeout: float | None = None, every: float = 0.1) -> JobView:
        """Waits until a job has ended. `JobFailed` says that it did not end well."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (done := ended(self.job(job["id"]))) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {job['id']} has not ended after {timeout} s")
            time.sleep(every)
        return done

    def close(self) -> None:
        """Closes connections, unless the httpx client was given."""
        if self._owned:
            self._sender.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(ClientMethods, Awaiting):
    """A client whose calls are awaited, under asyncio. It is made as `Client` is."""

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self.url, self.key, headers = settled(url, key)
        self._owned = http is None
        sender = AsyncSender(http or httpx.AsyncClient(timeout=timeout), Retries(retries), self.url, headers)
        super().__init__(sender=sender)
        self.memories = AsyncMemories(sender=sender)

    def collection(self, name: str) -> AsyncCollection:
        """A collection, whether it is there or not."""
        return AsyncCollection(name, sender=self._sender)

    def session(self, id: str) -> AsyncSession:
        """A session, whether it is there or not."""
        return AsyncSession(id, sender=self._sender)

    def thread(self, id: str) -> AsyncThread:
        """A thread, whether it is there or not."""
        return AsyncThread(id, sender=self._sender)

    def user(self, name: str) -> AsyncUser:
        """A user, known or not."""
        return AsyncUser(name, sender=self._sender)

    async def run(self, steps: Steps[T]) -> T:
        """Takes steps that `membox.describe` has described, or your own of them."""
        return await self._sender.run(steps)

    async def wait(self, job: JobView, *, timeout: float | None = None, every: float = 0.1) -> JobView:
        """Waits until a job has ended. `JobFailed` says that it did not end well."""
        import asyncio

        deadline = None if timeout is None else time.monotonic() + timeout
        while (done := ended(await self.job(job["id"]))) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {job['id']} has not ended after {timeout} s")
            await asyncio.sleep(every)
        return done

    async def close(self) -> None:
        """Closes connections, unless the httpx client was given."""
        if self._owned:
            await self._sender.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class DescribedClient(ClientMethods, Describing):
    """Says what each call would ask, and asks nothing."""

    memories = DescribedMemories()

    def collection(self, name: str) -> DescribedCollection:
        """A collection."""
        return DescribedCollection(name)

    def session(self, id: str) -> DescribedSession:
        """A session."""
        return DescribedSession(id)

    def thread(self, id: str) -> DescribedThread:
        """A thread."""
        return DescribedThread(id)

    def user(self, name: str) -> DescribedUser:
        """A user."""
        return DescribedUser(name)
