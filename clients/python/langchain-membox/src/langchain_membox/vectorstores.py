"""A vector store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from membox.describe import Plan

from langchain_membox.filters import translated
from membox import Clients, NotFound, describe

if TYPE_CHECKING:
    from membox.types import CollectionSettings, Hit, NewRecord, RecallMode

    from membox import AsyncClient, Client

Self = TypeVar("Self", bound="MemboxVectorStore")


def document(record: Any) -> Document:
    """A record or a hit as LangChain's document."""
    return Document(id=record["id"], page_content=record.get("text", ""), metadata=record.get("metadata", {}))


class MemboxVectorStore(VectorStore):
    """Documents in a collection of a box.

    With `embedding` the vectors are those of that model. Without, the box embeds texts itself, and `mode` may be
    `hybrid` (meaning and words, as when it is left out), `vector` or `text`. The collection is made when it is first
    written to, with `settings`.

    A filter is a dictionary as most stores of LangChain take it, `{"topic": "travel", "year": {"$gte": 2020}}`, or
    one of the box's own, `{"field": "metadata.topic", "eq": "travel"}`.
    """

    def __init__(
        self,
        collection: str = "langchain",
        embedding: Embeddings | None = None,
        *,
        mode: RecallMode = "hybrid",
        settings: CollectionSettings | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.collection = collection
        self.embedding = embedding
        self.mode: RecallMode = "vector" if embedding else mode
        self.settings: CollectionSettings = settings or {}
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.collection(collection)
        self._is_made = False

    @property
    def embeddings(self) -> Embeddings | None:
        """The model that embeds, where it is not the box."""
        return self.embedding

    # What is written.

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, and gives their ids."""
        texts = list(texts)
        vectors = self.embedding.embed_documents(texts) if self.embedding and texts else None
        return self.clients.run(self._add(texts, vectors, metadatas, ids))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, and gives their ids."""
        texts = list(texts)
        vectors = await self.embedding.aembed_documents(texts) if self.embedding and texts else None
        return await self.clients.arun(self._add(texts, vectors, metadatas, ids))

    def _add(
        self,
        texts: list[str],
        vectors: list[list[float]] | None,
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
    ) -> Plan[list[str]]:
        ids = ids or [None] * len(texts)
        metadatas = metadatas or [{}] * len(texts)
        if not len(texts) == len(ids) == len(metadatas):
            raise ValueError("texts, metadatas and ids are not equally many")
        if not texts:
            return []
        if not self._is_made:
            settings: CollectionSettings = {**self.settings}
            if vectors:
                settings = {"dimension": len(vectors[0]), "vector_type": "f32", **settings}
            yield from self._calls.create(**settings)
            self._is_made = True
        records: dict[str, NewRecord] = {}
        given = [one or str(uuid.uuid4()) for one in ids]
        for place, (one, text, metadata) in enumerate(zip(given, texts, metadatas, strict=True)):
            # Of documents with the same id the last one stays, as if they had come one after another.
            records[one] = {"id": one, "text": text, "metadata": metadata}
            if vectors:
                records[one]["vector"] = vectors[place]
        yield from self._calls.upsert(records.values())
        return given

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Deletes documents by their ids, or by `filter`."""
        return self.clients.run(self._delete(ids, **kwargs))

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Deletes documents by their ids, or by `filter`."""
        return await self.clients.arun(self._delete(ids, **kwargs))

    def _delete(self, ids: list[str] | None, *, filter: dict[str, Any] | None = None) -> Plan[bool]:
        with suppress(NotFound):  # nothing was ever written
            yield from self._calls.delete_many(ids, filter=translated(filter))
        return True

    # What is read.

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents by their ids, those that are there."""
        return self.clients.run(self._get(ids))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents by their ids, those that are there."""
        return await self.clients.arun(self._get(ids))

    def _get(self, ids: Sequence[str]) -> Plan[list[Document]]:
        try:
            records = yield from self._calls.get_many(ids)
        except NotFound:
            return []
        return [document(record) for record in records if record]

    def _hits(self, question: dict[str, Any], k: int, filter: dict[str, Any] | None, **options: Any) -> Plan[list[Hit]]:
        try:
            answer = yield from self._calls.recall(**{**question, "k": k, "filter": translated(filter), **options})
        except NotFound:
            return []
        return answer["hits"]

    def _question(self, query: str) -> dict[str, Any]:
        if self.embedding is None:
            return {"query": query, "mode": self.mode}
        return {"vector": self.embedding.embed_query(query), "mode": "vector"}

    async def _aquestion(self, query: str) -> dict[str, Any]:
        if self.embedding is None:
            return {"query": query, "mode": self.mode}
        return {"vector": await self.embedding.aembed_query(query), "mode": "vector"}

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Documents with their scores, the best first. In mode `vector` a score is the cosine."""
        hits = self.clients.run(self._hits(self._question(query), k, filter, **kwargs))
        return [(document(hit), hit["score"]) for hit in hits]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Documents with their scores, the best first. In mode `vector` a score is the cosine."""
        hits = await self.clients.arun(self._hits(await self._aquestion(query), k, filter, **kwargs))
        return [(document(hit), hit["score"]) for hit in hits]

    def similarity_search(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The documents that answer a question best."""
        return [found for found, _ in self.similarity_search_with_score(query, k, filter, **kwargs)]

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The documents that answer a question best."""
        return [found for found, _ in await self.asimilarity_search_with_score(query, k, filter, **kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The documents that are nearest to a vector."""
        question = {"vector": embedding, "mode": "vector"}
        return [document(hit) for hit in self.clients.run(self._hits(question, k, filter, **kwargs))]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """The documents that are nearest to a vector."""
        question = {"vector": embedding, "mode": "vector"}
        return [document(hit) for hit in await self.clients.arun(self._hits(question, k, filter, **kwargs))]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: min(max(score, 0.0), 1.0)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        hits = self.clients.run(self._hits(self._question(query), k, filter, **kwargs))
        return [(document(hit), self._relevance(hit)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        hits = await self.clients.arun(self._hits(await self._aquestion(query), k, filter, **kwargs))
        return [(document(hit), self._relevance(hit)) for hit in hits]

    def _relevance(self, hit: Hit) -> float:
        """How sure it is that a hit answers the question; of vectors of other models the cosine."""
        return hit.get("relevance", self._select_relevance_score_fn()(hit["score"]))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that answer a question and differ from each other. The box chooses them, of as many as it takes."""
        kwargs.setdefault("rerank", {"mmr_lambda": lambda_mult})
        return self.similarity_search(query, k, filter, **kwargs)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that answer a question and differ from each other. The box chooses them, of as many as it takes."""
        kwargs.setdefault("rerank", {"mmr_lambda": lambda_mult})
        return await self.asimilarity_search(query, k, filter, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that are near to a vector and differ from each other."""
        kwargs.setdefault("rerank", {"mmr_lambda": lambda_mult})
        return self.similarity_search_by_vector(embedding, k, filter, **kwargs)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that are near to a vector and differ from each other."""
        kwargs.setdefault("rerank", {"mmr_lambda": lambda_mult})
        return await self.asimilarity_search_by_vector(embedding, k, filter, **kwargs)

    @classmethod
    def from_texts(
        cls: type[Self],
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts; further arguments are those of the store."""
        store = cls(embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls: type[Self],
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts; further arguments are those of the store."""
        store = cls(embedding=embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store
