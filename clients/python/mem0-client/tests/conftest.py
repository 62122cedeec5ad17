"""mem0ai's own client against a box: that of MEMBOX_URL, or one that is started for the tests."""

import os
import tempfile
import uuid
from collections.abc import Iterator

import pytest

# mem0 reads both when it is imported: it is to call nobody else, and to write nothing into the home.
os.environ["MEM0_TELEMETRY"] = "False"
os.environ["MEM0_DIR"] = tempfile.mkdtemp()

from mem0 import MemoryClient

import membox


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    given = os.environ.get("MEMBOX_URL")
    if given:
        yield given
        return
    with membox.Box() as box:
        yield box.url


@pytest.fixture(scope="session")
def client(url: str) -> MemoryClient:
    return MemoryClient(api_key="any", host=url)


@pytest.fixture
def user(client: MemoryClient) -> Iterator[str]:
    """A user that no other test has."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    yield name
    client.delete_all(user_id=name)
