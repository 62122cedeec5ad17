"""The chat store, beside LlamaIndex's own in memory: what that answers, ours has to answer."""

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.storage.chat_store.membox import MemboxChatStore


def said(*texts: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text) for text in texts]


def blocks() -> list[ChatMessage]:
    return [
        ChatMessage(role="user", blocks=[TextBlock(text="see"), ImageBlock(url="https://example.com/a.png")]),
        ChatMessage(role="user", content="see", additional_kwargs={"large": "A" * 400_000}),
        ChatMessage(role="assistant", content="a cat", additional_kwargs={"tool_calls": [{"id": "1", "n": [1, None]}]}),
        ChatMessage(role=MessageRole.CHATBOT, content="hm"),
        ChatMessage(role="tool", content="42", additional_kwargs={"tool_call_id": "1"}),
        ChatMessage(role="system", content="word " * 50_000),
    ]


DONE: list[Callable[[Any, str], Any]] = [
    lambda store, key: store.get_messages(key),
    lambda store, key: [store.add_message(key, message) for message in said("a", "b")],
    lambda store, key: (
        [store.add_message(key, message) for message in said("z")] and store.set_messages(key, said("a"))
    ),
    lambda store, key: store.set_messages(key, []),
    lambda store, key: store.set_messages(key, said("a", "c")) or store.add_message(key, said("b")[0], 1),
    lambda store, key: store.set_messages(key, said("a", "b")) or store.delete_message(key, 0),
    lambda store, key: store.set_messages(key, said("a", "b")) or store.delete_message(key, 7),
    lambda store, key: store.set_messages(key, said("a", "b")) or store.delete_last_message(key),
    lambda store, key: store.delete_last_message(key),
    lambda store, key: store.set_messages(key, said("a")) or store.delete_messages(key),
    lambda store, key: store.delete_messages(key),
    lambda store, key: store.set_messages(key, blocks()),
    lambda store, key: store.set_messages(key, said(*map(str, range(1500)))),
]


@pytest.mark.parametrize("do", DONE)
def test_it_does_as_the_store_in_memory(name: str, do: Callable[[Any, str], Any]) -> None:
    memory, store = SimpleChatStore(), MemboxChatStore()
    assert do(store, name) == do(memory, name)
    assert store.get_messages(name) == memory.get_messages(name)
    store.delete_messages(name)


def test_keys_are_those_of_the_prefix(name: str) -> None:
    store, other = MemboxChatStore(prefix=f"{name}-a-"), MemboxChatStore(prefix=f"{name}-b-")
    store.add_message("one", said("x")[0])
    store.add_message("two", said("x")[0])
    other.add_message("three", said("x")[0])
    assert sorted(store.get_keys()) == ["one", "two"]
    assert other.get_keys() == ["three"]
    for one in (store, other):
        for key in one.get_keys():
            one.delete_messages(key)


def test_what_others_have_appended_is_read(name: str) -> None:
    store = MemboxChatStore()
    store._clients.blocking.session(name).append([{"role": "user", "content": "hello"}])
    assert store.get_messages(name) == said("hello")
    store.delete_messages(name)


def test_a_memory_buffer(name: str) -> None:
    memories = [
        ChatMemoryBuffer.from_defaults(token_limit=3000, chat_store=store, chat_store_key=name, tokenizer_fn=str.split)
        for store in (SimpleChatStore(), MemboxChatStore())
    ]
    for memory in memories:
        memory.put_messages(said("a", "b"))
    assert memories[0].get() == memories[1].get()
    memories[1].reset()


async def test_the_asynchronous_face_does_the_same(name: str) -> None:
    store = MemboxChatStore(prefix=name)
    await store.aset_messages("k", said("a", "c"))
    await store.async_add_message("k", said("b")[0], 1)
    assert await store.aget_messages("k") == said("a", "b", "c")
    assert await store.adelete_message("k", 0) == said("a")[0]
    assert await store.adelete_last_message("k") == said("c")[0]
    assert await store.aget_keys() == ["k"]
    assert await store.adelete_messages("k") == said("b")
    assert await store.aget_keys() == []
