"""CrewAI's memory, beside the storage that it comes with."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import membox

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
pytest.importorskip("crewai")
from crewai.memory import Memory
from crewai.memory.storage.backend import EmbeddingDimensionMismatchError, StorageBackend
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai.memory.types import MemoryRecord
from membox.crewai import MemboxStorage

NOW = datetime(2026, 1, 1)
Do = Callable[[Any], Any]


@pytest.fixture
def storage(url: str, name: str) -> Iterator[MemboxStorage]:
    storage = MemboxStorage(name, url=url)
    yield storage
    storage.reset()
    storage.close()


def record(number: int, **more: Any) -> MemoryRecord:
    angle = [1.0, 0.0, 0.0] if number == 0 else [1.0 / number, 1.0, 0.0]
    given = {"scope": "/", "created_at": NOW + timedelta(days=number), **more}
    return MemoryRecord(id=f"r{number}", content=f"text {number}", embedding=angle, **given)


def filled(storage: Any) -> Any:
    storage.save(
        [
            record(0, scope="/team/a", categories=["x"], metadata={"n": 1, "deep": {"list": [1, None]}}),
            record(1, scope="/team/b", categories=["x", "y"], metadata={"n": 2}, importance=0.9, source="lena"),
            record(2, scope="/team/b/c", categories=[], metadata={"n": "2"}, private=True),
            record(3, scope="/other", categories=["y"], metadata={"a b": True}),
        ]
    )
    return storage


def ids(found: Any) -> list[str]:
    return [(one[0] if isinstance(one, tuple) else one).id for one in found]


def fields(record: MemoryRecord | None) -> Any:
    return record and record.model_dump(exclude={"last_accessed"})


def searched(storage: Any) -> Any:
    near = [1.0, 0.1, 0.0]
    return [
        ids(filled(storage).search(near)),
        ids(storage.search(near, limit=2)),
        ids(storage.search(near, scope_prefix="/team")),
        ids(storage.search(near, scope_prefix="/team/b/")),
        ids(storage.search(near, categories=["y", "z"])),
        ids(storage.search(near, metadata_filter={"n": 2})),
        ids(storage.search(near, metadata_filter={"a b": True})),
        ids(storage.search(near, metadata_filter={"deep": {"list": [1, None]}}, limit=1)),
        ids(storage.search(near, limit=0)) if isinstance(storage, MemboxStorage) else [],
    ]


def got(storage: Any) -> Any:
    filled(storage)
    return [fields(storage.get_record(one)) for one in ("r0", "r1", "r2", "nothing")]


def listed(storage: Any) -> Any:
    filled(storage)
    return [ids(storage.list_records(*given)) for given in (("/team",), (None, 2), (None, 2, 1), (None, 0))]


def described(storage: Any) -> Any:
    filled(storage)
    infos = [storage.get_scope_info(one).model_dump() for one in ("/team", "/team/b", "/", "/nothing")]
    scopes = [storage.list_scopes(one) for one in ("/", "/team", "/team/b", "/team/b/c")]
    counts = [storage.count(one) for one in (None, "/", "/team", "/nothing")]
    return infos, scopes, counts, storage.list_categories("/team"), storage.list_categories()


def updated(storage: Any) -> Any:
    filled(storage)
    old = storage.get_record("r1")
    storage.update(old.model_copy(update={"content": "new", "metadata": {"m": 1}}))
    return fields(storage.get_record("r1")), ids(storage.search([1.0, 1.0, 0.0], limit=1)), storage.count()


def deleted(storage: Any) -> Any:
    criteria: list[dict[str, Any]] = [
        {"record_ids": ["r0", "nothing"]},
        {"categories": ["y"]},
        {"metadata_filter": {"n": 2}},
        {"categories": ["y"], "scope_prefix": "/team"},
        {"older_than": NOW + timedelta(days=1)},
        {"metadata_filter": {"a b": True}, "older_than": NOW},
        {},
    ]
    left = []
    for given in criteria:
        storage.reset()
        count = filled(storage).delete(**given)
        left.append((count, sorted(ids(storage.list_records()))))
    return left


def reset(storage: Any) -> Any:
    filled(storage).reset("/team/b")
    left = ids(storage.list_records())
    storage.reset()
    return left, storage.count(), storage.search([1.0, 0.0, 0.0]), storage.list_records(), storage.get_record("r0")


def empty(storage: Any) -> Any:
    return storage.count(), storage.list_scopes(), storage.list_categories(), storage.delete(categories=["x"])


@pytest.mark.parametrize("do", [searched, got, listed, described, updated, deleted, reset, empty])
def test_it_does_as_the_storage_of_crewai(storage: MemboxStorage, do: Do, tmp_path: Path) -> None:
    assert do(storage) == do(LanceDBStorage(path=tmp_path))


def test_it_is_a_storage(storage: MemboxStorage) -> None:
    assert isinstance(storage, StorageBackend)


def test_a_scope_is_no_prefix_of_a_name(storage: MemboxStorage) -> None:
    storage.save([record(0, scope="/a"), record(1, scope="/ab")])
    assert ids(storage.list_records("/a")) == ["r0"]
    assert storage.delete(scope_prefix="/a") == 1


def test_scores_are_cosines(storage: MemboxStorage) -> None:
    found = filled(storage).search([1.0, 0.0, 0.0], min_score=0.7)
    assert [round(score, 3) for _, score in found] == [1.0, 0.707]


def test_vectors_of_another_size_are_told(storage: MemboxStorage, url: str) -> None:
    other = MemoryRecord(content="x", embedding=[1.0, 0.0])
    filled(storage)
    for again in (storage, MemboxStorage(storage.collection, url=url)):
        with pytest.raises(EmbeddingDimensionMismatchError):
            again.save([other])
        with pytest.raises(EmbeddingDimensionMismatchError):
            again.search([1.0, 0.0])


def test_large_metadata_is_kept_and_found(storage: MemboxStorage) -> None:
    storage.save([record(0, metadata={"n": 1, "large": "x" * 100_000}), record(1, metadata={"n": 2})])
    [(found, _)] = storage.search([1.0, 0.0, 0.0], metadata_filter={"n": 1})
    assert len(found.metadata["large"]) == 100_000
    assert storage.delete(metadata_filter={"n": 1}) == 1


async def test_calls_that_are_awaited(storage: MemboxStorage) -> None:
    await storage.asave([record(0), record(1)])
    assert ids(await storage.asearch([1.0, 0.0, 0.0])) == ["r0", "r1"]
    assert await storage.adelete(record_ids=["r0"]) == 1
    await storage.clients.aclose()


def test_the_memory_of_a_crew_with_the_embedder_of_the_box(storage: MemboxStorage, client: membox.Client) -> None:
    memory = Memory(storage=storage, embedder=client.embed)
    said = {"scope": "/home", "categories": ["house"], "importance": 0.5, "metadata": {"by": "lena"}}
    for text in ("The spare key is under the blue pot.", "Owls eat mice."):
        memory.remember(text, **said)
    [best, *_] = memory.recall("Where is the key?", scope="/home", depth="shallow")
    assert best.record.content == "The spare key is under the blue pot."
    memory.update(best.record.id, importance=0.9)
    [best, *_] = memory.recall("Where is the key?", depth="shallow")
    assert best.record.importance == 0.9
    assert memory.forget(scope="/home") == 2
    memory.close()
