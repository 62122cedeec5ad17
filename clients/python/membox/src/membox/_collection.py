"""Collections of records."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from membox import vectors
from membox._faces import Awaiting, Blocking, Describing, call, listing
from membox._send import AsyncSender, Sender
from membox._wire import Pages, Plan, Request, given, if_match, path, read_json, read_key, read_nothing

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Unpack

    from membox.types import (
        CollectionSettings,
        CollectionView,
        CompressOnWrite,
        FacetsAnswer,
        ForgetAnswer,
        ForgetRequest,
        JobView,
        NewRecord,
        OrderBy,
        RecallAnswer,
        RecallOptions,
        RecallRequest,
        RecordPatch,
        RecordView,
        ScrollAnswer,
        WrittenRecord,
    )

    Filter: TypeAlias = "dict[str, Any]"
    Order: TypeAlias = Literal["written", "oldest", "newest"]

MAX_RECORDS = 2048
"""Records of one request."""
MAX_PAGE = 1000
"""Items of one page."""
PIECE_BYTES = 8 << 20
"""Texts of one request, when records are more than one request's."""
MAX_ID_BYTES = 512
"""Bytes of an id; no record has a longer one."""


def prepared(record: NewRecord) -> NewRecord:
    """A record as it is sent: with an id, so that the request can be repeated, and its vector in base64."""
    ready = cast("NewRecord", {**record, "id": record.get("id") or str(uuid.uuid4())})
    vector = record.get("vector")
    if vector is not None:
        ready["vector"] = vectors.encode(vector)
    return ready


