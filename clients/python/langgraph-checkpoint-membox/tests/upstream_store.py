"""Runs LangGraph's own tests of its SQLite store with ours in its place:

    python tests/upstream_store.py FOLDER [options of pytest]

FOLDER is what the source package of langgraph-checkpoint-sqlite unpacks to. Tests of SQLite's own functions, and those
that look into its database, are left out.
"""

import os
import sys
import types
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from langgraph.store.membox import MemboxStore

from membox import NotFound

OWN = {
    "test_store.py::test_escape_glob_literal": "a function of SQLite's",
    "test_store.py::test_namespace_match_pattern": "a function of SQLite's",
    "test_store.py::test_list_namespaces_prefix_uses_indexable_condition": "a query of SQLite's",
    "test_store.py::test_nonnull_migrations": "migrations of SQLite's",
    "test_store.py::test_vector_store_initialization": "SQLite has another name for the fields of an index",
    "test_store.py::test_sql_injection_vulnerability": "wants an error for names that are SQL, which are names here",
    "test_async_store.py::test_no_running_loop": "blocking calls are allowed here",
}


class Store(MemboxStore):
    """A store in a collection of its own."""

    def __init__(self, index: Any = None) -> None:
        if index:
            index = {"dims": index["dims"], "embed": index["embed"], "fields": index.get("text_fields")}
        super().__init__(f"upstream-{uuid.uuid4().hex[:12]}", index=index)

    def drop(self) -> None:
        for name in (self.collection, f"{self.collection}.vectors"):
            try:
                self.clients.blocking.collection(name).drop()
            except NotFound:
                continue
        self.clients.close()


class SqliteStore(Store):
    def setup(self) -> None:
        pass

    @classmethod
    @contextmanager
    def from_conn_string(cls, _: str, *, index: Any = None) -> Iterator["SqliteStore"]:
        store = cls(index)
        try:
            yield store
        finally:
            store.drop()


class AsyncSqliteStore(Store):
    async def setup(self) -> None:
        pass

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, _: str, *, index: Any = None) -> AsyncIterator["AsyncSqliteStore"]:
        store = cls(index)
        try:
            yield store
        finally:
            store.drop()
            await store.clients.aclose()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.path.insert(0, os.getcwd())
    stores = types.ModuleType("langgraph.store.sqlite")
    vars(stores).update(SqliteStore=SqliteStore, AsyncSqliteStore=AsyncSqliteStore)
    base = types.ModuleType("langgraph.store.sqlite.base")
    names = ("NS_MATCH_FUNCTION", "BaseSqliteStore", "SqliteIndexConfig", "_escape_glob_literal")
    vars(base).update({name: dict for name in (*names, "_namespace_match_pattern")})
    sys.modules["langgraph.store.sqlite"], sys.modules["langgraph.store.sqlite.base"] = stores, base
    left_out = [word for name in OWN for word in ("--deselect", f"tests/{name}")]
    tests = ["tests/test_store.py", "tests/test_async_store.py"]
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "-o", "asyncio_mode=auto", *left_out]
    sys.exit(pytest.main([*options, *tests, *sys.argv[2:]]))
