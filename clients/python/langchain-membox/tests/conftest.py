"""One box for all tests: that of MEMBOX_URL, or one that is started for them."""

import os
import uuid
from collections.abc import Iterator

import pytest

import membox


@pytest.fixture(scope="session", autouse=True)
def url() -> Iterator[str]:
    given = os.environ.get("MEMBOX_URL")
    if given:
        yield given
        return
    with membox.Box() as box:
        os.environ["MEMBOX_URL"] = box.url  # the suites make their objects without an address
        yield box.url
        del os.environ["MEMBOX_URL"]


@pytest.fixture
def client(url: str) -> Iterator[membox.Client]:
    with membox.Client(url) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"test-{uuid.uuid4().hex[:16]}"
