"""Answers of language models, kept by their prompts."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.load import dumps, loads

from langchain_membox.stores import KeyValues
from membox import Clients

if TYPE_CHECKING:
    from membox import AsyncClient, Client


class MemboxCache(BaseCache):
    """Answers of language models by prompt and model, in a collection of their own; with `ttl_s` for so long.

    Whoever may write to the collection may say what is read from it: give it a key of its own where others write.
    """

    def __init__(
        self,
        collection: str = "langchain-cache",
        *,
        ttl_s: float | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.ttl_s = ttl_s
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._values = KeyValues(collection)

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer to a prompt."""
        return answer(self.clients.run(self._values.get([hashed(prompt, llm_string)]))[0])

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer to a prompt."""
        return answer((await self.clients.arun(self._values.get([hashed(prompt, llm_string)])))[0])

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keeps an answer."""
        self.clients.run(self._values.set([(hashed(prompt, llm_string), dumps(list(return_val)))], self._end()))

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keeps an answer."""
        pair = (hashed(prompt, llm_string), dumps(list(return_val)))
        await self.clients.arun(self._values.set([pair], self._end()))

    def clear(self, **kwargs: Any) -> None:
        """Forgets all answers."""
        self.clients.run(self._values.clear())

    async def aclear(self, **kwargs: Any) -> None:
        """Forgets all answers."""
        await self.clients.arun(self._values.clear())

    def _end(self) -> str | None:
        if self.ttl_s is None:
            return None
        return (datetime.now(timezone.utc) + timedelta(seconds=self.ttl_s)).isoformat()


def hashed(prompt: str, llm_string: str) -> str:
    """The key of an answer: a prompt may be longer than a key."""
    return hashlib.sha256(json.dumps([prompt, llm_string]).encode()).hexdigest()


def answer(text: str | None) -> RETURN_VAL_TYPE | None:
    """An answer of its text."""
    if text is None:
        return None
    return loads(text, allowed_objects="core")  # type: ignore[no-any-return]
