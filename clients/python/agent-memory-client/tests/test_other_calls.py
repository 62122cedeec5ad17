"""What agent-memory-client builds of those calls, the tools of models, and what a box does not have."""

from __future__ import annotations

import inspect
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError
from agent_memory_client.models import ClientMemoryRecord, CreateSummaryViewRequest, WorkingMemory

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def memory(text: str, **more: Any) -> ClientMemoryRecord:
    return ClientMemoryRecord(text=text, memory_type="semantic", **more)


async def test_every_call_of_the_client_is_tested() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    called = set(re.findall(r"client\.(\w+)\(", tests)) | {"close"}
    calls = {
        name
        for name, one in inspect.getmembers(MemoryAPIClient)
        if not name.startswith("_") and (inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one))
    }
    assert calls <= called, calls - called


async def test_memories_come_in_batches_and_are_found_in_parts(client: MemoryAPIClient) -> None:
    batches = [[memory(f"Lena counts sheep number {10 * batch + one}.") for one in range(10)] for batch in range(3)]
    made = await client.bulk_create_long_term_memories(batches, batch_size=7, delay_between_batches=0)
    assert [one.status for one in made] == ["ok"] * 6
    found = [one.id async for one in client.search_all_long_term_memories("counting sheep", batch_size=8)]
    assert sorted(found) == sorted(one.id for batch in batches for one in batch)


async def test_working_memories_are_promoted(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    kept = memory("Lena likes mint.")
    await client.put_working_memory(session, WorkingMemory(session_id=session, memories=[kept]))
    assert (await client.promote_working_memories_to_long_term(session, [kept.id])).status == "ok"
    assert (await client.get_long_term_memory(kept.id)).text == kept.text


async def test_data_of_a_working_memory_is_merged(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    await client.put_working_memory(session, WorkingMemory(session_id=session, data={"a": {"b": 1}, "c": 1}))
    updated = await client.update_working_memory_data(session, {"a": {"d": 2}}, merge_strategy="deep_merge")
    assert updated.data == {"a": {"b": 1, "d": 2}, "c": 1}
    told = await client.update_memory_data_tool(session, {"c": 2})
    assert told["success"]
    assert (await client.get_working_memory(session)).data == {"a": {"b": 1, "d": 2}, "c": 2}


async def test_tools_of_working_memories(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    assert (await client.get_or_create_working_memory_tool(session))["created"]
    assert (await client.add_memory_tool(session, "Lena likes mint.", "semantic", topics=["drink"]))["success"]
    state = await client.get_working_memory_tool(session)
    assert [one["text"] for one in state["memories"]] == ["Lena likes mint."]


async def test_calls_of_a_model_are_resolved(client: MemoryAPIClient) -> None:
    await client.create_long_term_memory([memory("Lena likes green tea.")])
    asked = {"query": "what does Lena drink?"}
    as_openai = {"id": "1", "type": "function", "function": {"name": "search_memory", "arguments": '{"query": "tea"}'}}
    as_anthropic = {"type": "tool_use", "id": "2", "name": "search_memory", "input": asked}
    results = [
        await client.resolve_tool_call(as_openai, session_id="s"),
        *await client.resolve_tool_calls([as_anthropic], session_id="s"),
        await client.resolve_function_call("search_memory", asked, session_id="s"),
        *await client.resolve_function_calls([{"name": "search_memory", "arguments": asked}], session_id="s"),
    ]
    assert [one["success"] for one in results] == [True] * 4
    assert [one["result"]["memories"][0]["text"] for one in results] == ["Lena likes green tea."] * 4


async def test_there_are_no_summary_views_and_no_tasks(client: MemoryAPIClient) -> None:
    view = CreateSummaryViewRequest(source="long_term", group_by=["user_id"])
    for call in (
        client.list_summary_views(),
        client.create_summary_view(view),
        client.delete_summary_view("v"),
        client.run_summary_view_partition("v", {"user_id": "lena"}),
        client.list_summary_view_partitions("v"),
        client.run_summary_view("v"),
    ):
        with pytest.raises(MemoryNotFoundError):
            await call
    assert await client.get_summary_view("v") is None
    assert await client.get_task("t") is None
