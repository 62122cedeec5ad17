/** A graph that waits for an answer, and goes on from what the box has kept. */

import { Annotation, Command, END, interrupt, START, StateGraph } from "@langchain/langgraph";
import { MemboxSaver } from "@membox/langgraph-checkpoint";

const checkpointer = new MemboxSaver({ url: process.env.MEMBOX_URL });
const graph = new StateGraph(Annotation.Root({ name: Annotation() }))
  .addNode("ask", () => ({ name: interrupt("Who is there?") }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile({ checkpointer });

const config = { configurable: { thread_id: "example-thread-js" } };
await graph.invoke({ name: "" }, config);
console.log((await graph.invoke(new Command({ resume: "Lena" }), config)).name);
await checkpointer.deleteThread("example-thread-js");
