"""AutoGen's memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("autogen_core")
from autogen_core.memory import MemoryContent, MemoryMimeType
from autogen_core.model_context import BufferedChatCompletionContext
from autogen_core.models import UserMessage
from membox.autogen import MemboxMemory

TEA = MemoryContent(content="Lena likes green tea.", mime_type=MemoryMimeType.TEXT, metadata={"n": 1})


@pytest.fixture
async def memory(url: str, name: str) -> AsyncIterator[MemboxMemory]:
    memory = MemboxMemory(name, url=url)
    yield memory
    await memory.clear()
    await memory.close()


async def test_what_was_added_is_found(memory: MemboxMemory) -> None:
    assert (await memory.query("tea")).results == []
    await memory.add(TEA)
    [found] = (await memory.query("What does Lena drink?")).results
    assert found.content == TEA.content
    assert found.metadata is not None
    assert found.metadata["n"] == 1
    assert found.metadata["relevance"] > 0
    assert (await memory.query(TEA, k=1)).results


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        ({"a": [1, 2.5, None]}, MemoryMimeType.JSON),
        (b"\x00\xff" * 100, MemoryMimeType.BINARY),
        ("# head", MemoryMimeType.MARKDOWN),
        ("x", "text/csv"),
    ],
)
async def test_all_kinds_come_back_as_they_were(memory: MemboxMemory, content: Any, mime_type: Any) -> None:
    await memory.add(MemoryContent(content=content, mime_type=mime_type))
    [found] = (await memory.query("anything")).results
    assert found.content == content


async def test_a_context_gets_what_is_remembered(memory: MemboxMemory) -> None:
    context = BufferedChatCompletionContext(5)
    assert (await memory.update_context(context)).memories.results == []
    await memory.add(TEA)
    await context.add_message(UserMessage(content="Which tea does Lena like?", source="user"))
    await memory.update_context(context)
    assert "green tea" in str((await context.get_messages())[-1].content)


async def test_all_is_forgotten(memory: MemboxMemory) -> None:
    await memory.add(TEA)
    await memory.clear()
    assert (await memory.query("tea")).results == []
    await memory.add(TEA)
    assert len((await memory.query("tea")).results) == 1
