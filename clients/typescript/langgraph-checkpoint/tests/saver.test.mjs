/** What the suite of LangGraph does not ask. */

import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { emptyCheckpoint, ERROR, uuid6 } from "@langchain/langgraph-checkpoint";
import { MemboxSaver } from "@membox/langgraph-checkpoint";
import { NotFound } from "membox";
import { afterEach, beforeEach, expect, it } from "vitest";

const META = { source: "loop", step: 0, parents: {} };
const saver = new MemboxSaver({ url: process.env.MEMBOX_URL });
let thread;
let config;

beforeEach(() => {
  thread = uuid6(1);
  config = { configurable: { thread_id: thread } };
});
afterEach(() => saver.deleteThread(thread));

function checkpoint(values, versions = Object.fromEntries(Object.keys(values).map((name) => [name, 1]))) {
  return { ...emptyCheckpoint(), id: uuid6(1), channel_values: values, channel_versions: versions };
}

async function collected(from) {
  const found = [];
  for await (const one of from) found.push(one);
  return found;
}

function appending(durable) {
  const words = Annotation({ reducer: (old, more) => [...old, ...more], default: () => [] });
  return new StateGraph(Annotation.Root({ words }))
    .addNode("a", () => ({ words: ["a"] }))
    .addNode("b", () => ({ words: ["b"] }))
    .addEdge(START, "a")
    .addEdge("a", "b")
    .addEdge("b", END)
    .compile({ checkpointer: durable });
}

it.each(["sync", "async", "exit"])("keeps a graph's states with durability %s", async (durability) => {
  const graph = appending(saver);
  await graph.invoke({ words: ["x"] }, { ...config, durability });
  expect((await graph.getState(config)).values.words).toEqual(["x", "a", "b"]);
  expect((await appending(new MemboxSaver({ client: saver.client })).getState(config)).values.words).toHaveLength(3);
});

it("keeps forks of a thread apart", async () => {
  const graph = appending(saver);
  await graph.invoke({ words: ["x"] }, config);
  const history = await collected(graph.getStateHistory(config));
  const first = history.find((one) => one.next[0] === "a");
  const forks = [];
  for (const word of ["left", "right"]) forks.push(await graph.updateState(first.config, { words: [word] }, "a"));
  const states = await Promise.all(forks.map((one) => graph.getState(one)));
  expect(states.map((one) => one.values.words)).toEqual([["x", "left"], ["x", "right"]]);
});

it("keeps values of many MiB, octets and odd names", async () => {
  const large = "x".repeat(6 << 20);
  const values = { large, octets: new Uint8Array([0, 255]), "a/b~c": "slashes", ["n".repeat(300)]: "long", "": "none" };
  const put = checkpoint(values);
  const kept = await saver.put(config, put, META, put.channel_versions);
  expect((await saver.getTuple(kept)).checkpoint.channel_values).toEqual(values);
});

it("sends a value again that went with the checkpoint that had it", async () => {
  const first = checkpoint({ "a/b": "kept", n: 1 });
  const parent = await saver.put(config, first, META, first.channel_versions);
  await saver.client.thread(thread).deleteCheckpoint(first.id);
  const second = checkpoint({ "a/b": "kept", n: 2 });
  const child = await saver.put(parent, second, META, { n: 2 });
  expect((await saver.getTuple(child)).checkpoint.channel_values).toEqual({ "a/b": "kept", n: 2 });
});

it("keeps the last of what a task has written to one place", async () => {
  const kept = await saver.put(config, checkpoint({}), META, {});
  for (const word of ["first", "second"]) {
    await saver.putWrites(kept, [["channel", word], [ERROR, word]], "task");
  }
  const { pendingWrites } = await saver.getTuple(kept);
  expect(pendingWrites).toEqual([["task", ERROR, "second"], ["task", "channel", "second"]]);
});

it("takes writes before their checkpoint, in the order of their paths", async () => {
  const put = checkpoint({});
  const where = { configurable: { ...config.configurable, checkpoint_ns: "", checkpoint_id: put.id } };
  await saver.putWrites(where, [["channel", 2]], "a", "~__pregel_pull, b");
  await saver.putWrites(where, [["channel", 1]], "b", "~__pregel_pull, a");
  await saver.put(config, put, META, {});
  expect((await saver.getTuple(where)).pendingWrites.map(([, , value]) => value)).toEqual([1, 2]);
});

it("lists by id, by metadata of any kind, and before an id that need not be there", async () => {
  const puts = [];
  for (const step of [0, 1, 2]) {
    const put = checkpoint({});
    puts.push(put.id);
    await saver.put(config, put, { source: "loop", step, parents: { "": `p${step}` }, list: [step] }, {});
  }
  const ids = async (...given) => (await collected(saver.list(...given))).map((one) => one.checkpoint.id);
  expect(await ids(config)).toEqual(puts.toReversed());
  expect(await ids({ configurable: { ...config.configurable, checkpoint_id: puts[1] } })).toEqual([puts[1]]);
  expect(await ids(config, { filter: { list: [2] } })).toEqual([puts[2]]);
  expect(await ids(config, { filter: { parents: { "": "p0" }, step: 0 } })).toEqual([puts[0]]);
  expect(await ids(config, { before: { configurable: { checkpoint_id: uuid6(1) } }, limit: 2 })).toHaveLength(2);
  expect(await ids(config, { before: { configurable: { checkpoint_id: "0" } } })).toEqual([]);
  expect(await ids(config, { limit: 0 })).toEqual([]);
});

it("passes over checkpoints of other programs in lists, and says so where one is asked for", async () => {
  await saver.client.thread(thread).putCheckpoint("1", { state: { type: "msgpack", data: "" } });
  expect(await collected(saver.list(config))).toEqual([]);
  await expect(saver.getTuple(config)).rejects.toThrow("is not one of LangGraph.js");
});

it("lets checkpoints end", async () => {
  const brief = new MemboxSaver({ client: saver.client, ttlS: 3600 });
  const put = checkpoint({});
  await brief.put(config, put, META, {});
  const view = await saver.client.thread(thread).checkpoint(put.id);
  expect(Date.parse(view.expires_at) - Date.parse(view.created_at)).toBe(3_600_000);
  await saver.deleteThread(thread);
  await expect(saver.client.thread(thread).checkpoint(put.id)).rejects.toThrow(NotFound);
});
