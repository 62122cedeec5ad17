"""Every call of docs/clients.md#agent-memory-server, by agent-memory-client as it is."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError
from agent_memory_client.filters import CreatedAt, Entities, MemoryType, SessionId, Topics, UserId
from agent_memory_client.models import ClientMemoryRecord, ForgetPolicy, MemoryMessage, WorkingMemory

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def message(content: str, role: str = "user") -> MemoryMessage:
    return MemoryMessage(role=role, content=content, created_at=datetime.now(timezone.utc))


def memory(text: str, **more: Any) -> ClientMemoryRecord:
    return ClientMemoryRecord(text=text, memory_type=more.pop("memory_type", "semantic"), **more)


async def house(client: MemoryAPIClient) -> dict[str, str]:
    """Three memories, and their ids."""
    made = {
        "tea": memory("Lena likes green tea.", user_id="lena", topics=["drink"]),
        "dog": memory("Lena walks her dog.", user_id="lena", topics=["pets", "walks"], entities=["Lena"]),
        "rent": memory("Bo pays the rent.", user_id="bo", session_id="s", memory_type="episodic"),
    }
    assert (await client.create_long_term_memory(list(made.values()))).status == "ok"
    return {name: one.id for name, one in made.items()}


async def test_health_check(client: MemoryAPIClient) -> None:
    assert (await client.health_check()).now > 1_700_000_000_000


async def test_working_memory_is_put_and_got(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    given = WorkingMemory(session_id=session, messages=[message("hi")], data={"n": 1}, user_id="lena", context="c")
    put = await client.put_working_memory(session, given)
    got = await client.get_working_memory(session)
    assert got == put
    assert [one.content for one in got.messages] == ["hi"]
    assert got.messages[0].id == given.messages[0].id
    assert (got.data, got.user_id, got.context) == ({"n": 1}, "lena", "c")
    assert got.namespace == client.config.default_namespace
    with pytest.raises(MemoryNotFoundError):
        await client.get_working_memory(session, namespace="elsewhere")


async def test_get_or_create_says_which(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    assert (await client.get_or_create_working_memory(session))[0]
    assert not (await client.get_or_create_working_memory(session))[0]


async def test_a_window_takes_the_newest_messages(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    given = WorkingMemory(session_id=session, messages=[message(f"word {number} " * 20) for number in range(9)])
    await client.put_working_memory(session, given)
    got = await client.get_working_memory(session, context_window_max=200)
    assert 0 < len(got.messages) < 9
    assert got.messages[-1].content == given.messages[-1].content
    assert got.context_percentage_total_used is not None


async def test_list_sessions_has_parts(client: MemoryAPIClient) -> None:
    for number in range(3):
        await client.put_working_memory(f"s{number}", WorkingMemory(session_id=f"s{number}", user_id=f"u{number}"))
    listed = await client.list_sessions(limit=2)
    assert (len(listed.sessions), listed.total) == (2, 3)
    assert (await client.list_sessions(offset=2)).sessions == ["s0"]
    assert (await client.list_sessions(user_id="u1")).sessions == ["s1"]


async def test_messages_data_and_memories_are_added(client: MemoryAPIClient) -> None:
    session = uuid.uuid4().hex
    await client.append_messages_to_working_memory(session, [message("one")])
    await client.append_messages_to_working_memory(session, [message("two", "assistant")])
    await client.set_working_memory_data(session, {"theme": "dark"})
    await client.add_memories_to_working_memory(session, [memory("Lena likes mint.", user_id="lena")])
    got = await client.get_working_memory(session)
    assert [(one.role, one.content) for one in got.messages] == [("user", "one"), ("assistant", "two")]
    assert got.data == {"theme": "dark"}
    assert got.memories[0].persisted_at is not None
    found = await client.search_long_term_memory("mint", session_id=SessionId(eq=session))
    assert [one.text for one in found.memories] == ["Lena likes mint."]


async def test_delete_working_memory(client: MemoryAPIClient) -> None:
    await client.put_working_memory("s", WorkingMemory(session_id="s"))
    for _ in range(2):
        assert (await client.delete_working_memory("s")).status == "ok"
    assert (await client.list_sessions()).total == 0


async def test_search_finds_the_nearest(client: MemoryAPIClient) -> None:
    ids = await house(client)
    found = await client.search_long_term_memory("what does she drink?")
    assert found.memories[0].id == ids["tea"]
    assert [one.dist for one in found.memories] == sorted(one.dist for one in found.memories)
    near = await client.search_long_term_memory(
        "what does she drink?", distance_threshold=found.memories[0].dist + 0.001
    )
    assert [one.id for one in near.memories] == [ids["tea"]]
    part = await client.search_long_term_memory("Lena", limit=1)
    assert part.next_offset == 1
    assert (await client.search_long_term_memory("Lena", limit=2, offset=2)).next_offset is None


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"user_id": UserId(eq="lena")}, {"tea", "dog"}),
        ({"user_id": UserId(in_=["bo"])}, {"rent"}),
        ({"user_id": UserId(not_eq="bo")}, {"tea", "dog"}),
        ({"user_id": UserId(not_in=["bo"])}, {"tea", "dog"}),
        ({"topics": Topics(any=["drink", "walks"])}, {"tea", "dog"}),
        ({"topics": Topics(all=["pets", "walks"])}, {"dog"}),
        ({"topics": Topics(none=["drink"])}, {"dog", "rent"}),
        ({"entities": Entities(any=["Lena"])}, {"dog"}),
        ({"memory_type": MemoryType(eq="episodic")}, {"rent"}),
        ({"session_id": SessionId(eq="s")}, {"rent"}),
        ({"created_at": CreatedAt(gte=datetime.now(timezone.utc) - timedelta(days=1))}, {"tea", "dog", "rent"}),
        ({"created_at": CreatedAt(lte=datetime.now(timezone.utc) - timedelta(days=1))}, set()),
    ],
    ids=str,
)
async def test_filters(client: MemoryAPIClient, filters: dict[str, Any], wanted: set[str]) -> None:
    ids = await house(client)
    found = await client.search_long_term_memory("Lena, Bo", **filters)
    assert {one.id for one in found.memories} == {ids[name] for name in wanted}


async def test_a_memory_is_got_edited_and_deleted(client: MemoryAPIClient) -> None:
    ids = await house(client)
    assert (await client.get_long_term_memory(ids["tea"])).text == "Lena likes green tea."
    edited = await client.edit_long_term_memory(ids["tea"], {"text": "Lena likes black tea.", "topics": ["tea"]})
    assert (edited.text, edited.topics, edited.user_id) == ("Lena likes black tea.", ["tea"], "lena")
    assert (await client.get_long_term_memory(ids["tea"])).text == edited.text
    assert "2" in (await client.delete_long_term_memories([ids["tea"], ids["dog"], "none"])).status
    for call in (client.get_long_term_memory(ids["tea"]), client.edit_long_term_memory(ids["tea"], {"text": "x"})):
        with pytest.raises(MemoryNotFoundError):
            await call


async def test_forget_says_what_a_policy_would_not_keep(client: MemoryAPIClient) -> None:
    namespace = client.config.default_namespace
    old = memory("Lena lived in Rome.", created_at=datetime.now(timezone.utc) - timedelta(days=60))
    await client.create_long_term_memory([old, memory("Lena lives in Oslo.")])
    policy = ForgetPolicy(max_age_days=30)
    would = await client.forget_long_term_memories(policy, namespace=namespace, dry_run=True)
    assert (would.scanned, would.deleted_ids, would.dry_run) == (2, [old.id], True)
    kept = await client.forget_long_term_memories(policy, namespace=namespace, pinned_ids=[old.id])
    assert kept.deleted == 0


async def test_memory_prompt(client: MemoryAPIClient) -> None:
    await house(client)
    given = WorkingMemory(
        session_id="s9", messages=[message("Hi."), message("Hello.", "assistant")], context="They met."
    )
    await client.put_working_memory("s9", given)
    prompt = await client.memory_prompt("tea?", session_id="s9", context_window_max=1000, long_term_search={"limit": 2})
    said = [(one["role"], one["content"]["text"]) for one in prompt["messages"]]
    assert said[0][0] == "system"
    assert said[0][1].endswith("They met.")
    assert said[1:3] == [("user", "Hi."), ("assistant", "Hello.")]
    assert "green tea" in said[3][1]
    assert said[4] == ("user", "tea?")
    hydrated = await client.hydrate_memory_prompt("tea?", user_id={"eq": "bo"}, limit=5)
    assert "rent" in hydrated["messages"][0]["content"]["text"]


async def test_tools_of_a_model(client: MemoryAPIClient) -> None:
    await house(client)
    found = await client.search_memory_tool("green tea", topics=["drink"], user_id="lena")
    assert [one["text"] for one in found["memories"]] == ["Lena likes green tea."]


async def test_errors_name_the_field(client: MemoryAPIClient) -> None:
    with pytest.raises(MemoryServerError, match="limit"):
        await client.search_long_term_memory("x", limit=1000)
    with pytest.raises(MemoryServerError, match=r"messages\[0\].content"):
        await client.put_working_memory("s", WorkingMemory(session_id="s", messages=[message(" ")]))
