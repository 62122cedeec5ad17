"""CrewAI: its memory in a box. `pip install membox[crewai]`."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
from crewai.memory.types import MemoryRecord, ScopeInfo

from membox import describe
from membox._both import Clients
from membox._wire import Plan, Request, path, read_json
from membox.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from membox._client import AsyncClient, Client
    from membox.types import NewRecord

    Filter = dict[str, Any]

MAX_METADATA_BYTES = 12 << 10
"""Metadata of more cannot be filtered by: it is in the payload alone."""
MAX_FACETS = 1000
MAX_ASKED = 10_000
"""Hits of one recall."""
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
"""Names that mean the same in a path of the box."""


class MemboxStorage:
    """A storage backend of CrewAI's `Memory`: a collection of a box, with the vectors that CrewAI's embedder makes.

    The box's own embedder is `client.embed`:

        client = membox.Client()
        memory = Memory(storage=MemboxStorage(client=client), embedder=client.embed)

    A score is the cosine, and a scope `/a` has `/a` and what is below it, but not `/ab`. Up to 1 000 scopes and
    categories are told apart.
    """

    def __init__(
        self,
        collection: str = "crewai",
        *,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.collection = collection
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._calls = describe.collection(collection)
        self._is_made = False

    # What is written.

    def save(self, records: list[MemoryRecord]) -> None:
        """Keeps records: up to 2 048 together, all or none."""
        self.clients.run(self._save(records))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Keeps records: up to 2 048 together, all or none."""
        await self.clients.arun(self._save(records))

    def update(self, record: MemoryRecord) -> None:
        """Keeps a record in the place of the one of its id."""
        self.clients.run(self._save([record]))

    def _save(self, records: list[MemoryRecord]) -> Plan[None]:
        if not records:
            return
        sizes = [len(one.embedding) for one in records if one.embedding]
        if not self._is_made:
            try:
                yield from self._calls.create(dimension=sizes[0] if sizes else None)
            except Conflict:
                yield from self._mismatch(sizes)
                raise
            self._is_made = True
        try:
            yield from self._calls.upsert([written(one) for one in records])
        except NotFound:  # somebody has reset it
            self._is_made = False
            yield from self._save(records)
        except BadRequest:
            yield from self._mismatch(sizes)
            raise

    def _mismatch(self, sizes: list[int]) -> Plan[None]:
        """Says of vectors that are not of the collection's size what CrewAI says of that."""
        stored = (yield from self._calls.describe())["settings"]["dimension"]
        for size in sizes:
            if stored is not None and size != stored:
                raise EmbeddingDimensionMismatchError(stored, size)

    # What is found.

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """The records that are nearest to a vector, and how near they are."""
        return self.clients.run(
            self._search(query_embedding, scope_prefix, categories, metadata_filter, limit, min_score)
        )

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """The records that are nearest to a vector, and how near they are."""
        return await self.clients.arun(
            self._search(query_embedding, scope_prefix, categories, metadata_filter, limit, min_score)
        )

    def _search(
        self,
        embedding: list[float],
        scope: str | None,
        categories: list[str] | None,
        metadata: dict[str, Any] | None,
        limit: int,
        min_score: float,
    ) -> Plan[list[tuple[MemoryRecord, float]]]:
        where, is_whole = asked(scope, categories, metadata)
        if limit <= 0:
            return []
        try:
            answer = yield from self._calls.recall(
                vector=embedding,
                mode="vector",
                k=limit if is_whole else MAX_ASKED,
                filter=where,
                min_score=min_score,
                include=["text", "vector", "payload"],
            )
        except NotFound:  # nothing was ever kept
            return []
        except BadRequest:
            yield from self._mismatch([len(embedding)])
            raise
        found = [(read(cast("dict[str, Any]", hit)), hit["score"]) for hit in answer["hits"]]
        return [(record, score) for record, score in found if has(record, metadata)][:limit]

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """A record by its id."""
        return self.clients.run(self._get(record_id))

    def _get(self, record_id: str) -> Plan[MemoryRecord | None]:
        where = path("/v1/collections", self.collection, "records") + ":get"
        body = {"ids": [record_id], "with": ["payload", "vector"]}
        try:
            answer = yield from Request[Any]("POST", where, read_json, body, repeatable=True)
        except NotFound:
            return None
        return next((read(one) for one in answer["records"]), None)

    def list_records(self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """The records of a scope, the newest first."""
        if limit <= 0 or offset < 0:
            return []
        return self.clients.run(self._list(asked(scope_prefix)[0], offset + limit))[offset:]

    def _list(self, where: Filter | None, limit: int | None = None) -> Plan[list[MemoryRecord]]:
        try:
            views = yield from self._calls.records(filter=where, order="newest", limit=limit, payload=True)
        except NotFound:
            return []
        return [read(cast("dict[str, Any]", view)) for view in views]

    # What there is.

    def count(self, scope_prefix: str | None = None) -> int:
        """How many records a scope has."""
        return self.clients.run(self._count(asked(scope_prefix)[0]))

    def _count(self, where: Filter | None) -> Plan[int]:
        try:
            return (yield from self._calls.count(filter=where))
        except NotFound:
            return 0

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """How many records a scope has, of which categories and times, and which scopes are in it."""
        return self.clients.run(self._info(normal(scope)))

    def _info(self, scope: str) -> Plan[ScopeInfo]:
        where = asked(scope)[0]
        count = yield from self._count(where)
        if not count:
            return ScopeInfo(path=scope)
        scopes = yield from self._values("scope", where)
        categories = yield from self._values("categories", where)
        oldest = yield from self._calls.records(filter=where, order="oldest", limit=1, payload=True)
        newest = yield from self._list(where, 1)
        return ScopeInfo(
            path=scope,
            record_count=count,
            categories=sorted(categories),
            oldest_record=read(cast("dict[str, Any]", oldest[0])).created_at if oldest else None,
            newest_record=newest[0].created_at if newest else None,
            child_scopes=below(scope, scopes),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes right below one."""
        return below(normal(parent), self.clients.run(self._values("scope", asked(parent)[0])))

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """The categories of a scope, and how many records each has."""
        return self.clients.run(self._values("categories", asked(scope_prefix)[0]))

    def _values(self, field: str, where: Filter | None) -> Plan[dict[str, int]]:
        try:
            answer = yield from self._calls.facets(f"metadata.{field}", filter=where, limit=MAX_FACETS)
        except NotFound:
            return {}
        return {str(one["value"]): one["count"] for one in answer["facets"][0]["values"]}

    # What goes.

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Deletes the records for which all of this holds, and says how many there were."""
        return self.clients.run(self._delete(scope_prefix, categories, record_ids, older_than, metadata_filter))

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Deletes the records for which all of this holds, and says how many there were."""
        return await self.clients.arun(self._delete(scope_prefix, categories, record_ids, older_than, metadata_filter))

    def _delete(
        self,
        scope: str | None,
        categories: list[str] | None,
        ids: list[str] | None,
        older_than: datetime | None,
        metadata: dict[str, Any] | None,
    ) -> Plan[int]:
        where, is_whole = asked(scope, categories, metadata)
        more: list[Filter] = [where] if where else []
        if ids:
            more.append({"field": "id", "in": ids})
        if older_than is not None:
            more.append({"field": "created_at", "lt": in_utc(older_than)})
        try:
            if is_whole:
                return (yield from self._calls.delete_many(filter={"and": more}))
            found = yield from self._list({"and": more})
            return (yield from self._calls.delete_many([one.id for one in found if has(one, metadata)]))
        except NotFound:
            return 0

    def reset(self, scope_prefix: str | None = None) -> None:
        """Deletes all records of a scope, or the collection."""
        self.clients.run(self._reset(asked(scope_prefix)[0]))

    def _reset(self, where: Filter | None) -> Plan[None]:
        try:
            if where is not None:
                yield from self._calls.delete_many(filter=where)
                return
            self._is_made = False
            yield from self._calls.drop()
        except NotFound:
            return

    def close(self) -> None:
        """Closes connections."""
        self.clients.close()


def normal(scope: str) -> str:
    """A scope with a slash before it and none behind it."""
    return "/" + scope.strip("/")


def below(scope: str, scopes: dict[str, int]) -> list[str]:
    """The scopes right below one."""
    start = scope.rstrip("/") + "/"
    inner = {one[len(start) :].split("/")[0] for one in scopes if one.startswith(start)}
    return sorted(start + one for one in inner if one)


def asked(
    scope: str | None, categories: list[str] | None = None, metadata: dict[str, Any] | None = None
) -> tuple[Filter | None, bool]:
    """What the box is asked for, and whether that is all that is wanted."""
    conditions: list[Filter] = []
    if scope is not None and scope.strip("/"):
        below_it = {"field": "metadata.scope", "prefix": normal(scope) + "/"}
        conditions.append({"or": [{"field": "metadata.scope", "eq": normal(scope)}, below_it]})
    if categories:
        conditions.append({"field": "metadata.categories", "in": categories})
    # A value that is a text, a number or a boolean is compared by the box, which also takes a list that has it.
    for name, value in (metadata or {}).items():
        if PLAIN.fullmatch(name) and isinstance(value, (str, bool, int)):
            is_it: Filter = {"field": f"metadata.metadata.{name}", "eq": value}
            conditions.append({"or": [is_it, {"field": "metadata.too_large", "eq": True}]})
    return ({"and": conditions} if conditions else None), not metadata


def has(record: MemoryRecord, metadata: dict[str, Any] | None) -> bool:
    """Whether a record has these values."""
    return all(record.metadata.get(name) == value for name, value in (metadata or {}).items())


def in_utc(time: datetime) -> str:
    """A time of CrewAI, whose times say no zone and are of UTC."""
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).isoformat()


def written(record: MemoryRecord) -> NewRecord:
    """A record of CrewAI as one of the box."""
    whole = record.model_dump(mode="json", exclude={"content", "embedding"})
    metadata: dict[str, Any] = {"scope": normal(record.scope), "categories": record.categories}
    if len(record.model_dump_json(include={"metadata"})) <= MAX_METADATA_BYTES:
        metadata["metadata"] = whole["metadata"]
    else:
        metadata["too_large"] = True
    ready: NewRecord = {
        "id": record.id,
        "text": record.content,
        "importance": record.importance,
        "created_at": in_utc(record.created_at),
        "metadata": metadata,
        "payload": {"crewai": whole},
    }
    if record.embedding:
        ready["vector"] = record.embedding
    return ready


def read(view: dict[str, Any]) -> MemoryRecord:
    """A record of the box as one of CrewAI; one that others have written, by its text and metadata."""
    payload = view.get("payload")
    known = payload.get("crewai") if isinstance(payload, dict) else None
    if known is None:
        known = {"id": view["id"], "metadata": view.get("metadata", {})}
    return MemoryRecord(**{**known, "content": view.get("text", ""), "embedding": view.get("vector")})
