"""AutoGen: its memory in a box. `pip install membox[autogen]`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from autogen_core import CancellationToken, Image
from autogen_core.memory import Memory, MemoryContent, MemoryMimeType, MemoryQueryResult, UpdateContextResult
from autogen_core.model_context import ChatCompletionContext
from autogen_core.models import SystemMessage

from membox import describe
from membox._both import Clients
from membox._wire import Plan
from membox.errors import NotFound

if TYPE_CHECKING:
    from membox._client import AsyncClient, Client
    from membox.types import Hit, NewRecord

DEFAULT_K = 5


class MemboxMemory(Memory):
    """A memory that finds by meaning and by words, in a collection of a box.

    Texts and JSON are what is embedded. Bytes and images have at most 12 KiB, and are found by their metadata
    `description`.
    """

    component_type = "memory"

    def __init__(
        self,
        collection: str = "autogen",
        *,
        k: int = DEFAULT_K,
        min_relevance: float | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.collection = collection
        self.k = k
        self.min_relevance = min_relevance
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.collection(collection)
        self._is_made = False

    async def add(self, content: MemoryContent, cancellation_token: CancellationToken | None = None) -> None:
        """Remembers something."""
        await self.clients.arun(self._add(content))

    def _add(self, content: MemoryContent) -> Plan[None]:
        if not self._is_made:
            yield from self._calls.create()
            self._is_made = True
        yield from self._calls.upsert([written(content)])

    async def query(
        self, query: str | MemoryContent, cancellation_token: CancellationToken | None = None, **kwargs: Any
    ) -> MemoryQueryResult:
        """What answers a question best; further arguments are those of a recall."""
        text = query if isinstance(query, str) else text_of(query)
        return MemoryQueryResult(results=await self.clients.arun(self._query(text, kwargs)))

    def _query(self, text: str, options: dict[str, Any]) -> Plan[list[MemoryContent]]:
        asked = {"k": self.k, "min_relevance": self.min_relevance, **options}
        try:
            answer = yield from self._calls.recall(text, **asked)
        except NotFound:  # nothing was ever remembered
            return []
        return [read(hit) for hit in answer["hits"]]

    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Adds to a context what is remembered of its last message."""
        messages = await model_context.get_messages()
        last = next((one.content for one in reversed(messages) if isinstance(one.content, str)), "")
        found = await self.query(last) if last.strip() else MemoryQueryResult(results=[])
        if found.results:
            lines = [f"{number}. {text_of(one)}" for number, one in enumerate(found.results, 1)]
            await model_context.add_message(SystemMessage(content="\n".join(["Relevant memories:", *lines])))
        return UpdateContextResult(memories=found)

    async def clear(self) -> None:
        """Forgets everything."""
        await self.clients.arun(self._clear())

    def _clear(self) -> Plan[None]:
        self._is_made = False
        try:
            yield from self._calls.drop()
        except NotFound:
            return

    async def close(self) -> None:
        """Closes connections."""
        await self.clients.aclose()
        self.clients.close()


def mime_of(content: MemoryContent) -> str:
    """The media type of something."""
    return content.mime_type.value if isinstance(content.mime_type, MemoryMimeType) else content.mime_type


def text_of(content: MemoryContent) -> str:
    """The text by which something is found."""
    if isinstance(content.content, str):
        return content.content
    if isinstance(content.content, dict):
        return json.dumps(content.content, ensure_ascii=False)
    return str((content.metadata or {}).get("description") or mime_of(content))


def written(content: MemoryContent) -> NewRecord:
    """Something as a record."""
    metadata: dict[str, Any] = {"mime_type": mime_of(content), "metadata": content.metadata or {}}
    if isinstance(content.content, bytes):
        metadata["bytes"] = base64.b64encode(content.content).decode("ascii")
    elif isinstance(content.content, Image):
        metadata["image"] = content.content.to_base64()
    return {"text": text_of(content), "metadata": metadata}


def read(hit: Hit) -> MemoryContent:
    """A hit as what was remembered."""
    known = hit.get("metadata", {})
    text = hit.get("text", "")
    kind = known.get("mime_type", MemoryMimeType.TEXT.value)
    content: str | bytes | dict[str, Any] | Image = text
    if "bytes" in known:
        content = base64.b64decode(known["bytes"])
    elif "image" in known:
        content = Image.from_base64(known["image"])
    elif kind == MemoryMimeType.JSON.value:
        content = json.loads(text)
    added = {"score": hit["score"], **({"relevance": hit["relevance"]} if "relevance" in hit else {})}
    return MemoryContent(content=content, mime_type=kind, metadata={**known.get("metadata", {}), **added})
