"""What LangGraph's tests of stores do not ask of ours."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from langgraph.store.base import PutOp, SearchItem
from langgraph.store.membox import MemboxStore, item_id, moment
from langgraph.store.membox._filters import matches, pushed_down
from langgraph.store.memory import InMemoryStore

import membox


def embed(texts: list[str]) -> list[list[float]]:
    with membox.Client() as client:
        return client.embed(texts)


@pytest.fixture
def store(name: str) -> Iterator[MemboxStore]:
    store = MemboxStore(name, index={"dims": 384, "embed": embed, "fields": ["text"]})
    yield store
    for collection in (name, f"{name}.vectors"):
        store.clients.blocking.collection(collection).drop()


def test_items_are_found_by_meaning_and_by_field(store: MemboxStore) -> None:
    store.put(("lena", "notes"), "key", {"text": "The spare key is under the blue pot.", "topic": "house"})
    store.put(("lena", "notes"), "owls", {"text": "Owls eat mice.", "topic": "animals"})
    store.put(("max", "notes"), "key", {"text": "My key is in the car.", "topic": "house"})
    found = store.search(("lena",), query="where is the key?")
    assert [item.key for item in found] == ["key", "owls"]
    assert isinstance(found[0], SearchItem)
    assert (found[0].score or 0) > (found[1].score or 0)
    assert [item.key for item in store.search(("lena",), filter={"topic": "animals"})] == ["owls"]
    store.put(("lena", "notes"), "key", {"text": "The key is lost.", "topic": "house"})
    again = store.get(("lena", "notes"), "key")
    assert again is not None
    assert again.created_at < again.updated_at
    assert [item.key for item in store.search(("lena",))] == ["key", "owls"]  # the last changed first


def test_values_that_are_too_large_for_metadata_are_found_too(store: MemboxStore) -> None:
    store.put(("docs",), "large", {"text": "x", "topic": "a", "body": "word " * 20_000}, index=False)
    store.put(("docs",), "small", {"text": "x", "topic": "b"}, index=False)
    assert [item.key for item in store.search(("docs",), filter={"topic": "a"})] == ["large"]
    assert [item.key for item in store.search(("docs",), filter={"topic": "b"})] == ["small"]


def test_namespaces_are_listed_however_many_there_are(store: MemboxStore) -> None:
    spaces = sorted(("many", str(number)) for number in range(1100))
    store.batch([PutOp(space, "k", {"n": 1}, index=False) for space in spaces])
    assert store.list_namespaces(prefix=("many",), limit=2000) == spaces
    assert store.list_namespaces(prefix=("many", "7"), limit=2000) == [("many", "7")]


def test_items_end_and_last_longer_when_they_are_read(name: str) -> None:
    store = MemboxStore(name, ttl={"default_ttl": 60, "refresh_on_read": True})
    store.put(("a",), "k", {"n": 1})
    records = store.clients.blocking.collection(name)
    first = records.get(item_id(("a",), "k"))["expires_at"]
    store.get(("a",), "k", refresh_ttl=False)
    assert records.get(item_id(("a",), "k"))["expires_at"] == first
    store.get(("a",), "k")
    assert records.get(item_id(("a",), "k"))["expires_at"] > first
    store.put(("a",), "short", {"n": 1}, ttl=0.01)
    asyncio.run(asyncio.sleep(1.2))
    assert store.get(("a",), "short") is None
    records.drop()


async def test_what_many_tasks_do_at_once(store: MemboxStore) -> None:
    await asyncio.gather(*(store.aput(("a", str(n % 3)), f"{n}", {"n": n}, index=False) for n in range(300)))
    found = await asyncio.gather(*(store.aget(("a", str(n % 3)), f"{n}") for n in range(300)))
    assert [item and item.value for item in found] == [{"n": n} for n in range(300)]
    assert await store.alist_namespaces(prefix=("a",)) == [("a", "0"), ("a", "1"), ("a", "2")]
    await store.clients.aclose()


FILTERS = [
    {"n": 1},
    {"n": True},
    {"n": 1.0},
    {"s": "x"},
    {"l": [1, 2]},
    {"l": 1},
    {"d": {"a": 1}},
    {"d": {"a": {"$gte": 1}}},
    {"n": {"$gt": 0, "$lt": 2}},
    {"n": {"$ne": 1}},
    {"none": None},
    {"missing": None},
    {"s": {"$eq": "x"}},
]
VALUES = [
    {"n": 1, "s": "x", "l": [1, 2], "d": {"a": 1, "b": 2}, "none": None},
    {"n": 2, "s": "y", "l": [1], "d": {"a": 0}, "none": 0},
    {"n": 0, "s": ["x"], "l": 1, "d": {"a": 5}, "none": False},
]


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_filters_mean_what_they_mean_in_memory(store: MemboxStore, filter: dict[str, object]) -> None:
    memory = InMemoryStore()
    for number, value in enumerate(VALUES):
        for one in (memory, store):
            one.put(("f",), str(number), value, index=False)
    if filter.get("n") is True:  # Python's True is 1; JSON's is not
        assert store.search(("f",), filter=filter) == []
        return
    found = sorted(item.key for item in store.search(("f",), filter=filter))
    assert found == sorted(item.key for item in memory.search(("f",), filter=filter))


def test_names_that_are_no_paths_are_compared_here() -> None:
    assert pushed_down({"a b": 1}) is None
    assert matches({"a b": 1}, {"a b": 1})
    assert matches({"a.b": 1}, {"a.b": 1})
    assert matches({"a": {"b": 1}}, {"a.b": 1})
    with pytest.raises(ValueError, match=r"\$like is no operator"):
        matches({"a": 1}, {"a": {"$like": 1}})


def test_times_are_read_whatever_their_digits() -> None:
    wanted = datetime(2026, 5, 20, 10, 0, 0, 120_000, tzinfo=timezone.utc)
    assert moment("2026-05-20T10:00:00.12Z") == wanted
    assert moment("2026-05-20T10:00:00.120000+00:00") == wanted
    assert moment("2026-05-20T10:00:00Z") == wanted.replace(microsecond=0)
