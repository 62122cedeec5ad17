"""Conversations of Pydantic AI, beside those that it keeps in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import membox

pytest.importorskip("pydantic_ai")
from membox.pydantic_ai import MemboxConversationStore
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.models.test import TestModel

agent = Agent(TestModel())
Do = Callable[[ConversationStore], Awaitable[Any]]


@pytest.fixture
async def store(url: str, name: str, client: membox.Client) -> AsyncIterator[MemboxConversationStore]:
    store = MemboxConversationStore(name, url=url)
    yield store
    client.collection(name).drop()
    await store.clients.aclose()


async def chat(store: ConversationStore, turns: int = 2, scope: str | None = None, said: str = "q") -> None:
    for turn in range(turns):
        conversation = await store.load("c", scope=scope) or Conversation(conversation_id="c")
        await store.save(await agent.run(f"{said}{turn}", conversation=conversation), scope=scope)


async def loaded(store: ConversationStore) -> Any:
    await chat(store)
    conversation = await store.load("c")
    assert conversation is not None
    return [type(one).__name__ for one in conversation.messages], conversation.usage.requests


async def limited(store: ConversationStore) -> Any:
    await chat(store)
    conversation = await store.load("c", limit=1)
    return conversation and len(conversation.messages)


async def conflicting(store: ConversationStore) -> Any:
    await chat(store, turns=1)
    first, second = await store.load("c"), await store.load("c")
    await store.save(await agent.run("x", conversation=first))
    with pytest.raises(ConversationConflict):
        await store.save(await agent.run("y", conversation=second))
    return len((await store.load_entries("c")) or [])


async def racing(store: ConversationStore) -> Any:
    await chat(store, turns=1)
    copies = [await store.load("c") for _ in range(8)]
    runs = [await agent.run(f"x{number}", conversation=copy) for number, copy in enumerate(copies)]
    ended = await asyncio.gather(*(store.save(run) for run in runs), return_exceptions=True)
    return sum(not isinstance(one, Exception) for one in ended), len((await store.load_entries("c")) or [])


async def scoped(store: ConversationStore) -> Any:
    await chat(store, scope="lena")
    hidden = await store.load("c", scope="max") is None
    lists = [await store.list_conversations(scope=scope) for scope in ("lena", "max", None)]
    return hidden, [[one.conversation_id for one in found] for found in lists]


async def deleted(store: ConversationStore) -> Any:
    await chat(store)
    await store.delete("c")
    return await store.load("c")


async def forked(store: ConversationStore) -> Any:
    await chat(store)
    fork = await store.fork("c")
    await store.delete("c")
    conversation = await store.load(fork.conversation_id)
    return conversation and len(conversation.messages)


async def branched(store: ConversationStore) -> Any:
    await chat(store)
    entries = await store.load_entries("c") or []
    conversation = await store.load("c")
    assert conversation is not None
    await store.branch("c", from_entry=entries[1].id, expected_revision=conversation.revision)
    return len((await store.load_entries("c")) or [])


@pytest.mark.parametrize("do", [loaded, limited, conflicting, racing, scoped, deleted, forked, branched])
async def test_it_does_as_the_store_in_memory(store: MemboxConversationStore, do: Do) -> None:
    assert await do(store) == await do(InMemoryConversationStore())


async def test_a_large_message(store: MemboxConversationStore) -> None:
    await store.save(await agent.run("word " * 60_000, conversation=Conversation(conversation_id="c")))
    assert len((await store.load_entries("c")) or []) == 2


async def test_the_entries_of_a_deleted_conversation_are_gone(
    store: MemboxConversationStore, client: membox.Client, name: str
) -> None:
    await chat(store)
    await store.delete("c")
    assert list(client.collection(name).records()) == []
