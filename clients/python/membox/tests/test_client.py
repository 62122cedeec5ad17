"""Calls against a real box, by both faces."""

import asyncio
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import membox
from membox import describe, errors, vectors

KEY = "The spare key is under the blue pot."


def test_records_are_written_read_changed_and_deleted(notes: membox.Collection) -> None:
    written = notes.upsert([{"id": "key", "text": KEY, "metadata": {"topic": "house"}}, {"text": "Owls eat mice."}])
    assert [record["version"] for record in written] == [1, 1]
    assert notes.get("key")["metadata"] == {"topic": "house"}
    assert notes.patch("key", metadata={"room": "garden"}, version=1)["metadata"] == {
        "topic": "house",
        "room": "garden",
    }
    with pytest.raises(errors.PreconditionFailed):
        notes.patch("key", metadata={}, version=1)
    notes.delete("key")
    with pytest.raises(errors.NotFound):
        notes.get("key")
    assert notes.describe()["records"] == 1


def test_a_recall_finds_by_meaning_and_by_a_given_vector(client: membox.Client, notes: membox.Collection) -> None:
    notes.upsert([{"id": "key", "text": KEY}, {"id": "owls", "text": "Owls eat mice."}])
    assert notes.recall("where did I hide it?", k=1)["hits"][0]["id"] == "key"
    vector = client.embed(["birds and what they eat"])[0]
    assert notes.recall(vector=vector, mode="vector", k=1)["hits"][0]["id"] == "owls"


def test_more_records_than_one_request_takes(client: membox.Client, name: str) -> None:
    collection = client.collection(name)
    collection.create(dimension=2)
    ids = [f"{number:05}" for number in range(5000)]
    collection.upsert({"id": one, "vector": [1.0, 0.5]} for one in ids)
    assert [record["id"] for record in collection.records()] == ids
    assert len(list(collection.records(limit=1500))) == 1500
    wanted = [*reversed(ids[:1200]), "not there"]
    assert [record and record["id"] for record in collection.get_many(wanted)] == [*reversed(ids[:1200]), None]
    assert collection.delete_many(ids[:3000]) == 3000
    assert collection.delete_many(filter={"field": "id", "prefix": "04"}) == 1000
    collection.drop()


def test_payloads_counts_and_facets(client: membox.Client, name: str) -> None:
    collection = client.collection(name)
    collection.create(dimension=1)
    large = ["x" * 900_000, {"n": 2**70}]
    topics = ["house", "house", "garden"]
    collection.upsert(
        {"id": str(number), "payload": [number, large], "metadata": {"topic": topic}}
        for number, topic in enumerate(topics * 8)
    )
    assert [record and record["payload"] for record in collection.get_many(["3", "x" * 600, "1"])] == [
        [3, large],
        None,
        [1, large],
    ]
    house = {"field": "metadata.topic", "eq": "house"}
    assert collection.count() == 24
    assert collection.count(filter=house) == 16
    [facet] = collection.facets("metadata.topic")["facets"]
    assert [(one["value"], one["count"]) for one in facet["values"]] == [("house", 16), ("garden", 8)]
    assert "payload" not in next(collection.records(limit=1))
    assert next(collection.records(limit=1, payload=True))["payload"] == [0, large]
    collection.drop()


def test_records_are_changed_listed_in_an_order_and_asked_for_together(notes: membox.Collection) -> None:
    notes.upsert([{"id": str(n), "text": text, "metadata": {"n": n}} for n, text in enumerate([KEY, "Owls eat mice."])])
    assert notes.patch_many(["0", "1", "gone"], metadata={"seen": True}) == ["gone"]
    part = notes.scroll(order_by={"field": "metadata.n", "direction": "desc"}, limit=1)
    assert (part["count"], [record["id"] for record in part["records"]]) == (2, ["1"])
    rest = notes.scroll(
        order_by={"field": "metadata.n", "direction": "desc"},
        offset=part["next_offset"],
        filter={"field": "metadata.seen", "eq": True},
    )
    assert [record["id"] for record in rest["records"]] == ["0"]
    answers = notes.recall_many([{"query": "where is the key?", "k": 1}, {"query": "what do owls eat?", "k": 1}])
    assert [answer["hits"][0]["id"] for answer in answers] == ["0", "1"]


