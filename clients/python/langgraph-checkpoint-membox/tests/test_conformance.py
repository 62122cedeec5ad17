"""LangGraph's suite for checkpointers (langgraph-checkpoint-conformance), as it is: a test for each of its own."""

import sys
from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance.capabilities import Capability, DetectedCapabilities
from langgraph.checkpoint.conformance.validate import _RUNNERS
from langgraph.checkpoint.membox import MemboxSaver


def names_of(capability: Capability) -> list[str]:
    """The names of a capability's tests."""
    module = sys.modules[_RUNNERS[capability].__module__]
    [names] = [value for name, value in vars(module).items() if name.startswith("ALL_")]
    return [test.__name__ for test in names]


@pytest.fixture
async def saver() -> AsyncIterator[BaseCheckpointSaver[str]]:
    saver = MemboxSaver()
    yield saver
    await saver.clients.aclose()


ALL = [(capability, test) for capability in Capability for test in names_of(capability)]


@pytest.mark.parametrize(("capability", "test"), ALL, ids=[f"{capability.value}-{test}" for capability, test in ALL])
async def test_conformance(saver: BaseCheckpointSaver[str], capability: Capability, test: str) -> None:
    module = sys.modules[_RUNNERS[capability].__module__]
    await getattr(module, test)(saver)


def test_nothing_is_lacking() -> None:
    assert DetectedCapabilities.from_instance(MemboxSaver()).missing == frozenset()
