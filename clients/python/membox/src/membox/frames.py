"""Records of tables and tables of records: pandas and Arrow. `pip install membox[frames]`.

    collection.upsert(frames.records(frame))
    frame = frames.to_pandas(collection.records())

A column that is named as a field of a record is that field; every other one is a field of its metadata.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from membox.types import Hit, NewRecord, RecordView

FIELDS = ("id", "text", "vector", "user", "session", "kind", "created_at", "expires_at", "importance", "metadata")
"""Columns that are fields of a record."""
SHOWN = ("id", "text", "user", "session", "kind", "created_at", "importance", "version", "score", "relevance")
"""Fields of records and hits that become columns; those of which there are none do not."""


def records(table: pandas.DataFrame | pyarrow.Table | Any) -> Iterator[NewRecord]:
    """The records of a table's rows. What is missing in a row (None, NaN, NaT) is no field of its record."""
    for row in rows(table):
        given = {str(name): plain(value) for name, value in row.items() if not is_missing(value)}
        record = {name: given.pop(name) for name in FIELDS if name in given}
        if given:
            record["metadata"] = {**given, **record.get("metadata", {})}
        yield cast("NewRecord", record)


def rows(table: Any) -> Iterator[dict[str, Any]]:
    """The rows of a table, as dictionaries."""
    if hasattr(table, "to_batches"):  # Arrow's, which gives its rows in parts
        for batch in table.to_batches():
            yield from batch.to_pylist()
    elif hasattr(table, "to_dict"):
        yield from table.to_dict(orient="records")
    else:
        raise TypeError(f"{type(table).__name__} is no table of pandas or Arrow")


def is_missing(value: Any) -> bool:
    """Whether a cell has nothing."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NaTType", "NAType")
    )


def plain(value: Any) -> Any:
    """A cell as JSON: times are RFC 3339, arrays are lists but for vectors, which are made base64 later."""
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return aware.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value


def columns(found: Iterable[RecordView | Hit]) -> dict[str, list[Any]]:
    """Records or hits by column: their fields, and those of their metadata with `metadata.` before the name."""
    taken = [cast("dict[str, Any]", one) for one in found]
    made = {name: [one.get(name) for one in taken] for name in SHOWN if any(name in one for one in taken)}
    names = dict.fromkeys(name for one in taken for name in one.get("metadata", {}))
    for name in names:
        made[f"metadata.{name}"] = [one.get("metadata", {}).get(name) for one in taken]
    return made


def to_arrow(found: Iterable[RecordView | Hit]) -> pyarrow.Table:
    """Records or hits as a table of Arrow. Values of a column that are of different kinds cannot be one."""
    import pyarrow

    return pyarrow.table(columns(found))


def to_pandas(found: Iterable[RecordView | Hit]) -> pandas.DataFrame:
    """Records or hits as a frame of pandas; times are times."""
    import pandas

    frame = pandas.DataFrame(columns(found))
    if "created_at" in frame:
        frame["created_at"] = pandas.to_datetime(frame["created_at"], format="ISO8601")
    return frame
