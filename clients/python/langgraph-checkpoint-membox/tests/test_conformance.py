"""LangGraph's suite for checkpointers (langgraph-checkpoint-conformance), as it is: a test for each of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance.capabilities import Capability, DetectedCapabilities
from langgraph.checkpoint.conformance.validate import _RUNNERS
from langgraph.checkpoint.membox import MemboxSaver

LACKING = {
    Capability.DELETE_FOR_RUNS: "a box lists no threads, and deletes no single checkpoint",
    Capability.COPY_THREAD: "a box lists no namespaces of a thread",
    Capability.PRUNE: "a box lists no namespaces of a thread, and deletes no single checkpoint",
}


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
    if capability in LACKING and capability not in DetectedCapabilities.from_instance(saver).detected:
        pytest.xfail(LACKING[capability])
    module = sys.modules[_RUNNERS[capability].__module__]
    await getattr(module, test)(saver)


def test_what_is_lacking_is_still_lacking() -> None:
    detected = DetectedCapabilities.from_instance(MemboxSaver()).detected
    assert detected == set(Capability) - set(LACKING)
    assert asyncio.iscoroutinefunction(MemboxSaver.aput)
