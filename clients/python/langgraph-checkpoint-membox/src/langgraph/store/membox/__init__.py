"""LangGraph's store of items over a box."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)
from langgraph.store.membox._filters import TOO_LARGE, matches, pushed_down
from langgraph.store.membox._together import Together

from membox import Clients, NotFound, describe
from membox.describe import Plan

if TYPE_CHECKING:
    from membox import AsyncClient, Client
    from membox.types import CollectionSettings, NewRecord, RecordView

# An item is the payload of a record, of which nothing is embedded.
ITEMS: CollectionSettings = {"dimension": 1, "keywords": False, "windows": "off", "late_interaction": "off"}
MAX_FILTERED_BYTES = 12_000
"""A value of more is in the record's payload only: metadata has 16 KiB at most."""
MAX_FACETS = 1000
"""Values of a field that the box counts."""
NAMESPACE = "metadata.namespace"
MAX_CANDIDATES = 10_000
"""Hits of one recall."""

Found = TypeVar("Found", bound=Item)
Namespace = tuple[str, ...]

__all__ = ["MemboxStore"]


class MemboxStore(BaseStore):
    """Items by namespace and key, in a collection of a box; blocking and asynchronous calls may be mixed.

    With `index` items are found by meaning too: their vectors are in a second collection, whose name ends in
    `.vectors`. With `ttl` items end after so many minutes. A value has at most 1 MiB as JSON; namespace and key have
    some 480 bytes together.
    """

    supports_ttl = True

    def __init__(
        self,
        collection: str = "langgraph-store",
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.collection = collection
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self.ttl_config = ttl
        self.index_config = index
        self.embeddings: Embeddings | None = ensure_embeddings(index["embed"]) if index else None
        fields = (index or {}).get("fields") or ["$"]
        self._fields = [(field, tokenized(field)) for field in fields]
        self._items = describe.collection(collection)
        self._vectors = describe.collection(f"{collection}.vectors")
        self._is_made = False
        self._together = Together(self._abatch)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Does several things: what is read is as it was before what is written."""
        ops = checked(ops)
        questions, texts = self._to_embed(ops)
        vectors: list[list[float]] = []
        if self.embeddings and (questions or texts):
            vectors = [self.embeddings.embed_query(question) for question in questions]
            vectors += self.embeddings.embed_documents(texts) if texts else []
        return self.clients.run(self._batch(ops, dict(zip(questions + texts, vectors, strict=True))))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Does several things: what is read is as it was before what is written.

        What several tasks ask for at the same time is done together.
        """
        return await self._together(checked(ops))

    async def _abatch(self, ops: list[Op]) -> list[Result]:
        questions, texts = self._to_embed(ops)
        vectors: list[list[float]] = []
        if self.embeddings and (questions or texts):
            vectors = [await self.embeddings.aembed_query(question) for question in questions]
            vectors += await self.embeddings.aembed_documents(texts) if texts else []
        return await self.clients.arun(self._batch(ops, dict(zip(questions + texts, vectors, strict=True))))

    def _to_embed(self, ops: list[Op]) -> tuple[list[str], list[str]]:
        """Questions and texts of which vectors are wanted, each once."""
        if not self.embeddings:
            return [], []
        questions = dict.fromkeys(op.query for op in ops if isinstance(op, SearchOp) and op.query)
        texts = dict.fromkeys(text for op in last_puts(ops).values() for _, text in self._texts(op))
        return list(questions), [text for text in texts if text not in questions]

    def _texts(self, put: PutOp) -> list[tuple[str, str]]:
        """The texts of an item by which it is found, each with its name within the item."""
        if put.value is None or put.index is False or not self.embeddings:
            return []
        fields = self._fields if put.index is None else [(field, tokenized(field)) for field in put.index]
        return [
            (f"{field}.{number}", text)
            for field, path in fields
            for number, text in enumerate(get_text_at_path(put.value, path))
        ]

    def _batch(self, ops: list[Op], vectors: Mapping[str, list[float]]) -> Plan[list[Result]]:
        if not self._is_made:
            yield from self._items.create(**ITEMS)
            if self.index_config:
                settings: CollectionSettings = {"dimension": self.index_config["dims"], "vector_type": "f32"}
                yield from self._vectors.create(**settings)
            self._is_made = True
        gets = [op for op in ops if isinstance(op, GetOp)]
        ids = [item_id(op.namespace, op.key) for op in gets]
        found = iter((yield from self._items.get_many(ids)) if ids else [])
        results: list[Result] = []
        read: dict[str, RecordView] = {}
        same: dict[str, Any] = {}  # what several tasks ask alike is asked once
        for op in ops:
            if isinstance(op, GetOp):
                record = next(found)
                results.append(item(record, Item) if record else None)
                read.update({record["id"]: record} if record and op.refresh_ttl else {})
            elif isinstance(op, SearchOp):
                records = same.get(repr(op)) or (yield from self._search(op, vectors))
                same[repr(op)] = records
                results.append([item(record, SearchItem, score) for record, score in records])
                read.update({record["id"]: record for record, _ in records} if op.refresh_ttl else {})
            elif isinstance(op, ListNamespacesOp):
                spaces = same.get(repr(op)) or (yield from self._namespaces(op))
                same[repr(op)] = spaces
                results.append(list(spaces))
            else:
                results.append(None)
        yield from self._refresh(read)
        yield from self._put(last_puts(ops), vectors)
        return results

    # What is written.

    def _put(self, puts: dict[str, PutOp], vectors: Mapping[str, list[float]]) -> Plan[None]:
        if not puts:
            return
        # The box gives an item that is written again the time of that: when it was made is read first.
        before = yield from self._items.get_many(list(puts))
        made = {record["id"]: record["metadata"]["created_at"] for record in before if record}
        if self.index_config:
            where = {"field": "metadata.item", "in": list(puts)}
            yield from self._vectors.delete_many(filter=where)
        gone = [one for one, put in puts.items() if put.value is None]
        if gone:
            yield from self._items.delete_many(gone)
        now = datetime.now(timezone.utc)
        items: list[NewRecord] = []
        parts: list[NewRecord] = []
        for one, put in puts.items():
            if put.value is None:
                continue
            record = item_record(one, put, made.get(one), now)
            items.append(record)
            for name, text in self._texts(put):
                part = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([one, name])))
                metadata = {**record["metadata"], "item": one}
                bare = {name: value for name, value in record.items() if name != "payload"}
                more = {"id": part, "text": "", "vector": vectors[text], "metadata": metadata}
                parts.append(cast("NewRecord", {**bare, **more}))
        if items:
            yield from self._items.upsert(items)
        if parts:
            yield from self._vectors.upsert(parts)

    def _refresh(self, read: Mapping[str, RecordView]) -> Plan[None]:
        """Lets items that were read last again as long as they were to."""
        now = datetime.now(timezone.utc)
        for one, record in read.items():
            minutes = record["metadata"].get("ttl")
            if minutes is None:
                continue
            end = (now + timedelta(minutes=minutes)).isoformat()
            try:
                yield from self._items.patch(one, expires_at=end)
            except NotFound:  # it has ended meanwhile
                continue
            if self.index_config:
                where = {"field": "metadata.item", "eq": one}
                for part in (yield from self._vectors.records(filter=where)):
                    yield from self._vectors.patch(part["id"], expires_at=end)

    # What is read.

    def _search(self, op: SearchOp, vectors: Mapping[str, list[float]]) -> Plan[list[tuple[RecordView, float | None]]]:
        scored: list[tuple[RecordView, float | None]] = []
        wanted = op.offset + op.limit
        if op.query and self.index_config:
            scored = yield from self._nearest(op, vectors[op.query], wanted)
        if len(scored) < wanted:  # items without vectors come last
            seen = {record["id"] for record, _ in scored}
            records = yield from self._newest(op, wanted)
            scored += [(record, None) for record in records if record["id"] not in seen]
        return scored[op.offset : wanted]

    def _newest(self, op: SearchOp, wanted: int) -> Plan[list[RecordView]]:
        where = joined(under("id", op.namespace_prefix), pushed_down(op.filter))
        asked = wanted
        while True:
            records = yield from self._items.records(filter=where, order="newest", limit=asked, payload=True)
            right = [record for record in records if matches(value_of(record), op.filter)]
            if len(right) >= wanted or len(records) < asked:
                return right
            asked *= 2

    def _nearest(self, op: SearchOp, vector: list[float], wanted: int) -> Plan[list[tuple[RecordView, float | None]]]:
        where = joined(under("metadata.item", op.namespace_prefix), pushed_down(op.filter))
        asked = max(4 * wanted, 50)  # an item may have several vectors: the best of them counts
        while True:
            k = min(asked, MAX_CANDIDATES)
            answer = yield from self._vectors.recall(
                vector=vector, mode="vector", k=k, filter=where, include=["metadata"]
            )
            scores: dict[str, float] = {}
            for hit in answer["hits"]:
                scores.setdefault(hit["metadata"]["item"], hit["score"])
            records = yield from self._items.get_many(list(scores))
            right: list[tuple[RecordView, float | None]] = [
                (record, scores[record["id"]]) for record in records if record and matches(value_of(record), op.filter)
            ]
            if len(right) >= wanted or len(answer["hits"]) < k or k == MAX_CANDIDATES:
                return right
            asked *= 2

    def _namespaces(self, op: ListNamespacesOp) -> Plan[list[Namespace]]:
        conditions = op.match_conditions or ()
        prefixes = [tuple(one.path) for one in conditions if one.match_type == "prefix" and "*" not in one.path]
        where = under("id", max(prefixes, key=len, default=()))
        answer = yield from self._items.facets(NAMESPACE, filter=where, limit=MAX_FACETS)
        [facet] = answer["facets"]
        spaces: set[Namespace] = {tuple(json.loads(one["value"])) for one in facet["values"]}
        if facet["distinct"] > MAX_FACETS:
            spaces = {namespace_of(record) for record in (yield from self._items.records(filter=where))}
        kept = {space[: op.max_depth] for space in spaces if all(is_matched(space, one) for one in conditions)}
        return sorted(kept)[op.offset : op.offset + op.limit]


