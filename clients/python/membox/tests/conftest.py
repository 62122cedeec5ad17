"""One box for all tests: that of MEMBOX_URL, or one that is started for them."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

import membox


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    given = os.environ.get("MEMBOX_URL")
    if given:
        yield given
        return
    with membox.Box() as box:
        yield box.url


@pytest.fixture
def client(url: str) -> Iterator[membox.Client]:
    with membox.Client(url) as client:
        yield client


@pytest.fixture
async def async_client(url: str) -> AsyncIterator[membox.AsyncClient]:
    async with membox.AsyncClient(url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"test-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def notes(client: membox.Client, name: str) -> Iterator[membox.Collection]:
    collection = client.collection(name)
    collection.create()
    yield collection
    collection.drop()
