"""LangGraph's filters of items.

The box looks for what may match, and what it finds is compared here again: its filters tell apart what LangGraph's do
not (a list and one of its elements), and values that are too large for metadata are only in the payload of a record.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import Any

COMPARED = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
PLAIN = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
"""Names that mean the same in a path of the box."""
TOO_LARGE = "too_large"
"""In the metadata of an item whose value is not there."""

Filter = dict[str, Any]


def matches(value: Mapping[str, Any], filter: Filter | None) -> bool:
    """Whether an item's value is what a filter asks for."""
    return all(compared(looked_up(value, name), wanted) for name, wanted in (filter or {}).items())


def looked_up(value: Mapping[str, Any], name: str) -> Any:
    """A field of a value by its name, or by a path of names."""
    if name in value or "." not in name:
        return value.get(name)
    found: Any = value
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def compared(value: Any, wanted: Any) -> bool:
    """Whether a field is what is wanted."""
    if isinstance(wanted, Mapping):
        if any(name.startswith("$") for name in wanted):
            return all(applied(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, Mapping) and all(compared(value.get(name), one) for name, one in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(wanted)
            and all(compared(one, other) for one, other in zip(value, wanted, strict=True))
        )
    return is_equal(value, wanted)


def is_equal(value: Any, wanted: Any) -> bool:
    """Whether two values are the same; true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def applied(value: Any, name: str, operand: Any) -> bool:
    """Whether an operator holds."""
    if name == "$eq":
        return is_equal(value, operand)
    if name == "$ne":
        return not is_equal(value, operand)
    if name not in COMPARED:
        raise ValueError(f"{name} is no operator; there are $eq, $ne, " + ", ".join(COMPARED))
    if value is None:
        return False
    try:
        return bool(COMPARED[name](value, operand))
    except TypeError:
        return bool(COMPARED[name](float(value), float(operand)))


def pushed_down(filter: Filter | None) -> Filter | None:
    """What the box can look for: all that matches is found, and perhaps more."""
    conditions = [one for name, wanted in (filter or {}).items() for one in asked(f"metadata.value.{name}", wanted)]
    conditions = [one for one in conditions if PLAIN.fullmatch(one["field"])]
    if not conditions:
        return None
    return {"or": [{"and": conditions}, {"field": f"metadata.{TOO_LARGE}", "eq": True}]}


def asked(field: str, wanted: Any) -> list[Filter]:
    """The conditions on one field."""
    if isinstance(wanted, Mapping):
        if not any(name.startswith("$") for name in wanted):
            return [one for name, inner in wanted.items() for one in asked(f"{field}.{name}", inner)]
        operators = ((name, operand) for name, operand in wanted.items() if name != "$ne")
        return [{"field": field, name[1:]: operand} for name, operand in operators if may_be_asked(operand)]
    return [{"field": field, "eq": wanted}] if may_be_asked(wanted) else []


def may_be_asked(operand: Any) -> bool:
    """Whether the box takes it as an operand."""
    if isinstance(operand, bool) or not isinstance(operand, (int, float)):
        return isinstance(operand, (bool, str))
    return math.isfinite(operand) and abs(operand) < 2**63
