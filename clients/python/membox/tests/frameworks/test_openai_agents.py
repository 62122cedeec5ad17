"""Sessions of OpenAI's Agents SDK."""

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

import membox

agents = pytest.importorskip("agents")
from membox.openai_agents import MemboxSession  # noqa: E402

ITEMS: list[Any] = [
    {"role": "user", "content": "Where is the key?"},
    {
        "role": "user",
        "content": [{"type": "input_text", "text": "word " * 50_000}, {"type": "input_text", "text": "b"}],
    },
    {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": "pot"}', "id": "f1"},
    {"type": "function_call_output", "call_id": "c1", "output": "seen " * 20_000},
    {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Under the pot.", "annotations": []}],
    },
    {"type": "item_reference", "id": "x"},
]


@pytest.fixture
async def session(url: str, name: str) -> AsyncIterator[MemboxSession]:
    session = MemboxSession(name, url=url)
    yield session
    await session.clear_session()
    await session.clients.aclose()


async def test_items_come_back_as_they_were(session: MemboxSession) -> None:
    before = copy.deepcopy(ITEMS)
    await session.add_items(ITEMS)
    assert before == ITEMS
    assert await session.get_items() == ITEMS
    assert await session.get_items(limit=2) == ITEMS[-2:]
    assert await session.get_items(limit=0) == []
    session.session_settings = agents.SessionSettings(limit=3)
    assert await session.get_items() == ITEMS[-3:]


async def test_the_newest_is_taken_once(session: MemboxSession) -> None:
    assert await session.pop_item() is None
    await session.add_items([{"role": "user", "content": f"{n}"} for n in range(8)])
    taken: list[Any] = await asyncio.gather(*(session.pop_item() for _ in range(8)))
    assert sorted(item["content"] for item in taken) == [f"{n}" for n in range(8)]
    assert await session.get_items() == []


async def test_calls_stay_with_their_answers_in_a_context(
    session: MemboxSession, client: membox.Client, name: str
) -> None:
    answered: Any = {**ITEMS[4], "output": "seen"}
    await session.add_items([ITEMS[0], ITEMS[3], answered])
    context = client.session(name).context(strategy="recent")["messages"]
    assert [message["role"] for message in context] == ["user", "assistant", "tool"]
    assert context[1]["tool_calls"][0]["function"]["name"] == "look"


async def test_what_others_have_appended_is_read(session: MemboxSession, client: membox.Client, name: str) -> None:
    client.session(name).append([{"role": "user", "content": "hello"}])
    assert await session.get_items() == [{"role": "user", "content": "hello"}]
