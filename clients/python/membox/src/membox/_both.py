"""A pair of clients, for objects that are called both ways: those of LangChain, for example."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from weakref import WeakKeyDictionary

from membox._client import AsyncClient, Client
from membox._send import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S
from membox._wire import Steps

T = TypeVar("T")


class Clients:
    """A blocking and an asynchronous client of one box, each made when it is first used.

    The asynchronous one is made once for each event loop, since its connections belong to that. Clients of your own
    are used as they are, and stay open.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        given = client or async_client
        self._url = given.url if given and url is None else url
        self._key = given.key if given and key is None else key
        self._timeout = timeout
        self._retries = retries
        self._blocking = client
        self._own: Client | None = None
        self._given_awaiting = async_client
        self._awaiting: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = WeakKeyDictionary()

    @property
    def blocking(self) -> Client:
        """The client whose calls block."""
        if self._blocking is None:
            self._own = Client(self._url, key=self._key, timeout=self._timeout, retries=self._retries)
            self._blocking = self._own
        return self._blocking

    @property
    def awaiting(self) -> AsyncClient:
        """The client of the running event loop."""
        if self._given_awaiting is not None:
            return self._given_awaiting
        loop = asyncio.get_running_loop()
        client = self._awaiting.get(loop)
        if client is None:
            client = AsyncClient(self._url, key=self._key, timeout=self._timeout, retries=self._retries)
            self._awaiting[loop] = client
        return client

    def run(self, steps: Steps[T]) -> T:
        """Takes steps, and blocks."""
        return self.blocking.run(steps)

    async def arun(self, steps: Steps[T]) -> T:
        """Takes steps, and is awaited."""
        return await self.awaiting.run(steps)

    def close(self) -> None:
        """Closes the blocking client, unless it was given."""
        if self._own is not None:
            self._own.close()
            self._own = self._blocking = None

    async def aclose(self) -> None:
        """Closes the asynchronous client of the running event loop, unless it was given."""
        client = self._awaiting.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