def test_vectors_are_given_as_numbers_bytes_text_and_arrays(client: membox.Client, name: str) -> None:
    numpy = pytest.importorskip("numpy")
    collection = client.collection(name)
    collection.create(dimension=3, vector_type="f32", metric="inner_product")
    numbers = [0.25, -2.5, 3.0]
    array = numpy.array(numbers)
    given = [numbers, array, array.astype("<f4").tobytes(), vectors.encode(numbers), tuple(numbers)]
    collection.upsert({"id": str(place), "vector": vector} for place, vector in enumerate(given))
    hits = collection.recall(vector=array, mode="vector", include=["vector"])["hits"]
    assert len(hits) == len(given)
    assert all(hit["vector"] == numbers for hit in hits)
    assert vectors.decode(vectors.encode(numbers)) == numbers
    collection.drop()


def test_embeddings_are_the_same_as_lists_and_as_an_array(client: membox.Client) -> None:
    pytest.importorskip("numpy")
    texts = ["one", "two", "three"]
    array = client.embed_array(texts)
    assert array.shape == (3, client.info()["dimension"])
    assert array.tolist() == client.embed(texts)
    assert client.embed([]) == []
    assert len(client.embed(["x"], dimensions=8)[0]) == 8
    with pytest.raises(TypeError):
        client.embed("a text")


def test_a_session_is_appended_to_read_and_put_into_a_context(client: membox.Client, name: str) -> None:
    session = client.session(name)
    answer = session.append([{"role": "user", "content": "Where is the key?"}, {"role": "assistant", "content": KEY}])
    assert answer["version"] == 1
    assert [message["content"] for message in session.messages()] == ["Where is the key?", KEY]
    assert [message["content"] for message in session.messages(order="newest", limit=1)] == [KEY]
    assert [message["role"] for message in session.messages(words="pot")] == ["assistant"]
    with pytest.raises(errors.PreconditionFailed):
        session.append([{"role": "user", "content": "late"}], if_version=7)
    context = session.context(strategy="recent", max_tokens=100)
    assert len(context["messages"]) == 2
    message = answer["messages"][0]["id"]
    assert session.patch_message(message, metadata={"seen": True})["metadata"] == {"seen": True}
    session.delete_message(message)
    assert session.get()["messages"] == 1
    assert [one["id"] for one in client.sessions()].count(name) == 1
    assert session.delete() == 1
    assert session.delete() == 0


def test_a_queue_gives_each_input_to_one_taker(client: membox.Client, name: str) -> None:
    session = client.session(name)
    session.put()
    session.push([{"n": 1}, {"n": 2}])
    taken = session.take(count=1)
    assert [item["payload"] for item in taken] == [{"n": 1}]
    assert [item["payload"] for item in session.take(count=2)] == [{"n": 2}]
    session.acknowledge(taken[0]["id"])
    assert [item["payload"] for item in session.queue()] == [{"n": 2}]
    session.delete()


def test_a_thread_keeps_checkpoints_and_writes(client: membox.Client, name: str) -> None:
    thread = client.thread(name)
    thread.put_writes("c1", "task", [["channel", 1]])
    thread.put_checkpoint("c1", {"step": 1}, metadata={"source": "input"})
    thread.put_checkpoint("c2", {"step": 2}, parent="c1")
    assert thread.checkpoint()["id"] == "c2"
    assert thread.checkpoint("c1").get("writes") == {"task": [["channel", 1]]}
    assert [one["id"] for one in thread.checkpoints()] == ["c2", "c1"]
    assert [one["id"] for one in thread.checkpoints(before="c2")] == ["c1"]
    where = {"field": "metadata.source", "eq": "input"}
    assert [one["id"] for one in thread.checkpoints(filter=where)] == ["c1"]
    assert name in {one["thread"] for one in client.threads()}
    thread.delete_checkpoint("c1")
    assert thread.delete() == 1


