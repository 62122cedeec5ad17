/** Calls against a real box, at MEMBOX_URL. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, it } from "node:test";

import { BadRequest, Client, ConnectionFailed, NotFound, PreconditionFailed, Problem, TooManyRequests, vectors } from "membox";

const client = new Client({ url: process.env.MEMBOX_URL });
const name = `test-${randomUUID().slice(0, 16)}`;
const KEY = "The spare key is under the blue pot.";

async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("a box", () => {
  after(() => client.collection(name).drop());

  it("keeps records, and finds them by meaning and by vectors", async () => {
    const notes = client.collection(name);
    await notes.create();
    const written = await notes.upsert([{ id: "key", text: KEY, metadata: { topic: "house" } }, { text: "Owls eat mice." }]);
    assert.deepEqual(written.map((record) => record.version), [1, 1]);
    assert.equal((await notes.recall("where is it hidden?", { k: 1 })).hits[0].id, "key");
    const [vector] = await client.embed(["birds and what they eat"]);
    assert.equal(vector.length, (await client.info()).dimension);
    assert.match((await notes.recall({ vector, mode: "vector", k: 1 })).hits[0].text, /Owls/);
    assert.equal((await notes.patch("key", { metadata: { room: "shed" } }, { version: 1 })).metadata.room, "shed");
    await assert.rejects(notes.patch("key", {}, { version: 1 }), PreconditionFailed);
    assert.deepEqual((await notes.getMany(["none", "key"])).map((record) => record?.id), [undefined, "key"]);
    await notes.delete("key");
    await assert.rejects(notes.get("key"), NotFound);
  });

  it("takes more records than one request does", async () => {
    const many = client.collection(`${name}-many`);
    await many.create({ dimension: 2 });
    const ids = Array.from({ length: 3000 }, (_, number) => String(number).padStart(5, "0"));
    await many.upsert(ids.map((id) => ({ id, vector: [1, 0.5] })));
    assert.deepEqual((await all(many.records())).map((record) => record.id), ids);
    assert.equal((await all(many.records({ limit: 1500 }))).length, 1500);
    assert.equal((await many.getMany(ids.slice(0, 1200))).filter(Boolean).length, 1200);
    assert.equal(await many.deleteMany({ ids }), 3000);
    assert.equal(await many.deleteMany({ filter: { and: [] } }), 0);
    await many.drop();
  });

  it("asks for no name that would lead elsewhere", () => {
    assert.throws(() => client.collection(".."), TypeError);
    assert.throws(() => client.collection(name).get(".."), TypeError);
  });

  it("keeps conversations, threads and users", async () => {
    const session = client.session(name);
    await session.append([{ role: "user", content: "Where is the key?" }, { role: "assistant", content: KEY }], { user: name });
    assert.deepEqual((await all(session.messages())).map((message) => message.content), ["Where is the key?", KEY]);
    assert.deepEqual((await all(session.messages({ words: "pot" }))).map((message) => message.role), ["assistant"]);
    assert.equal((await session.context({ strategy: "recent", max_tokens: 100 })).messages.length, 2);
    await assert.rejects(session.append([{ role: "user", content: "late" }], { version: 9 }), PreconditionFailed);
    const thread = client.thread(name);
    await thread.putWrites("c1", "task", [["channel", 1]]);
    await thread.putCheckpoint("c1", { state: { step: 1 } });
    assert.deepEqual((await thread.checkpoint()).writes, { task: [["channel", 1]] });
    assert.equal((await all(thread.checkpoints())).length, 1);
    await thread.putBlob("messages", "1", new TextEncoder().encode("hello"), { type: "text" });
    await thread.putCheckpoint("c2", { state: {}, channels: { messages: "1" }, metadata: { step: 2 }, parent: "c1" });
    assert.equal(atob((await thread.checkpoint("c2", { blobs: true })).blobs[0].data), "hello");
    assert.equal(new TextDecoder().decode(await thread.blob("messages", "1")), "hello");
    const second = { filter: { field: "metadata.step", eq: 2 }, namespace: null };
    assert.deepEqual((await all(thread.checkpoints(second))).map((one) => one.id), ["c2"]);
    await thread.putCheckpoint("c1", { state: {} }, { namespace: "inner" });
    assert.deepEqual((await all(thread.namespaces())).map((one) => one.namespace), ["", "inner"]);
    assert.ok((await all(client.threads())).some((one) => one.thread === name));
    assert.equal(await thread.copy(`${name}-copy`), 3);
    assert.equal(await client.thread(`${name}-copy`).delete(), 3);
    await thread.deleteCheckpoint("c1", { namespace: "inner" });
    await assert.rejects(thread.checkpoint("c1", { namespace: "inner" }), NotFound);
    assert.equal(await thread.prune(), 1);
    assert.equal(await thread.delete(), 1);
    const user = client.user(name);
    assert.equal((await user.patchProfile({ city: "Bergen" })).fields.city, "Bergen");
    assert.match(await user.export(), /spare key/);
    assert.equal((await client.wait(await user.erase())).state, "done");
    assert.equal(await session.delete(), 0);
  });

  it("compresses and counts", async () => {
    const less = await client.compress("Well, you know, I was saying that Lena moved to Lisbon in May.", { rate: 0.5 });
    assert.ok(less.compressed_tokens < less.origin_tokens);
    assert.equal((await client.tokens({ input: "hello world" })).total, 2);
  });

  it("names the field that is wrong", async () => {
    await assert.rejects(client.collection(name).upsert([{ text: "x" }, { text: "y", vector: [1] }]), (error) => {
      assert.ok(error instanceof BadRequest && error instanceof Problem);
      assert.equal(error.name, "BadRequest");
      assert.equal(error.pointer, "/records/1/vector");
      return true;
    });
  });
});

describe("a client", () => {
  const given = (...answers) => {
    const seen = [];
    const fetch = async (url, init) => {
      seen.push(`${init.method} ${url.pathname}`);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    };
    return { client: new Client({ url: "http://box", fetch }), seen };
  };
  const refusal = (status, headers = {}) => new Response(JSON.stringify({ status, detail: "no" }), { status, headers });
  const done = () => new Response(JSON.stringify({ records: [], hits: [] }));

  it("asks again when the box says so", async () => {
    const { client, seen } = given(refusal(429, { "retry-after": "0" }), refusal(503, { "retry-after": "0" }), done());
    await client.memories.add({ session: "s" });
    assert.equal(seen.length, 3);
  });

  it("does not wait for a quota of the day", async () => {
    const { client, seen } = given(refusal(429, { "retry-after": "40000" }));
    await assert.rejects(client.ready(), (error) => error instanceof TooManyRequests && error.retryAfter === 40000);
    assert.equal(seen.length, 1);
  });

  it("repeats what may have arrived only where that does no harm", async () => {
    const twice = given(new TypeError("broken"), done());
    await twice.client.collection("c").recall("x");
    assert.equal(twice.seen.length, 2);
    const once = given(new TypeError("broken"));
    await assert.rejects(once.client.memories.add({ session: "s" }), ConnectionFailed);
    assert.equal(once.seen.length, 1);
  });

  it("reads and writes vectors as they are", () => {
    assert.deepEqual([...vectors.decode(vectors.encode([0.25, -2.5, 3]))], [0.25, -2.5, 3]);
    assert.equal(vectors.encode("AACAPw=="), "AACAPw==");
    assert.equal(vectors.decode(vectors.encode(new Float32Array(100_000))).length, 100_000);
  });
});
