"""agent-memory-client against a box: that of MEMBOX_URL, or one that is started for the tests."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from agent_memory_client import MemoryAPIClient, MemoryClientConfig

import membox


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    given = os.environ.get("MEMBOX_URL")
    if given:
        yield given
        return
    with membox.Box() as box:
        yield box.url


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[MemoryAPIClient]:
    """A client of a namespace that no other test has."""
    namespace = f"n-{uuid.uuid4().hex[:12]}"
    async with MemoryAPIClient(MemoryClientConfig(base_url=url, default_namespace=namespace)) as client:
        yield client