def test_a_thread_is_pruned_and_copied(client: membox.Client, name: str) -> None:
    thread, other = client.thread(name), client.thread(f"{name}-copy")
    for namespace in ("", "child"):
        for number in range(3):
            thread.put_checkpoint(f"c{number}", number, namespace=namespace)
    assert [(one["namespace"], one["checkpoints"]) for one in thread.namespaces()] == [("", 3), ("child", 3)]
    assert thread.copy(f"{name}-copy") == 6
    assert thread.prune(keep=2, namespace="child") == 1
    assert thread.prune() == 3
    assert {(one["namespace"], one["id"]) for one in thread.checkpoints(namespace=None)} == {
        ("", "c2"),
        ("child", "c2"),
    }
    assert other.delete(namespace="child") == 3
    assert other.delete() == 3
    thread.delete()


def test_values_of_channels_are_octets(client: membox.Client, name: str) -> None:
    thread = client.thread(name)
    data = bytes(range(256)) * 20_000
    thread.put_blob("said: a|b", "1.5", data, namespace="child", type="bytes")
    assert thread.blob("said: a|b", "1.5", namespace="child") == ("bytes", data)
    small: membox.types.NewBlob = {"channel": "n", "version": "1", "data": vectors.encode([1.0])}
    thread.put_checkpoint("c", {}, namespace="child", channels={"said: a|b": "1.5", "n": "1"}, blobs=[small])
    found = thread.checkpoint("c", namespace="child", blobs=True)
    assert {blob["channel"] for blob in found.get("blobs", [])} == {"said: a|b", "n"}
    [listed] = thread.checkpoints(namespace="child", blobs=True)
    assert listed == found
    thread.delete()


def test_users_have_profiles_exports_and_an_erasure(client: membox.Client, name: str) -> None:
    client.session(name).append([{"role": "user", "content": KEY}], user=name)
    user = client.user(name)
    assert user.patch_profile({"city": "Bergen"})["fields"] == {"city": "Bergen"}
    assert user.set_quota(tokens_per_day=10)["tokens_per_day"] == 10
    user.remove_quota()
    lines = [json.loads(line) for line in user.export().splitlines()]
    assert KEY in json.dumps(lines)
    job = client.wait(user.erase())
    assert job["state"] == "done"
    assert client.job(job["id"])["kind"] == "erase"
    assert user.profile()["fields"] == {}


def test_memories_are_made_of_messages(client: membox.Client, name: str) -> None:
    said = [{"role": "user", "content": "I moved to Bergen in May.", "time_stamp": "2026-05-20T10:00:00Z"}]
    added = client.memories.add(name, said, user=name, force=True)  # type: ignore[arg-type]
    assert added["memories"]
    client.wait(client.memories.update(user=name))
    client.wait(client.user(name).erase())


def test_texts_are_compressed_counted_and_cut(client: membox.Client) -> None:
    text = "Well, you know, I was saying that Lena moved to Lisbon in May. " * 4
    less = client.compress(text, rate=0.5)
    assert less["compressed_tokens"] < less["origin_tokens"]
    assert len(client.compress_documents([text, text], rate=0.5)["documents"]) == 2
    assert client.compress_messages([{"role": "user", "content": text}], keep_last=0)["messages"]
    assert client.compress_json({"note": text}, json_config={"note": {"rate": 0.5}})["json_data"]
    assert client.tokens("hello world")["total"] == 2
    assert len(client.chunks(text, size=20, unit="tokens")) > 2


