"""What LangGraph's suites do not ask of the checkpointer."""

import base64
import operator
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, copy_checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
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


def put(saver: MemboxSaver, config: RunnableConfig, values: dict[str, Any], step: int = 0) -> RunnableConfig:
    """Keeps a checkpoint that has these values, each new."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values
    checkpoint["channel_versions"] = {name: saver.get_next_version(None, None) for name in values}
    return saver.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])


def test_a_list_passes_over_checkpoints_of_other_programs(saver: MemboxSaver, name: str) -> None:
    made = put(saver, {"configurable": {"thread_id": name, "checkpoint_ns": ""}}, {"n": 1})
    for state in ({"type": 1, "data": "x"}, {"n": 1}):
        saver.clients.blocking.thread(f"{name}-other").put_checkpoint(str(uuid6(clock_seq=-2)), state)
    found = [one.config for one in saver.list(None)]
    assert made in found
    assert f"{name}-other" not in [one["configurable"]["thread_id"] for one in found]
    saver.delete_thread(f"{name}-other")


def test_a_list_without_a_thread_is_of_all(saver: MemboxSaver, name: str) -> None:
    spaces = ["", "child:1"]
    made = [put(saver, {"configurable": {"thread_id": name, "checkpoint_ns": one}}, {"n": 1}) for one in spaces]
    assert [one.config for one in saver.list(made[0])] == made[:1]
    assert [one.config for one in saver.list({"configurable": {"thread_id": name}})] == made[::-1]
    found = [one.config for one in saver.list(None) if one.config["configurable"]["thread_id"] == name]
    assert found == made[::-1]
    assert len(list(saver.list(None, limit=1))) == 1


def test_the_box_looks_for_what_a_list_asks(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    made = [put(saver, config, {"n": step}, step) for step in range(30)]
    assert [one.metadata["step"] for one in saver.list(config, before=made[10], limit=2)] == [9, 8]
    assert [one.config for one in saver.list(config, filter={"step": 3})] == [made[3]]
    assert [one.config for one in saver.list(config, filter={"step": 3, "source": "loop"}, before=made[3])] == []


def test_large_values_are_kept_once(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    large, larger = b"x" * 3_000_000, b"y" * 40_000_000
    first = put(saver, config, {"large": large, "larger": larger, "n": 1})
    second = saver.get_tuple(first)
    assert second is not None
    assert second.checkpoint["channel_values"] == {"large": large, "larger": larger, "n": 1}
    checkpoint = copy_checkpoint(second.checkpoint)
    checkpoint["id"] = str(uuid6())
    later = saver.put(first, checkpoint, {"source": "loop", "step": 1}, {})
    with membox.Client() as client:
        thread = client.thread(name)
        kept = thread.checkpoint(later["configurable"]["checkpoint_id"])
        assert len(str(kept["state"])) < 2000
        assert set(kept["channels"]) == {"large", "larger"}
        thread.delete_checkpoint(first["configurable"]["checkpoint_id"])
    read = saver.get_tuple(later)
    assert read is not None
    assert read.checkpoint["channel_values"] == {"large": large, "larger": larger, "n": 1}


def test_a_value_that_went_meanwhile_is_sent_again(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    put(saver, config, {"said": ["hi"]})
    first = saver.get_tuple(config)
    assert first is not None
    saver.delete_thread(name)
    saver.put(config, first.checkpoint, first.metadata, {})
    again = saver.get_tuple(config)
    assert again is not None
    assert again.checkpoint == first.checkpoint


def test_states_of_older_versions_are_read(saver: MemboxSaver, name: str) -> None:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"said": ["hi"]}
    checkpoint["channel_versions"] = {"said": "1"}
    kind, data = saver.serde.dumps_typed(checkpoint)
    state = {"type": kind, "data": base64.b64encode(data).decode()}
    with membox.Client() as client:
        client.thread(name).put_checkpoint(checkpoint["id"], state, metadata={"step": 1})
    read = saver.get_tuple({"configurable": {"thread_id": name}})
    assert read is not None
    assert read.checkpoint == checkpoint


def test_what_a_delta_channel_is_put_together_from_is_not_pruned(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    for step in range(6):
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"said": ["hi"]} if step == 2 else {}
        checkpoint["channel_versions"] = {"said": str(step)}
        counters = {"said": (step, step)}
        metadata: CheckpointMetadata = {"source": "loop", "step": step, "counters_since_delta_snapshot": counters}
        config = saver.put(config, checkpoint, metadata, {"said": str(step)})
        saver.put_writes(config, [("said", [str(step)])], "task")
    before = saver.get_delta_channel_history(config=config, channels=["said"])
    saver.prune([name])
    assert [one.metadata["step"] for one in saver.list(config | {"configurable": {"thread_id": name}})] == [5, 4, 3, 2]
    assert saver.get_delta_channel_history(config=config, channels=["said"]) == before


def test_a_strategy_that_is_none_is_refused(saver: MemboxSaver, name: str) -> None:
    with pytest.raises(ValueError, match="keep_latest"):
        saver.prune([name], strategy="oldest")


def test_blocking_calls_of_threads(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    run = {"source": "loop", "step": 0, "run_id": f"run-{name}"}
    for _ in range(3):
        checkpoint = empty_checkpoint()
        saver.put(config, checkpoint, cast("CheckpointMetadata", run), {})
    other = f"{name}-copy"
    saver.copy_thread(name, other)
    assert [one.checkpoint["id"] for one in saver.list({"configurable": {"thread_id": other}})] == [
        one.checkpoint["id"] for one in saver.list(config)
    ]
    saver.prune([other])
    assert len(list(saver.list({"configurable": {"thread_id": other}}))) == 1
    saver.delete_for_runs([f"run-{name}"])
    assert saver.get_tuple(config) is None
    assert saver.get_tuple({"configurable": {"thread_id": other}}) is None


def test_checkpoints_end(name: str) -> None:
    saver = MemboxSaver(ttl_s=3600)
    config = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    saver.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    with membox.Client() as client:
        assert "expires_at" in client.thread(name).checkpoint()
    saver.delete_thread(name)


def test_a_value_that_is_too_large_is_refused(saver: MemboxSaver, name: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
    with pytest.raises(membox.Problem) as refused:
        put(saver, config, {"blob": b"x" * ((64 << 20) + 1)})
    assert refused.value.status in (413, 422)
    assert saver.get_tuple(config) is None