def pieces(records: Iterable[NewRecord]) -> Iterator[list[NewRecord]]:
    """Records in the pieces in which they are sent."""
    piece: list[NewRecord] = []
    size = 0
    for record in map(prepared, records):
        bytes_of_it = size_of(record)
        if piece and (len(piece) == MAX_RECORDS or size + bytes_of_it > PIECE_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(record)
        size += bytes_of_it
    if piece:
        yield piece


def size_of(record: NewRecord) -> int:
    """About how many bytes a record takes in a request."""
    payload = record.get("payload")
    size = len(payload) if isinstance(payload, str) else len(json.dumps(payload)) if payload is not None else 0
    return size + len(record.get("text") or "") + len(record.get("vector") or "")


def described_pages(
    where: str, filter: Filter | None, order: Order | None, limit: int | None, page_size: int, payload: bool
) -> Pages[RecordView]:
    """The list of a collection's records."""
    as_json = json.dumps(filter, ensure_ascii=False) if filter is not None else None
    params = given(filter=as_json, order=order, limit=min(page_size, limit) if limit else page_size)
    return Pages(where, "records", {**params, **({"payload": True} if payload else {})}, limit)


class CollectionMethods:
    """A collection: records with texts, vectors and metadata, and what finds them."""

    name: str
    """Its name."""

    def _path(self, *parts: str) -> str:
        return path("/v1/collections", self.name, *parts)

    @call
    def create(self, **settings: Unpack[CollectionSettings]) -> Request[CollectionView]:
        """Creates the collection, or changes its settings.

        What its vectors are (`dimension`, `vector_type`, `metric`, `model`) cannot change: that is a `Conflict`, also
        where one of them is left out and is not what a new collection would have.
        """
        return Request("PUT", self._path(), read_json, settings)

    @call
    def describe(self) -> Request[CollectionView]:
        """Its settings, how much it holds, and how far its index is."""
        return Request("GET", self._path(), read_json)

    @call
    def drop(self) -> Request[None]:
        """Deletes the collection with all that is in it."""
        return Request("DELETE", self._path(), read_nothing)

    @call
    def upsert(
        self, records: Iterable[NewRecord], *, compress: CompressOnWrite | None = None
    ) -> Plan[list[WrittenRecord]]:
        """Writes records: new ones, and anew those whose ids are there already.

        Up to 2 048 records are written together: all or none. More are sent in several requests.
        Records without an id get one here, so that the request can be repeated after a broken connection.
        """
        written: list[WrittenRecord] = []
        for piece in pieces(records):
            conditional = any(record.get("version") is not None for record in piece)
            body = {"records": piece, **given(compress=compress)}
            written += yield from Request[Any](
                "POST", self._path("records"), read_key("records"), body, repeatable=not conditional
            )
        return written

    @call
    def get(self, id: str) -> Request[RecordView]:
        """A record."""
        return Request("GET", self._path("records", id), read_json)

    @call
    def get_many(self, ids: Sequence[str]) -> Plan[list[RecordView | None]]:
        """Records, with their payloads, in the order of their ids; None for those that are not there."""
        found: dict[str, RecordView] = {}
        wanted = [one for one in dict.fromkeys(ids) if 0 < len(one.encode()) <= MAX_ID_BYTES]
        for start in range(0, len(wanted), MAX_RECORDS):
            body = {"ids": wanted[start : start + MAX_RECORDS]}
            where = self._path("records") + ":get"
            records = yield from Request[Any]("POST", where, read_key("records"), body, repeatable=True)
            found.update((record["id"], record) for record in records)
        return [found.get(one) for one in ids]

    @call
    def count(self, *, filter: Filter | None = None) -> Request[int]:
        """How many records there are, or how many a filter allows."""
        return Request(
            "POST", self._path("records") + ":count", read_key("count"), given(filter=filter), repeatable=True
        )

    @call
    def facets(self, *fields: str, filter: Filter | None = None, limit: int | None = None) -> Request[FacetsAnswer]:
        """The values of fields, most first, and how many records have each."""
        body = {"fields": list(fields), **given(filter=filter, limit=limit)}
        return Request("POST", self._path("records") + ":facets", read_json, body, repeatable=True)

    @call
    def patch(
        self, id: str, /, *, version: int | str | None = None, **changes: Unpack[RecordPatch]
    ) -> Request[RecordView]:
        """Changes fields of a record; metadata is merged, and None takes a field away.

        With `version` only that version is changed; `PreconditionFailed` says that there is another one.
        """
        return Request("PATCH", self._path("records", id), read_json, changes, headers=if_match(version))

    @call
    def patch_many(self, ids: Sequence[str], **changes: Unpack[RecordPatch]) -> Plan[list[str]]:
        """Makes the same changes to many records, and gives the ids of which there is none.

        Up to 2 048 are changed together: all or none. More are changed in several requests.
        """
        missing: list[str] = []
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), MAX_RECORDS):
            body = {"ids": wanted[start : start + MAX_RECORDS], "patch": changes}
            where = self._path("records") + ":patch"
            missing += yield from Request[Any]("POST", where, read_key("missing"), body, repeatable=True)
        return missing

    @call
    def delete(self, id: str, *, version: int | str | None = None) -> Request[None]:
        """Deletes a record."""
        return Request("DELETE", self._path("records", id), read_nothing, headers=if_match(version))

    @call
    def delete_many(self, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> Plan[int]:
        """Deletes records by their ids or by a filter, and says how many there were."""
        if (ids is None) == (filter is None):
            raise ValueError("either ids or filter is wanted")
        where = self._path("records") + ":delete"
        if filter is not None:
            return (yield from Request[int]("POST", where, read_key("deleted"), {"filter": filter}, repeatable=True))
        deleted = 0
        wanted = list(dict.fromkeys(ids or ()))
        for start in range(0, len(wanted), MAX_RECORDS):
            body = {"ids": wanted[start : start + MAX_RECORDS]}
            deleted += yield from Request[int]("POST", where, read_key("deleted"), body, repeatable=True)
        return deleted

    @listing
    def records(
        self,
        *,
        filter: Filter | None = None,
        order: Order | None = None,
        limit: int | None = None,
        page_size: int = MAX_PAGE,
        payload: bool = False,
    ) -> Pages[RecordView]:
        """Records one after another: as they were written, or with `order` by their times."""
        return described_pages(self._path("records"), filter, order, limit, page_size, payload)

    @call
    def scroll(
        self,
        *,
        order_by: OrderBy | None = None,
        filter: Filter | None = None,
        offset: int = 0,
        limit: int | None = None,
        payload: bool = False,
    ) -> Request[ScrollAnswer]:
        """A part of the records in the order of a field, from an offset on, and how many the filter allows."""
        body = given(order_by=order_by, filter=filter, offset=offset, limit=limit)
        if payload:
            body["with"] = ["payload"]
        return Request("POST", self._path("records") + ":scroll", read_json, body, repeatable=True)

    @call
    def recall(self, query: str | None = None, **options: Unpack[RecallOptions]) -> Request[RecallAnswer]:
        """Finds the records that answer a question, or are near to `vector`."""
        body: dict[str, Any] = {**given(query=query), **options}
        if body.get("vector") is not None:
            body["vector"] = vectors.encode(body["vector"])
        return Request("POST", self._path("recall"), read_json, body, repeatable=True)

    @call
    def recall_many(self, recalls: Sequence[RecallRequest]) -> Request[list[RecallAnswer]]:
        """Several recalls at once, up to 32; the answers come in their order."""
        ready = [
            {**one, "vector": vectors.encode(one["vector"])} if one.get("vector") is not None else one
            for one in recalls
        ]
        return Request(
            "POST", self._path("recall") + ":batch", read_key("answers"), {"recalls": ready}, repeatable=True
        )

    @call
    def forget(self, **options: Unpack[ForgetRequest]) -> Request[ForgetAnswer]:
        """Deletes the memories that matter least, all but `keep` of them."""
        return Request("POST", self._path("forget"), read_json, options)

    @call
    def consolidate(
        self, *, threshold: float | None = None, user: str | None = None, dry_run: bool | None = None
    ) -> Request[JobView]:
        """Joins memories that say nearly the same, as a job."""
        body = given(threshold=threshold, user=user, dry_run=dry_run)
        return Request("POST", self._path("consolidate"), read_json, body)

    @call
    def rebuild(self) -> Request[JobView]:
        """Builds the indexes anew, as a job."""
        return Request("POST", self._path("rebuild"), read_json)

    @call
    def reembed(self) -> Request[JobView]:
        """Embeds all texts anew, as a job."""
        return Request("POST", self._path("reembed"), read_json)

    @call
    def make_token_vectors(self) -> Request[JobView]:
        """Makes the vectors of tokens that records lack, as a job."""
        return Request("POST", self._path("token-vectors"), read_json)


class Collection(CollectionMethods, Blocking):
    __doc__ = CollectionMethods.__doc__

    def __init__(self, name: str, *, sender: Sender) -> None:
        super().__init__(sender=sender)
        self.name = name


class AsyncCollection(CollectionMethods, Awaiting):
    __doc__ = CollectionMethods.__doc__

    def __init__(self, name: str, *, sender: AsyncSender) -> None:
        super().__init__(sender=sender)
        self.name = name


class DescribedCollection(CollectionMethods, Describing):
    __doc__ = CollectionMethods.__doc__

    def __init__(self, name: str) -> None:
        self.name = name
