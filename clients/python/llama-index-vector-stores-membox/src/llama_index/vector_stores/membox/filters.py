"""LlamaIndex's filters in the box's own language."""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

Filter = dict[str, Any]

OPERATORS = {
    FilterOperator.EQ: "eq",
    FilterOperator.NE: "ne",
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
    FilterOperator.IN: "in",
    FilterOperator.NIN: "nin",
    FilterOperator.ANY: "in",
    FilterOperator.ALL: "all",
    FilterOperator.CONTAINS: "eq",  # one of the elements of a list
    FilterOperator.TEXT_MATCH: "contains",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "icontains",
}


def translated(filters: MetadataFilters | None) -> Filter | None:
    """Filters as the box takes them."""
    if filters is None or not filters.filters:
        return None
    parts = [condition(one) for one in filters.filters]
    if filters.condition == FilterCondition.NOT:
        return {"not": {"or": parts}}
    return {"or" if filters.condition == FilterCondition.OR else "and": parts}


def condition(filter: MetadataFilter | MetadataFilters) -> Filter:
    """One condition, or several that are joined."""
    if isinstance(filter, MetadataFilters):
        return translated(filter) or {"and": []}
    field = f"metadata.{filter.key}"
    if filter.operator == FilterOperator.IS_EMPTY:
        return {"or": [{"field": field, "eq": None}, {"field": field, "eq": []}]}
    if filter.operator not in OPERATORS:
        raise NotImplementedError(f"a box has no filter {filter.operator.value}")
    return {"field": field, OPERATORS[filter.operator]: filter.value}


def joined(*filters: Filter | None) -> Filter | None:
    """Filters joined by and."""
    given = [one for one in filters if one]
    return {"and": given} if len(given) > 1 else next(iter(given), None)
