"""The vector store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
from llama_index.vector_stores.membox.filters import Filter, joined, translated

from membox import AsyncClient, Client, Clients, NotFound, describe
from membox.describe import Plan
from membox.types import Include

NODE = "_node"
"""In a record's payload: what a node is beside its text and its metadata."""
NODE_TYPE = "_node_type"
REF_DOC_ID = "_ref_doc_id"
OWN = (NODE_TYPE, REF_DOC_ID)
INCLUDED: list[Include] = ["text", "metadata", "payload", "scores"]
WORDS = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)


class MemboxVectorStore(BasePydanticVectorStore):
    """Nodes in a collection of a box, with the vectors that LlamaIndex has made of them.

    The collection is made when it is first written to. The metadata of a node may have 16 KiB as JSON, and
    what it is besides 1 MiB.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    collection: str
    url: str | None = None

    _clients: Clients = PrivateAttr()
    _is_made: bool = PrivateAttr(default=False)

    def __init__(
        self,
        collection: str = "llamaindex",
        *,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        super().__init__(collection=collection, url=url)  # type: ignore[call-arg]
        self._clients = Clients(url, key=key, client=client, async_client=async_client)

    @classmethod
    def class_name(cls) -> str:
        """The class's name."""
        return "MemboxVectorStore"

    @property
    def client(self) -> Client:
        """The client of the box."""
        return self._clients.blocking

    # What is written.

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Adds nodes, and gives their ids."""
        return self._clients.run(self._add(nodes))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Adds nodes, and gives their ids."""
        return await self._clients.arun(self._add(nodes))

    def _add(self, nodes: Sequence[BaseNode]) -> Plan[list[str]]:
        if not nodes:
            return []
        calls = describe.collection(self.collection)
        if not self._is_made:
            yield from calls.create(dimension=len(nodes[0].get_embedding()), vector_type="f32")
            self._is_made = True
        # Of nodes with the same id the last one stays.
        yield from calls.upsert({node.node_id: written(node) for node in nodes}.values())
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        self._clients.run(self._delete({"field": f"metadata.{REF_DOC_ID}", "eq": ref_doc_id}))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        await self._clients.arun(self._delete({"field": f"metadata.{REF_DOC_ID}", "eq": ref_doc_id}))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Deletes nodes by their ids, by a filter, or by both; without either nothing."""
        self._clients.run(self._delete(asked(node_ids, filters)))

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Deletes nodes by their ids, by a filter, or by both; without either nothing."""
        await self._clients.arun(self._delete(asked(node_ids, filters)))

    def _delete(self, where: Filter | None) -> Plan[None]:
        if where is None:
            return
        try:
            yield from describe.collection(self.collection).delete_many(filter=where)
        except NotFound:  # nothing was ever written
            return

    def clear(self) -> None:
        """Deletes the collection."""
        self._clients.run(self._clear())

    async def aclear(self) -> None:
        """Deletes the collection."""
        await self._clients.arun(self._clear())

    def _clear(self) -> Plan[None]:
        self._is_made = False
        try:
            yield from describe.collection(self.collection).drop()
        except NotFound:
            return

    # What is read.

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by their ids, by a filter, or by both; all without either."""
        return self._clients.run(self._get(node_ids, filters))

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Nodes by their ids, by a filter, or by both; all without either."""
        return await self._clients.arun(self._get(node_ids, filters))

    def _get(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> Plan[list[BaseNode]]:
        calls = describe.collection(self.collection)
        try:
            if node_ids is not None and filters is None:
                found = yield from calls.get_many(node_ids)
                return [read(record) for record in found if record]
            records = yield from calls.records(filter=asked(node_ids, filters), payload=True)
        except NotFound:
            return []
        return [read(record) for record in records]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that answer a question: by its vector, by its words, or diverse ones (MMR)."""
        return self._clients.run(self._query(query, **kwargs))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that answer a question: by its vector, by its words, or diverse ones (MMR)."""
        return await self._clients.arun(self._query(query, **kwargs))

    def _query(self, query: VectorStoreQuery, **kwargs: Any) -> Plan[VectorStoreQueryResult]:
        # An index that knows of no nodes asks with an empty list, and means all.
        where = asked(query.node_ids or None, query.filters)
        question = recalled(query, kwargs)
        try:
            answer = yield from describe.collection(self.collection).recall(
                k=query.similarity_top_k, filter=where, include=INCLUDED, **question
            )
        except NotFound:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        hits = answer["hits"]
        return VectorStoreQueryResult(
            nodes=[read(hit) for hit in hits],
            similarities=[hit["score"] for hit in hits],
            ids=[hit["id"] for hit in hits],
        )


def recalled(query: VectorStoreQuery, options: dict[str, Any]) -> dict[str, Any]:
    """What a recall is asked for a mode."""
    if query.mode in WORDS:
        return {"query": query.query_str, "mode": "text"}
    question: dict[str, Any] = {"vector": query.query_embedding, "mode": "vector"}
    if query.mode == VectorStoreQueryMode.MMR:
        threshold = options.get("mmr_threshold", query.mmr_threshold)
        return {**question, "rerank": {"mmr_lambda": 0.5 if threshold is None else threshold}}
    if query.mode == VectorStoreQueryMode.HYBRID:
        return {"query": query.query_str, "vector": query.query_embedding, "mode": "hybrid"}
    if query.mode != VectorStoreQueryMode.DEFAULT:
        raise NotImplementedError(f"a box has no mode {query.mode.value} for vectors that are given")
    return question


def asked(node_ids: list[str] | None, filters: MetadataFilters | None) -> Filter | None:
    """The filter of nodes by their ids and by what is said of them."""
    by_id: Filter | None = {"field": "id", "in": list(node_ids)} if node_ids is not None else None
    return joined(by_id, translated(filters))


def written(node: BaseNode) -> Any:
    """A node as a record. Its metadata is that of the record, to be filtered by, and stands nowhere else."""
    whole = node_to_metadata_dict(node, remove_text=True, flat_metadata=False)
    content = json.loads(whole["_node_content"])
    content["metadata"] = {}
    metadata = {**node.metadata, NODE_TYPE: whole["_node_type"]}
    if node.ref_doc_id is not None:
        metadata[REF_DOC_ID] = node.ref_doc_id
    text = node.get_content(metadata_mode=MetadataMode.NONE) or ""
    record = {"id": node.node_id, "text": text, "vector": node.get_embedding(), "metadata": metadata}
    return {**record, "payload": {NODE: content}}


def read(record: Any) -> BaseNode:
    """A record as a node; one that others have written, as a node of text."""
    metadata = dict(record["metadata"])
    payload = record.get("payload")
    content = (payload.get(NODE) if isinstance(payload, dict) else None) or {}
    content = {**content, "metadata": {name: value for name, value in metadata.items() if name not in OWN}}
    content.setdefault("id_", record["id"])
    whole = {"_node_content": json.dumps(content), "_node_type": metadata.get(NODE_TYPE, "TextNode")}
    return metadata_dict_to_node(whole, text=record.get("text", ""))