def test_errors_name_the_field(client: membox.Client, notes: membox.Collection) -> None:
    with pytest.raises(errors.BadRequest) as refused:
        notes.upsert([{"text": "x"}, {"text": "y", "vector": [1.0]}])
    assert refused.value.pointer == "/records/1/vector"
    assert refused.value.status == 400
    with pytest.raises(errors.NotFound, match="there is no collection"):
        client.collection("none-of-that-name").recall("x")
    with pytest.raises(ValueError, match="either ids or filter"):
        notes.delete_many()


async def test_the_asynchronous_face_does_the_same(async_client: membox.AsyncClient, name: str) -> None:
    collection = async_client.collection(name)
    await collection.create()
    await collection.upsert([{"id": str(number), "text": f"{KEY} {number}"} for number in range(5)])
    assert [record["id"] async for record in collection.records(page_size=2)] == ["0", "1", "2", "3", "4"]
    assert (await collection.recall("key", k=2))["hits"]
    with pytest.raises(errors.NotFound):
        await collection.get("9")
    session = async_client.session(name)
    await session.append([{"role": "user", "content": "hello"}])
    assert [message["content"] async for message in session.messages()] == ["hello"]
    assert (await async_client.thread(name).put_checkpoint("c", 1))["state"] == 1
    assert (await async_client.user(name).profile())["user"] == name
    assert (await async_client.wait(await collection.rebuild()))["state"] == "done"
    await session.delete()
    await collection.drop()


async def test_a_thousand_calls_at_once(async_client: membox.AsyncClient) -> None:
    answers = await asyncio.gather(*(async_client.health() for _ in range(1000)))
    assert len(answers) == 1000


async def test_steps_run_on_both_faces(client: membox.Client, async_client: membox.AsyncClient, name: str) -> None:
    def moved(old: str, new: str) -> describe.Plan[int]:
        collection = describe.collection(name)
        try:
            record = yield from collection.get(old)
        except errors.NotFound:
            return 0
        yield from collection.upsert([{"id": new, "text": record["text"]}])
        yield from collection.delete(old)
        return len((yield from collection.records()))

    client.collection(name).create()
    client.collection(name).upsert([{"id": "a", "text": "x"}])
    assert client.run(moved("a", "b")) == 1
    assert await async_client.run(moved("b", "c")) == 1
    assert await async_client.run(moved("b", "c")) == 0
    client.collection(name).drop()


def test_no_id_leads_to_what_is_above_it(client: membox.Client, name: str) -> None:
    notes = client.collection(name)
    notes.create()
    for call in (lambda: notes.delete(".."), lambda: notes.get("."), client.session("..").delete):
        with pytest.raises(ValueError, match="path"):
            call()
    assert notes.describe()["name"] == name
    notes.drop()


def test_methods_say_what_they_take(client: membox.Client) -> None:
    recall = client.collection("x").recall
    assert list(inspect.signature(recall).parameters) == ["query", "options"]
    assert (recall.__doc__ or "").startswith("Finds the records")
    public = [value for name, value in inspect.getmembers(membox.Collection) if not name.startswith("_")]
    assert all(inspect.getdoc(method) for method in public if callable(method) or hasattr(method, "describe"))


def test_the_types_are_those_of_the_box(url: str) -> None:
    root = Path(__file__).parent.parent
    code = (
        "import json, sys, urllib.request; sys.path.insert(0, '.'); import generate_types as g;"
        "d = json.load(urllib.request.urlopen(sys.argv[1] + '/openapi.json'));"
        "sys.exit(g.generate(d) != g.TARGET.read_text(encoding='utf-8'))"
    )
    ended = subprocess.run([sys.executable, "-c", code, url], cwd=root, check=False)
    assert ended.returncode == 0, "types.py is not that of the box: clients/generate.sh"


def test_a_pair_of_clients_serves_several_event_loops(url: str) -> None:
    pair = membox.Clients(url)
    health = describe.client.health()
    for _ in range(2):
        assert asyncio.run(pair.arun(health))["status"] == pair.run(health)["status"]
    pair.close()
    assert pair.run(health)["status"]
    pair.close()
