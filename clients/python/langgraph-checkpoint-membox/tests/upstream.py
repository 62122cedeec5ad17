"""Runs LangGraph's own tests with our saver in the place of SQLite's:

    python tests/upstream.py FOLDER [options of pytest]

FOLDER is what the source package of langgraph unpacks to. Its tests stay as they are: modules that they import for
other databases are stand-ins, and `SqliteSaver` is `MemboxSaver`.
"""

import os
import sys
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from unittest.mock import MagicMock

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.membox import MemboxSaver

OTHERS = (
    "langgraph.checkpoint.postgres",
    "langgraph.checkpoint.postgres.aio",
    "langgraph.checkpoint.serde.encrypted",
    "langgraph.store.postgres",
    "langgraph.cache.redis",
    "psycopg",
    "psycopg_pool",
    "redis",
)


class Saver(MemboxSaver):
    """All of these tests call their threads alike, so each removes its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def _put(self, config: RunnableConfig, *given):  # type: ignore[no-untyped-def]
        self.seen.add(config["configurable"]["thread_id"])
        return super()._put(config, *given)

    def _put_writes(self, config: RunnableConfig, *given):  # type: ignore[no-untyped-def]
        self.seen.add(config["configurable"]["thread_id"])
        return super()._put_writes(config, *given)

    def clean(self) -> None:
        for thread in self.seen:
            self.delete_thread(thread)
        self.clients.close()


class Blocking:
    @classmethod
    @contextmanager
    def from_conn_string(cls, _: str) -> Iterator[Saver]:
        saver = Saver()
        try:
            yield saver
        finally:
            saver.clean()


class Awaiting:
    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, _: str) -> AsyncIterator[Saver]:
        saver = Saver()
        try:
            yield saver
        finally:
            saver.clean()
            await saver.clients.aclose()


def module(name: str, **values: object) -> None:
    made = types.ModuleType(name)
    vars(made).update(values)
    sys.modules[name] = made


if __name__ == "__main__":
    os.environ["NO_DOCKER"] = "true"
    os.chdir(sys.argv[1])
    sys.path.insert(0, os.getcwd())
    for name in OTHERS:
        sys.modules[name] = MagicMock()
    module("langgraph.checkpoint.sqlite", SqliteSaver=Blocking)
    module("langgraph.checkpoint.sqlite.aio", AsyncSqliteSaver=Awaiting)
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--tb=line", *sys.argv[2:]]))
