"""LangChain's filters, as most of its stores take them, in the box's own language."""

from __future__ import annotations

from typing import Any

RECORD_FIELDS = ("id", "user", "session", "kind", "role", "created_at", "importance")
"""Fields of a record, which are meant by `$field`; other names are of its metadata."""
OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "all", "prefix", "contains", "icontains")


def is_native(filter: dict[str, Any]) -> bool:
    """Whether it is the box's own filter, such as `{"field": "metadata.topic", "eq": "travel"}`."""
    if "field" in filter:
        return len(filter) > 1 and all(name == "field" or name in OPERATORS for name in filter)
    return (
        len(filter) == 1
        and isinstance(next(iter(filter.values())), (list, dict))
        and bool({"and", "or", "not"} & set(filter))
    )


def translated(filter: dict[str, Any] | None) -> dict[str, Any] | None:
    """A filter as the box takes it.

    `{"topic": "travel", "year": {"$gte": 2020}}` joins its conditions by and. `$and`, `$or` and `$not` join filters.
    Names are those of metadata; with a `$` before them they are those of the record: `{"$user": "lena"}`.
    """
    if not filter:
        return None
    if is_native(filter):
        return filter
    parts = [part for name, value in filter.items() for part in conditions(name, value)]
    return parts[0] if len(parts) == 1 else {"and": parts}


def conditions(name: str, value: Any) -> list[dict[str, Any]]:
    """What one name of a filter asks."""
    if name in ("$and", "$or"):
        return [{name[1:]: [translated(one) or {"and": []} for one in value]}]
    if name == "$not":
        return [{"not": translated(value) or {"and": []}}]
    field = name[1:] if name.startswith("$") and name[1:] in RECORD_FIELDS else f"metadata.{name}"
    if not isinstance(value, dict):
        return [{"field": field, "eq": value}]
    found = []
    for operator, operand in value.items():
        if operator == "$between":
            low, high = operand
            found.append({"field": field, "gte": low, "lte": high})
        elif operator.startswith("$") and operator[1:] in OPERATORS:
            found.append({"field": field, operator[1:]: operand})
        else:
            raise ValueError(f"{operator} is no operator; there are " + ", ".join(f"${one}" for one in OPERATORS))
    return found
