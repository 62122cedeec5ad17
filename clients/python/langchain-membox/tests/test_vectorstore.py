"""What LangChain's suite does not ask of the vector store and the cache."""

import time
from collections.abc import Iterator

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_membox import MemboxCache, MemboxRetriever, MemboxVectorStore
from langchain_membox.filters import translated

TRIPS = [
    Document("Lena went to Bergen.", id="a", metadata={"topic": "travel", "year": 2020, "tags": ["sea"]}),
    Document("Lena went to Oslo.", id="b", metadata={"topic": "travel", "year": 2023}),
    Document("The soup was cold.", id="c", metadata={"topic": "food", "year": 2023, "tags": ["soup", "sea"]}),
]


@pytest.fixture
def store(name: str) -> Iterator[MemboxVectorStore]:
    store = MemboxVectorStore(name)
    store.add_documents(TRIPS)
    yield store
    store.clients.blocking.collection(name).drop()


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        (None, "abc"),
        ({}, "abc"),
        ({"topic": "travel"}, "ab"),
        ({"topic": "travel", "year": 2023}, "b"),
        ({"year": {"$gte": 2021}}, "bc"),
        ({"year": {"$gt": 2020, "$lt": 2024}}, "bc"),
        ({"year": {"$between": [2020, 2021]}}, "a"),
        ({"topic": {"$ne": "travel"}}, "c"),
        ({"topic": {"$in": ["food", "music"]}}, "c"),
        ({"topic": {"$nin": ["food", "music"]}}, "ab"),
        ({"tags": {"$exists": False}}, "b"),
        ({"tags": "sea"}, "ac"),
        ({"tags": {"$all": ["sea", "soup"]}}, "c"),
        ({"$or": [{"year": 2020}, {"topic": "food"}]}, "ac"),
        ({"$and": [{"year": 2023}, {"topic": "food"}]}, "c"),
        ({"$not": {"topic": "food"}}, "ab"),
        ({"$id": {"$in": ["a", "c"]}}, "ac"),
        ({"field": "metadata.topic", "eq": "food"}, "c"),
        ({"and": [{"field": "metadata.topic", "eq": "travel"}, {"field": "metadata.year", "lt": 2021}]}, "a"),
    ],
)
def test_filters(store: MemboxVectorStore, filter: dict[str, object] | None, ids: str) -> None:
    found = store.similarity_search("where was she?", k=10, filter=filter)
    assert "".join(sorted(document.id or "" for document in found)) == ids


def test_an_operator_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\$like is no operator"):
        translated({"topic": {"$like": "x"}})


def test_relevance_says_whether_a_question_is_answered(store: MemboxVectorStore) -> None:
    (best, relevance), *_ = store.similarity_search_with_relevance_scores("Who went to Bergen?", k=2)
    assert best.id == "a"
    assert 0.0 < relevance <= 1.0
    retriever = MemboxRetriever(collection=store.collection, k=2)
    assert retriever.invoke("Who went to Bergen?")[0].metadata["relevance"] == pytest.approx(relevance, abs=0.01)
    assert retriever.invoke("Who went to Bergen?", filter={"topic": "food"})[0].id == "c"


async def test_diverse_documents(store: MemboxVectorStore) -> None:
    found = store.max_marginal_relevance_search("Lena went to Bergen", k=2, lambda_mult=0.1)
    assert found[0].id == "a"
    assert found == await store.amax_marginal_relevance_search("Lena went to Bergen", k=2, lambda_mult=0.1)


def test_deletion_by_filter(store: MemboxVectorStore) -> None:
    store.delete(filter={"topic": "travel"})
    assert [document.id for document in store.similarity_search("Lena", k=9)] == ["c"]


def test_a_store_that_was_never_written_to_is_empty(name: str) -> None:
    store = MemboxVectorStore(name)
    assert store.similarity_search("x") == []
    assert store.get_by_ids(["a"]) == []
    assert store.delete(["a"])


def test_cached_answers_end(name: str) -> None:
    cache = MemboxCache(name, ttl_s=1.0)
    answer = [ChatGeneration(message=AIMessage("42"))]
    cache.update("p" * 100_000, "m", answer)
    assert cache.lookup("p" * 100_000, "m") == answer
    cache.update("q", "m", [Generation(text="x")])
    time.sleep(1.5)
    assert cache.lookup("q", "m") is None
    cache.clear()
