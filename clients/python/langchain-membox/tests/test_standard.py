"""LangChain's own suites (langchain-tests), as they are."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_membox import MemboxByteStore, MemboxCache, MemboxEmbeddings, MemboxRetriever, MemboxVectorStore
from langchain_tests.integration_tests import (
    AsyncCacheTestSuite,
    BaseStoreAsyncTests,
    BaseStoreSyncTests,
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    SyncCacheTestSuite,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

import membox


def fresh() -> str:
    return f"test-{uuid.uuid4().hex[:16]}"


def drop(name: str) -> None:
    with membox.Client() as client:
        try:
            client.collection(name).drop()
        except membox.NotFound:
            return


class TestVectorStoreWithVectorsOfOthers(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        store = MemboxVectorStore(fresh(), self.get_embeddings())
        yield store
        drop(store.collection)


class TestVectorStoreThatEmbeds(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        store = MemboxVectorStore(fresh())
        yield store
        drop(store.collection)


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[MemboxEmbeddings]:
        return MemboxEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "all-MiniLM-L6-v2"}


class TestEmbeddingsAlone(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[MemboxEmbeddings]:
        return MemboxEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "all-MiniLM-L6-v2"}


class TestRetriever(RetrieversIntegrationTests):
    collection = fresh()

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def cats(cls, url: str) -> Iterator[None]:
        with membox.Client() as client:
            client.collection(cls.collection).create()
            cats = [{"text": f"Cat number {number} sat on the mat."} for number in range(10)]
            client.collection(cls.collection).upsert(cats)  # type: ignore[arg-type]
        yield
        drop(cls.collection)

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemboxRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"collection": self.collection}

    @property
    def retriever_query_example(self) -> str:
        return "cats on mats"


class TestByteStore(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self) -> Iterator[MemboxByteStore]:
        store = MemboxByteStore(fresh())
        yield store
        drop(store.collection)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b"buzz" * 100_000


class TestByteStoreAsync(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    async def kv_store(self) -> AsyncIterator[MemboxByteStore]:
        store = MemboxByteStore(fresh())
        yield store
        drop(store.collection)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b"buzz" * 100_000


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self) -> Iterator[MemboxCache]:
        cache = MemboxCache(fresh())
        yield cache
        cache.clear()


class TestCacheAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self) -> AsyncIterator[MemboxCache]:
        cache = MemboxCache(fresh())
        yield cache
        await cache.aclear()
