"""Pydantic AI: its conversations in a box. `pip install membox[pydantic-ai]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)

from membox import describe
from membox._both import Clients
from membox._wire import Plan
from membox.errors import NotFound, PreconditionFailed

if TYPE_CHECKING:
    from membox._client import AsyncClient, Client
    from membox.types import CollectionSettings, NewRecord, RecordView

RECORDS = TypeAdapter(ConversationRecord)
ENTRIES = TypeAdapter(ConversationEntry)
# A box has no collection without vectors: each record carries one of a single number.
SETTINGS: CollectionSettings = {"dimension": 1, "keywords": False, "windows": "off", "late_interaction": "off"}
NO_VECTOR = [1.0]
NOT_THERE = 0
"""The version of a record that must not be there yet."""


class MemboxConversationStore(ConversationStore):
    """Conversations in a collection of their own. A record and its new entries are written together, or not at all.

    A message has at most 1 MiB as JSON. The entries of a conversation go with it, unless another was forked from it.
    """

    def __init__(
        self,
        collection: str = "pydantic-ai",
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

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """What is kept of a conversation beside its messages."""
        found = await self.clients.arun(self._record(record_id(conversation_id)))
        return RECORDS.validate_json(found["text"]) if found else None

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Conversations, or those of a scope, the last saved first."""
        where = [{"field": "kind", "eq": "conversation"}]
        if scope is not None:
            where.append({"field": "metadata.scope", "eq": scope})
        found = await self.clients.arun(self._records({"and": where}, "newest"))
        records = [RECORDS.validate_json(one["text"]) for one in found]
        records.sort(key=lambda record: record.updated_at, reverse=True)
        return records[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Keeps a conversation and its new entries, if it is still what it was."""
        await self.clients.arun(self._put(record, new_entries, expected_revision))

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Deletes a conversation, if it is still what it was."""
        await self.clients.arun(self._remove(conversation_id, expected_revision))

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """An entry."""
        found = await self.clients.arun(self._record(entry_record_id(entry_id)))
        if not found:
            raise KeyError(entry_id)
        return ENTRIES.validate_json(found["text"])

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """The entries up to one, the oldest first, or only the last of them. Those of a conversation come at once."""
        return await self.clients.arun(self._line(head_id, limit))

    # The steps of each.

    def _record(self, one: str) -> Plan[RecordView | None]:
        try:
            return (yield from self._calls.get(one))
        except NotFound:
            return None

    def _records(self, where: dict[str, Any], order: Any = None) -> Plan[list[RecordView]]:
        try:
            return (yield from self._calls.records(filter=where, order=order))
        except NotFound:
            return []

    def _put(
        self, record: ConversationRecord, entries: Sequence[ConversationEntry], expected: str | None
    ) -> Plan[None]:
        conversation = record.conversation_id
        if not self._is_made:
            yield from self._calls.create(**SETTINGS)
            self._is_made = True
        old = yield from self._record(record_id(conversation))
        if (RECORDS.validate_json(old["text"]).revision if old else None) != expected:
            raise ConversationConflict(conversation)
        head = record.head_id
        is_new = head in {entry.id for entry in entries}
        if head is not None and not is_new and not (yield from self._record(entry_record_id(head))):
            raise ConversationConflict(conversation)
        scope = {} if record.scope is None else {"scope": record.scope}
        forked = {} if record.forked_from is None else {"forked_from": record.forked_from}
        rows: list[NewRecord] = [
            {
                "id": record_id(conversation),
                "text": RECORDS.dump_json(record).decode(),
                "vector": NO_VECTOR,
                "kind": "conversation",
                "metadata": {**scope, **forked},
                "created_at": record.updated_at.isoformat(),
                "version": old["version"] if old else NOT_THERE,
            }
        ]
        for entry in entries:
            text, metadata = ENTRIES.dump_json(entry).decode(), {"conversation": conversation}
            one = entry_record_id(entry.id)
            rows.append({"id": one, "text": text, "vector": NO_VECTOR, "kind": "entry", "metadata": metadata})
        try:
            yield from self._calls.upsert(rows)
        except PreconditionFailed:
            raise ConversationConflict(conversation) from None

    def _remove(self, conversation: str, expected: str) -> Plan[None]:
        old = yield from self._record(record_id(conversation))
        if not old or RECORDS.validate_json(old["text"]).revision != expected:
            raise ConversationConflict(conversation)
        try:
            yield from self._calls.delete(record_id(conversation), version=old["version"])
        except (NotFound, PreconditionFailed):
            raise ConversationConflict(conversation) from None
        if not (yield from self._records({"field": "metadata.forked_from", "eq": conversation})):
            yield from self._calls.delete_many(filter=entries_of(conversation))

    def _line(self, head: str | None, limit: int | None) -> Plan[list[ConversationEntry]]:
        known: dict[str, RecordView] = {}
        entries: list[ConversationEntry] = []
        while head is not None and (limit is None or len(entries) < limit):
            one = entry_record_id(head)
            if one not in known:
                found = yield from self._record(one)
                if not found:
                    raise KeyError(head)
                known[one] = found
                if limit is None:
                    of_it = yield from self._records(entries_of(found["metadata"]["conversation"]))
                    known.update((record["id"], record) for record in of_it)
            entries.append(ENTRIES.validate_json(known[one]["text"]))
            head = entries[-1].parent_id
        return entries[::-1]


def record_id(conversation_id: str) -> str:
    """The id of a conversation's record."""
    return f"conversation:{conversation_id}"


def entry_record_id(entry_id: str) -> str:
    """The id of an entry's record."""
    return f"entry:{entry_id}"


def entries_of(conversation_id: str) -> dict[str, Any]:
    """The filter of the entries that were first written with a conversation."""
    return {"field": "metadata.conversation", "eq": conversation_id}
