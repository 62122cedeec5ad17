"""Bytes by their keys."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from langchain_core.stores import ByteStore
from membox.describe import Plan

from membox import Clients, NotFound, describe

if TYPE_CHECKING:
    from membox.types import CollectionSettings, NewRecord

    from membox import AsyncClient, Client

# A value is the payload of a record, of which nothing is embedded or indexed.
KEY_VALUE: CollectionSettings = {"dimension": 1, "keywords": False, "windows": "off", "late_interaction": "off"}


class KeyValues:
    """Texts by their keys, in a collection of their own. All that it does is described, not done."""

    def __init__(self, collection: str) -> None:
        self.calls = describe.collection(collection)
        self._is_made = False

    def get(self, keys: Sequence[str]) -> Plan[list[str | None]]:
        """The values of keys."""
        try:
            records = yield from self.calls.get_many(keys)
        except NotFound:  # nothing was ever written
            return [None] * len(keys)
        return [record and record["payload"] for record in records]

    def set(self, values: Sequence[tuple[str, str]], expires_at: str | None = None) -> Plan[None]:
        """Sets values."""
        if not values:
            return
        if not self._is_made:
            yield from self.calls.create(**KEY_VALUE)
            self._is_made = True
        ends = {} if expires_at is None else {"expires_at": expires_at}
        records: dict[str, NewRecord] = {}
        for key, value in values:
            records[key] = {"id": key, "payload": value, **ends}  # type: ignore[typeddict-item]
        yield from self.calls.upsert(records.values())

    def delete(self, keys: Sequence[str]) -> Plan[None]:
        """Deletes values; keys that are not there are passed over."""
        try:
            yield from self.calls.delete_many(list(keys))
        except NotFound:
            return

    def clear(self) -> Plan[None]:
        """Deletes all values."""
        self._is_made = False
        try:
            yield from self.calls.drop()
        except NotFound:
            return


class MemboxByteStore(ByteStore):
    """Bytes by their keys, in a collection of their own. A value has at most 768 KiB."""

    def __init__(
        self,
        collection: str = "langchain-bytes",
        *,
        url: str | None = None,
        key: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> None:
        self.collection = collection
        self.clients = Clients(url, key=key, client=client, async_client=async_client)
        self._values = KeyValues(collection)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, None for those that are not there."""
        return [decoded(value) for value in self.clients.run(self._values.get(keys))]

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, None for those that are not there."""
        return [decoded(value) for value in await self.clients.arun(self._values.get(keys))]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Sets values."""
        self.clients.run(self._values.set(encoded(key_value_pairs)))

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Sets values."""
        await self.clients.arun(self._values.set(encoded(key_value_pairs)))

    def mdelete(self, keys: Sequence[str]) -> None:
        """Deletes values."""
        self.clients.run(self._values.delete(keys))

    async def amdelete(self, keys: Sequence[str]) -> None:
        """Deletes values."""
        await self.clients.arun(self._values.delete(keys))

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """All keys, or those that begin so."""
        where = {"field": "id", "prefix": prefix} if prefix else None
        try:
            for record in self.clients.blocking.collection(self.collection).records(filter=where):
                yield record["id"]
        except NotFound:
            return

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """All keys, or those that begin so."""
        where = {"field": "id", "prefix": prefix} if prefix else None
        try:
            async for record in self.clients.awaiting.collection(self.collection).records(filter=where):
                yield record["id"]
        except NotFound:
            return


def encoded(pairs: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Values as texts."""
    return [(key, base64.b64encode(value).decode("ascii")) for key, value in pairs]


def decoded(value: str | None) -> bytes | None:
    """A value of its text."""
    return None if value is None else base64.b64decode(value)
