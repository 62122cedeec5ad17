"""What LangGraph's suites do not ask of the checkpointer."""

import operator
from collections.abc import Iterator
from typing import Annotated, TypedDict

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.membox import MemboxSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

import membox


class State(TypedDict):
    said: Annotated[list[str], operator.add]


@pytest.fixture
def saver(name: str) -> Iterator[MemboxSaver]:
    saver = MemboxSaver()
    yield saver
    saver.delete_thread(name)
    saver.clients.close()


def graph(saver: MemboxSaver):  # type: ignore[no-untyped-def]
    def ask(state: State) -> State:
        return {"said": [interrupt("who?")]}

    def greet(state: State) -> State:
        return {"said": [f"hello {state['said'][-1]}"]}

    built = StateGraph(State).add_node("ask", ask).add_node("greet", greet)
    return built.add_edge(START, "ask").add_edge("ask", "greet").add_edge("greet", END).compile(checkpointer=saver)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_graph_stops_for_an_answer_and_goes_on_in_another_process(
    saver: MemboxSaver, name: str, durability: str
) -> None:
    config = {"configurable": {"thread_id": name}}
    graph(saver).invoke({"said": ["hi"]}, config, durability=durability)
    other = MemboxSaver()
    ended = graph(other).invoke(Command(resume="Lena"), config, durability=durability)
    assert ended["said"] == ["hi", "Lena", "hello Lena"]
    assert len(list(other.list(config))) >= 2 or durability == "exit"


async def test_both_faces_see_the_same_thread(saver: MemboxSaver, name: str) -> None:
    config = {"configurable": {"thread_id": name}}
    await graph(saver).ainvoke({"said": ["hi"]}, config)
    graph(saver).invoke(Command(resume="Lena"), config)
    state = await graph(saver).aget_state(config)
    assert state.values["said"][-1] == "hello Lena"
    await saver.clients.aclose()


def test_a_list_names_its_thread(saver: MemboxSaver) -> None:
    with pytest.raises(NotImplementedError, match="one thread"):
        list(saver.list(None))
    with pytest.raises(NotImplementedError, match="one thread"):
        list(saver.list({"configurable": {}}))


def test_checkpoints_end(name: str) -> None:
    saver = MemboxSaver(ttl_s=3600)
    config = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    with membox.Client() as client:
        assert "expires_at" in client.thread(name).checkpoint()
    saver.delete_thread(name)


def test_a_state_that_is_too_large_is_refused_and_named(saver: MemboxSaver, name: str) -> None:
    config = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"blob": b"x" * 2_000_000}
    with pytest.raises(membox.Problem) as refused:
        saver.put(config, checkpoint, {"source": "input", "step": -1}, {})
    assert refused.value.pointer == "/state"
