"""The vector store, beside LlamaIndex's own in memory: what that answers, ours has to answer."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import ImageNode, IndexNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.membox import MemboxVectorStore

METADATA: list[dict[str, Any]] = [
    {"weight": 1.0, "rank": "a", "quality": ["medium", "high"], "identifier": "6FTR78Yun", "none": None},
    {"weight": 2.0, "rank": "c", "quality": ["medium"], "identifier": "6FTR78Ygl"},
    {"weight": 3.0, "rank": "c", "quality": ["low", "medium", "high"], "identifier": "6FTR78Ztl", "none": 1},
]
VECTORS = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def nodes() -> list[TextNode]:
    made = []
    for number, (vector, metadata) in enumerate(zip(VECTORS, METADATA, strict=True)):
        node = TextNode(text=f"lorem {number}", id_=str(number), embedding=vector, metadata=metadata)
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"document-{number}")
        made.append(node)
    return made


@pytest.fixture
def store(name: str) -> Iterator[MemboxVectorStore]:
    store = MemboxVectorStore(name)
    yield store
    store.clear()


def where(key: str, value: Any, operator: str = "==") -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def query(*filters: Any, condition: str = "and", k: int = 3, **options: Any) -> VectorStoreQuery:
    joined = MetadataFilters(filters=list(filters), condition=FilterCondition(condition)) if filters else None
    return VectorStoreQuery(query_embedding=[1.0, 0.9], similarity_top_k=k, filters=joined, **options)


QUERIES = [
    query(),
    query(k=1),
    query(node_ids=["1", "2"]),
    query(where("rank", "c")),
    query(where("rank", "c"), k=1),
    query(where("rank", "c"), node_ids=["2"]),
    query(where("rank", "c"), where("weight", 2.0)),
    query(where("weight", 2), where("weight", 3)),
    query(where("missing", "c")),
    query(where("rank", "c"), where("weight", 1.0), condition="or"),
    query(where("rank", "a"), condition="not"),
    query(where("weight", 1.0, "!=")),
    query(where("weight", 1.5, ">")),
    query(where("weight", 1.0, ">=")),
    query(where("weight", 1.1, "<")),
    query(where("weight", 1.0, "<=")),
    query(where("rank", ["a", "b"], "in")),
    query(where("rank", ["c"], "nin")),
    query(where("quality", "high", "contains")),
    query(where("quality", ["high", "low"], "any")),
    query(where("quality", ["medium", "high"], "all")),
    query(where("missing", None, "is_empty")),
    query(where("none", None, "is_empty")),
    query(where("identifier", "78Y", "text_match")),
    query(where("identifier", "78y", "text_match_insensitive")),
    query(mode=VectorStoreQueryMode.MMR, k=2),
]


@pytest.mark.parametrize("asked", QUERIES, ids=lambda asked: str(asked.filters or asked.node_ids or asked.mode.value))
def test_it_answers_as_the_store_in_memory(store: MemboxVectorStore, asked: VectorStoreQuery) -> None:
    memory = SimpleVectorStore()
    memory.add(nodes())
    store.add(nodes())
    right, ours = memory.query(asked), store.query(asked)
    assert ours.ids == right.ids
    assert ours.nodes is not None
    assert [node.node_id for node in ours.nodes] == right.ids
    if asked.mode == VectorStoreQueryMode.DEFAULT:
        assert ours.similarities == pytest.approx(right.similarities, abs=1e-3)


def test_filters_within_filters(store: MemboxVectorStore) -> None:
    store.add(nodes())
    either = [where("rank", "a"), where("quality", "low", "contains")]
    inner = MetadataFilters(filters=list(either), condition=FilterCondition.OR)
    assert store.query(query(where("weight", 1.0, ">"), inner)).ids == ["2"]


DELETIONS: list[Callable[[Any], None]] = [
    lambda store: store.delete("document-1"),
    lambda store: store.delete("document-9"),
    lambda store: store.delete_nodes(["0", "9"]),
    lambda store: store.delete_nodes(filters=MetadataFilters(filters=[where("rank", "c")])),
    lambda store: store.delete_nodes(["0", "1"], filters=MetadataFilters(filters=[where("rank", "c")])),
    lambda store: store.clear(),
]


@pytest.mark.parametrize("delete", DELETIONS)
def test_it_deletes_as_the_store_in_memory(store: MemboxVectorStore, delete: Callable[[Any], None]) -> None:
    memory = SimpleVectorStore()
    for one in (memory, store):
        one.add(nodes())
        delete(one)
    assert store.query(query()).ids == memory.query(query()).ids


def test_nodes_come_back_as_they_were(store: MemboxVectorStore) -> None:
    image = ImageNode(text="a cat", image_url="https://example.com/cat.png", id_="image", embedding=[1.0, 0.5])
    index = IndexNode(text="see there", index_id="other", id_="index", embedding=[1.0, 0.5])
    written = [*nodes(), image, index]
    store.add(written)
    found = store.get_nodes([node.node_id for node in written] + ["missing"])
    for node, back in zip(written, found, strict=True):
        node.embedding = None
        assert back == node
    assert len(store.get_nodes()) == 5
    assert [node.node_id for node in store.get_nodes(filters=MetadataFilters(filters=[where("rank", "a")]))] == ["0"]


def test_a_node_may_be_large(store: MemboxVectorStore) -> None:
    image = ImageNode(text="a cat", id_="i", image="A" * 400_000, embedding=[1.0, 0.0])
    store.add([image])
    [found] = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1)).nodes or []
    assert isinstance(found, ImageNode)
    assert found.image == image.image


def test_what_others_have_written_is_a_node_of_text(store: MemboxVectorStore) -> None:
    store.add(nodes()[:1])
    store.client.collection(store.collection).upsert(
        [{"id": "x", "text": "hello", "vector": [1, 1], "metadata": {"a": 1}}]
    )
    [node] = store.get_nodes(["x"])
    assert (node.get_content(), node.metadata) == ("hello", {"a": 1})


def test_words(store: MemboxVectorStore) -> None:
    store.add(nodes())
    asked = VectorStoreQuery(query_str="lorem", mode=VectorStoreQueryMode.TEXT_SEARCH, similarity_top_k=2)
    assert len(store.query(asked).ids or []) == 2


def test_vectors_and_words(store: MemboxVectorStore) -> None:
    store.add(nodes())
    asked = query(mode=VectorStoreQueryMode.HYBRID, query_str="lorem", k=2)
    assert len(store.query(asked).ids or []) == 2


@pytest.mark.parametrize("mode", ["semantic_hybrid", "svm"])
def test_modes_that_a_box_does_not_have_are_named(store: MemboxVectorStore, mode: str) -> None:
    with pytest.raises(NotImplementedError, match=mode):
        store.query(query(mode=VectorStoreQueryMode(mode), query_str="x"))


def test_an_index(store: MemboxVectorStore) -> None:
    embedding = MockEmbedding(embed_dim=8)
    storage = StorageContext.from_defaults(vector_store=store)
    documents = [Document(text=f"document {number}", id_=f"d{number}") for number in range(5)]
    index = VectorStoreIndex.from_documents(documents, storage_context=storage, embed_model=embedding)
    index.delete_ref_doc("d0")
    index.insert(Document(text="new", id_="n"))
    index.update_ref_doc(Document(text="document 1, again", id_="d1"))
    again = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    found = again.as_retriever(similarity_top_k=10).retrieve("document")
    wanted = ["document 1, again", "document 2", "document 3", "document 4", "new"]
    assert sorted(one.text for one in found) == wanted


async def test_the_asynchronous_face_does_the_same(store: MemboxVectorStore) -> None:
    assert await store.async_add(nodes()) == ["0", "1", "2"]
    assert (await store.aquery(query())).ids == store.query(query()).ids
    assert len(await store.aget_nodes(["0"])) == 1
    await store.adelete("document-0")
    await store.adelete_nodes(["1"])
    assert [node.node_id for node in await store.aget_nodes()] == ["2"]
    await store.aclear()
    assert await store.aget_nodes() == []
    assert (await store.aquery(query())).ids == []
