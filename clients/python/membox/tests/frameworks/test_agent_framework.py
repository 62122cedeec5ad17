"""Microsoft Agent Framework: a history and a memory, with a real agent, beside the history that it keeps in memory."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pytest

import membox

pytest.importorskip("agent_framework")
from agent_framework import (
    Agent,
    AgentSession,
    BaseChatClient,
    ChatResponse,
    Content,
    HistoryProvider,
    InMemoryHistoryProvider,
    Message,
)
from membox.agent_framework import MemboxContextProvider, MemboxHistoryProvider


class Listener(BaseChatClient[Any]):
    """A model that says how many messages it was given, and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[list[Message]] = []

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Any, **kwargs: Any
    ) -> Awaitable[ChatResponse]:
        async def answer() -> ChatResponse:
            self.heard.append(list(messages))
            return ChatResponse(messages=[Message("assistant", [f"I have heard {len(messages)} messages."])])

        return answer()


@pytest.fixture
async def history(url: str, name: str, client: membox.Client) -> AsyncIterator[MemboxHistoryProvider]:
    history = MemboxHistoryProvider(url=url, user=name)
    yield history
    await history.clients.aclose()
    client.user(name).erase()


def texts(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(str(one.role), one.text) for one in messages]


MESSAGES = [
    Message("system", ["Be brief."], author_name="me"),
    Message("user", ["first ", "second"], additional_properties={"n": 1}, message_id="m1"),
    Message("user", ["look", Content.from_uri("https://example.com/a.png", media_type="image/png")]),
    Message("assistant", [Content.from_function_call("c1", "weather", arguments={"city": "Bergen"})]),
    Message("tool", [Content.from_function_result("c1", result="rain")]),
    Message("assistant", ["word " * 4000]),
    Message("critic", [""]),
]


async def test_messages_come_back_as_they_were(history: MemboxHistoryProvider, name: str) -> None:
    assert await history.get_messages(name) == []
    await history.save_messages(name, MESSAGES)
    assert [one.to_dict() for one in await history.get_messages(name)] == [one.to_dict() for one in MESSAGES]


async def test_calls_and_their_answers_are_known_to_the_box(
    history: MemboxHistoryProvider, name: str, client: membox.Client
) -> None:
    await history.save_messages(name, MESSAGES[3:5])
    call, answer = client.session(name).messages(order="oldest")
    assert call["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bergen"}'}
    assert (answer["tool_call_id"], answer["content"]) == ("c1", "rain")


async def test_without_a_session_there_is_no_history(history: MemboxHistoryProvider) -> None:
    await history.save_messages(None, MESSAGES)
    assert await history.get_messages(None) == []


async def test_many_messages_stay_in_order(history: MemboxHistoryProvider, name: str) -> None:
    await history.save_messages(name, [Message("user", [f"m{number}"]) for number in range(1200)])
    assert [one.text for one in await history.get_messages(name)] == [f"m{number}" for number in range(1200)]


async def test_what_others_have_appended_is_read(
    history: MemboxHistoryProvider, name: str, client: membox.Client
) -> None:
    client.session(name).append([{"role": "user", "content": "hello"}], user=name)
    assert texts(await history.get_messages(name)) == [("user", "hello")]


async def test_an_agent_hears_what_it_hears_with_the_history_in_memory(
    history: MemboxHistoryProvider, name: str
) -> None:
    async def heard(provider: HistoryProvider) -> list[list[tuple[str, str]]]:
        listener = Listener()
        agent = Agent(client=listener, context_providers=[provider])
        session = AgentSession(session_id=name)
        for said in ("one", "two", "three"):
            await agent.run(said, session=session)
        return [texts(messages) for messages in listener.heard]

    assert await heard(history) == await heard(InMemoryHistoryProvider())


async def test_an_agent_is_given_what_another_conversation_said(url: str, name: str, client: membox.Client) -> None:
    memory = MemboxContextProvider(url=url, collection=name, user="lena")
    listener = Listener()
    agent = Agent(client=listener, context_providers=[memory])
    await agent.run("I keep the spare key under the blue pot.", session=AgentSession(session_id=f"{name}-1"))
    await agent.run("Where is my spare key?", session=AgentSession(session_id=f"{name}-2"))
    first, second = listener.heard
    assert len(first) == 1
    assert "under the blue pot" in second[0].text
    assert second[0].text.startswith(memory.prompt)
    assert second[-1].text == "Where is my spare key?"

    of_max = MemboxContextProvider(url=url, collection=name, user="max", remember=False)
    await Agent(client=listener, context_providers=[of_max]).run("Where is my spare key?")
    assert len(listener.heard[-1]) == 1
    assert client.collection(name).count(filter={"field": "user", "eq": "max"}) == 0
    client.collection(name).drop()
    for provider in (memory, of_max):
        await provider.clients.aclose()
