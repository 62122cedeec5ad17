"""Chat histories: LangChain has no suite of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_membox import MemboxChatMessageHistory

import membox

PICTURE: Any = [
    {"type": "text", "text": "look"},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
]


@pytest.fixture
def history(name: str) -> Iterator[MemboxChatMessageHistory]:
    history = MemboxChatMessageHistory(name)
    yield history
    history.clear()


@pytest.mark.parametrize(
    "message",
    [
        SystemMessage("Be brief."),
        HumanMessage("Hello", name="lena", id="m1"),
        HumanMessage(PICTURE),
        HumanMessage("word " * 100_000),
        HumanMessage([{"type": "image", "base64": "A" * 400_000, "mime_type": "image/png"}]),
        AIMessage("", tool_calls=[{"name": "look", "args": {"at": [1, {"b": None}]}, "id": "t1"}]),
        AIMessage("42", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        AIMessage("x", response_metadata={"model": "m", "logprobs": None}, additional_kwargs={"a": [1]}),
        ToolMessage("42", tool_call_id="t1", artifact={"raw": [1, 2]}, status="error"),
        ChatMessage(content="hm", role="critic"),
    ],
    ids=lambda message: message.type,
)
def test_a_message_comes_back_as_it_was(history: MemboxChatMessageHistory, message: BaseMessage) -> None:
    history.add_message(message)
    assert history.messages == [message]


async def test_both_faces_see_the_same(history: MemboxChatMessageHistory) -> None:
    await history.aadd_messages([HumanMessage("a"), AIMessage("b")])
    history.add_user_message("c")
    assert [message.content for message in await history.aget_messages()] == ["a", "b", "c"]
    await history.aclear()
    assert history.messages == []


def test_more_messages_than_one_request_takes(history: MemboxChatMessageHistory) -> None:
    history.add_messages([HumanMessage(f"{number}") for number in range(1200)])
    assert [message.content for message in history.messages] == [f"{number}" for number in range(1200)]


def test_what_others_have_appended_is_read(history: MemboxChatMessageHistory) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    with membox.Client() as client:
        client.session(history.session_id).append(
            [
                {"role": "user", "content": "look"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "seen", "tool_call_id": "t1"},
                {"role": "developer", "content": "Be brief."},
            ]
        )
    human, ai, tool, system = history.messages
    assert (human.type, ai.type, tool.type, system.type) == ("human", "ai", "tool", "system")
    assert isinstance(ai, AIMessage)
    assert ai.tool_calls[0]["name"] == "look"


def test_messages_are_recalled_and_calls_stay_with_their_answers(history: MemboxChatMessageHistory) -> None:
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "t1"}])
    history.add_messages([HumanMessage("The spare key is under the pot."), call, ToolMessage("yes", tool_call_id="t1")])
    with membox.Client() as client:
        session = client.session(history.session_id)
        roles = [message["role"] for message in session.context(strategy="recent")["messages"]]
        assert roles == ["user", "assistant", "tool"]
        found = client.collection(session.get()["collection"]).recall("where is the key?", k=50)
        assert any(hit.get("session") == history.session_id for hit in found["hits"])


def test_a_runnable_with_history(history: MemboxChatMessageHistory, name: str) -> None:
    counted: Any = RunnableLambda(lambda messages: AIMessage(f"seen {len(messages)}"))
    chain = RunnableWithMessageHistory(counted, MemboxChatMessageHistory)
    config = {"configurable": {"session_id": name}}
    chain.invoke([HumanMessage("a")], config=config)  # type: ignore[arg-type]
    assert chain.invoke([HumanMessage("b")], config=config).content == "seen 3"  # type: ignore[arg-type]
