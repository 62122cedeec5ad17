"""The memory classes of chains."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_membox import MemboxVectorStore
from langchain_membox.memory import (
    CombinedMemory,
    ConversationBufferMemory,
    ConversationBufferWindowMemory,
    ConversationEntityMemory,
    ConversationSummaryBufferMemory,
    ConversationSummaryMemory,
    ConversationTokenBufferMemory,
    VectorStoreRetrieverMemory,
)

import membox

TURNS = [
    ("I keep the spare key under the blue pot.", "Noted."),
    ("Max moved to Bergen in May.", "I will remember Bergen."),
    ("What is for dinner?", "Soup."),
]


@pytest.fixture
def session(name: str) -> Iterator[str]:
    yield name
    ConversationBufferMemory(name).clear()


def talked(memory: Any) -> Any:
    for said, answered in TURNS:
        memory.save_context({"input": said}, {"output": answered})
    return memory


def history(memory: Any, question: str = "x") -> Any:
    return memory.load_memory_variables({"input": question})["history"]


def test_nothing_was_said(session: str) -> None:
    assert ConversationBufferMemory(session).load_memory_variables({}) == {"history": ""}
    assert ConversationBufferWindowMemory(session, return_messages=True).load_memory_variables({}) == {"history": []}


def test_all_that_was_said(session: str) -> None:
    memory = talked(ConversationBufferMemory(session, human_prefix="Lena"))
    assert history(memory).splitlines()[:2] == ["Lena: I keep the spare key under the blue pot.", "AI: Noted."]
    found = history(ConversationBufferMemory(session, return_messages=True))
    assert [(type(one), one.content) for one in found[-2:]] == [(HumanMessage, TURNS[2][0]), (AIMessage, "Soup.")]
    memory.clear()
    assert history(memory) == ""


def test_the_last_turns_and_the_newest_that_fit(session: str) -> None:
    talked(ConversationBufferMemory(session))
    last = "Human: What is for dinner?\nAI: Soup."
    assert history(ConversationBufferWindowMemory(session, k=1)) == last
    assert history(ConversationTokenBufferMemory(session, max_token_limit=22)) == last
    assert len(history(ConversationTokenBufferMemory(session)).splitlines()) == 6


def test_a_summary(session: str) -> None:
    talked(ConversationBufferMemory(session))
    summary = history(ConversationSummaryMemory(session, summary_tokens=40))
    assert "Bergen" in summary
    [message] = history(ConversationSummaryMemory(session, return_messages=True))
    assert isinstance(message, SystemMessage)


def test_a_summary_of_what_is_past_the_limit(session: str) -> None:
    memory = talked(ConversationSummaryBufferMemory(session, max_token_limit=30, return_messages=True))
    first, *rest = history(memory)
    assert isinstance(first, SystemMessage)
    assert [message.content for message in rest] == [text for turn in TURNS[1:] for text in turn]
    assert len(history(ConversationSummaryBufferMemory(f"{session}-2", return_messages=True))) == 0


def test_what_was_said_of_those_who_are_named(session: str) -> None:
    memory = talked(ConversationEntityMemory(session, user=session, k=1))
    loaded = memory.load_memory_variables({"input": "Who lives in Bergen?"})
    assert "Max moved to Bergen in May." in loaded["entities"]["Bergen"]
    assert loaded["history"].startswith("Human: What is for dinner?")
    assert memory.load_memory_variables({"input": "And what else?"})["entities"] == {}
    with membox.Client() as client:
        client.wait(client.user(session).erase())


def test_what_answers_the_question(name: str) -> None:
    store = MemboxVectorStore(name)
    memory = talked(VectorStoreRetrieverMemory(store, k=1))
    assert history(memory, "where is the key?").startswith("input: I keep the spare key")
    store.clients.blocking.collection(name).drop()


def test_several_memories_save_once(session: str) -> None:
    window = ConversationBufferWindowMemory(session, k=1, memory_key="last")
    memory = talked(CombinedMemory([ConversationBufferMemory(session), window]))
    loaded = memory.load_memory_variables({"input": "x"})
    assert len(loaded["history"].splitlines()) == 6
    assert len(loaded["last"].splitlines()) == 2
    with pytest.raises(ValueError, match="history"):
        CombinedMemory([ConversationBufferMemory(session), ConversationBufferMemory(session)])


def test_what_is_meant_is_named(session: str) -> None:
    memory = ConversationBufferMemory(session, input_key="question")
    memory.save_context({"question": "a", "context": "b"}, {"output": "c"})
    assert history(memory) == "Human: a\nAI: c"
    with pytest.raises(ValueError, match="input_key"):
        ConversationBufferMemory(session).save_context({"question": "a", "context": "b"}, {"output": "c"})


async def test_the_asynchronous_face_does_the_same(session: str, name: str) -> None:
    memory = CombinedMemory([ConversationBufferMemory(session)])
    await memory.asave_context({"input": "a"}, {"output": "b"})
    assert await memory.aload_memory_variables({"input": "x"}) == {"history": "Human: a\nAI: b"}
    await memory.aclear()
    assert await memory.aload_memory_variables({"input": "x"}) == {"history": ""}
    store = MemboxVectorStore(name)
    found = VectorStoreRetrieverMemory(store)
    await found.asave_context({"input": "The key is under the pot."}, {"output": "Noted."})
    assert "pot" in (await found.aload_memory_variables({"input": "key?"}))["history"]
    await found.aclear()
    store.clients.blocking.collection(name).drop()
