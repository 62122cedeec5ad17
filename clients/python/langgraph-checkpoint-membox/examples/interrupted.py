"""A graph that waits for an answer, and goes on from what the box has kept."""

from typing import TypedDict

from langgraph.checkpoint.membox import MemboxSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict):
    name: str


def ask(state: State) -> State:
    return {"name": interrupt("Who is there?")}


built = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
saver = MemboxSaver()
graph = built.compile(checkpointer=saver)
config = {"configurable": {"thread_id": "example-thread"}}
graph.invoke({"name": ""}, config)
print(graph.invoke(Command(resume="Lena"), config)["name"])
saver.delete_thread("example-thread")
