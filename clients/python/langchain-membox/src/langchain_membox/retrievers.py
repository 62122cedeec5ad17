"""A retriever with all that a recall can do."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from membox.describe import Plan
from pydantic import Field, PrivateAttr

from langchain_membox.filters import translated
from membox import Clients, describe


class MemboxRetriever(BaseRetriever):
    """Documents of a collection that answer a question.

    A document's metadata has, beside that of its record, `score` and `relevance`, unless there are such names already.
    """

    collection: str
    """Where to look."""
    k: int = 4
    """Documents wanted."""
    mode: str = "hybrid"
    """By meaning and words, by `vector`, or by `text`."""
    filter: dict[str, Any] | None = None
    """Only records that this allows."""
    min_relevance: float | None = None
    """Drops what answers nothing, such as 0.04."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further fields of a recall, such as `rerank`, `time` or `fold_doubles`."""
    url: str | None = None
    """The address of the box."""
    key: str | None = Field(default=None, repr=False)
    """Its key."""
    _clients: Clients = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Makes the clients."""
        self._clients = Clients(self.url, key=self.key)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        return self._clients.run(self._recall(query, changes))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        return await self._clients.arun(self._recall(query, changes))

    def _recall(self, query: str, changes: dict[str, Any]) -> Plan[list[Document]]:
        asked: dict[str, Any] = {
            "k": self.k,
            "mode": self.mode,
            "filter": self.filter,
            "min_relevance": self.min_relevance,
        }
        asked |= self.options | changes
        asked["filter"] = translated(asked["filter"])
        answer = yield from describe.collection(self.collection).recall(query, **asked)
        found = []
        for hit in answer["hits"]:
            metadata: dict[str, Any] = {"score": hit["score"], **hit.get("metadata", {})}
            if "relevance" in hit:
                metadata.setdefault("relevance", hit["relevance"])
            found.append(Document(id=hit["id"], page_content=hit.get("text", ""), metadata=metadata))
        return found