def checked(ops: Iterable[Op]) -> list[Op]:
    """Operations whose namespaces are right."""
    ops = list(ops)
    for op in ops:
        validate_op_namespace(op)
    return ops


def last_puts(ops: Iterable[Op]) -> dict[str, PutOp]:
    """Of writes to the same item the last one, by the item's id."""
    return {item_id(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}


def tokenized(field: str) -> Any:
    """A field's path; `$` is the whole value."""
    return field if field == "$" else tokenize_path(field)


def compact(value: Any) -> str:
    """JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def item_id(namespace: Namespace, key: str) -> str:
    """The id of an item's record. Ids of items of a namespace, and of those below it, begin alike."""
    return compact([*namespace, key])


def under(field: str, namespace: Sequence[str]) -> dict[str, Any] | None:
    """The filter of items of a namespace, and of those below it."""
    return {"field": field, "prefix": compact(list(namespace))[:-1] + ","} if namespace else None


def joined(*filters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Filters joined by and."""
    given = [one for one in filters if one]
    return {"and": given} if given else None


def item_record(one: str, put: PutOp, created_at: str | None, now: datetime) -> NewRecord:
    """An item as a record: its value as payload, and in its metadata for filters. The newest is the last changed."""
    is_small = len(compact(put.value).encode()) <= MAX_FILTERED_BYTES
    metadata: dict[str, Any] = {"created_at": created_at or now.isoformat(), "namespace": compact(put.namespace)}
    metadata |= {"value": put.value} if is_small else {TOO_LARGE: True}
    record: NewRecord = {"id": one, "payload": put.value, "metadata": metadata}
    record["created_at"] = now.isoformat()
    if put.ttl is not None:
        metadata["ttl"] = put.ttl
        record["expires_at"] = (now + timedelta(minutes=put.ttl)).isoformat()
    return record


def value_of(record: RecordView) -> dict[str, Any]:
    """An item's value."""
    return cast("dict[str, Any]", record["payload"])


def namespace_of(record: RecordView) -> Namespace:
    """An item's namespace."""
    return tuple(json.loads(record["id"])[:-1])


def item(record: RecordView, kind: type[Found], score: float | None = None) -> Found:
    """A record as an item."""
    *namespace, key = json.loads(record["id"])
    more: dict[str, Any] = {"score": score} if kind is SearchItem else {}
    return kind(
        namespace=tuple(namespace),
        key=key,
        value=value_of(record),
        created_at=moment(record["metadata"]["created_at"]),
        updated_at=moment(record["created_at"]),
        **more,
    )


def moment(text: str) -> datetime:
    """A time of its text: Python 3.10 reads no `Z`, and no other number of digits than 3 or 6."""
    whole, _, fraction = text.replace("Z", "+00:00").partition(".")
    if not fraction:
        return datetime.fromisoformat(whole)
    digits = fraction[: -len("+00:00")]
    return datetime.fromisoformat(f"{whole}.{digits:0<6}{fraction[len(digits) :]}")


def is_matched(namespace: Namespace, condition: MatchCondition) -> bool:
    """Whether a namespace begins or ends as a condition says, in which `*` is any one label."""
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
