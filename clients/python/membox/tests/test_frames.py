"""Tables of pandas and Arrow."""

from datetime import datetime, timezone

import pytest

import membox
from membox import frames

pandas = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
numpy = pytest.importorskip("numpy")

WHEN = datetime(2026, 5, 20, 10, 0, tzinfo=timezone.utc)
ROWS = {
    "id": ["a", "b"],
    "text": ["The spare key is under the blue pot.", "Owls eat mice."],
    "created_at": [WHEN, None],
    "topic": ["house", None],
    "weight": [1.5, None],
}


@pytest.mark.parametrize("table", [pandas.DataFrame(ROWS), pyarrow.table(ROWS)], ids=["pandas", "arrow"])
def test_rows_become_records_and_records_rows(notes: membox.Collection, table: object) -> None:
    notes.upsert(frames.records(table))
    first, second = notes.records()
    assert first["metadata"] == {"topic": "house", "weight": 1.5}
    assert first["created_at"].startswith("2026-05-20T10:00:00")
    assert second["metadata"] == {}
    frame = frames.to_pandas(notes.records())
    assert list(frame["id"]) == ["a", "b"]
    assert frame["created_at"][0] == pandas.Timestamp(WHEN)
    assert frame["metadata.topic"][0] == "house"
    arrow = frames.to_arrow(notes.recall("where is the key?")["hits"])
    assert arrow["id"][0].as_py() == "a"
    assert arrow["relevance"][0].as_py() > 0


def test_vectors_of_tables(client: membox.Client, name: str) -> None:
    collection = client.collection(name)
    collection.create(dimension=2, vector_type="f32")
    rows = {"id": ["a", "b"], "vector": [numpy.array([1.0, 0.0]), numpy.array([0.0, 1.0])]}
    collection.upsert(frames.records(pandas.DataFrame(rows)))
    collection.upsert(frames.records(pyarrow.table({"id": ["c"], "vector": [[1.0, 1.0]], "metadata": [{"n": 1}]})))
    hits = collection.recall(vector=[0.0, 1.0], mode="vector", k=3)["hits"]
    assert [hit["id"] for hit in hits] == ["b", "c", "a"]
    assert collection.get("c")["metadata"] == {"n": 1}
    collection.drop()


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(TypeError, match="list is no table"):
        list(frames.records([{"text": "x"}]))
